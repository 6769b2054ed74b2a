package broker

import (
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/network/edge"
)

// serveConsumerGroupDescribe describes consumer groups, with what the client may do to them if it asks.
func serveConsumerGroupDescribe(b *Broker, q *edge.Request, m *wire.ConsumerGroupDescribeRequest, answer func(*wire.ConsumerGroupDescribeResponse)) {
	operations := m.IncludeAuthorizedOperations
	b.groups.ConsumerGroupDescribe(m, client(q), q.Version, func(resp *wire.ConsumerGroupDescribeResponse) {
		for i := range resp.Groups {
			if operations && resp.Groups[i].ErrorCode == wire.None {
				resp.Groups[i].AuthorizedOperations = groupOperations
			}
		}
		answer(resp)
	})
}
