package edge

import (
	"sync"
	"time"

	"github.com/moldau/moldau/internal/clock"
)

// handshakes bounds the TLS handshakes under way. When all places are taken, whoever came last is served next: under
// a flood of peers that do not finish, waiting in line would mean waiting for all of them. A handshake that has held its
// place for yieldAfter gives way.
type handshakes struct {
	world clock.World

	mu      sync.Mutex
	active  map[*Conn]time.Duration // since when, in monotonic time; at most maxHandshakes
	waiting []*waiter               // bounded by the number of connections
	timer   clock.Timer             // nil unless somebody waits
}

type waiter struct {
	conn  *Conn
	ready chan bool
}

// enter takes a place and reports that it has one; it waits for handshakeTimeout at most.
func (h *handshakes) enter(c *Conn) bool {
	h.mu.Lock()
	if h.active == nil {
		h.active = make(map[*Conn]time.Duration)
	}
	if len(h.active) < maxHandshakes {
		h.active[c] = h.world.Mono()
		h.mu.Unlock()
		return true
	}
	if c.broken.Load() { // abandon came before it could find the waiter
		h.mu.Unlock()
		return false
	}
	w := &waiter{c, make(chan bool, 1)}
	h.waiting = append(h.waiting, w)
	h.yield()
	h.mu.Unlock()
	patience := h.world.AfterFunc(handshakeTimeout, func() { h.giveUp(w) })
	defer patience.Stop()
	return <-w.ready
}

// leave gives the place to the one who came last.
func (h *handshakes) leave(c *Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.active, c)
	h.admit()
}

// admit gives free places away. The caller holds mu.
func (h *handshakes) admit() {
	for len(h.waiting) > 0 && len(h.active) < maxHandshakes {
		last := len(h.waiting) - 1
		w := h.waiting[last]
		h.waiting[last] = nil
		h.waiting = h.waiting[:last]
		h.active[w.conn] = h.world.Mono()
		w.ready <- true
	}
}

// giveUp takes w out of the queue, if it is still there.
func (h *handshakes) giveUp(w *waiter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.waiting {
		if h.waiting[i] == w {
			h.waiting = append(h.waiting[:i], h.waiting[i+1:]...)
			w.ready <- false
			return
		}
	}
}

// abandon ends the wait of a connection that is being ended.
func (h *handshakes) abandon(c *Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, w := range h.waiting {
		if w.conn == c {
			h.waiting = append(h.waiting[:i], h.waiting[i+1:]...)
			w.ready <- false
			return
		}
	}
}

// yield makes room for those who wait: handshakes that had their time are cut. The caller holds mu.
func (h *handshakes) yield() {
	wanted := len(h.waiting)
	now := h.world.Mono()
	soonest := yieldAfter
	for c, since := range h.active {
		if wanted == 0 {
			break
		}
		if held := now - since; held < yieldAfter {
			soonest = min(soonest, yieldAfter-held)
			continue
		}
		c.below.yielded.Store(true)
		c.below.hangUp() // the handshake fails, and leaves
		delete(h.active, c)
		wanted--
	}
	h.admit()
	if len(h.waiting) > 0 && h.timer == nil {
		h.timer = h.world.AfterFunc(soonest, h.retry)
	}
}

// retry looks again, as long as somebody waits.
func (h *handshakes) retry() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.timer = nil
	if len(h.waiting) > 0 {
		h.yield()
	}
}
