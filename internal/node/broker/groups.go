package broker

import (
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/acl"
	"github.com/moldau/moldau/internal/network/edge"
	"github.com/moldau/moldau/internal/node/coordinator"
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
	case coordinator.TransactionTopic:
		t.NumPartitions, t.ReplicationFactor = int32(cfg.GetInt("transaction.state.log.num.partitions")), int16(cfg.GetInt("transaction.state.log.replication.factor"))
		set("segment.bytes", strconv.FormatInt(cfg.GetLong("transaction.state.log.segment.bytes"), 10))
	default:
		t.NumPartitions, t.ReplicationFactor = int32(cfg.GetInt("share.coordinator.state.topic.num.partitions")), int16(cfg.GetInt("share.coordinator.state.topic.replication.factor"))
		set("segment.bytes", strconv.FormatInt(cfg.GetLong("share.coordinator.state.topic.segment.bytes"), 10))
		set("compression.type", "producer")
	}
	// A cluster smaller than the default factor of 3 would never get its
	// internal topics: as many replicas as there are brokers will do.
	t.ReplicationFactor = int16(max(1, min(int(t.ReplicationFactor), len(b.image().Brokers()))))
	if name != coordinator.ShareTopic {
		set("cleanup.policy", "compact")
		return t
	}
	// Its coordinator deletes what it needs no more, so nothing is compacted and nothing grows old.
	set("cleanup.policy", "delete")
	set("retention.ms", "-1")
	set("min.insync.replicas", strconv.Itoa(min(cfg.GetInt("share.coordinator.state.topic.min.isr"), int(t.ReplicationFactor))))
	return t
}

// serveFindCoordinator tells which broker coordinates a group. On one node it
// is this one, once the topic that keeps the groups exists.
func serveFindCoordinator(b *Broker, q *edge.Request, m *wire.FindCoordinatorRequest, answer func(*wire.FindCoordinatorResponse)) {
	topic := coordinatorTopic(m.KeyType, q.Version)
	refused, code := b.refusedCoordinators(q, m)
	if code != wire.None && q.Version < 4 {
		answer(&wire.FindCoordinatorResponse{ErrorCode: code, ErrorMessage: text(code.Message()), NodeID: -1, Port: -1})
		return
	}
	find := func() {
		resp := b.findCoordinator(q, m)
		for _, key := range refused {
			resp.Coordinators = append(resp.Coordinators, wire.FindCoordinatorResponseCoordinator{
				Key: key, NodeID: -1, Port: -1, ErrorCode: code, ErrorMessage: text(code.Message()),
			})
		}
		answer(resp)
	}
	if _, ok := b.image().Topic(topic); !ok && topic != "" && (q.Version < 4 || len(m.CoordinatorKeys) > 0) {
		b.CreateInternalTopic(topic, find)
		return
	}
	find()
}

// refusedCoordinators takes out the keys of groups and transactional ids that the peer may not describe; code is their
// answer. Coordinators of share groups' states are for brokers alone.
func (b rights) refusedCoordinators(q *edge.Request, m *wire.FindCoordinatorRequest) (refused []string, code wire.Code) {
	t, code := acl.Group, wire.GroupAuthorizationFailed
	switch {
	case b.authorizer == nil:
		return nil, wire.None
	case m.KeyType == transactionCoordinator:
		t, code = acl.TransactionalID, wire.TransactionalIDAuthorizationFailed
	case m.KeyType == shareCoordinator && q.Version >= 6:
		if b.onCluster(q, acl.ClusterAction) {
			return nil, wire.None
		}
		refused, m.CoordinatorKeys = m.CoordinatorKeys, nil
		return refused, wire.ClusterAuthorizationFailed
	case m.KeyType != groupCoordinator:
		return nil, wire.None
	}
	if q.Version < 4 {
		if b.allowed(q, acl.Describe, t, m.Key) {
			code = wire.None
		}
		return nil, code
	}
	m.CoordinatorKeys, refused = part(b, q, acl.Describe, t, m.CoordinatorKeys, func(key *string) string { return *key })
	return refused, code
}

// coordinatorTopic is the topic on whose partitions coordinators of a kind live, "" for kinds that there are not in a version.
func coordinatorTopic(kind int8, version int16) string {
	switch {
	case kind == groupCoordinator:
		return offsetsTopic
	case kind == transactionCoordinator:
		return coordinator.TransactionTopic
	case kind == shareCoordinator && version >= 6:
		return coordinator.ShareTopic
	default:
		return ""
	}
}

// CreateInternalTopic makes one of Kafka's own topics, if need be. Whether it worked shows in the metadata once done is
// called.
func (b *Broker) CreateInternalTopic(name string, done func()) {
	create := &wire.CreateTopicsRequest{}
	create.SetDefaults()
	create.Topics = append(create.Topics, b.internalTopicRequest(name))
	b.quorum.Propose(create, func(any, error) { done() })
}

// sharePartitionKey tells whether a coordinator key has the form "group:topic id:partition". Groups may have colons.
func sharePartitionKey(key string) bool {
	parts := strings.Split(key, ":")
	if len(parts) < 3 || strings.TrimSpace(strings.Join(parts[:len(parts)-2], ":")) == "" {
		return false
	}
	_, errTopic := wire.ParseUUID(parts[len(parts)-2])
	_, errPartition := strconv.ParseInt(parts[len(parts)-1], 10, 32)
	return errTopic == nil && errPartition == nil
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
	case m.KeyType == shareCoordinator && q.Version < 6:
		node, host, port, code = -1, "", -1, wire.InvalidRequest
	case coordinatorTopic(m.KeyType, q.Version) == "":
		node, host, port = -1, "", -1
		code, message = wire.InvalidRequest, wire.InvalidRequest.Message()
	case !ok || b.table.ByName(coordinatorTopic(m.KeyType, q.Version)) == nil:
		node, host, port, code = -1, "", -1, wire.CoordinatorNotAvailable
	}
	if q.Version < 4 {
		if message = code.Message(); code == wire.None {
			message = "NONE" // as Kafka's is called, which has no message
		}
		out.ErrorCode, out.ErrorMessage, out.NodeID, out.Host, out.Port = code, text(message), node, host, port
		return out
	}
	for _, key := range m.CoordinatorKeys {
		if m.KeyType == shareCoordinator && !sharePartitionKey(key) {
			out.Coordinators = append(out.Coordinators, wire.FindCoordinatorResponseCoordinator{Key: key, NodeID: -1, Port: -1, ErrorCode: wire.InvalidRequest, ErrorMessage: &message})
			continue
		}
		out.Coordinators = append(out.Coordinators, wire.FindCoordinatorResponseCoordinator{
			Key: key, NodeID: node, Host: host, Port: port, ErrorCode: code, ErrorMessage: &message,
		})
	}
	return out
}
