package edge_test

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/network/edge"
)

// TestMutedConnectionIsNotRead: the answer comes at once, and nothing else is served until the time is over.
func TestMutedConnectionIsNotRead(t *testing.T) {
	hand := &slow{}
	served := make(chan int32, 8)
	b := start(t, func(q *edge.Request) {
		served <- q.CorrelationID
		if q.CorrelationID == 1 {
			q.Throttle(hand, time.Minute)
		}
		echo(q)
	}, func(o *edge.Options) { o.IdleTimeout = time.Second })
	p := b.dial()
	p.send(frame(fetch, fetchVersion, 1, "a"))
	p.expect(1, "a")
	p.send(frame(fetch, fetchVersion, 2, "b"))
	b.world.pass(50) // the idle time passes many times
	hand.advance(time.Minute - time.Millisecond)
	if n := len(served); n != 1 {
		t.Fatalf("%d requests were served", n)
	}
	hand.advance(time.Millisecond)
	p.expect(2, "b")
}

// slow is a world whose time the test drives while connections are served in the real one.
type slow struct {
	clock.Real
	mu     sync.Mutex
	now    time.Duration
	timers map[*slowTimer]time.Duration // when they are due
}

type slowTimer struct {
	world *slow
	f     func()
}

func (w *slow) Mono() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *slow) AfterFunc(d time.Duration, f func()) clock.Timer {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timers == nil {
		w.timers = map[*slowTimer]time.Duration{}
	}
	x := &slowTimer{w, f}
	w.timers[x] = w.now + d
	return x
}

func (x *slowTimer) Stop() bool {
	x.world.mu.Lock()
	defer x.world.mu.Unlock()
	_, on := x.world.timers[x]
	delete(x.world.timers, x)
	return on
}

func (x *slowTimer) Reset(d time.Duration) bool {
	on := x.Stop()
	x.world.mu.Lock()
	defer x.world.mu.Unlock()
	x.world.timers[x] = x.world.now + d
	return on
}

// advance lets time pass and fires what is due then.
func (w *slow) advance(d time.Duration) {
	w.mu.Lock()
	w.now += d
	var due []func()
	for x, at := range w.timers {
		if at <= w.now {
			due = append(due, x.f)
			delete(w.timers, x)
		}
	}
	w.mu.Unlock()
	for _, f := range due {
		f()
	}
}

// TestLongestMuteCounts: pipelined requests that are all throttled keep the connection quiet until the last delay is over.
func TestLongestMuteCounts(t *testing.T) {
	hand := &slow{}
	b := start(t, func(q *edge.Request) {
		if q.CorrelationID < 3 {
			q.Throttle(hand, time.Duration(q.CorrelationID)*time.Minute)
		}
		echo(q)
	})
	p := b.dial()
	p.send(append(frame(produce, produceVersion, 1, "a"), frame(produce, produceVersion, 2, "b")...))
	p.expect(1, "a")
	hand.advance(time.Minute)
	p.expect(2, "b")
	p.send(frame(fetch, fetchVersion, 3, "c"))
	hand.advance(2*time.Minute - time.Millisecond)
	if n := b.Stats().Connections; n != 1 {
		t.Fatal(n)
	}
	hand.advance(time.Millisecond)
	p.expect(3, "c")
}

// TestLongestThrottleOfARequestCounts: a request that exceeds two quotas is muted for the longer delay, whichever came first.
func TestLongestThrottleOfARequestCounts(t *testing.T) {
	hand := clock.NewHand(1)
	served := 0
	c := edge.NewDirect(serve(func(q *edge.Request) {
		served++
		q.Throttle(hand, time.Minute)
		q.Throttle(hand, time.Second)
		echo(q)
	}), "direct")
	c.Send(frame(fetch, fetchVersion, 1, "a")[4:], func([]byte, error) {})
	c.Send(frame(fetch, fetchVersion, 2, "b")[4:], func([]byte, error) {})
	hand.Advance(time.Minute - time.Millisecond)
	hand.Run()
	if served != 1 {
		t.Fatal(served)
	}
	hand.Advance(time.Millisecond)
	hand.Run()
	if served != 2 {
		t.Fatal(served)
	}
	c.Close(nil)
}

// TestMutedClientThatHangsUp is missed long before its mute is over, unless it has left something to serve.
func TestMutedClientThatHangsUp(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("whether the peer has hung up cannot be asked without reading")
	}
	hand := &slow{}
	served := make(chan string, 8)
	b := start(t, func(q *edge.Request) {
		served <- string(q.Body)
		q.Throttle(hand, time.Hour)
		echo(q)
	})
	leaves, leavesMore := b.dial(), b.dial()
	for _, p := range []*peer{leaves, leavesMore} {
		p.send(frame(fetch, fetchVersion, 1, "a"))
		p.expect(1, "a")
		<-served
	}
	leavesMore.send(frame(fetch, fetchVersion, 2, "b"))
	leaves.Close()
	leavesMore.Close()
	until(t, "the one that left nothing is missed", func() bool {
		b.world.pass(1)
		return b.Stats().Connections == 1
	})
	b.world.pass(5)
	if n := b.Stats().Connections; n != 1 || len(served) != 0 {
		t.Fatal(n, len(served))
	}
	hand.advance(time.Hour)
	if body := <-served; body != "b" {
		t.Fatal(body)
	}
}

// TestMuteDoesNotHoldUpShutdown: what a muted connection has sent is answered, and then it is closed.
func TestMuteDoesNotHoldUpShutdown(t *testing.T) {
	hand := &slow{}
	b := start(t, func(q *edge.Request) {
		q.Throttle(hand, time.Hour)
		echo(q)
	})
	p := b.dial()
	p.send(frame(fetch, fetchVersion, 1, "a"))
	p.expect(1, "a")
	if err := b.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	p.expectEnd()
}

// TestMuteOfADirectConnection works on the hand-driven clock alone.
func TestMuteOfADirectConnection(t *testing.T) {
	hand := clock.NewHand(1)
	served := 0
	c := edge.NewDirect(serve(func(q *edge.Request) {
		served++
		q.Throttle(hand, time.Second)
		echo(q)
	}), "direct")
	answered := 0
	done := func([]byte, error) { answered++ }
	c.Send(frame(fetch, fetchVersion, 1, "a")[4:], done)
	c.Send(frame(fetch, fetchVersion, 2, "b")[4:], done)
	if served != 1 || answered != 1 {
		t.Fatal(served, answered)
	}
	hand.Advance(time.Second)
	hand.Run()
	if served != 2 || answered != 2 {
		t.Fatal(served, answered)
	}
	c.Close(nil)
}
