package broker

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/acl"
	"github.com/moldau/moldau/internal/machine/metadata"
	"github.com/moldau/moldau/internal/network/edge"
)

// serveDescribeCluster lists the brokers (KIP-700).
func serveDescribeCluster(b *Broker, q *edge.Request, m *wire.DescribeClusterRequest) *wire.DescribeClusterResponse {
	out := &wire.DescribeClusterResponse{}
	out.SetDefaults()
	if b.side(q) == wire.OnController && !b.onCluster(q, acl.Alter) { // there it takes more than on a broker
		out.ErrorCode, out.ErrorMessage = wire.ClusterAuthorizationFailed, text(clusterRefusal)
		return out
	}
	out.ClusterID, out.ControllerID, out.EndpointType = b.clusterID, b.nodeID, m.EndpointType
	if code, message := b.endpointRefusal(q, m.EndpointType); code != wire.None {
		out.SetDefaults()
		out.ErrorCode, out.ErrorMessage = code, &message
		if q.Version == 0 {
			out.ErrorCode = wire.InvalidRequest // it knows no kinds of endpoints
		}
		return out
	}
	if m.EndpointType == controllerEndpoints {
		if m.IncludeClusterAuthorizedOperations {
			out.ClusterAuthorizedOperations = b.clusterBits(q)
		}
		for i := range b.controllers {
			if l := &b.controllers[i]; l.Name == q.Conn().Listener() {
				out.Brokers = append(out.Brokers, wire.DescribeClusterResponseDescribeClusterBroker{BrokerID: b.nodeID, Host: l.Host, Port: int32(l.Port)})
			}
		}
		return out
	}
	for _, br := range b.image().Brokers() {
		host, port, ok := endpoint(br, q.Conn().Listener())
		if !ok || br.Fenced && !m.IncludeFencedBrokers {
			continue
		}
		out.Brokers = append(out.Brokers, wire.DescribeClusterResponseDescribeClusterBroker{
			BrokerID: br.BrokerID, Host: host, Port: port, Rack: br.Rack, IsFenced: br.Fenced,
		})
	}
	if m.IncludeClusterAuthorizedOperations {
		out.ClusterAuthorizedOperations = b.clusterBits(q)
	}
	return out
}

// Kinds of endpoints that DescribeCluster asks for (KIP-919).
const (
	brokerEndpoints     = 1
	controllerEndpoints = 2
)

// endpointRefusal tells a client that it came by a listener of the other role.
func (b *Broker) endpointRefusal(q *edge.Request, kind int8) (wire.Code, string) {
	onController := b.side(q) == wire.OnController
	switch {
	case kind != brokerEndpoints && kind != controllerEndpoints:
		return wire.UnsupportedEndpointType, fmt.Sprintf("Unsupported endpoint type %d", kind)
	case kind == controllerEndpoints && !onController:
		return wire.MismatchedEndpointType, "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER"
	case kind == brokerEndpoints && onController:
		return wire.MismatchedEndpointType, "The request was sent to an endpoint of type CONTROLLER, but we wanted an endpoint of type BROKER"
	default:
		return wire.None, ""
	}
}

// serveDescribeTopicPartitions pages through topics' partitions (KIP-966).
//
// Differs from Kafka: the empty name in DescribeTopicPartitions is an invalid one; without a cursor Kafka takes it for the
// cursor's and fails the whole request.
func serveDescribeTopicPartitions(b *Broker, q *edge.Request, m *wire.DescribeTopicPartitionsRequest) *wire.DescribeTopicPartitionsResponse {
	img := b.image()
	out := &wire.DescribeTopicPartitionsResponse{}
	out.SetDefaults()
	names := make([]string, 0, len(m.Topics))
	for i := range m.Topics {
		names = append(names, m.Topics[i].Name)
	}
	if len(m.Topics) == 0 {
		for _, t := range img.SortedTopics() {
			names = append(names, t.Name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	first := int32(0)
	if c := m.Cursor; c != nil && (c.PartitionIndex < 0 || len(m.Topics) > 0 && !slices.Contains(names, c.TopicName)) {
		for i := range m.Topics { // as they were named
			t := missingTopicPartitions(m.Topics[i].Name)
			t.ErrorCode = wire.InvalidRequest
			out.Topics = append(out.Topics, t)
		}
		return out
	}
	if m.Cursor != nil {
		for len(names) > 0 && names[0] < m.Cursor.TopicName {
			names = names[1:]
		}
		if len(names) > 0 && names[0] == m.Cursor.TopicName {
			first = m.Cursor.PartitionIndex
		}
	}
	var refused []wire.DescribeTopicPartitionsResponseTopic
	if b.authorizer != nil {
		names, refused = b.describableTopics(q, names, len(m.Topics) == 0)
	}
	limit := b.config().GetLong("max.request.partition.size.limit")
	left := int(max(min(int64(m.ResponsePartitionLimit), limit), 1))
	for _, name := range names {
		if left <= 0 {
			out.NextCursor = &wire.DescribeTopicPartitionsResponseCursor{TopicName: name, PartitionIndex: first}
			break
		}
		t, ok := img.Topic(name)
		if !ok {
			missing := missingTopicPartitions(name)
			missing.TopicAuthorizedOperations = b.operations(q, topicOperations, acl.Topic, name)
			out.Topics = append(out.Topics, missing)
			first = 0
			continue
		}
		topic, next := b.topicPartitions(q, t, first, left)
		out.Topics = append(out.Topics, topic)
		left -= len(topic.Partitions)
		first = 0
		if next >= 0 {
			out.NextCursor = &wire.DescribeTopicPartitionsResponseCursor{TopicName: name, PartitionIndex: next}
			break
		}
	}
	out.Topics = append(out.Topics, refused...)
	return out
}

// describableTopics takes out the topics that the peer may not describe; who asks for all is not told of them.
func (b rights) describableTopics(q *edge.Request, names []string, all bool) (may []string, refused []wire.DescribeTopicPartitionsResponseTopic) {
	for _, name := range names {
		switch {
		case all && b.visible(q, acl.Describe, acl.Topic, name), !all && b.allowed(q, acl.Describe, acl.Topic, name):
			may = append(may, name)
		case !all:
			t := missingTopicPartitions(name)
			t.ErrorCode = wire.TopicAuthorizationFailed
			refused = append(refused, t)
		}
	}
	return may, refused
}

func missingTopicPartitions(name string) wire.DescribeTopicPartitionsResponseTopic {
	t := wire.DescribeTopicPartitionsResponseTopic{}
	t.SetDefaults()
	t.Name, t.ErrorCode, t.TopicAuthorizedOperations = &name, wire.UnknownTopicOrPartition, noOperations
	if !validTopicName(name) {
		t.ErrorCode = wire.InvalidTopic
	}
	return t
}

// topicPartitions describes at most limit partitions from first on; next is
// where to go on, or -1.
func (b *Broker) topicPartitions(q *edge.Request, t *metadata.Topic, first int32, limit int) (out wire.DescribeTopicPartitionsResponseTopic, next int32) {
	out.SetDefaults()
	name := strings.Clone(t.Name)
	out.Name, out.TopicID, out.IsInternal = &name, t.ID, internalTopic(name)
	out.TopicAuthorizedOperations = b.operations(q, topicOperations, acl.Topic, name)
	for i := first; int(i) < len(t.Partitions); i++ {
		if len(out.Partitions) >= limit {
			return out, i
		}
		p := t.Partitions[i]
		o := wire.DescribeTopicPartitionsResponsePartition{}
		o.SetDefaults()
		o.PartitionIndex, o.LeaderID, o.LeaderEpoch = i, p.Leader, p.LeaderEpoch
		o.ReplicaNodes, o.ISRNodes = p.Replicas, p.ISR
		o.EligibleLeaderReplicas, o.LastKnownELR = nonNil(p.ELR), nonNil(p.LastKnownELR)
		o.ErrorCode = b.partitionCode(name, i, p)
		out.Partitions = append(out.Partitions, o)
	}
	return out, -1
}

func nonNil(ids []int32) []int32 {
	if ids == nil {
		return []int32{}
	}
	return ids
}
