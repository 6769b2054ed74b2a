package broker

import (
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/network/edge"
	"github.com/moldau/moldau/internal/node/coordinator"
)

// sharesCall is one of the share coordinator's methods.
type sharesCall[P any, R any] func(c *coordinator.Shares, req P, client coordinator.Client, version int16, done func(R))

// shared asks the share coordinator.
func shared[P any, R response](call sharesCall[P, R]) func(b *Broker, q *edge.Request, m P, answer func(R)) {
	return func(b *Broker, q *edge.Request, m P, answer func(R)) {
		call(b.shares, m, client(q), q.Version, answer)
	}
}

// serveShareGroupDescribe describes share groups that the peer may describe, with what it may do to them if it asks. Of a group
// with topics that it may not know of it learns nothing.
func serveShareGroupDescribe(b *Broker, q *edge.Request, m *wire.ShareGroupDescribeRequest, answer func(*wire.ShareGroupDescribeResponse)) {
	operations := m.IncludeAuthorizedOperations
	may, mayNot := b.describable(q, m.GroupIDs)
	m.GroupIDs = may
	b.groups.ShareGroupDescribe(m, client(q), q.Version, func(resp *wire.ShareGroupDescribeResponse) {
		for i := range resp.Groups {
			g := &resp.Groups[i]
			if operations && g.ErrorCode == wire.None {
				g.AuthorizedOperations = b.groupBits(q, g.GroupID)
			}
			if b.authorizer != nil && !b.mayDescribe(q, shareTopics(g)) {
				id := g.GroupID
				*g = wire.ShareGroupDescribeResponseDescribedGroup{}
				g.SetDefaults()
				g.GroupID, g.ErrorCode, g.ErrorMessage = id, wire.TopicAuthorizationFailed, text(notDescribable)
			}
		}
		for _, id := range mayNot {
			g := wire.ShareGroupDescribeResponseDescribedGroup{}
			g.SetDefaults()
			g.GroupID, g.ErrorCode = id, wire.GroupAuthorizationFailed
			resp.Groups = append(resp.Groups, g)
		}
		answer(resp)
	})
}

// shareTopics are the topics that a description names, each once.
func shareTopics(g *wire.ShareGroupDescribeResponseDescribedGroup) []string {
	var names []string
	for i := range g.Members {
		for k := range g.Members[i].Assignment.TopicPartitions {
			names = append(names, g.Members[i].Assignment.TopicPartitions[k].TopicName)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
