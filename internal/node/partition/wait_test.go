package partition

import (
	"math/rand/v2"
	"testing"
)

// TestWatches: each watch of a partition is told of what becomes visible until it is taken out, and of its News only once
// before it was looked at.
func TestWatches(t *testing.T) {
	var p Partition
	rnd := rand.New(rand.NewPCG(1, 1))
	news := make([]News, 5)
	watches := make([]Watch, len(news))
	in := make([]bool, len(news))
	for range 1000 {
		i := rnd.IntN(len(news))
		switch {
		case !in[i]:
			p.Watch(&watches[i], &news[i])
			in[i] = true
		case rnd.IntN(2) == 0:
			p.Unwatch(&watches[i])
			p.Unwatch(&watches[i])
			in[i] = false
		}
		p.waiting.notify(1)
		p.waiting.notify(1)
		listed := 0
		for k := range news {
			if got := len(news[k].Take(nil)); in[k] && got != 1 || !in[k] && got != 0 {
				t.Fatalf("watch %d, in %v, was noted %d times", k, in[k], got)
			}
			if in[k] {
				listed++
			}
		}
		if len(p.waiting.watches) != listed || p.waiting.any.Load() != (listed > 0) {
			t.Fatalf("%d are listed, of %d", len(p.waiting.watches), listed)
		}
	}
}

// TestAwait: who waits for news is told of those that came before, and of bytes until there are enough.
func TestAwait(t *testing.T) {
	var p Partition
	var n News
	var w Watch
	p.Watch(&w, &n)
	fired := 0
	p.waiting.notify(1)
	n.Await(NewWaiter(100, func() { fired++ }))
	if fired != 1 {
		t.Fatal("there were news")
	}
	n.Take(nil)
	n.Await(NewWaiter(100, func() { fired++ }))
	if p.waiting.notify(99); fired != 1 {
		t.Fatal("a byte is missing")
	}
	if p.waiting.notify(1); fired != 2 {
		t.Fatal("all are there")
	}
	n.Await(nil)
	p.close()
	if len(n.Take(nil)) != 1 || fired != 2 {
		t.Fatal("the end is news")
	}
	p.Watch(&w, &n)
	if len(n.Take(nil)) != 1 {
		t.Fatal("that it has ended is news")
	}
}
