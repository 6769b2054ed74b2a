package broker

import (
	"net"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/network/edge"
	"github.com/moldau/moldau/internal/node/telemetry"
)

// serveGetTelemetrySubscriptions tells a client which metrics it shall push (KIP-714).
func serveGetTelemetrySubscriptions(b *Broker, q *edge.Request, m *wire.GetTelemetrySubscriptionsRequest) *wire.GetTelemetrySubscriptionsResponse {
	return b.telemetry.Subscriptions(m.ClientInstanceID, telemetryClient(q), q.Conn(), telemetryMaxBytes(b))
}

// servePushTelemetry takes a client's metrics.
func servePushTelemetry(b *Broker, q *edge.Request, m *wire.PushTelemetryRequest) *wire.PushTelemetryResponse {
	return &wire.PushTelemetryResponse{ErrorCode: b.telemetry.Push(m, telemetryClient(q), q.Conn(), telemetryMaxBytes(b))}
}

func telemetryMaxBytes(b *Broker) int32 { return int32(b.config().GetInt("telemetry.max.bytes")) }

func telemetryClient(q *edge.Request) telemetry.Client {
	c := telemetry.Client{ID: strings.Clone(q.ClientID)}
	c.SoftwareName, c.SoftwareVersion = q.Conn().Identity().Software()
	if a := q.Conn().RemoteAddr(); a != nil {
		if host, port, err := net.SplitHostPort(a.String()); err == nil {
			c.Address, c.Port = host, port
		}
	}
	return c
}
