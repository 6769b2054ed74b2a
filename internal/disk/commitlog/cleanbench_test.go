package commitlog_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/disk/commitlog"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/record"
)

// BenchmarkClean measures a whole cleaning on the real disk, over the bytes of a log in which half of the records are
// superseded. Its CPU time is what `go test -cpuprofile` says.
func BenchmarkClean(b *testing.B) {
	for _, size := range []int{100, 1000} {
		b.Run(fmt.Sprint("record=", size), func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				benchClean(b, size, 100<<20)
			}
		})
	}
}

func benchClean(b *testing.B, size, total int) {
	b.StopTimer()
	var w clock.Real
	c := commitlog.NewCleaner(&w, nil, commitlog.CleanerOptions{BackoffMs: 1 << 40})
	cfg := commitlog.LogConfig{Compact: true, SegmentBytes: 32 << 20, Written: true, FileDeleteDelayMs: 1}
	s, err := commitlog.Open(commitlog.StoreOptions{FS: vfs.NewOS(), Dir: b.TempDir(), World: &w, Cleaner: c})
	if err != nil {
		b.Fatal(err)
	}
	l, err := s.Create("topic", 0, [16]byte{1}, cfg)
	if err != nil {
		b.Fatal(err)
	}
	order, value := rand.New(rand.NewPCG(1, 2)).Perm(total/size), make([]byte, max(size-30, 0))
	for i := 0; i < len(order); {
		batch := record.NewBuilder(nil, record.Options{})
		for batch.Size() < 64<<10 && i < len(order) {
			batch.Append(int64(i), fmt.Appendf(nil, "key-%08d", order[i]%(len(order)/2)), value)
			i++
		}
		data, err := batch.Finish()
		if err != nil {
			b.Fatal(err)
		}
		l.Append(&commitlog.Append{Records: data, Done: func(a *commitlog.Append) {
			if a.Err != nil {
				b.Error(a.Err)
			}
		}})
	}
	if err := s.Checkpoint(); err != nil {
		b.Fatal(err)
	}
	b.StartTimer()
	c.Kick()
	w.Wait()
	b.StopTimer()
	stats := c.Stats()
	if stats.Runs != 1 || stats.RecordsWritten > stats.RecordsRead*7/10 {
		b.Fatalf("%+v", stats)
	}
	b.SetBytes(int64(total))
	s.Abandon()
}

func TestCleanersInParallel(t *testing.T) {
	var w clock.Real
	c := commitlog.NewCleaner(&w, nil, commitlog.CleanerOptions{BackoffMs: 1 << 40, Threads: 3, DedupeBytes: 3 << 20})
	s, err := commitlog.Open(commitlog.StoreOptions{FS: vfs.NewOS(), Dir: t.TempDir(), World: &w, Cleaner: c})
	if err != nil {
		t.Fatal(err)
	}
	const partitions, batches = 6, 300
	var logs []*commitlog.Log
	for i := range partitions {
		l, err := s.Create("topic", int32(i), [16]byte{1}, commitlog.LogConfig{Compact: true, SegmentBytes: 16 << 10, Written: true, FileDeleteDelayMs: 1, IndexIntervalBytes: 500, MinCleanableRatio: 0.01})
		if err != nil {
			t.Fatal(err)
		}
		logs = append(logs, l)
	}
	for n := range batches {
		for _, l := range logs {
			b := record.NewBuilder(nil, record.Options{})
			b.Append(int64(n), fmt.Append(nil, n%7), make([]byte, 300))
			data, err := b.Finish()
			if err != nil {
				t.Fatal(err)
			}
			l.Append(&commitlog.Append{Records: data, Done: func(a *commitlog.Append) {
				if a.Err != nil {
					t.Error(a.Err)
				}
			}})
		}
		if n%50 != 49 {
			continue
		}
		if err := s.Checkpoint(); err != nil {
			t.Fatal(err)
		}
		c.Kick()
		// Readers go on while segments are replaced under them.
		for _, l := range logs {
			readThrough(t, l)
			if _, _, err := l.OffsetForTimestamp(int64(n / 2)); err != nil {
				t.Error(err)
			}
			if _, err := l.AbortedTxns(0, l.Stable()); err != nil {
				t.Error(err)
			}
		}
	}
	c.Close()
	if err := s.CloseClean(1); err != nil {
		t.Fatal(err)
	}
	w.Wait()
	if stats := c.Stats(); stats.Runs < partitions || stats.Failed > 0 || stats.Workers != 0 {
		t.Fatalf("%+v", stats)
	}
}

// readThrough reads a log from start to end: every offset leads forward.
func readThrough(t *testing.T, l *commitlog.Log) {
	for from, end := l.Start(), l.Stable(); from < end; {
		v, err := l.Read(from, end, 4<<10, true)
		if err != nil {
			t.Error(err)
			return
		}
		b, err := v.Bytes(nil)
		v.Release()
		first, _, nextErr := record.Next(b)
		if err != nil || nextErr != nil || first == nil || first.LastOffset() < from {
			t.Errorf("reading %d of %d: %d bytes, %v, %v", from, end, len(b), err, nextErr)
			return
		}
		from = first.LastOffset() + 1
	}
}
