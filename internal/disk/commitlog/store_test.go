package commitlog_test

import (
	"bytes"
	"testing"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/disk/commitlog"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/record"
)

func batch(t testing.TB, size int, ts int64) []byte {
	t.Helper()
	return makeBatch(size, ts)
}

func makeBatch(size int, ts int64) []byte {
	w := record.NewBuilder(nil, record.Options{ProducerID: record.NoProducerID})
	w.Append(ts, nil, bytes.Repeat([]byte{'x'}, size))
	b, err := w.Finish()
	if err != nil {
		panic(err)
	}
	return b
}

func TestAppendIsReadBack(t *testing.T) {
	var w clock.Real
	s, err := commitlog.Open(commitlog.StoreOptions{FS: vfs.NewOS(), Dir: t.TempDir(), World: &w})
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Create("topic", 0, [16]byte{1}, commitlog.LogConfig{})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	for i, size := range []int{10, 100 << 10, 1000} {
		a := commitlog.Append{Records: batch(t, size, 5), Done: func(a *commitlog.Append) { done <- a.Err }}
		l.Append(&a)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		v, err := l.Read(int64(i), 100, 1<<20, true)
		if err != nil || v.Len == 0 {
			t.Fatal(v, err)
		}
		got, err := v.Bytes(nil)
		if err != nil || !bytes.Equal(got[:len(a.Records)], a.Records) {
			t.Fatalf("offset %d reads back as %d bytes, %v", i, len(got), err)
		}
		v.Release()
	}
	w.Wait()
}

func TestCleanStopsKeepTheFiles(t *testing.T) {
	disk, hand := vfs.NewSim(vfs.SimConfig{}), clock.NewHand(1)
	o := commitlog.StoreOptions{FS: disk, Dir: "/data", World: hand}
	s, err := commitlog.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Create("topic", 0, [16]byte{1}, commitlog.LogConfig{SegmentBytes: 20000})
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(70) {
		l.Append(&commitlog.Append{Records: makeBatch(700, 1000+i), Done: func(*commitlog.Append) {}})
		hand.Run()
	}
	var before []vfs.Entry
	for stop := range 3 {
		if err := s.CloseClean(1); err != nil {
			t.Fatal(err)
		}
		files, err := disk.List("/data/topic-0")
		if err != nil {
			t.Fatal(err)
		}
		for i := range files {
			files[i].ModTimeMs = 0
			if stop > 0 && files[i] != before[i] {
				t.Errorf("after stop %d: %+v, before %+v", stop, files[i], before[i])
			}
		}
		before = files
		if s, err = commitlog.Open(o); err != nil {
			t.Fatal(err)
		}
		if l, _ = s.Log("topic", 0); l.End() != 70 {
			t.Fatalf("the log ends at %d", l.End())
		}
	}
}
