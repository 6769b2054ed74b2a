package clock_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/clock"
)

func TestHandFiresTimersInOrder(t *testing.T) {
	h := clock.NewHand(1)
	var log []string
	note := func(name string) func() {
		return func() { log = append(log, fmt.Sprintf("%s@%v", name, h.Mono())) }
	}
	h.AfterFunc(2*time.Second, note("b"))
	h.AfterFunc(time.Second, func() {
		note("a")()
		h.Go("work", note("work"))
		h.AfterFunc(500*time.Millisecond, note("nested"))
	})
	h.AfterFunc(2*time.Second, note("c"))
	stopped := h.AfterFunc(time.Second, note("never"))
	if !stopped.Stop() || stopped.Stop() {
		t.Fatal("Stop must report a pending timer once")
	}
	h.Advance(3 * time.Second)
	got, want := strings.Join(log, " "), "a@1s work@1s nested@1.5s b@2s c@2s"
	if got != want {
		t.Fatalf("fired %q, want %q", got, want)
	}
	if h.Mono() != 3*time.Second || h.Now().Sub(clock.NewHand(1).Now()) != 3*time.Second {
		t.Fatalf("mono %v, wall %v", h.Mono(), h.Now())
	}
}

func TestHandResetMovesTimer(t *testing.T) {
	h := clock.NewHand(1)
	n := 0
	tm := h.AfterFunc(time.Second, func() { n++ })
	if !tm.Reset(3 * time.Second) {
		t.Fatal("timer was pending")
	}
	h.Advance(2 * time.Second)
	if n != 0 {
		t.Fatal("fired at the old time")
	}
	h.Advance(time.Second)
	if n != 1 || tm.Reset(time.Second) {
		t.Fatal("fired", n)
	}
	h.Advance(time.Second)
	if n != 2 {
		t.Fatal("a reset timer fires again")
	}
}

func TestHandKillDropsEverything(t *testing.T) {
	h := clock.NewHand(1)
	n := 0
	h.Go("x", func() { n++ })
	h.AfterFunc(time.Second, func() { n++ })
	h.Kill()
	h.Go("x", func() { n++ })
	h.AfterFunc(time.Second, func() { n++ })
	h.Advance(time.Minute)
	if n != 0 {
		t.Fatalf("%d functions ran in a dead world", n)
	}
}

func TestSameSeedSameChance(t *testing.T) {
	a, b := clock.NewHand(7), clock.NewHand(7)
	for range 100 {
		if a.Uint64() != b.Uint64() {
			t.Fatal("same seed, other numbers")
		}
	}
	if clock.UUIDBits(a) == clock.UUIDBits(a) {
		t.Fatal("two equal uuids")
	}
}
