package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"testing"
	"time"
)

// history runs a fixed load with faults and cuts, and tells all that came of it.
func history(seed uint64) string {
	var log bytes.Buffer
	s := NewSim(SimConfig{Seed: seed, Trace: func(op Op) { fmt.Fprintln(&log, op.Kind, op.Path, op.Off, op.Len, op.Err) }})
	s.Inject(Fault{Path: "*.log", Ops: OpSync, OneIn: 5})
	s.Inject(Fault{Ops: OpRead, Flip: true, OneIn: 3})
	for round := range 20 {
		a := newActor(s, "/")
		s.CutAt(int64(5 + round))
		for i := range 10 {
			log.WriteString(a.run(fmt.Sprintf("edit f d%d.log\nwrite f %d A*700,B*600\nput c %d\nsync f\nsyncdir /\nread f 0 100", i%3, i*300, i)))
		}
		s.PowerCut(Mix)
		fmt.Fprintln(&log, tree(s))
	}
	return log.String()
}

func TestSameSeedSameHistory(t *testing.T) {
	if history(7) != history(7) {
		t.Fatal("two runs of one seed differ")
	}
	if history(7) == history(8) {
		t.Fatal("two seeds give the same history")
	}
}

func TestMountDiesWithItsProcess(t *testing.T) {
	s := NewSim(SimConfig{})
	first := s.Mount()
	f, err := first.Edit("f")
	if err != nil {
		t.Fatal(err)
	}
	s.Crash()
	if _, err := first.Stat("f"); !errors.Is(err, ErrKilled) {
		t.Fatalf("a dead process's mount answers %v", err)
	}
	second := s.Mount()
	s.PowerCut(Lose)
	if err := second.Remove("f"); !errors.Is(err, ErrPowerCut) {
		t.Fatalf("a mount from before the power cut answers %v", err)
	}
	if err := f.Close(); !errors.Is(err, ErrPowerCut) {
		t.Fatalf("an old handle answers %v", err)
	}
	if _, err := s.Stat("f"); !errors.Is(err, ErrNotExist) {
		t.Fatalf("the disk itself goes on, but answers %v", err)
	}
}

func TestFaultsByRangeTimesAndRemoval(t *testing.T) {
	s := NewSim(SimConfig{Latency: func(op Op) time.Duration { return time.Duration(op.Len) }})
	f, err := s.Edit("dir.log")
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1000)
	if _, err := f.WriteAt(zeros, 0); err != nil {
		t.Fatal(err)
	}
	end := s.Inject(Fault{Path: "*.log", Ops: OpRead, From: 500, To: 600, Flip: true, Delay: time.Second})
	got := make([]byte, 1000)
	for _, want := range []struct {
		off, len  int
		flipped   bool
		costNanos time.Duration
	}{{0, 500, false, 500}, {600, 400, false, 400}, {599, 1, true, time.Second + 1}, {0, 1000, true, time.Second + 1000}} {
		before := s.Spent()
		p := got[:want.len]
		if _, err := f.ReadAt(p, int64(want.off)); err != nil {
			t.Fatal(err)
		}
		if flipped := !bytes.Equal(p, zeros[:want.len]); flipped != want.flipped {
			t.Errorf("%+v: flipped=%v", want, flipped)
		}
		if cost := s.Spent() - before; cost != want.costNanos {
			t.Errorf("%+v: cost %d", want, cost)
		}
	}
	end()
	mine := errors.New("mine")
	s.Inject(Fault{Ops: OpWrite | OpSync, Nth: 2, Times: 2, Err: mine})
	for i, want := range []error{nil, mine, mine, nil} {
		if err := f.Sync(); !errors.Is(err, want) {
			t.Errorf("sync %d: %v, want %v", i, err, want)
		}
	}
}

// TestFailedSyncShowsEitherContent: after it, the cache may show what was written or what was synced
// before; after a restart there is only the latter.
func TestFailedSyncShowsEitherContent(t *testing.T) {
	seen := map[string]int{}
	for seed := range 40 {
		a := newActor(NewSim(SimConfig{Seed: uint64(seed)}), "/")
		a.run("edit f a\nsyncdir /\nwrite f 0 A*3\nsync f\nwrite f 0 B*3\nfault a sync 1 1\nsync f\nsync f")
		seen[a.run("read f 0 3")+a.run("cut keep")+a.run("get a")]++
	}
	lies, drops := "read f 0 3: B*3 ok\nok\nget a: A*3\n", "read f 0 3: A*3 ok\nok\nget a: A*3\n"
	if len(seen) != 2 || seen[lies] == 0 || seen[drops] == 0 {
		t.Fatalf("%v", seen)
	}
}

func TestSimFromManyGoroutines(t *testing.T) {
	s := NewSim(SimConfig{})
	var done sync.WaitGroup
	for i := range 8 {
		done.Go(func() {
			name := fmt.Sprint("dir", i%3, "/f", i)
			for round := range 50 {
				err := s.MkdirAll(fmt.Sprint("dir", i%3))
				f, editErr := s.Edit(name)
				if editErr != nil {
					t.Error(editErr)
					return
				}
				_, writeErr := f.WriteAt(bytes.Repeat([]byte{byte(i)}, 3000), int64(round)*2000)
				err = errors.Join(err, writeErr, f.Sync(), f.Close(), s.SyncDir(fmt.Sprint("dir", i%3)), s.SyncDir("/"))
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	done.Wait()
	s.PowerCut(Lose)
	for i := range 8 {
		e, err := s.Stat(fmt.Sprint("dir", i%3, "/f", i))
		if err != nil || e.Size != 49*2000+3000 {
			t.Errorf("file %d: %+v %v", i, e, err)
		}
	}
}

// TestSyncedFileCostsItsSize keeps the simulated disk lean: twice the size
// would mean that old contents are kept after a sync.
func TestSyncedFileCostsItsSize(t *testing.T) {
	s := NewSim(SimConfig{})
	f, err := s.Edit("f")
	if err != nil {
		t.Fatal(err)
	}
	b := bytes.Repeat([]byte{1}, 64<<10)
	for range 2 {
		for i := range 64 {
			if _, err := f.WriteAt(b, int64(i*len(b))); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	n, err := s.find("f")
	if err != nil {
		t.Fatal(err)
	}
	held := 0
	n.pages.each(0, func(p *page) { held += len(p.data) + len(p.disk) + len(p.between) })
	if held != 64*len(b) || n.pages.volatile != nil {
		t.Fatalf("%d bytes held for %d", held, 64*len(b))
	}
	if err := f.Truncate(0); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil || len(n.pages.chunks) != 0 || s.used != 0 {
		t.Fatalf("an empty file keeps %d chunks, %d bytes: %v", len(n.pages.chunks), s.used, err)
	}
}

func TestErrorsNameTheFile(t *testing.T) {
	for _, fsys := range []FS{NewOS(), NewSim(SimConfig{})} {
		_, err := fsys.Open("/none/such")
		var named *fs.PathError
		if !errors.As(err, &named) || named.Path != "/none/such" {
			t.Errorf("%T: %v", fsys, err)
		}
	}
}

func BenchmarkSimAppendSync(b *testing.B) {
	s := NewSim(SimConfig{})
	f, err := s.Edit("f")
	if err != nil {
		b.Fatal(err)
	}
	p := make([]byte, 100<<10)
	b.SetBytes(int64(len(p)))
	for i := range b.N {
		if _, err := f.WriteAt(p, int64(i%1000)*int64(len(p))); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
}
