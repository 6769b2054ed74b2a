package commitlog_test

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/disk/commitlog"
	"github.com/moldau/moldau/internal/disk/vfs"
)

// TestManyPartitions measures what a store with MANY_PARTITIONS logs takes: by hand, it needs minutes.
func TestManyPartitions(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("MANY_PARTITIONS"))
	if err != nil {
		t.Skip("set MANY_PARTITIONS")
	}
	var w clock.Real
	o := commitlog.StoreOptions{FS: vfs.NewOS(), Dir: t.TempDir(), World: &w, RecoveryThreads: 2}
	s, err := commitlog.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	heap := func(what string, since time.Time) {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		fds, _ := os.ReadDir("/proc/self/fd")
		fmt.Printf("%s: %v, heap %d MB, %d bytes a log, %d descriptors\n", what, time.Since(since).Round(time.Millisecond), m.HeapAlloc>>20, m.HeapAlloc/uint64(n), len(fds))
	}
	at := time.Now()
	for i := range n {
		if _, err := s.Create("topic", int32(i), [16]byte{1}, commitlog.LogConfig{}); err != nil {
			t.Fatal(err)
		}
	}
	heap("created", at)
	at = time.Now()
	done := make(chan error, n)
	for _, l := range s.Logs() {
		l.Append(&commitlog.Append{Records: makeBatch(100, 1), Done: func(a *commitlog.Append) { done <- a.Err }})
	}
	for range n {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	heap("one append each", at)
	at = time.Now()
	if err := s.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	heap("checkpoint", at)
	at = time.Now()
	if err := s.CloseClean(1); err != nil {
		t.Fatal(err)
	}
	heap("closed", at)
	at = time.Now()
	if s, err = commitlog.Open(o); err != nil {
		t.Fatal(err)
	}
	heap("opened", at)
	at = time.Now()
	for _, l := range s.Logs() {
		l.Append(&commitlog.Append{Records: makeBatch(100, 1), Done: func(a *commitlog.Append) { done <- a.Err }})
	}
	for range n {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	s.Abandon()
	at = time.Now()
	if s, err = commitlog.Open(o); err != nil {
		t.Fatal(err)
	}
	heap("opened after a crash", at)
	s.Abandon()
	w.Wait()
}
