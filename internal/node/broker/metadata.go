package broker

import (
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/acl"
	"github.com/moldau/moldau/internal/machine/metadata"
	"github.com/moldau/moldau/internal/network/edge"
)

// maxAutoCreate bounds the topics that one Metadata request may create.
const maxAutoCreate = 1000

// noOperations is the bitfield's value when operations were not asked for.
const noOperations int32 = -2147483648

// Operations that anybody may do while no authorizer is set, as Kafka lists
// them (bits by AclOperation code): on topics READ to DESCRIBE_CONFIGS, on the
// cluster CREATE to IDEMPOTENT_WRITE, on groups READ, DELETE, DESCRIBE and their settings.
const (
	topicOperations   int32 = 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<10 | 1<<11
	clusterOperations int32 = 1<<5 | 1<<7 | 1<<8 | 1<<9 | 1<<10 | 1<<11 | 1<<12
	groupOperations   int32 = 1<<3 | 1<<6 | 1<<8 | 1<<10 | 1<<11
)

// serveMetadata lists brokers and topics, and creates topics on the way if
// client and broker allow.
//
// Differs from Kafka: a topic that Metadata creates is in the answer; Kafka answers with an error first and lets the client
// come back.
func serveMetadata(b *Broker, q *edge.Request, m *wire.MetadataRequest, answer func(*wire.MetadataResponse)) {
	v := viewOf(b, q, m)
	missing := b.creatable(q, m, v)
	if len(missing) == 0 {
		answer(b.metadata(q, m, v))
		return
	}
	create := &wire.CreateTopicsRequest{}
	create.SetDefaults()
	for _, name := range missing {
		create.Topics = append(create.Topics, autoTopic(b, name))
	}
	b.quorum.Propose(b.tolls.Load().leave(q).meter(create), func(any, error) { answer(b.metadata(q, m, v)) })
}

// autoTopic is the request that creates a topic somebody used without creating it.
func autoTopic(b *Broker, name string) wire.CreateTopicsRequestCreatableTopic {
	t := wire.CreateTopicsRequestCreatableTopic{}
	t.SetDefaults()
	t.Name, t.NumPartitions, t.ReplicationFactor = name, -1, -1
	if internalTopic(name) {
		return b.internalTopicRequest(name)
	}
	return t
}

// metadataView is what the peer may not see of what it asks for; nil when it may see all. It is asked for once, before
// anything is created, and never whether a topic exists.
type metadataView struct {
	// denied are the names that it may not describe, or not create.
	denied map[string]bool
}

// hides says whether a topic is kept from the peer.
func (v *metadataView) hides(name string) bool { return v != nil && v.denied[name] }

// viewOf asks for the right to describe each topic that the request names.
func viewOf(b *Broker, q *edge.Request, m *wire.MetadataRequest) *metadataView {
	if b.authorizer == nil {
		return nil
	}
	v := &metadataView{denied: make(map[string]bool)}
	img := b.image()
	for i := range m.Topics {
		var name string
		if id := m.Topics[i].TopicID; !id.IsZero() {
			topic, ok := img.TopicByID(id)
			if !ok {
				continue // ids are no secret
			}
			name = topic.Name
		} else if m.Topics[i].Name != nil {
			name = *m.Topics[i].Name
		}
		if _, asked := v.denied[name]; !asked {
			v.denied[name] = !b.allowed(q, acl.Describe, acl.Topic, name)
		}
	}
	return v
}

// creatable lists the names that do not exist and may be created.
func (b *Broker) creatable(q *edge.Request, m *wire.MetadataRequest, v *metadataView) []string {
	version := q.Version
	if m.Topics == nil || version >= 4 && !m.AllowAutoTopicCreation || !b.config().GetBool("auto.create.topics.enable") {
		return nil
	}
	img := b.image()
	var names []string
	for i := range m.Topics {
		name := m.Topics[i].Name
		if name == nil || !m.Topics[i].TopicID.IsZero() || !validTopicName(*name) {
			continue
		}
		if _, ok := img.Topic(*name); !ok && !v.hides(*name) && !slices.Contains(names, *name) && len(names) < maxAutoCreate {
			names = append(names, *name)
		}
	}
	if v == nil || len(names) == 0 {
		return names
	}
	everywhere := b.everywhere(q, acl.Create)
	return slices.DeleteFunc(names, func(name string) bool {
		v.denied[name] = !b.mayCreate(q, everywhere, name)
		return v.denied[name]
	})
}

// metadata answers from the present image.
func (b *Broker) metadata(q *edge.Request, m *wire.MetadataRequest, v *metadataView) *wire.MetadataResponse {
	img, version := b.image(), q.Version
	out := &wire.MetadataResponse{}
	out.SetDefaults()
	out.ClusterID, out.ControllerID = &b.clusterID, b.nodeID
	listener := q.Conn().Listener()
	for _, br := range img.Brokers() {
		if host, port, ok := endpoint(br, listener); ok && !br.Fenced {
			out.Brokers = append(out.Brokers, wire.MetadataResponseBroker{NodeID: br.BrokerID, Host: host, Port: port, Rack: br.Rack})
		}
	}
	if m.IncludeClusterAuthorizedOperations {
		out.ClusterAuthorizedOperations = b.clusterBits(q)
	}
	if m.Topics == nil || version == 0 && len(m.Topics) == 0 {
		for _, t := range img.SortedTopics() {
			if b.visible(q, acl.Describe, acl.Topic, t.Name) {
				out.Topics = append(out.Topics, b.metadataTopic(q, t, m))
			}
		}
		return out
	}
	byID := slices.ContainsFunc(m.Topics, func(t wire.MetadataRequestTopic) bool { return !t.TopicID.IsZero() })
	answered := make(map[topicRef]bool, len(m.Topics))
	for i := range m.Topics {
		asked := &m.Topics[i]
		ref := topicRef{id: asked.TopicID}
		if !byID && asked.Name != nil {
			ref.name = *asked.Name
		}
		if answered[ref] || byID && version >= 12 && asked.TopicID.IsZero() {
			continue // who asks by id is not answered by name, and nobody twice
		}
		answered[ref] = true
		if byID && version < 12 {
			out.Topics = append(out.Topics, missingTopic(asked, wire.InvalidRequest))
			continue
		}
		out.Topics = append(out.Topics, b.askedTopic(q, asked, m, v))
	}
	return out
}

// topicRef is how a request names a topic.
type topicRef struct {
	name string
	id   wire.UUID
}

// askedTopic answers for one topic that was asked for by name or id.
//
// Differs from Kafka: a topic in a Metadata request with neither a name nor an id is answered as unknown; Kafka fails the
// whole request.
func (b *Broker) askedTopic(q *edge.Request, asked *wire.MetadataRequestTopic, m *wire.MetadataRequest, v *metadataView) wire.MetadataResponseTopic {
	img := b.image()
	var t *metadata.Topic
	var ok bool
	missing := wire.UnknownTopicOrPartition
	switch {
	case !asked.TopicID.IsZero():
		t, ok = img.TopicByID(asked.TopicID)
		missing = wire.UnknownTopicID
	case asked.Name != nil:
		t, ok = img.Topic(*asked.Name)
		if !validTopicName(*asked.Name) {
			missing = wire.InvalidTopic
		}
	}
	switch {
	case ok && v.hides(t.Name) && !asked.TopicID.IsZero():
		return missingTopic(&wire.MetadataRequestTopic{TopicID: asked.TopicID}, wire.TopicAuthorizationFailed)
	case asked.TopicID.IsZero() && asked.Name != nil && v.hides(*asked.Name):
		return missingTopic(&wire.MetadataRequestTopic{Name: asked.Name}, wire.TopicAuthorizationFailed)
	case ok:
		return b.metadataTopic(q, t, m)
	}
	if !asked.TopicID.IsZero() {
		return missingTopic(&wire.MetadataRequestTopic{TopicID: asked.TopicID}, missing)
	}
	out := missingTopic(asked, missing)
	if m.IncludeTopicAuthorizedOperations && asked.Name != nil {
		out.TopicAuthorizedOperations = b.operations(q, topicOperations, acl.Topic, *asked.Name)
	}
	return out
}

// missingTopic is the answer for a topic that there is not.
func missingTopic(asked *wire.MetadataRequestTopic, code wire.Code) wire.MetadataResponseTopic {
	out := wire.MetadataResponseTopic{}
	out.SetDefaults()
	out.ErrorCode, out.Name, out.TopicID = code, asked.Name, asked.TopicID
	out.TopicAuthorizedOperations = noOperations
	return out
}

func (b *Broker) metadataTopic(q *edge.Request, t *metadata.Topic, m *wire.MetadataRequest) wire.MetadataResponseTopic {
	out := wire.MetadataResponseTopic{}
	out.SetDefaults()
	name := t.Name
	out.Name, out.TopicID, out.IsInternal = &name, t.ID, internalTopic(name)
	out.TopicAuthorizedOperations = noOperations
	if m.IncludeTopicAuthorizedOperations {
		out.TopicAuthorizedOperations = b.operations(q, topicOperations, acl.Topic, name)
	}
	out.Partitions = make([]wire.MetadataResponsePartition, len(t.Partitions))
	for i, p := range t.Partitions {
		o := &out.Partitions[i]
		o.SetDefaults()
		o.PartitionIndex, o.LeaderID, o.LeaderEpoch = int32(i), p.Leader, p.LeaderEpoch
		o.ReplicaNodes, o.ISRNodes = p.Replicas, p.ISR
		if o.ErrorCode = b.partitionCode(name, int32(i), p); o.ErrorCode != wire.None {
			o.OfflineReplicas = []int32{b.nodeID}
		}
	}
	return out
}

// partitionCode tells whether a partition can be used.
func (b *Broker) partitionCode(topic string, index int32, p *metadata.Partition) wire.Code {
	if p.Leader == metadata.NoLeader {
		return wire.LeaderNotAvailable
	}
	if p.Leader == b.nodeID && b.table.ByName(topic).Partition(index) == nil {
		return wire.LeaderNotAvailable
	}
	return wire.None
}

// endpoint is a broker's address on the listener that the client came by.
func endpoint(br *metadata.Broker, listener string) (host string, port int32, ok bool) {
	for i := range br.EndPoints {
		if e := &br.EndPoints[i]; e.Name == listener {
			return e.Host, int32(e.Port), true
		}
	}
	if len(br.EndPoints) > 0 && listener == "" {
		return br.EndPoints[0].Host, int32(br.EndPoints[0].Port), true
	}
	return "", -1, false
}

// validTopicName is Kafka's rule: 1 to 249 of [a-zA-Z0-9._-], not "." or "..".
func validTopicName(name string) bool {
	if name == "" || len(name) > 249 || name == "." || name == ".." {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
	})
}
