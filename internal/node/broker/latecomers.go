package broker

import (
	"sync"
	"sync/atomic"

	"github.com/moldau/moldau/internal/machine/txn"
	"github.com/moldau/moldau/internal/network/edge"
)

// latecomers refuses requests of producers that keep their epoch from transaction to transaction where they come on a
// connection that the producer has given up: see txn.Paths.
//
// Differs from Kafka: requests of an earlier transaction that come late on a connection that the producer has given up are
// refused. Kafka takes them into the transaction that is open by then (KAFKA-17754).
type latecomers struct {
	mu      sync.Mutex
	paths   txn.Paths // guarded by mu
	refused atomic.Uint64
}

// late says whether a request is of an earlier time, in which case it is answered with an error that a client repeats.
func (l *latecomers) late(q *edge.Request, id int64, epoch int16, use txn.Use) bool {
	l.mu.Lock()
	late := l.paths.Late(txn.Producer{ID: id, Epoch: epoch}, use, q.Conn().ID())
	l.mu.Unlock()
	if late {
		l.refused.Add(1)
	}
	return late
}
