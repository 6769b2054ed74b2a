package broker

import (
	"net"
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/acl"
	"github.com/moldau/moldau/internal/network/edge"
	"github.com/moldau/moldau/internal/node/coordinator"
)

// groupCall is one of the coordinator's methods.
type groupCall[P any, R any] func(c *coordinator.Groups, req P, client coordinator.Client, version int16, done func(R))

func client(q *edge.Request) coordinator.Client {
	return coordinator.Client{ID: q.ClientID, Host: "/" + host(q)}
}

// clientOf is client with what it may know of.
func (b rights) clientOf(q *edge.Request) coordinator.Client {
	c := client(q)
	if b.authorizer != nil {
		c.Visible = func(topic string) bool { return b.visible(q, acl.Describe, acl.Topic, topic) }
	}
	return c
}

// host is the client's address without its port.
func host(q *edge.Request) string {
	addr := q.Conn().RemoteAddr()
	if addr == nil {
		return ""
	}
	host, _, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	return host
}

// serveOffsetFetch reads committed offsets of groups and topics that the peer may describe; from version 10 on topics go by their id.
func serveOffsetFetch(b *Broker, q *edge.Request, m *wire.OffsetFetchRequest, answer func(*wire.OffsetFetchResponse)) {
	if q.Version < 8 {
		offsetFetchOfOne(b, q, m, answer)
		return
	}
	img := b.image()
	var set [][]wire.OffsetFetchResponseTopics // what is answered here, for each group
	var refused []wire.OffsetFetchResponseGroup
	groups := m.Groups[:0]
	for _, g := range m.Groups {
		if !b.allowed(q, acl.Describe, acl.Group, g.GroupID) {
			refused = append(refused, wire.OffsetFetchResponseGroup{GroupID: g.GroupID, ErrorCode: wire.GroupAuthorizationFailed})
			continue
		}
		kept := g.Topics[:0]
		var own []wire.OffsetFetchResponseTopics
		for j := range g.Topics {
			t := &g.Topics[j]
			if q.Version >= 10 {
				topic, ok := img.TopicByID(t.TopicID)
				if !ok {
					own = append(own, noOffsets(t, wire.UnknownTopicID))
					continue
				}
				t.Name = topic.Name
			}
			if !b.allowed(q, acl.Describe, acl.Topic, t.Name) {
				own = append(own, noOffsets(t, wire.TopicAuthorizationFailed))
				continue
			}
			kept = append(kept, *t)
		}
		g.Topics = kept
		groups, set = append(groups, g), append(set, own)
	}
	m.Groups = groups
	b.groups.OffsetFetch(m, client(q), q.Version, func(resp *wire.OffsetFetchResponse) {
		for i := range resp.Groups {
			g := &resp.Groups[i]
			if b.authorizer != nil { // of those who asked for all
				g.Topics = slices.DeleteFunc(g.Topics, func(t wire.OffsetFetchResponseTopics) bool { return !b.visible(q, acl.Describe, acl.Topic, t.Name) })
			}
			for j := range g.Topics {
				if topic, ok := img.Topic(g.Topics[j].Name); ok && q.Version >= 10 {
					g.Topics[j].TopicID = topic.ID
				}
			}
			if g.ErrorCode == wire.None {
				g.Topics = append(g.Topics, set[i]...)
			}
		}
		resp.Groups = append(resp.Groups, refused...)
		answer(resp)
	})
}

// offsetFetchOfOne reads offsets of one group, as clients before version 8 ask for them.
func offsetFetchOfOne(b *Broker, q *edge.Request, m *wire.OffsetFetchRequest, answer func(*wire.OffsetFetchResponse)) {
	if b.authorizer == nil {
		b.groups.OffsetFetch(m, client(q), q.Version, answer)
		return
	}
	name := func(t *wire.OffsetFetchRequestTopic) string { return t.Name }
	code := wire.TopicAuthorizationFailed
	var may, mayNot []wire.OffsetFetchRequestTopic
	switch {
	case !b.allowed(q, acl.Describe, acl.Group, m.GroupID) && q.Version >= 2:
		answer(&wire.OffsetFetchResponse{ErrorCode: wire.GroupAuthorizationFailed})
		return
	case !b.visible(q, acl.Describe, acl.Group, m.GroupID):
		mayNot, code = m.Topics, wire.GroupAuthorizationFailed
	case m.Topics != nil:
		may, mayNot = part(b.rights, q, acl.Describe, acl.Topic, m.Topics, name)
	}
	finish := func(resp *wire.OffsetFetchResponse) {
		if m.Topics == nil {
			resp.Topics = slices.DeleteFunc(resp.Topics, func(t wire.OffsetFetchResponseTopic) bool { return !b.visible(q, acl.Describe, acl.Topic, t.Name) })
		}
		for i := range mayNot {
			t := wire.OffsetFetchResponseTopic{Name: mayNot[i].Name}
			for _, index := range mayNot[i].PartitionIndexes {
				t.Partitions = append(t.Partitions, wire.OffsetFetchResponsePartition{
					PartitionIndex: index, CommittedOffset: -1, CommittedLeaderEpoch: -1, Metadata: new(string), ErrorCode: code,
				})
			}
			resp.Topics = append(resp.Topics, t)
		}
		answer(resp)
	}
	if code == wire.GroupAuthorizationFailed {
		finish(&wire.OffsetFetchResponse{})
		return
	}
	rest := *m
	rest.Topics = may
	b.groups.OffsetFetch(&rest, client(q), q.Version, finish)
}

// noOffsets answers for a topic that there is not, or that the peer may not know of.
func noOffsets(t *wire.OffsetFetchRequestTopics, code wire.Code) wire.OffsetFetchResponseTopics {
	out := wire.OffsetFetchResponseTopics{Name: t.Name, TopicID: t.TopicID}
	for _, index := range t.PartitionIndexes {
		out.Partitions = append(out.Partitions, wire.OffsetFetchResponsePartitions{
			PartitionIndex: index, CommittedOffset: -1, CommittedLeaderEpoch: -1, Metadata: new(string), ErrorCode: code,
		})
	}
	return out
}

// serveOffsetDelete deletes committed offsets of partitions that exist.
func serveOffsetDelete(b *Broker, q *edge.Request, m *wire.OffsetDeleteRequest, answer func(*wire.OffsetDeleteResponse)) {
	img := b.image()
	var refused []wire.OffsetDeleteResponseTopic
	kept := m.Topics[:0:0]
	for i := range m.Topics {
		t := &m.Topics[i]
		known := wire.OffsetDeleteRequestTopic{Name: t.Name}
		bad := wire.OffsetDeleteResponseTopic{Name: t.Name}
		topic, ok := img.Topic(t.Name)
		code := wire.UnknownTopicOrPartition
		if !b.allowed(q, acl.Read, acl.Topic, t.Name) {
			ok, code = false, wire.TopicAuthorizationFailed
		}
		for _, p := range t.Partitions {
			if ok && p.PartitionIndex >= 0 && int(p.PartitionIndex) < len(topic.Partitions) {
				known.Partitions = append(known.Partitions, p)
				continue
			}
			bad.Partitions = append(bad.Partitions, wire.OffsetDeleteResponsePartition{PartitionIndex: p.PartitionIndex, ErrorCode: code})
		}
		if len(known.Partitions) > 0 {
			kept = append(kept, known)
		}
		if len(bad.Partitions) > 0 || !ok {
			refused = mergeDeleted(refused, bad)
		}
	}
	m.Topics = kept
	b.groups.OffsetDelete(m, client(q), q.Version, func(resp *wire.OffsetDeleteResponse) {
		if resp.ErrorCode == wire.None && len(refused) > 0 { // what is refused comes first, as in Kafka
			for i := range resp.Topics {
				refused = mergeDeleted(refused, resp.Topics[i])
			}
			resp.Topics = refused
		}
		answer(resp)
	})
}

// mergeDeleted adds a topic to an answer, to its other partitions if there are any.
func mergeDeleted(list []wire.OffsetDeleteResponseTopic, t wire.OffsetDeleteResponseTopic) []wire.OffsetDeleteResponseTopic {
	for i := range list {
		if list[i].Name == t.Name {
			list[i].Partitions = append(list[i].Partitions, t.Partitions...)
			return list
		}
	}
	return append(list, t)
}

// serveDescribeGroups describes groups that the peer may describe, with what it may do to them if it asks.
func serveDescribeGroups(b *Broker, q *edge.Request, m *wire.DescribeGroupsRequest, answer func(*wire.DescribeGroupsResponse)) {
	operations := m.IncludeAuthorizedOperations
	may, mayNot := b.describable(q, m.Groups)
	m.Groups = may
	b.groups.DescribeGroups(m, client(q), q.Version, func(resp *wire.DescribeGroupsResponse) {
		for i := range resp.Groups {
			if g := &resp.Groups[i]; operations && g.ErrorCode == wire.None {
				g.AuthorizedOperations = b.groupBits(q, g.GroupID)
			}
		}
		for _, id := range mayNot {
			g := wire.DescribeGroupsResponseDescribedGroup{}
			g.SetDefaults()
			g.GroupID, g.ErrorCode = id, wire.GroupAuthorizationFailed
			resp.Groups = append(resp.Groups, g)
		}
		answer(resp)
	})
}
