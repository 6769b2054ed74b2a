package edge

import (
	"io"
	"time"
)

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
		writing, rests, deserted := c.writing, c.pending == 0 && !c.mute.on, c.deserted()
		c.mu.Unlock()
		switch {
		case deserted:
			c.kill(io.EOF)
		case writing && now-c.wroteTick.Load() > stall:
			c.kill(refuse(WriteTooSlow, "the client has taken nothing of its replies for %v", maxWriteStall))
		case rests && s.options.IdleTimeout > 0 && now-c.lastTick.Load() > idle:
			c.kill(refuse(IdleTooLong, "no whole request for connections.max.idle.ms (%v)", s.options.IdleTimeout))
		}
	}
	for _, c := range s.guests.overdue(s.ticks(s.options.GuestTime)) {
		c.kill(refuse(NotAuthenticated, "the client has not authenticated within %v", s.options.GuestTime))
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

// relieve ends one connection when frames wait for memory and none becomes
// free: the one whose unfinished frame has made no progress for the longest
// time, if it has the budget's spare, or if unfinished frames hold much. When
// handlers hold the memory it waits: they finish.
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
	if victim := s.victim(now); victim != nil {
		victim.kill(refuse(ReadTooSlow, "its unfinished request held memory that others waited for: "+
			"the requests being read reached queued.max.request.bytes (%d)", s.budget.limit))
	}
}

// victim chooses for relieve; nil means that waiting will do.
func (s *Server) victim(now uint32) *Conn {
	if c := s.budget.finisher.Load(); c != nil && now-c.lastTick.Load() >= maxStarvation {
		return c
	}
	var stalest *Conn
	var unfinished int64
	age := uint32(maxStarvation)
	for c := range s.conns {
		held := c.held.Load()
		unfinished += held
		if silent := now - c.lastTick.Load(); held > 0 && !c.queued.Load() && silent >= age {
			stalest, age = c, silent
		}
	}
	if unfinished < s.budget.limit/2 {
		return nil
	}
	return stalest
}
