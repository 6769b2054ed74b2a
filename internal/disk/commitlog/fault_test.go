package commitlog_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/disk/commitlog"
	"github.com/moldau/moldau/internal/disk/vfs"
)

// settle runs background work and expects an append's outcome.
func (w *world) settle(a *commitlog.Append, want error) {
	w.t.Helper()
	w.hand.Run()
	if !errors.Is(a.Err, want) || want == nil && a.Err != nil {
		w.t.Fatalf("seed %d: the append answers %v, expected %v", w.seed, a.Err, want)
	}
}

func TestFullDiskRefusesAndRecovers(t *testing.T) {
	for seed := range uint64(100) {
		w := newWorld(t, seed)
		for range 20 {
			w.step()
		}
		w.hand.Run()
		// The volume shrinks to what is used and a little: the next writes meet its end anywhere.
		total, free, err := w.disk.Space("/data")
		if err != nil {
			t.Fatal(err)
		}
		w.disk.SetTotal(total - free + int64(w.rng.IntN(300<<10)))
		refused := 0
		for range 200 {
			a := w.append(fmt.Sprint("t", w.rng.IntN(topics)), w.rng.IntN(2)*90<<10+w.rng.IntN(3000))
			if w.rng.IntN(3) > 0 {
				w.hand.Run()
			}
			if a.Err != nil {
				refused++
				if !errors.Is(a.Err, commitlog.ErrNoSpace) {
					t.Fatalf("seed %d: %v", seed, a.Err)
				}
			}
			if w.rng.IntN(10) == 0 {
				w.hand.Advance(2 * time.Second)
			}
		}
		w.hand.Run()
		if refused == 0 {
			t.Fatalf("seed %d: the disk was never full", seed)
		}
		if n := w.store.Figures.Refused.Load(); n < uint64(refused) {
			t.Fatalf("seed %d: at least %d batches were refused, and %d counted", seed, refused, n)
		}
		for i := range topics {
			w.forgetRefused(fmt.Sprint("t", i))
			w.check(fmt.Sprint("t", i), false)
		}
		if w.rng.IntN(2) == 0 {
			w.disk.SetTotal(1 << 40)
			w.restart(true)
		}
		w.disk.SetTotal(1 << 40)
		w.hand.Advance(3 * time.Second)
		for i := range topics {
			w.settle(w.append(fmt.Sprint("t", i), 100), nil)
		}
		w.restart(false)
		w.restart(true)
	}
}

// forgetRefused drops from the model what was refused: it must not be found any more while the store lives.
func (w *world) forgetRefused(topic string) {
	m := w.model[topic]
	l, _ := w.store.Log(topic, 0)
	kept := m.sent[:0]
	for _, s := range m.sent {
		if s.a == nil || s.a.Err == nil {
			kept = append(kept, s)
		} else {
			m.refused = append(m.refused, s)
		}
	}
	m.sent = kept
	if l.End() != l.Stable() {
		w.t.Fatalf("seed %d: %s ends at %d, stable is %d, with nothing in flight", w.seed, topic, l.End(), l.Stable())
	}
}

func TestFailedSyncTakesTheDirectoryOffline(t *testing.T) {
	for _, ops := range []vfs.OpKind{vfs.OpSync, vfs.OpWrite} {
		for _, path := range []string{"*.journal", "*.log"} {
			for nth := 1; nth < 4; nth++ {
				failOnce(t, vfs.Fault{Path: path, Ops: ops, Nth: nth, Times: 1})
			}
		}
	}
}

// TestFullDiskAtASync: what a sync that finds the disk full was to make durable is lost, so that this is no full disk to wait
// for, whoever syncs.
func TestFullDiskAtASync(t *testing.T) {
	for _, tc := range []struct {
		fault vfs.Fault
		run   func(*world) error
	}{
		{vfs.Fault{Path: "*.log", Ops: vfs.OpSync}, func(w *world) error { return w.store.Checkpoint() }},
		{vfs.Fault{Path: "partition.metadata", Ops: vfs.OpSync}, func(w *world) error { return w.store.Checkpoint() }},
		{vfs.Fault{Path: "t9-0", Ops: vfs.OpSyncDir}, func(w *world) error { return w.store.Checkpoint() }},
		{vfs.Fault{Path: "partition.metadata", Ops: vfs.OpSync}, func(w *world) error { w.hand.Run(); return w.store.Failed() }},
		{vfs.Fault{Path: "*.journal", Ops: vfs.OpSync}, func(w *world) error {
			a := w.append("t0", 100)
			w.hand.Run()
			return a.Err
		}},
	} {
		w := newWorld(t, 5)
		w.append("t0", 100)
		w.hand.Run()
		w.create("t9", w.config(9))
		tc.fault.Nth, tc.fault.Times, tc.fault.Err = 1, 1, vfs.ErrNoSpace
		w.disk.Inject(tc.fault)
		if err := tc.run(w); err == nil || errors.Is(err, commitlog.ErrNoSpace) {
			t.Errorf("%+v: %v", tc.fault, err)
		}
		if err := w.store.Failed(); !errors.Is(err, commitlog.ErrStorage) || errors.Is(err, commitlog.ErrNoSpace) {
			t.Errorf("%+v: the directory is offline for %v", tc.fault, err)
		}
		w.hand.Kill()
	}
}

func failOnce(t *testing.T, fault vfs.Fault) {
	w := newWorld(t, 5)
	failed := 0
	w.hand.Kill()
	w.disk.Crash()
	w.hand = clock.NewHand(1)
	o := w.options()
	o.OnFail = func(error) { failed++ }
	var err error
	if w.store, err = commitlog.Open(o); err != nil {
		t.Fatal(err)
	}
	w.disk.Inject(fault)
	for i := range 40 {
		w.append("t0", 100)
		if i%5 == 0 {
			w.append("t1", 2<<20)
		}
		w.hand.Advance(time.Second)
	}
	if failed != 1 {
		t.Fatalf("%v: OnFail was called %d times", fault, failed)
	}
	a := w.append("t1", 100)
	w.settle(a, commitlog.ErrStorage)
	if err := w.store.CloseClean(1); !errors.Is(err, commitlog.ErrStorage) {
		t.Fatalf("%v: a clean stop of a failed directory says %v", fault, err)
	}
	w.restart(true)
	if w.store.Report().Clean {
		t.Fatal("a failed directory was called clean")
	}
	w.settle(w.append("t0", 100), nil)
}

// TestCrashBetweenAnyTwoOperations runs a short script again and again, and cuts the power one disk operation later each time.
func TestCrashBetweenAnyTwoOperations(t *testing.T) {
	for _, powerCut := range []bool{true, false} {
		for n := int64(1); ; n++ {
			w := newWorld(t, uint64(n))
			before := w.disk.OpCount()
			w.disk.CutAt(n)
			w.script()
			done := w.disk.OpCount()-before < n
			w.restart(powerCut)
			w.settle(w.append("t0", 50), nil)
			w.settle(w.append("t1", 50), nil)
			w.restart(true)
			if done {
				break
			}
		}
	}
}

func (w *world) script() {
	w.append("t0", 500)
	w.append("t1", 500)
	w.hand.Run()
	w.append("t0", 1200<<10)
	w.append("t1", 90<<10)
	w.append("t2", 90<<10)
	w.hand.Run()
	w.hand.Advance(2 * time.Second)
	w.append("t1", 90<<10)
	w.append("t1", 90<<10)
	w.append("t2", 90<<10)
	w.hand.Run()
	_ = w.store.Checkpoint()
	w.append("t0", 500)
	w.hand.Run()
	_ = w.store.CloseClean(3)
}
