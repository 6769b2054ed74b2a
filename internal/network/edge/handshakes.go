package edge

import (
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/clock"
)

// handshakes bounds the TLS handshakes under way. When all places are taken, the addresses of those who wait take turns, an
// address that was not among them first; and of an address whoever came last is served next: under a flood of peers that
// do not finish, waiting in line would mean waiting for all of them. A handshake that has held its place for yieldAfter
// gives way, and for crowdAfter if its address has more than its share of the places and another one waits.
type handshakes struct {
	world clock.World

	mu      sync.Mutex
	active  map[*Conn]place          // at most maxHandshakes
	places  map[netip.Addr]int       // how many of them an address has
	waiting map[netip.Addr][]*waiter // of an address, in the order they came
	count   int                      // of waiting; bounded by the number of guests
	turns   []netip.Addr             // the keys of waiting; the last is next
	timer   clock.Timer              // nil unless somebody waits

	// work has room for as many handshakes as may compute at the same time. A hello takes its sender no work and us a
	// millisecond, and hundreds of goroutines that compute would keep those of requests waiting for a processor.
	work chan struct{}
}

type place struct {
	ip    netip.Addr
	since time.Duration // in monotonic time
}

type waiter struct {
	conn  *Conn
	ip    netip.Addr
	ready chan bool
}

func (h *handshakes) begin(w clock.World) {
	h.world, h.active, h.places, h.waiting = w, make(map[*Conn]place), make(map[netip.Addr]int), make(map[netip.Addr][]*waiter)
	h.work = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)*3/4))
}

// enter takes a place and reports that it has one; it waits for handshakeTimeout at most.
func (h *handshakes) enter(c *Conn) bool {
	ip := c.Host()
	h.mu.Lock()
	if len(h.active) < maxHandshakes {
		h.take(c, ip)
		h.mu.Unlock()
		return true
	}
	if c.broken.Load() { // abandon came before it could find the waiter
		h.mu.Unlock()
		return false
	}
	w := &waiter{c, ip, make(chan bool, 1)}
	h.wait(w)
	if h.timer == nil || !h.crowded(ip) {
		h.yield()
	}
	h.mu.Unlock()
	patience := h.world.AfterFunc(handshakeTimeout, func() { h.refuse(w) })
	defer patience.Stop()
	return <-w.ready
}

// take gives a place away. The caller holds mu, as of all that follow.
func (h *handshakes) take(c *Conn, ip netip.Addr) {
	h.active[c] = place{ip, h.world.Mono()}
	h.places[ip]++
}

// free takes a place back, if the connection still has it.
func (h *handshakes) free(c *Conn) {
	p, ok := h.active[c]
	if !ok {
		return
	}
	delete(h.active, c)
	if h.places[p.ip]--; h.places[p.ip] == 0 {
		delete(h.places, p.ip)
	}
}

// wait puts w into the line.
func (h *handshakes) wait(w *waiter) {
	if len(h.waiting[w.ip]) == 0 {
		h.turns = append(h.turns, w.ip)
	}
	h.waiting[w.ip] = append(h.waiting[w.ip], w)
	h.count++
}

// next takes out who is served next: of the address whose turn it is, who came last.
func (h *handshakes) next() *waiter {
	end := len(h.turns) - 1
	ip := h.turns[end]
	copy(h.turns[1:], h.turns[:end])
	h.turns[0] = ip // its next turn is after all others'
	of := h.waiting[ip]
	w := of[len(of)-1]
	h.drop(w)
	return w
}

// drop takes w out of the line, and reports that it was in it.
func (h *handshakes) drop(w *waiter) bool {
	of := h.waiting[w.ip]
	for i := len(of) - 1; i >= 0; i-- {
		if of[i] != w {
			continue
		}
		h.count--
		copy(of[i:], of[i+1:])
		of[len(of)-1] = nil
		if of = of[:len(of)-1]; len(of) > 0 {
			h.waiting[w.ip] = of
			return true
		}
		delete(h.waiting, w.ip)
		for i, ip := range h.turns {
			if ip == w.ip {
				h.turns = append(h.turns[:i], h.turns[i+1:]...)
				break
			}
		}
		return true
	}
	return false
}

// leave gives a place back.
func (h *handshakes) leave(c *Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.free(c)
	h.admit()
}

// admit gives free places away.
func (h *handshakes) admit() {
	for h.count > 0 && len(h.active) < maxHandshakes {
		w := h.next()
		h.take(w.conn, w.ip)
		w.ready <- true
	}
}

// refuse ends the wait of w, if it still waits.
func (h *handshakes) refuse(w *waiter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.drop(w) {
		w.ready <- false
	}
}

// abandon ends the wait of a connection that is being ended.
func (h *handshakes) abandon(c *Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.waiting[c.Host()] {
		if w.conn == c {
			h.drop(w)
			w.ready <- false
			return
		}
	}
}

// yield makes room for those who wait: handshakes that had their time are cut.
func (h *handshakes) yield() {
	wanted, others := h.count, h.uncrowded()
	now := h.world.Mono()
	soonest := yieldAfter
	for c, p := range h.active {
		if wanted == 0 {
			break
		}
		after, crowd := yieldAfter, others > 0 && h.crowded(p.ip)
		if crowd {
			after = crowdAfter
		}
		held := now - p.since
		if held < after {
			soonest = min(soonest, after-held)
			continue
		}
		c.below.yielded.Store(true)
		c.below.hangUp() // the handshake fails, and leaves
		h.free(c)
		wanted--
		if crowd {
			others--
		}
	}
	h.admit()
	if h.timer != nil {
		h.timer.Stop()
		h.timer = nil
	}
	if h.count > 0 {
		h.timer = h.world.AfterFunc(soonest, h.retry)
	}
}

// crowded says that an address has more than its share of the places, one share being for an address that has none.
func (h *handshakes) crowded(ip netip.Addr) bool {
	return h.places[ip] > maxHandshakes/(len(h.places)+1)
}

// uncrowded is how many addresses wait that have not more than their share.
func (h *handshakes) uncrowded() (n int) {
	for _, ip := range h.turns {
		if !h.crowded(ip) {
			n++
		}
	}
	return n
}

// retry looks again, as long as somebody waits.
func (h *handshakes) retry() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.timer = nil
	if h.count > 0 {
		h.yield()
	}
}
