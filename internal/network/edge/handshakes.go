package edge

import (
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/clock"
)

// handshakes bounds the TLS handshakes under way, and how many of them compute. When all places are taken those who come
// wait for their turn. A handshake that has waited for its peer for yieldAfter gives way then, and after crowdAfter if its
// address has more than its share of the places and another one waits.
type handshakes struct {
	world clock.World

	mu      sync.Mutex
	active  map[*Conn]*place   // at most maxHandshakes
	places  map[netip.Addr]int // how many of them an address has
	waiting turns              // for a place
	timer   clock.Timer        // nil unless somebody waits for one

	// A hello takes its sender no work and us a millisecond, and hundreds of goroutines that compute would keep those of
	// requests waiting for a processor. So there are at most atOnce.
	atOnce    int
	computing int
	queued    turns // to compute
}

// place is what a handshake under way has.
type place struct {
	ip     netip.Addr
	waited time.Duration // for its peer, before now
	since  time.Duration // in monotonic time: when what it does now began
	busy   bool          // it computes, or waits to; otherwise it waits for its peer
}

// patience is how long it has waited for its peer.
func (p *place) patience(now time.Duration) time.Duration {
	if p.busy {
		return p.waited
	}
	return p.waited + now - p.since
}

func (h *handshakes) begin(w clock.World) {
	h.world, h.active, h.places = w, make(map[*Conn]*place), make(map[netip.Addr]int)
	h.atOnce = max(1, runtime.GOMAXPROCS(0)*3/4)
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
	w := h.waiting.wait(c, ip)
	if h.timer == nil || !h.crowded(ip) {
		h.yield()
	}
	h.mu.Unlock()
	patience := h.world.AfterFunc(handshakeTimeout, func() { h.refuse(w) })
	defer patience.Stop()
	return <-w.ready
}

// take gives a place away. The caller holds mu, as of free, admit, yield and what they ask.
func (h *handshakes) take(c *Conn, ip netip.Addr) {
	h.active[c] = &place{ip: ip, since: h.world.Mono()}
	h.places[ip]++
}

// free takes a place back, if the connection still has it.
func (h *handshakes) free(c *Conn) {
	p := h.active[c]
	if p == nil {
		return
	}
	delete(h.active, c)
	if h.places[p.ip]--; h.places[p.ip] == 0 {
		delete(h.places, p.ip)
	}
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
	for h.waiting.count > 0 && len(h.active) < maxHandshakes {
		w := h.waiting.next()
		h.take(w.conn, w.ip)
		w.ready <- true
	}
}

// refuse ends the wait of w for a place, if it still waits.
func (h *handshakes) refuse(w *waiter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiting.drop(w) {
		w.ready <- false
	}
}

// abandon ends the wait for a place of a connection that is being ended.
func (h *handshakes) abandon(c *Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.waiting.of[c.Host()] {
		if w.conn == c {
			h.waiting.drop(w)
			w.ready <- false
			return
		}
	}
}

// yield makes room for those who wait: handshakes whose peers had their time are cut.
func (h *handshakes) yield() {
	wanted, others := h.waiting.count, h.uncrowded()
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
		if waited := p.patience(now); p.busy || waited < after {
			soonest = min(soonest, max(after-waited, yieldPause))
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
	if h.waiting.count > 0 {
		h.timer = h.world.AfterFunc(soonest, h.retry)
	}
}

// crowded says that an address has more than its share of the places, one share being for an address that has none.
func (h *handshakes) crowded(ip netip.Addr) bool {
	return h.places[ip] > maxHandshakes/(len(h.places)+1)
}

// uncrowded is how many addresses wait that have not more than their share.
func (h *handshakes) uncrowded() (n int) {
	for _, ip := range h.waiting.order {
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
	if h.waiting.count > 0 {
		h.yield()
	}
}

// compute waits until a handshake may compute.
func (h *handshakes) compute(c *Conn) {
	h.mu.Lock()
	if p := h.active[c]; p != nil {
		now := h.world.Mono()
		p.busy, p.waited, p.since = true, p.patience(now), now
	}
	if h.computing < h.atOnce {
		h.computing++
		h.mu.Unlock()
		return
	}
	w := h.queued.wait(c, c.Host())
	h.mu.Unlock()
	<-w.ready
}

// pause ends what compute began: the next one may.
func (h *handshakes) pause(c *Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p := h.active[c]; p != nil {
		p.busy, p.since = false, h.world.Mono()
	}
	if w := h.queued.next(); w != nil {
		w.ready <- true
	} else {
		h.computing--
	}
}
