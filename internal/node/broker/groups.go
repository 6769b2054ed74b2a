package broker

import (
	"fmt"
	"strconv"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/network/edge"
)

// Kinds of coordinators that FindCoordinator asks for.
const (
	groupCoordinator       = 0
	transactionCoordinator = 1
	shareCoordinator       = 2
)

const offsetsTopic = "__consumer_offsets"

// internalTopicRequest is how one of Kafka's own topics is created.
func (b *Broker) internalTopicRequest(name string) wire.CreateTopicsRequestCreatableTopic {
	cfg := b.config()
	t := wire.CreateTopicsRequestCreatableTopic{}
	t.SetDefaults()
	t.Name = name
	set := func(key, value string) {
		t.Configs = append(t.Configs, wire.CreateTopicsRequestCreatableTopicConfig{Name: key, Value: &value})
	}
	switch name {
	case offsetsTopic:
		t.NumPartitions, t.ReplicationFactor = int32(cfg.GetInt("offsets.topic.num.partitions")), int16(cfg.GetInt("offsets.topic.replication.factor"))
		set("segment.bytes", strconv.FormatInt(cfg.GetLong("offsets.topic.segment.bytes"), 10))
		set("compression.type", "producer")
	case "__transaction_state":
		t.NumPartitions, t.ReplicationFactor = int32(cfg.GetInt("transaction.state.log.num.partitions")), int16(cfg.GetInt("transaction.state.log.replication.factor"))
		set("segment.bytes", strconv.FormatInt(cfg.GetLong("transaction.state.log.segment.bytes"), 10))
	default:
		t.NumPartitions, t.ReplicationFactor = int32(cfg.GetInt("share.coordinator.state.topic.num.partitions")), int16(cfg.GetInt("share.coordinator.state.topic.replication.factor"))
		set("segment.bytes", strconv.FormatInt(cfg.GetLong("share.coordinator.state.topic.segment.bytes"), 10))
	}
	set("cleanup.policy", "compact")
	// A cluster smaller than the default factor of 3 would never get its
	// internal topics: as many replicas as there are brokers will do.
	t.ReplicationFactor = int16(max(1, min(int(t.ReplicationFactor), len(b.image().Brokers()))))
	return t
}

// serveFindCoordinator tells which broker coordinates a group. On one node it
// is this one, once the topic that keeps the groups exists.
func serveFindCoordinator(b *Broker, q *edge.Request, m *wire.FindCoordinatorRequest, answer func(*wire.FindCoordinatorResponse)) {
	if m.KeyType == groupCoordinator {
		if _, ok := b.image().Topic(offsetsTopic); !ok {
			create := &wire.CreateTopicsRequest{}
			create.SetDefaults()
			create.Topics = append(create.Topics, b.internalTopicRequest(offsetsTopic))
			b.quorum.Propose(create, func(any, error) { answer(b.findCoordinator(q, m)) })
			return
		}
	}
	answer(b.findCoordinator(q, m))
}

func (b *Broker) findCoordinator(q *edge.Request, m *wire.FindCoordinatorRequest) *wire.FindCoordinatorResponse {
	out := &wire.FindCoordinatorResponse{}
	out.SetDefaults()
	host, port, ok := "", int32(-1), false
	if br := b.image().Broker(b.nodeID); br != nil {
		host, port, ok = endpoint(br, q.Conn().Listener())
	}
	node, code, message := b.nodeID, wire.None, ""
	switch {
	case m.KeyType == transactionCoordinator || m.KeyType == shareCoordinator:
		node, host, port = -1, "", -1
		code, message = wire.InvalidRequest, "this node has no transaction or share coordinator yet"
	case m.KeyType != groupCoordinator:
		node, host, port = -1, "", -1
		code, message = wire.InvalidRequest, fmt.Sprintf("unknown coordinator key type %d", m.KeyType)
	case !ok || b.table.ByName(offsetsTopic) == nil:
		node, host, port, code = -1, "", -1, wire.CoordinatorNotAvailable
	}
	if q.Version < 4 {
		out.ErrorCode, out.ErrorMessage, out.NodeID, out.Host, out.Port = code, text(message), node, host, port
		return out
	}
	for _, key := range m.CoordinatorKeys {
		out.Coordinators = append(out.Coordinators, wire.FindCoordinatorResponseCoordinator{
			Key: key, NodeID: node, Host: host, Port: port, ErrorCode: code, ErrorMessage: text(message),
		})
	}
	return out
}
