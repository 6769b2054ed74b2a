package commitlog_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/disk/commitlog"
	"github.com/moldau/moldau/internal/disk/vfs"
)

// BenchmarkAppend measures appends of one size over some partitions, with as many in flight as
// producers usually keep, on the real disk.
func BenchmarkAppend(b *testing.B) {
	for _, written := range []bool{false, true} {
		for _, c := range []struct{ size, partitions, inFlight int }{{1 << 10, 1, 1}, {1 << 10, 1, 64}, {100 << 10, 1, 10}, {100 << 10, 10, 10}, {200, 1000, 1000}} {
			name := fmt.Sprintf("written=%v/size=%d/partitions=%d/inflight=%d", written, c.size, c.partitions, c.inFlight)
			b.Run(name, func(b *testing.B) { benchAppend(b, written, c.size, c.partitions, c.inFlight) })
		}
	}
}

func benchAppend(b *testing.B, written bool, size, partitions, inFlight int) {
	var w clock.Real
	s, err := commitlog.Open(commitlog.StoreOptions{FS: vfs.NewOS(), Dir: b.TempDir(), World: &w})
	if err != nil {
		b.Fatal(err)
	}
	logs := make([]*commitlog.Log, partitions)
	for i := range logs {
		if logs[i], err = s.Create("topic", int32(i), [16]byte{1}, commitlog.LogConfig{Written: written}); err != nil {
			b.Fatal(err)
		}
	}
	free := make(chan *commitlog.Append, inFlight)
	for range inFlight {
		free <- &commitlog.Append{Records: makeBatch(size, 1), Done: func(a *commitlog.Append) {
			if a.Err != nil {
				b.Error(a.Err)
			}
			free <- a
		}}
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		logs[i%partitions].Append(<-free)
	}
	for range inFlight {
		<-free
	}
	b.StopTimer()
	s.Abandon()
	w.Wait()
}

func TestConcurrentAppends(t *testing.T) {
	for _, written := range []bool{false, true} {
		t.Run(fmt.Sprint("written=", written), func(t *testing.T) { concurrentAppends(t, written) })
	}
}

func concurrentAppends(t *testing.T, written bool) {
	var w clock.Real
	s, err := commitlog.Open(commitlog.StoreOptions{FS: vfs.NewOS(), Dir: t.TempDir(), World: &w, JournalFileBytes: 1 << 20, TailBytes: 1 << 20, MaxOpenFiles: 10})
	if err != nil {
		t.Fatal(err)
	}
	const partitions, writers, each = 20, 16, 200
	logs := make([]*commitlog.Log, partitions)
	for i := range logs {
		if logs[i], err = s.Create("topic", int32(i), [16]byte{1}, commitlog.LogConfig{Written: written, SegmentBytes: 256 << 10, IndexIntervalBytes: 1000}); err != nil {
			t.Fatal(err)
		}
	}
	var wait sync.WaitGroup
	for g := range writers {
		wait.Go(func() {
			done := make(chan error, 1)
			a := &commitlog.Append{Done: func(a *commitlog.Append) { done <- a.Err }}
			for i := range each {
				l := logs[(i*7+g)%partitions]
				a.Records = makeBatch(10+(i*g*977)%(80<<10), int64(i))
				l.Append(a)
				if err := <-done; err != nil {
					t.Error(err)
					return
				}
				v, err := l.Read(a.BaseOffset, l.Stable(), 1<<20, true)
				if err != nil || v.Len == 0 {
					t.Errorf("reading %d: %d bytes, %v", a.BaseOffset, v.Len, err)
					return
				}
				if got, err := v.Bytes(nil); err != nil || string(got[:len(a.Records)]) != string(a.Records) {
					t.Errorf("offset %d of %d reads back as something else, %v", a.BaseOffset, l.Partition(), err)
				}
				v.Release()
				if i%50 == 0 {
					if err := s.Checkpoint(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wait.Wait()
	if err := s.CloseClean(1); err != nil {
		t.Fatal(err)
	}
	w.Wait()
}
