package broker

import (
	"net"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/network/edge"
	"github.com/moldau/moldau/internal/node/coordinator"
)

// groupCall is one of the coordinator's methods.
type groupCall[P any, R any] func(c *coordinator.Groups, req P, client coordinator.Client, version int16, done func(R))

// grouped makes a handler of a coordinator's method.
func grouped[T any, P message[T], R response](call groupCall[P, R]) handler {
	return on(func(b *Broker, q *edge.Request, m P, answer func(R)) {
		call(b.groups, m, client(q), q.Version, answer)
	})
}

func client(q *edge.Request) coordinator.Client {
	return coordinator.Client{ID: q.ClientID, Host: "/" + host(q)}
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

// serveOffsetFetch reads committed offsets; from version 10 on topics go by their id.
func serveOffsetFetch(b *Broker, q *edge.Request, m *wire.OffsetFetchRequest, answer func(*wire.OffsetFetchResponse)) {
	if q.Version < 10 {
		b.groups.OffsetFetch(m, client(q), q.Version, answer)
		return
	}
	img := b.image()
	unknown := make(map[string][]wire.OffsetFetchResponseTopics)
	for i := range m.Groups {
		g := &m.Groups[i]
		if g.Topics == nil {
			continue
		}
		kept := g.Topics[:0]
		for j := range g.Topics {
			t := &g.Topics[j]
			if topic, ok := img.TopicByID(t.TopicID); ok {
				t.Name = topic.Name
				kept = append(kept, *t)
				continue
			}
			unknown[g.GroupID] = append(unknown[g.GroupID], unknownOffsets(t))
		}
		g.Topics = kept
	}
	b.groups.OffsetFetch(m, client(q), q.Version, func(resp *wire.OffsetFetchResponse) {
		for i := range resp.Groups {
			g := &resp.Groups[i]
			for j := range g.Topics {
				if topic, ok := img.Topic(g.Topics[j].Name); ok {
					g.Topics[j].TopicID = topic.ID
				}
			}
			if g.ErrorCode == wire.None {
				g.Topics = append(g.Topics, unknown[g.GroupID]...)
			}
		}
		answer(resp)
	})
}

// unknownOffsets answers for a topic id that does not exist.
func unknownOffsets(t *wire.OffsetFetchRequestTopics) wire.OffsetFetchResponseTopics {
	out := wire.OffsetFetchResponseTopics{TopicID: t.TopicID}
	for _, index := range t.PartitionIndexes {
		out.Partitions = append(out.Partitions, wire.OffsetFetchResponsePartitions{
			PartitionIndex: index, CommittedOffset: -1, CommittedLeaderEpoch: -1, Metadata: new(string), ErrorCode: wire.UnknownTopicID,
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
		for _, p := range t.Partitions {
			if ok && p.PartitionIndex >= 0 && int(p.PartitionIndex) < len(topic.Partitions) {
				known.Partitions = append(known.Partitions, p)
				continue
			}
			bad.Partitions = append(bad.Partitions, wire.OffsetDeleteResponsePartition{PartitionIndex: p.PartitionIndex, ErrorCode: wire.UnknownTopicOrPartition})
		}
		if len(known.Partitions) > 0 {
			kept = append(kept, known)
		}
		if len(bad.Partitions) > 0 {
			refused = append(refused, bad)
		}
	}
	m.Topics = kept
	b.groups.OffsetDelete(m, client(q), q.Version, func(resp *wire.OffsetDeleteResponse) {
		if resp.ErrorCode == wire.None {
			resp.Topics = append(resp.Topics, refused...)
		}
		answer(resp)
	})
}

// serveDescribeGroups describes groups, with what the client may do to them if it asks.
func serveDescribeGroups(b *Broker, q *edge.Request, m *wire.DescribeGroupsRequest, answer func(*wire.DescribeGroupsResponse)) {
	operations := m.IncludeAuthorizedOperations
	b.groups.DescribeGroups(m, client(q), q.Version, func(resp *wire.DescribeGroupsResponse) {
		for i := range resp.Groups {
			if operations && resp.Groups[i].ErrorCode == wire.None {
				resp.Groups[i].AuthorizedOperations = groupOperations
			}
		}
		answer(resp)
	})
}
