package broker

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/acl"
	"github.com/moldau/moldau/internal/machine/metadata"
	"github.com/moldau/moldau/internal/network/edge"
)

// rootLogger is the name of the one logger that there is (KIP-412).
const rootLogger = "root"

// Operations on settings (KIP-339).
const (
	opSet int8 = iota
	opDelete
	opAppend
	opSubtract
)

// logLevel is one of Kafka's levels.
type logLevel struct {
	name  string
	level slog.Level
}

// logLevels are all of them, from the most talkative. One is in force below the next one's number.
var logLevels = []logLevel{{"TRACE", -8}, {"DEBUG", slog.LevelDebug}, {"INFO", slog.LevelInfo}, {"WARN", slog.LevelWarn}, {"ERROR", slog.LevelError}, {"FATAL", 12}}

// describeLoggers tells the level of the loggers of this node.
func describeLoggers(b *Broker, asked *wire.DescribeConfigsRequestDescribeConfigsResource) ([]config.Entry, wire.Code, string) {
	if asked.ResourceName == "" {
		return nil, wire.InvalidRequest, "Broker id must not be empty"
	}
	if id, err := strconv.ParseInt(asked.ResourceName, 10, 32); err != nil {
		return nil, wire.InvalidRequest, "Broker id must be an integer, but it is: " + asked.ResourceName
	} else if int32(id) != b.nodeID {
		return nil, wire.InvalidRequest, fmt.Sprintf("Unexpected broker id, expected %d but received %s", b.nodeID, asked.ResourceName)
	}
	if len(asked.ConfigurationKeys) > 0 && !slices.Contains(asked.ConfigurationKeys, rootLogger) {
		return nil, wire.None, ""
	}
	name := logLevels[0].name
	for _, l := range logLevels {
		if b.logLevel.Level() >= l.level {
			name = l.name
		}
	}
	return []config.Entry{{Name: rootLogger, Value: name, Source: config.SourceDynamicBrokerLogger}}, wire.None, ""
}

// serveIncrementalAlterConfigs sets log levels, which are this node's own affair, and forwards all else.
func serveIncrementalAlterConfigs(
	b *Broker, q *edge.Request, m *wire.IncrementalAlterConfigsRequest, answer func(*wire.IncrementalAlterConfigsResponse),
) {
	seen := make(map[metadata.Resource]int, len(m.Resources))
	for i := range m.Resources {
		seen[metadata.Resource{Type: m.Resources[i].ResourceType, Name: m.Resources[i].ResourceName}]++
	}
	var own, refused []wire.IncrementalAlterConfigsResponseAlterConfigsResourceResponse
	rest := *m
	rest.Resources = nil
	for i := range m.Resources {
		r := &m.Resources[i]
		which := metadata.Resource{Type: r.ResourceType, Name: r.ResourceName}
		if seen[which] == 1 { // others the controller refuses, as long as it hears of all of them
			op := acl.AlterConfigs
			if r.ResourceType == metadata.BrokerLoggerResource && b.side(q) == wire.OnController {
				op = acl.ClusterAction // Kafka's controllers ask for that one
			}
			if code := b.settingsRight(q, op, which); code != wire.None {
				refused = append(refused, wire.IncrementalAlterConfigsResponseAlterConfigsResourceResponse{
					ErrorCode: code, ErrorMessage: text(code.Message()), ResourceType: r.ResourceType, ResourceName: r.ResourceName,
				})
				continue
			}
			if why := unusable(b, r); why != "" {
				refused = append(refused, wire.IncrementalAlterConfigsResponseAlterConfigsResourceResponse{
					ErrorCode: wire.InvalidRequest, ErrorMessage: text(why), ResourceType: r.ResourceType, ResourceName: r.ResourceName,
				})
				continue
			}
		}
		if r.ResourceType != metadata.BrokerLoggerResource {
			rest.Resources = append(rest.Resources, *r)
			continue
		}
		done := wire.IncrementalAlterConfigsResponseAlterConfigsResourceResponse{ResourceType: r.ResourceType, ResourceName: r.ResourceName}
		if seen[which] > 1 {
			done.ErrorCode, done.ErrorMessage = wire.InvalidRequest, text("Each resource must appear at most once.")
		} else {
			code, message := alterLoggers(b, r, m.ValidateOnly)
			done.ErrorCode, done.ErrorMessage = code, text(message)
		}
		own = append(own, done)
	}
	own = append(own, refused...)
	if len(rest.Resources) == 0 && len(own) > 0 {
		answer(&wire.IncrementalAlterConfigsResponse{Responses: own})
		return
	}
	propose(b, q, &rest, func(resp *wire.IncrementalAlterConfigsResponse) {
		resp.Responses = append(own, resp.Responses...)
		answer(resp)
	})
}

// alterLoggers sets levels: all that are named or, when one of them cannot be, none.
func alterLoggers(b *Broker, r *wire.IncrementalAlterConfigsRequestAlterConfigsResource, validateOnly bool) (wire.Code, string) {
	for i, c := range r.Configs {
		if slices.ContainsFunc(r.Configs[:i], func(o wire.IncrementalAlterConfigsRequestAlterableConfig) bool { return o.Name == c.Name }) {
			return wire.InvalidRequest, "Error due to duplicate config keys"
		}
	}
	for _, c := range r.Configs {
		if c.ConfigOperation != opDelete && c.Value == nil {
			return wire.InvalidRequest, "Null value not supported for : " + c.Name
		}
	}
	if id, err := strconv.ParseInt(r.ResourceName, 10, 32); err != nil {
		return wire.InvalidRequest, "Node id must be an integer, but it is: " + r.ResourceName
	} else if int32(id) != b.nodeID {
		return wire.InvalidRequest, fmt.Sprintf("Unexpected node id. Expected %d, but received %s", b.nodeID, r.ResourceName)
	}
	next := b.logLevel.Level()
	for _, c := range r.Configs {
		switch {
		case c.ConfigOperation == opAppend:
			return wire.InvalidRequest, "APPEND operation is not allowed for the BROKER_LOGGER resource"
		case c.ConfigOperation == opSubtract:
			return wire.InvalidRequest, "SUBTRACT operation is not allowed for the BROKER_LOGGER resource"
		case c.ConfigOperation != opSet && c.ConfigOperation != opDelete:
			return wire.UnknownServerError, ""
		case c.Name != rootLogger:
			return wire.InvalidConfig, "Logger " + c.Name + " does not exist!"
		case c.ConfigOperation == opDelete:
			return wire.InvalidRequest, "Removing the log level of the root logger is not allowed"
		}
		at := slices.IndexFunc(logLevels, func(l logLevel) bool { return l.name == *c.Value })
		if at < 0 {
			return wire.InvalidConfig, "Cannot set the log level of " + c.Name + " to " + *c.Value +
				" as it is not a supported log level. Valid log levels are DEBUG, ERROR, FATAL, INFO, TRACE, WARN"
		}
		next = logLevels[at].level
	}
	if !validateOnly {
		b.logLevel.Set(next)
	}
	return wire.None, ""
}
