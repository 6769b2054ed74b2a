package edge

import (
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/internal/clock"
)

// Mute is the part of a connection that keeps it quiet while its client has
// used more than its quota (KIP-219), and what is kept to count that use.
//
// A muted connection sends the answers it owes; it reads nothing more and hands
// over no request until its time is over. Neither the idle time nor shutdown
// waits for it: shutdown serves what was read at once. A client that hangs up
// meanwhile is missed at the server's next tick.
type Mute struct {
	// on and what follows it is guarded by the connection's mu.
	on    bool
	until time.Duration // in the world's monotonic time
	world clock.World
	timer clock.Timer

	busy atomic.Int64 // since when the goroutine works for the client, in monotonic time plus one; 0: it does not
	kept atomic.Value
}

// Mute is the part of the request's connection that keeps it quiet.
func (q *Request) Mute() *Mute { return &q.conn.mute }

// Throttle has the connection muted for d from the moment the request is
// answered. The answer itself is sent at once. It is called before the answer;
// of several calls the longest counts.
func (q *Request) Throttle(world clock.World, d time.Duration) {
	q.hush, q.world = max(q.hush, d), world
}

// Keep keeps something for the connection, always of the same type.
func (m *Mute) Keep(v any) { m.kept.Store(v) }

// Kept is what was last kept, nil before.
func (m *Mute) Kept() any { return m.kept.Load() }

// Begin notes that the connection's goroutine works for its client from now on.
func (m *Mute) Begin(now time.Duration) { m.busy.Store(int64(now) + 1) }

// Spend gives the time since Begin, once.
func (m *Mute) Spend(now time.Duration) time.Duration {
	since := time.Duration(m.busy.Swap(0))
	if since == 0 {
		return 0
	}
	return now - (since - 1)
}

// begin mutes the connection as its answered request q says, or for longer if it is muted already. c.mu is held.
func (m *Mute) begin(c *Conn, q *Request) {
	m.world = q.world
	until := m.world.Mono() + q.hush
	if m.on {
		m.until = max(m.until, until) // end sees that it is too early
		return
	}
	m.on, m.until = true, until
	m.timer = m.world.AfterFunc(q.hush, func() { m.end(c) })
}

// end lets the connection speak again when its time is over.
func (m *Mute) end(c *Conn) {
	c.mu.Lock()
	if !m.on {
		c.mu.Unlock()
		return
	}
	if left := m.until - m.world.Mono(); left > 0 {
		m.timer = m.world.AfterFunc(left, func() { m.end(c) })
		c.mu.Unlock()
		return
	}
	m.on, m.timer = false, nil
	if c.direct != nil {
		c.mu.Unlock()
		c.direct.pump()
		return
	}
	c.lastTick.Store(c.server.tick.Load()) // it could not show life
	c.wake()
	c.mu.Unlock()
}

// deserted says that the connection is muted, that its peer has hung up, and that it has left nothing to serve. What a peer
// over TLS has left cannot be seen from here: its end is noticed when the mute is over. c.mu is held, so that the reader of
// a goroutine that is asleep rests.
func (c *Conn) deserted() bool {
	return c.mute.on && c.asleep && c.pending == 0 && !c.in.whole && c.raw != nil && c.tls == nil && hungUpOn(c.raw)
}

// stop ends the muting of a connection that ends. c.mu is held.
func (m *Mute) stop() {
	if m.timer != nil {
		m.timer.Stop()
	}
	m.on, m.timer = false, nil
}
