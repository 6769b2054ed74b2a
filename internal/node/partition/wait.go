package partition

import (
	"sync"
	"sync/atomic"
)

// Waiter is one parked fetch: it waits until enough bytes have become visible
// on any of the partitions it was registered with, and then calls its function
// once.
type Waiter struct {
	missing atomic.Int64
	fired   atomic.Bool
	fire    func()
}

// NewWaiter makes a waiter that calls fire when missing more bytes have become visible.
func NewWaiter(missing int64, fire func()) *Waiter {
	w := &Waiter{fire: fire}
	w.missing.Store(missing)
	return w
}

// Fire calls the waiter's function unless it has been called.
func (w *Waiter) Fire() {
	if !w.fired.Swap(true) {
		w.fire()
	}
}

// seen tells the waiter that bytes more are visible.
func (w *Waiter) seen(bytes int64) {
	if w.missing.Add(-bytes) <= 0 {
		w.Fire()
	}
}

// waitList is the waiters of one partition.
type waitList struct {
	any atomic.Bool
	mu  sync.Mutex // guards waiters
	// waiters is unordered; its length is bounded by the connections, each of
	// which parks at most one fetch, times the partitions of that fetch.
	waiters []*Waiter
}

func (l *waitList) add(w *Waiter) {
	l.mu.Lock()
	l.waiters = append(l.waiters, w)
	l.any.Store(true)
	l.mu.Unlock()
}

func (l *waitList) remove(w *Waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, x := range l.waiters {
		if x == w {
			last := len(l.waiters) - 1
			l.waiters[i] = l.waiters[last]
			l.waiters[last] = nil
			l.waiters = l.waiters[:last]
			break
		}
	}
	l.any.Store(len(l.waiters) > 0)
}

// notify tells all waiters of bytes newly visible. The waiters that this
// completes are called after the lock is released.
func (l *waitList) notify(bytes int64) {
	if !l.any.Load() {
		return
	}
	var few [8]*Waiter
	l.mu.Lock()
	due := append(few[:0], l.waiters...)
	l.mu.Unlock()
	for _, w := range due {
		w.seen(bytes)
	}
}
