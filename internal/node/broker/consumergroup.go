package broker

import (
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/network/edge"
)

// serveConsumerGroupDescribe describes consumer groups that the peer may describe, with what it may do to them if it asks. Of a group
// with topics that it may not know of it learns nothing.
func serveConsumerGroupDescribe(b *Broker, q *edge.Request, m *wire.ConsumerGroupDescribeRequest, answer func(*wire.ConsumerGroupDescribeResponse)) {
	operations := m.IncludeAuthorizedOperations
	may, mayNot := b.describable(q, m.GroupIDs)
	m.GroupIDs = may
	b.groups.ConsumerGroupDescribe(m, client(q), q.Version, func(resp *wire.ConsumerGroupDescribeResponse) {
		for i := range resp.Groups {
			g := &resp.Groups[i]
			if operations && g.ErrorCode == wire.None {
				g.AuthorizedOperations = b.groupBits(q, g.GroupID)
			}
			if b.authorizer != nil && !b.mayDescribe(q, consumerTopics(g)) {
				id := g.GroupID
				*g = wire.ConsumerGroupDescribeResponseDescribedGroup{}
				g.SetDefaults()
				g.GroupID, g.ErrorCode, g.ErrorMessage = id, wire.TopicAuthorizationFailed, text(notDescribable)
			}
		}
		for _, id := range mayNot {
			g := wire.ConsumerGroupDescribeResponseDescribedGroup{}
			g.SetDefaults()
			g.GroupID, g.ErrorCode = id, wire.GroupAuthorizationFailed
			resp.Groups = append(resp.Groups, g)
		}
		answer(resp)
	})
}

// consumerTopics are the topics that a description names, each once.
func consumerTopics(g *wire.ConsumerGroupDescribeResponseDescribedGroup) []string {
	var names []string
	for i := range g.Members {
		for _, a := range []*wire.ConsumerGroupDescribeResponseAssignment{&g.Members[i].Assignment, &g.Members[i].TargetAssignment} {
			for k := range a.TopicPartitions {
				names = append(names, a.TopicPartitions[k].TopicName)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
