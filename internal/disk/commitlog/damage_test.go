package commitlog_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/disk/commitlog"
	"github.com/moldau/moldau/internal/disk/vfs"
)

// damaged makes a log of journaled and direct rounds, flips one bit on the disk, and starts again after a crash.
func damaged(t *testing.T, path string, off int64) *world {
	w := newWorld(t, 3)
	for _, size := range []int{300, 300, 1200 << 10, 300, 1200 << 10, 300} {
		w.append("t0", size)
		w.hand.Run()
	}
	w.hand.Kill()
	w.disk.Crash()
	if path != "" {
		if err := w.disk.FlipBit(path, off); err != nil {
			t.Fatal(err)
		}
	}
	w.hand = clock.NewHand(1)
	return w
}

func TestFlippedBitBelowAcknowledgedDataTakesThePartitionOffline(t *testing.T) {
	w := damaged(t, "", 0)
	names, err := w.disk.List("/data/t0-0")
	if err != nil {
		t.Fatal(err)
	}
	flips := 0
	for _, e := range names {
		// The last direct round may be torn for all that the disk says; those before it were acknowledged.
		if !strings.HasSuffix(e.Name, ".log") || e.Size == 0 {
			continue
		}
		for _, off := range []int64{30, e.Size / 2} {
			flips += flipOnce(t, "/data/t0-0/"+e.Name, off)
		}
	}
	if flips == 0 {
		t.Fatal("no flipped bit was noticed")
	}
}

// flipOnce reports 1 when the damage took the partition offline, and 0 when the journal healed it.
func flipOnce(t *testing.T, path string, off int64) int {
	w := damaged(t, path, off)
	s, err := commitlog.Open(w.options())
	if err != nil {
		t.Fatal(err)
	}
	w.store = s
	l, _ := s.Log("t0", 0)
	err = l.Err()
	if err == nil {
		w.check("t0", false)
		return 0
	}
	var corrupt *commitlog.CorruptError
	if !errors.As(err, &corrupt) || len(s.Report().Offline) != 1 {
		t.Fatalf("%s at %d: %v, %+v", path, off, err, s.Report())
	}
	a := w.append("t0", 10)
	if !errors.As(a.Err, &corrupt) {
		t.Fatalf("an append to a damaged log answers %v", a.Err)
	}
	w.settle(w.append("t1", 10), nil)
	if err := s.CloseClean(1); err != nil {
		t.Fatal(err)
	}
	// It stays so at later starts, until somebody has looked after it.
	w.open()
	if w.store.Report().Clean || len(w.store.Report().Offline) != 1 {
		t.Fatalf("after a clean stop: %+v", w.store.Report())
	}
	return 1
}

func TestFlippedBitInTheJournal(t *testing.T) {
	healed, refused, offline := 0, 0, 0
	for off := int64(4096); off < 30000; off += 611 {
		w := damaged(t, "/data/moldau-journal/00000001.journal", off)
		s, err := commitlog.Open(w.options())
		if err != nil {
			refused++
			if !strings.Contains(err.Error(), "00000001.journal is corrupt at position") {
				t.Fatal(err)
			}
			continue
		}
		w.store = s
		if l, _ := s.Log("t0", 0); l.Err() != nil {
			offline++
			continue
		}
		healed++
		m := w.model["t0"]
		m.acked = 0 // the last frame may be taken for a torn one
		w.check("t0", false)
	}
	if healed == 0 || refused == 0 {
		t.Fatalf("%d healed, %d refused, %d offline", healed, refused, offline)
	}
}

func TestTornJournalTailIsCut(t *testing.T) {
	for n := range int64(40) {
		w := newWorld(t, uint64(n))
		for range 5 {
			w.append("t0", 3000)
			w.append("t1", 3000)
			w.hand.Run()
		}
		w.disk.Inject(vfs.Fault{Path: "*.journal", Ops: vfs.OpSync, Times: 1})
		w.append("t0", 5000)
		w.append("t1", 5000)
		w.hand.Run()
		w.restart(true)
		w.restart(true)
		for i := range topics {
			w.settle(w.append(fmt.Sprint("t", i), 100), nil)
		}
	}
}

func TestAppendAllocatesNothing(t *testing.T) {
	w := newWorld(t, 1)
	for _, topic := range []string{"t0", "t2"} {
		l, _ := w.store.Log(topic, 0)
		a := &commitlog.Append{Records: w.numbered(100), LeaderEpoch: 1, Done: func(*commitlog.Append) {}}
		l.Append(a)
		w.hand.Run()
		queued := make([]commitlog.Append, 300)
		for i := range queued {
			queued[i] = commitlog.Append{Records: w.numbered(100), LeaderEpoch: 1, Done: func(*commitlog.Append) {}}
		}
		i := 0
		// The one that finds the queue empty asks for a round; those behind it only queue up, or write.
		l.Append(&queued[i])
		allocs := testing.AllocsPerRun(200, func() {
			i++
			l.Append(&queued[i])
		})
		// The simulated disk keeps what is written; the real one does not allocate.
		if topic == "t0" && allocs != 0 {
			t.Errorf("%s: %v allocations per append", topic, allocs)
		}
		w.hand.Run()
	}
}
