package broker

import (
	"testing"

	"github.com/moldau/moldau/internal/clock"
)

// fill has a session remember so many partitions more.
func (s *fetchSession) fill(from, n int) {
	for i := range n {
		s.put(&fetchPartition{topic: "t", index: int32(from + i)})
	}
}

// TestSessionsRememberSoMuch: all sessions together have a bound, however few there are.
func TestSessionsRememberSoMuch(t *testing.T) {
	hand := clock.NewHand(1)
	c := newSessionCache(hand, 100)
	var held []*fetchSession
	for range maxCachedPartitions / maxSessionPartitions {
		s := c.create(false, maxSessionPartitions)
		if s == nil {
			t.Fatal("there is room")
		}
		s.fill(0, maxSessionPartitions)
		c.release(s)
		held = append(held, s)
	}
	if c.create(false, 1) != nil {
		t.Fatal("there is no room")
	}
	hand.Advance(sessionEvictAfter)
	s := c.create(false, 1)
	if s == nil || len(c.sessions) != len(held) {
		t.Fatal("the one that was unused longest makes room", len(c.sessions))
	}
	s.fill(0, 1)
	c.release(s)
	// One that grows beyond the bound is ended.
	small := c.create(false, 1)
	small.fill(0, 1)
	c.release(small)
	held = append(held, small)
	again, _ := c.acquire(s.id, 1, false)
	again.fill(1, maxSessionPartitions)
	c.release(again)
	if _, code := c.acquire(s.id, 2, false); code == 0 || c.partitions != maxCachedPartitions-maxSessionPartitions+1 {
		t.Fatal(code, c.partitions)
	}
	for _, s := range held {
		c.remove(s.id)
	}
	if c.partitions != 0 || len(c.sessions) != 0 {
		t.Fatal(c.partitions, len(c.sessions))
	}
}
