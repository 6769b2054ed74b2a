package edge

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

// Bounds of those who have not authenticated on a listener that demands it.
const (
	// defaultGuestTime is how long they may take; how often that is looked at is the server's tick.
	defaultGuestTime = 30 * time.Second
	// maxGuests bounds their number, and maxGuestBytes the unfinished frames of all of them: beyond either, somebody is sent
	// away, see pick. They are never more than half of the files that the process may have open.
	maxGuests     = 20_000
	maxGuestBytes = 96 << 20
	// guestFloor is what a guest may hold without being counted: a connection that waits has this in any case.
	guestFloor = 1 << 10
	// guestRecord is how much room TLS may make for its records without being counted: an ordinary handshake needs that.
	guestRecord = 6 << 10
	// maxPicked bounds among how many of the oldest one is looked for whose address has most.
	maxPicked = 64
)

// guests are the connections whose peers have not proved yet who they are: those of listeners with FirstFrameBytes until
// they have authenticated, others over TLS until their handshake is over. Their memory is not part of the budget, so that
// they cannot keep others waiting.
type guests struct {
	tick  func() uint32
	most  int // of them
	bytes int // of what they hold

	mu      sync.Mutex // guards what follows and every guest; taken under the server's lock, never the other way
	held    int        // bytes of unfinished frames
	all     list.List  // of *guest, in the order they came
	holding list.List  // those of them that hold something, in the order they began to
	shares  map[netip.Addr]*share
}

// share is what the guests of one address have.
type share struct{ count, held int }

// guest is a connection's place among the guests.
type guest struct {
	conn          *Conn
	ip            netip.Addr
	share         *share
	since         uint32
	held          int
	place, holder *list.Element // nil when it is not in the list
}

func (g *guests) begin(tick func() uint32, most, bytes int) {
	g.tick, g.most, g.bytes, g.shares = tick, most, bytes, make(map[netip.Addr]*share)
}

// enter takes a connection in, if there are guests on its listener.
func (g *guests) enter(c *Conn) {
	if _, ok := c.server.options.FirstFrameBytes[c.listener]; !ok && c.tls == nil {
		return
	}
	e := &guest{conn: c, ip: c.Host(), since: g.tick()}
	g.mu.Lock()
	if e.share = g.shares[e.ip]; e.share == nil {
		e.share = new(share)
		g.shares[e.ip] = e.share
	}
	e.share.count++
	e.place = g.all.PushBack(e)
	c.guest.Store(e)
	var out *Conn
	if g.all.Len() > g.most {
		// It leaves the list now, not when its goroutine has ended: the next one makes another one leave.
		x := g.pick(&g.all, func(s *share) bool { return s.count*len(g.shares) > g.all.Len() })
		g.unlink(x)
		out = x.conn
	}
	g.mu.Unlock()
	if out != nil {
		out.kill(refuse(NotAuthenticated, "%d connections have not authenticated: the one that took longest, of an address with many, made room", g.most))
	}
}

// pick chooses who is sent away: who came first of the addresses that have more than their share, if one of them is among
// the oldest, otherwise the oldest. So a flood from one address costs that address. mu is held.
func (g *guests) pick(from *list.List, over func(*share) bool) *guest {
	at := from.Front()
	for range maxPicked {
		if at == nil {
			break
		}
		if x := at.Value.(*guest); over(x.share) {
			return x
		}
		at = at.Next()
	}
	return from.Front().Value.(*guest)
}

// leave ends a connection's time as a guest: it has authenticated, or is gone.
func (g *guests) leave(c *Conn) {
	if e := c.guest.Swap(nil); e != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.unlink(e)
	}
}

// unlink takes a guest out of the lists. mu is held.
func (g *guests) unlink(e *guest) {
	if e.place == nil {
		return
	}
	g.note(e, 0)
	g.all.Remove(e.place)
	e.place = nil
	if e.share.count--; e.share.count == 0 {
		delete(g.shares, e.ip)
	}
}

// note counts what a guest holds. mu is held.
func (g *guests) note(e *guest, n int) {
	g.held += n - e.held
	e.share.held += n - e.held
	e.held = n
	switch {
	case n > 0 && e.holder == nil:
		e.holder = g.holding.PushBack(e)
	case n == 0 && e.holder != nil:
		g.holding.Remove(e.holder)
		e.holder = nil
	}
}

// hold notes what an unfinished frame holds, 0 for nothing. If all together hold too much, some go.
func (g *guests) hold(e *guest, n int) {
	if n <= guestFloor {
		n = 0
	}
	g.mu.Lock()
	var leaving []*Conn
	if e.place != nil {
		g.note(e, n)
		for g.held > g.bytes {
			x := g.pick(&g.holding, func(s *share) bool { return s.held*len(g.shares) > g.held })
			g.unlink(x)
			leaving = append(leaving, x.conn)
		}
	}
	g.mu.Unlock()
	for _, c := range leaving {
		c.kill(refuse(NotAuthenticated, "unfinished requests of connections that have not authenticated hold %d bytes: the one that took longest, "+
			"of an address with many, made room", g.bytes))
	}
}

// overdue gives those who have taken longer than so many ticks.
func (g *guests) overdue(ticks uint32) []*Conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	var late []*Conn
	now := g.tick()
	for at := g.all.Front(); at != nil; at = at.Next() {
		x := at.Value.(*guest)
		if now-x.since <= ticks {
			break
		}
		late = append(late, x.conn)
	}
	return late
}
