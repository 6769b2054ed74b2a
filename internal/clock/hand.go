package clock

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// Hand is a hand-driven world for tests and simulation: time stands still
// until Advance moves it, chance comes from a seed, and background work waits
// in a queue until Run. It must be used from one goroutine.
type Hand struct {
	wall   time.Time
	mono   time.Duration
	rng    *rand.Rand
	timers timerHeap
	ready  []func()
	serial uint64
	dead   bool
}

var _ World = (*Hand)(nil)

// NewHand starts a world at 2020-01-01T00:00:00Z with the given seed.
func NewHand(seed uint64) *Hand {
	return &Hand{
		wall: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
		rng:  rand.New(rand.NewPCG(seed, seed^0x9e3779b97f4a7c15)),
	}
}

// Now is the hand's wall time.
func (h *Hand) Now() time.Time { return h.wall }

// Mono is the time advanced so far.
func (h *Hand) Mono() time.Duration { return h.mono }

// Uint64 draws from the seed's stream.
func (h *Hand) Uint64() uint64 { return h.rng.Uint64() }

// Go queues f for the next Run.
func (h *Hand) Go(_ string, f func()) {
	if !h.dead {
		h.ready = append(h.ready, f)
	}
}

// Kill drops everything queued or timed, and all that comes later: the process
// that lived in this world is gone. The world's time and chance go on.
func (h *Hand) Kill() { h.dead, h.ready, h.timers = true, nil, nil }

// AfterFunc queues f to run once the hand has moved by d.
func (h *Hand) AfterFunc(d time.Duration, f func()) Timer {
	t := &handTimer{world: h, call: f, index: -1}
	t.Reset(d)
	return t
}

// Run runs queued background work until none is left, and returns how many
// functions ran.
func (h *Hand) Run() int {
	n := 0
	for len(h.ready) > 0 {
		f := h.ready[0]
		h.ready[0] = nil
		h.ready = h.ready[1:]
		f()
		n++
	}
	return n
}

// RunOne runs the oldest queued function, or reports that there is none.
func (h *Hand) RunOne() bool {
	if len(h.ready) == 0 {
		return false
	}
	f := h.ready[0]
	h.ready = h.ready[1:]
	f()
	return true
}

// Advance moves time by d, firing timers in order and running what they queue.
func (h *Hand) Advance(d time.Duration) {
	h.Run()
	end := h.mono + d
	for len(h.timers) > 0 && h.timers[0].due <= end {
		t := heap.Pop(&h.timers).(*handTimer)
		h.move(t.due - h.mono)
		t.call()
		h.Run()
	}
	h.move(end - h.mono)
}

// Next tells how far away the next timer is; ok is false when none is pending.
func (h *Hand) Next() (d time.Duration, ok bool) {
	if len(h.timers) == 0 {
		return 0, false
	}
	return h.timers[0].due - h.mono, true
}

func (h *Hand) move(d time.Duration) {
	if d > 0 {
		h.mono += d
		h.wall = h.wall.Add(d)
	}
}

// handTimer is one pending call; equal due times fire in the order they were set.
type handTimer struct {
	world  *Hand
	due    time.Duration
	serial uint64
	call   func()
	index  int
}

func (t *handTimer) Stop() bool {
	if t.index < 0 || t.index >= len(t.world.timers) || t.world.timers[t.index] != t {
		return false
	}
	heap.Remove(&t.world.timers, t.index)
	return true
}

func (t *handTimer) Reset(d time.Duration) bool {
	pending := t.Stop()
	w := t.world
	if w.dead {
		return pending
	}
	w.serial++
	t.due, t.serial = w.mono+max(d, 0), w.serial
	heap.Push(&w.timers, t)
	return pending
}

type timerHeap []*handTimer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	if h[i].due != h[j].due {
		return h[i].due < h[j].due
	}
	return h[i].serial < h[j].serial
}
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *timerHeap) Push(x any) {
	t := x.(*handTimer)
	t.index = len(*h)
	*h = append(*h, t)
}
func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = -1
	return t
}
