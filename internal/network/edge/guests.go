package edge

import (
	"sync"
	"time"
)

// Bounds of those who have not authenticated on a listener that demands it.
const (
	// defaultGuestTime is how long they may take; how often that is looked at is the server's tick.
	defaultGuestTime = 30 * time.Second
	// maxGuests bounds their number, and maxGuestBytes the unfinished frames of all of them: beyond either, whoever has been
	// one longest is sent away.
	maxGuests     = 20_000
	maxGuestBytes = 96 << 20
	// guestFloor is what a guest may hold without being counted: a connection that waits has this in any case.
	guestFloor = 1 << 10
)

// guests are the connections of listeners with FirstFrameBytes whose peers have not authenticated yet. Their memory is
// not part of the budget, so that they cannot keep others waiting.
type guests struct {
	tick func() uint32

	mu          sync.Mutex // guards what follows and every guest; taken under the server's lock, never the other way
	held        int        // bytes of unfinished frames
	first, last *guest     // in the order they came
	count       int
}

// guest is a connection's place among the guests.
type guest struct {
	conn       *Conn
	prev, next *guest
	since      uint32
	held       int
	in         bool
}

// enter takes a connection in, if its listener has guests.
func (g *guests) enter(c *Conn) {
	if _, ok := c.server.options.FirstFrameBytes[c.listener]; !ok {
		return
	}
	g.mu.Lock()
	e := &guest{conn: c, prev: g.last, since: g.tick(), in: true}
	if g.last != nil {
		g.last.next = e
	} else {
		g.first = e
	}
	g.last = e
	g.count++
	c.guest.Store(e)
	var oldest *Conn
	if g.count > maxGuests {
		// It leaves the list now, not when its goroutine has ended: the next one makes another one leave.
		oldest = g.first.conn
		g.unlink(g.first)
	}
	g.mu.Unlock()
	if oldest != nil {
		oldest.kill(refuse(NotAuthenticated, "%d connections have not authenticated: the one that took longest made room", maxGuests))
	}
}

// leave ends a connection's time as a guest: it has authenticated, or is gone.
func (g *guests) leave(c *Conn) {
	e := c.guest.Swap(nil)
	if e == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unlink(e)
	g.held -= e.held
	e.held = 0
}

// unlink takes a guest out of the list. mu is held.
func (g *guests) unlink(e *guest) {
	if !e.in {
		return
	}
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		g.first = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		g.last = e.prev
	}
	e.prev, e.next, e.in = nil, nil, false
	g.count--
}

// hold notes what an unfinished frame holds, 0 for nothing. If all together hold too much, those who came first go.
func (g *guests) hold(e *guest, n int) {
	if n <= guestFloor {
		n = 0
	}
	g.mu.Lock()
	var leaving []*Conn
	if e.in {
		g.held += n - e.held
		e.held = n
		for x := g.first; x != nil && g.held > maxGuestBytes; {
			next := x.next
			if x.held > 0 {
				g.held -= x.held
				x.held = 0
				g.unlink(x)
				leaving = append(leaving, x.conn)
			}
			x = next
		}
	}
	g.mu.Unlock()
	for _, c := range leaving {
		c.kill(refuse(NotAuthenticated, "unfinished requests of connections that have not authenticated hold %d bytes: the one that took longest made room", maxGuestBytes))
	}
}

// overdue gives those who have taken longer than so many ticks.
func (g *guests) overdue(ticks uint32) []*Conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	var late []*Conn
	now := g.tick()
	for x := g.first; x != nil && now-x.since > ticks; x = x.next {
		late = append(late, x.conn)
	}
	return late
}
