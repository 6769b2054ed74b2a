package broker

import (
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/network/edge"
	"github.com/moldau/moldau/internal/node/coordinator"
)

// sharesCall is one of the share coordinator's methods.
type sharesCall[P any, R any] func(c *coordinator.Shares, req P, client coordinator.Client, version int16, done func(R))

// shared makes a handler of a share coordinator's method.
func shared[T any, P message[T], R response](call sharesCall[P, R]) handler {
	return on(func(b *Broker, q *edge.Request, m P, answer func(R)) {
		call(b.shares, m, client(q), q.Version, answer)
	})
}

// serveShareGroupDescribe describes share groups, with what the client may do to them if it asks.
func serveShareGroupDescribe(b *Broker, q *edge.Request, m *wire.ShareGroupDescribeRequest, answer func(*wire.ShareGroupDescribeResponse)) {
	operations := m.IncludeAuthorizedOperations
	b.groups.ShareGroupDescribe(m, client(q), q.Version, func(resp *wire.ShareGroupDescribeResponse) {
		for i := range resp.Groups {
			if operations && resp.Groups[i].ErrorCode == wire.None {
				resp.Groups[i].AuthorizedOperations = groupOperations
			}
		}
		answer(resp)
	})
}
