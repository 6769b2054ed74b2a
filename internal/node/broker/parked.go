package broker

import (
	"sync"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/network/edge"
)

// parked is coordinated for requests that may wait for other members. When the node stops the client is told to look for another
// coordinator, so that nobody waits for it.
func parked[P any, R response](refuse func(P, wire.Code) R, call groupCall[P, R]) func(b *Broker, q *edge.Request, m P, answer func(R)) {
	return func(b *Broker, q *edge.Request, m P, answer func(R)) {
		w := &waiting[R]{answer: answer, asking: true}
		who, version := b.clientOf(q), q.Version
		q.OnCancel(func() { w.give(refuse(m, wire.NotCoordinator), true) })
		call(b.groups, m, who, version, func(r R) { w.give(r, false) })
		w.asked()
	}
}

// waiting sees to it that a request is answered once, and not cancelled while its bytes are read.
type waiting[R any] struct {
	answer func(R)

	mu       sync.Mutex // guards what follows
	asking   bool       // the request is being decided
	answered bool
	refusal  *R // what to answer once that is over
}

// give answers, unless somebody has.
func (w *waiting[R]) give(r R, cancelled bool) {
	w.mu.Lock()
	if cancelled && w.asking {
		w.refusal = &r
		w.mu.Unlock()
		return
	}
	late := w.answered
	w.answered = true
	w.mu.Unlock()
	if !late {
		w.answer(r)
	}
}

// asked ends the time in which the request's bytes are read.
func (w *waiting[R]) asked() {
	w.mu.Lock()
	w.asking = false
	r := w.refusal
	w.mu.Unlock()
	if r != nil {
		w.give(*r, false)
	}
}
