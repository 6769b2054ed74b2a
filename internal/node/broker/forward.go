package broker

import (
	"fmt"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/network/edge"
)

// forward makes a handler that puts the request to the controller and sends
// its answer once the records it led to are committed and applied. If the
// quorum cannot decide, the connection is closed: the client asks again.
func forward[T any, P message[T], R response]() handler {
	return on(func(b *Broker, q *edge.Request, m P, answer func(R)) {
		key := q.Key
		b.quorum.Propose(m, func(reply any, err error) {
			resp, ok := reply.(R)
			if err != nil || !ok {
				q.Hangup(fmt.Errorf("%s: the controller did not decide: %w", wire.APIName(key), err))
				return
			}
			answer(resp)
		})
	})
}
