package commitlog_test

import (
	"testing"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/disk/commitlog"
	"github.com/moldau/moldau/internal/disk/vfs"
)

// readable is a log with batches of one record each, of the given times.
func readable(t *testing.T, durable bool, times ...int64) *commitlog.Log {
	t.Helper()
	hand := clock.NewHand(1)
	s, err := commitlog.Open(commitlog.StoreOptions{FS: vfs.NewSim(vfs.SimConfig{}), Dir: "/data", World: hand})
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Create("topic", 0, [16]byte{1}, commitlog.LogConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for _, ts := range times {
		l.Append(&commitlog.Append{Records: makeBatch(700, ts), Done: func(*commitlog.Append) {}})
		hand.Run()
	}
	if durable {
		if err := s.Checkpoint(); err != nil {
			t.Fatal(err)
		}
		hand.Run()
	}
	return l
}

func TestReadGivesNoPartOfTheFirstBatch(t *testing.T) {
	for _, durable := range []bool{false, true} {
		l := readable(t, durable, 1, 2)
		size := len(makeBatch(700, 1))
		for _, c := range []struct {
			max    int
			minOne bool
			want   int
		}{{1, false, 0}, {size - 1, false, 0}, {size, false, size}, {size + 1, false, size + 1}, {1, true, size}} {
			v, err := l.Read(0, 2, c.max, c.minOne)
			if err != nil {
				t.Fatal(err)
			}
			if v.Len != c.want {
				t.Errorf("durable %v: at most %d bytes, one at least %v: got %d bytes, want %d", durable, c.max, c.minOne, v.Len, c.want)
			}
			v.Release()
		}
	}
}

func TestMaxTimestampOfWhatIsLeft(t *testing.T) {
	l := readable(t, false, 10, 90, 30, 40, 20)
	for start, want := range []int64{1, 1, 3, 3, 4, -1} {
		if err := l.DeleteRecords(int64(start)); err != nil {
			t.Fatal(err)
		}
		place, found, err := l.MaxTimestamp()
		if err != nil || found != (want >= 0) || found && place.Offset != want {
			t.Errorf("from %d on: got %+v (%v, %v), want %d", start, place, found, err, want)
		}
	}
}
