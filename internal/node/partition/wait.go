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

// News gathers which of a fetch session's partitions have changed since they were last looked at, so that a fetch
// looks at those alone. The zero value is ready.
type News struct {
	mu     sync.Mutex // guards what follows and the noted of each Watch
	noted  []*Watch   // in the order in which they changed
	waiter *Waiter    // of the fetch that waits for more
}

// Watch is the standing interest of a fetch session in one of its partitions.
type Watch struct {
	// Of is whom the watch belongs to.
	Of any

	news  *News // nil while nothing is watched
	at    int   // its place in the partition's list
	noted bool  // it is in news.noted
}

// Note puts the watch among the news, and tells the fetch that waits of bytes more.
func (w *Watch) Note(bytes int64) {
	if waiter := w.note(); waiter != nil {
		waiter.seen(bytes)
	}
}

// note puts the watch among the news and gives the waiter that is to be told.
func (w *Watch) note() *Waiter {
	n := w.news
	n.mu.Lock()
	defer n.mu.Unlock()
	if !w.noted {
		w.noted = true
		n.noted = append(n.noted, w)
	}
	return n.waiter
}

// Add puts a watch among the news that has not been noted by its partition: it is to be looked at again.
func (n *News) Add(w *Watch) {
	n.mu.Lock()
	if !w.noted {
		w.noted = true
		n.noted = append(n.noted, w)
	}
	n.mu.Unlock()
}

// Take appends what is noted to list, and begins anew.
func (n *News) Take(list []*Watch) []*Watch {
	n.mu.Lock()
	for _, w := range n.noted {
		w.noted = false
	}
	list = append(list, n.noted...)
	clear(n.noted)
	n.noted = n.noted[:0]
	n.mu.Unlock()
	return list
}

// Await has w told of all that is noted from now on, and of what has been already. nil ends it.
func (n *News) Await(w *Waiter) {
	n.mu.Lock()
	n.waiter = w
	due := w != nil && len(n.noted) > 0
	n.mu.Unlock()
	if due {
		w.Fire()
	}
}

// waitList is the waiters of one partition, and the sessions that watch it.
type waitList struct {
	any atomic.Bool
	mu  sync.Mutex // guards what follows
	// waiters is unordered; its length is bounded by the connections, each of
	// which parks at most one fetch, times the partitions of that fetch.
	waiters []*Waiter
	// watches is unordered; its length is bounded by the fetch sessions.
	watches []*Watch
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
	l.any.Store(len(l.waiters)+len(l.watches) > 0)
}

func (l *waitList) watch(w *Watch, n *News) {
	l.mu.Lock()
	w.news, w.at = n, len(l.watches)
	l.watches = append(l.watches, w)
	l.any.Store(true)
	l.mu.Unlock()
}

func (l *waitList) unwatch(w *Watch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.news == nil {
		return
	}
	last := len(l.watches) - 1
	l.watches[w.at] = l.watches[last]
	l.watches[w.at].at = w.at
	l.watches[last] = nil
	l.watches = l.watches[:last]
	w.news = nil
	l.any.Store(len(l.waiters)+len(l.watches) > 0)
}

// notify tells all waiters of bytes newly visible. The waiters that this
// completes are called after the lock is released.
func (l *waitList) notify(bytes int64) {
	if !l.any.Load() {
		return
	}
	var few [8]*Waiter
	for _, w := range l.due(few[:0]) {
		w.seen(bytes)
	}
}

// release lets all waiters go.
func (l *waitList) release() {
	for _, w := range l.due(nil) {
		w.Fire()
	}
}

// due appends the waiters to list, and those of the sessions that watch, which have it noted.
func (l *waitList) due(list []*Waiter) []*Waiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	list = append(list, l.waiters...)
	for _, w := range l.watches {
		if waiter := w.note(); waiter != nil {
			list = append(list, waiter)
		}
	}
	return list
}
