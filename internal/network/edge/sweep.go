package edge

import "time"

// starvation watches a budget that is exhausted.
type starvation struct {
	ticks int   // sweeps for which somebody has waited
	head  *Conn // who was first then
}

// maxStarvation is how many sweeps the first in the budget's queue waits before
// a stalled frame is given up for it. (At most 10 s with the longest tick.)
const maxStarvation = 2

// sweep looks after all connections once a tick. It is the only timer: requests
// note the tick they happen in, which costs them no look at the clock.
func (s *Server) sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	now := s.tick.Add(1)
	idle, stall := s.ticks(s.options.IdleTimeout), s.ticks(maxWriteStall)
	for c := range s.conns {
		c.mu.Lock()
		writing, pending := c.writing, c.pending
		c.mu.Unlock()
		switch {
		case writing && now-c.wroteTick.Load() > stall:
			c.kill(refuse(WriteTooSlow, "the client has taken nothing of its replies for %v", maxWriteStall))
		case pending == 0 && s.options.IdleTimeout > 0 && now-c.lastTick.Load() > idle:
			c.kill(refuse(IdleTooLong, "no whole request for connections.max.idle.ms (%v)", s.options.IdleTimeout))
		}
	}
	s.relieve(now)
	s.sweeper.Reset(s.tickEvery)
}

// ticks is how many ticks d has, rounded up.
func (s *Server) ticks(d time.Duration) uint32 {
	if d <= 0 {
		return 0
	}
	return uint32((d + s.tickEvery - 1) / s.tickEvery)
}

// relieve ends the connection whose unfinished frame has made no progress for
// the longest time when frames wait for memory and none becomes free. Without
// it, unfinished frames could hold each other's memory for good.
func (s *Server) relieve(now uint32) {
	head := s.budget.first()
	if head == nil || head != s.starved.head {
		s.starved = starvation{head: head}
		return
	}
	if s.starved.ticks++; s.starved.ticks < maxStarvation {
		return
	}
	s.starved.ticks = 0
	victim, age := head, uint32(0)
	for c := range s.conns {
		if held := c.held.Load(); held > 0 && !c.queued.Load() && now-c.lastTick.Load() >= max(age, maxStarvation) {
			victim, age = c, now-c.lastTick.Load()
		}
	}
	victim.kill(refuse(ReadTooSlow, "its unfinished request held memory that others waited for: the requests being read reached queued.max.request.bytes (%d)",
		s.budget.limit))
}
