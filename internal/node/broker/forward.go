package broker

import (
	"fmt"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/network/edge"
)

// forwarded answers what the controller decides, once the records it led to are committed and applied.
func forwarded[P any, R response](b *Broker, q *edge.Request, m P, answer func(R)) {
	propose(b, q, m, answer)
}

// propose puts one request to the controller. If the quorum cannot decide, the connection is closed: the client asks again.
func propose[R response](b *Broker, q *edge.Request, m any, answer func(R)) {
	key := q.Key
	l := b.tolls.Load().leave(q)
	b.quorum.Propose(l.meter(m), func(reply any, err error) {
		resp, ok := reply.(R)
		if err != nil || !ok {
			q.Hangup(fmt.Errorf("%s: the controller did not decide: %w", wire.APIName(key), err))
			return
		}
		l.mute(q, resp)
		answer(resp)
	})
}

// serveUpdateFeatures forwards; up to version 1 the answer has a line for each feature (KIP-584).
func serveUpdateFeatures(b *Broker, q *edge.Request, m *wire.UpdateFeaturesRequest, answer func(*wire.UpdateFeaturesResponse)) {
	version := q.Version
	propose(b, q, m, func(resp *wire.UpdateFeaturesResponse) {
		if version <= 1 {
			for i := range resp.Results {
				resp.Results[i].ErrorMessage = text("NONE") // what Kafka puts there
			}
		}
		answer(resp)
	})
}
