package commitlog_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/disk/commitlog"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/record"
)

func TestManualDir(t *testing.T) {
	dir := os.Getenv("CLOG_DIR")
	if dir == "" {
		t.Skip()
	}
	var w clock.Real
	s, err := commitlog.Open(commitlog.StoreOptions{FS: vfs.NewOS(), Dir: dir, World: &w})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("%+v\n", s.Report())
	l, ok := s.Log("topic", 0)
	if !ok {
		l, err = s.Create("topic", 0, clock.UUIDBits(&w), commitlog.LogConfig{SegmentBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
	}
	fmt.Println(l.Start(), l.End(), l.Producers())
	done := make(chan error)
	seq := int32(0)
	if p := l.Producers(); len(p) > 0 {
		seq = p[0].LastSequence + 1
	}
	for i := range 3000 {
		b := record.NewBuilder(nil, record.Options{Idempotent: true, ProducerID: 7, BaseSequence: seq})
		n := 1 + i%3
		for range n {
			b.Append(1700000000000+int64(i), []byte("key"), make([]byte, 700))
		}
		seq += int32(n)
		data, _ := b.Finish()
		a := commitlog.Append{Records: data, LeaderEpoch: 3, Done: func(a *commitlog.Append) { done <- a.Err }}
		l.Append(&a)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if os.Getenv("CLOG_KILL") != "" {
		os.Exit(0)
	}
	if err := s.CloseClean(5); err != nil {
		t.Fatal(err)
	}
	w.Wait()
}
