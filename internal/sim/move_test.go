package sim_test

import (
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/sim"
)

// bootTwo starts a node with two data directories and the topic of boot.
func bootTwo(t *testing.T, seed uint64) *sim.Rig {
	t.Helper()
	r := sim.NewRig(seed, slog.New(slog.DiscardHandler))
	r.SetDirs("/one,/two")
	if err := r.Boot(); err != nil {
		t.Fatal(err)
	}
	createT(t, r)
	return r
}

func createT(t *testing.T, r *sim.Rig) {
	t.Helper()
	req, resp := &wire.CreateTopicsRequest{}, &wire.CreateTopicsResponse{}
	req.SetDefaults()
	topic := wire.CreateTopicsRequestCreatableTopic{}
	topic.SetDefaults()
	topic.Name, topic.NumPartitions, topic.ReplicationFactor = "t", 1, 1
	req.Topics = append(req.Topics, topic)
	if err := r.Call(req, 7, resp); err != nil || resp.Topics[0].ErrorCode != wire.None {
		t.Fatal(err, resp.Topics)
	}
}

// alter asks for a move.
func alter(r *sim.Rig, dir, topic string, index int32) wire.Code {
	req, resp := &wire.AlterReplicaLogDirsRequest{}, &wire.AlterReplicaLogDirsResponse{}
	req.Dirs = []wire.AlterReplicaLogDirsRequestAlterReplicaLogDir{{
		Path: dir, Topics: []wire.AlterReplicaLogDirsRequestAlterReplicaLogDirTopic{{Name: topic, Partitions: []int32{index}}},
	}}
	if err := r.Call(req, 2, resp); err != nil {
		return wire.UnknownServerError
	}
	return resp.Results[0].Partitions[0].ErrorCode
}

// where tells in which directory the partition is, and where a copy of it is made.
func where(t *testing.T, r *sim.Rig) (dir, future string) {
	t.Helper()
	req, resp := &wire.DescribeLogDirsRequest{}, &wire.DescribeLogDirsResponse{}
	if err := r.Call(req, 4, resp); err != nil {
		t.Fatal(err)
	}
	for i := range resp.Results {
		for _, topic := range resp.Results[i].Topics {
			for _, p := range topic.Partitions {
				switch {
				case topic.Name != "t":
				case p.IsFutureKey:
					future += resp.Results[i].LogDir
				default:
					dir += resp.Results[i].LogDir
				}
			}
		}
	}
	return dir, future
}

// other is the directory where the partition is not.
func other(dir string) string {
	return map[string]string{"/one": "/two", "/two": "/one"}[dir]
}

// settle runs the world until no copy is being made.
func settle(t *testing.T, r *sim.Rig) {
	t.Helper()
	for range 1000 {
		if _, future := where(t, r); future == "" {
			return
		}
		r.Step()
	}
	t.Fatal("the move does not end")
}

func TestMoveBetweenDirectories(t *testing.T) {
	r, h := bootTwo(t, 1), sim.NewHistory("t", 0)
	for _, size := range []int{100, 5_000, 200_000, 1 << 20, 3_000_000 / 4, 10} {
		produce(t, r, h, 3, size)
	}
	for round := range 4 {
		from, _ := where(t, r)
		if code := alter(r, other(from), "t", 0); code != wire.None {
			t.Fatal(code)
		}
		if at, future := where(t, r); at != from || future != other(from) {
			t.Fatalf("while it moves: in %q, copied to %q", at, future)
		}
		if taken, code := produce(t, r, h, 5, 1000*(round+1)); code != wire.None {
			t.Fatalf("while it moves %d batches, then %v", taken, code)
		}
		settle(t, r)
		if at, _ := where(t, r); at != other(from) {
			t.Fatalf("moved from %q to %q", from, at)
		}
		check(t, r, h)
		produce(t, r, h, 3, 500)
		check(t, r, h)
		switch round {
		case 1:
			r.PowerCut()
		case 2:
			if err := r.Stop(); err != nil {
				t.Fatal(err)
			}
		default:
			continue
		}
		if err := r.Boot(); err != nil {
			t.Fatal(err)
		}
		check(t, r, h)
	}
}

func TestMoveIsCancelledAndReplaced(t *testing.T) {
	r, h := bootTwo(t, 1), sim.NewHistory("t", 0)
	produce(t, r, h, 20, 200_000)
	from, _ := where(t, r)
	for range 2 {
		if code := alter(r, other(from), "t", 0); code != wire.None {
			t.Fatal(code)
		}
	}
	if code := alter(r, from, "t", 0); code != wire.None {
		t.Fatal(code)
	}
	if at, future := where(t, r); at != from || future != "" {
		t.Fatalf("cancelled: in %q, copied to %q", at, future)
	}
	check(t, r, h)
	for dir, want := range map[string]wire.Code{"/three": wire.LogDirNotFound, from: wire.None} {
		if code := alter(r, dir, "t", 0); code != want {
			t.Errorf("to %s: %v, want %v", dir, code, want)
		}
	}
	if code := alter(r, from, "t", 1); code != wire.UnknownTopicOrPartition {
		t.Errorf("an unknown partition: %v", code)
	}
	if code := alter(r, from, strings.Repeat("x", 249), 0); code != wire.InvalidTopic {
		t.Errorf("a topic with a long name: %v", code)
	}
	// A stop in the middle leaves no copy behind.
	if code := alter(r, other(from), "t", 0); code != wire.None {
		t.Fatal(code)
	}
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/one", "/two"} {
		for _, name := range names(t, r, dir) {
			if strings.HasSuffix(name, "-future") {
				t.Errorf("%s is left in %s", name, dir)
			}
		}
	}
	if err := r.Boot(); err != nil {
		t.Fatal(err)
	}
	check(t, r, h)
}

func TestMoveEndsWithItsTopic(t *testing.T) {
	r, h := bootTwo(t, 1), sim.NewHistory("t", 0)
	produce(t, r, h, 20, 200_000)
	from, _ := where(t, r)
	if code := alter(r, other(from), "t", 0); code != wire.None {
		t.Fatal(code)
	}
	req, resp := &wire.DeleteTopicsRequest{}, &wire.DeleteTopicsResponse{}
	req.SetDefaults()
	req.TopicNames = []string{"t"}
	if err := r.Call(req, 5, resp); err != nil || resp.Responses[0].ErrorCode != wire.None {
		t.Fatal(err, resp.Responses)
	}
	if at, future := where(t, r); at != "" || future != "" {
		t.Fatalf("deleted: in %q, copied to %q", at, future)
	}
	createT(t, r)
	h = sim.NewHistory("t", 0)
	produce(t, r, h, 3, 100)
	check(t, r, h)
}

func TestNewTopicGoesWhereItWasAskedFor(t *testing.T) {
	for _, dir := range []string{"/one", "/two"} {
		r := sim.NewRig(1, slog.New(slog.DiscardHandler))
		r.SetDirs("/one,/two")
		if err := r.Boot(); err != nil {
			t.Fatal(err)
		}
		if code := alter(r, dir, "t", 0); code != wire.UnknownTopicOrPartition {
			t.Fatal(code)
		}
		createT(t, r)
		if at, _ := where(t, r); at != dir {
			t.Fatalf("made in %q, asked for %q", at, dir)
		}
	}
}

// names lists a directory.
func names(t *testing.T, r *sim.Rig, dir string) (list []string) {
	t.Helper()
	entries, err := r.Disk().List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name)
	}
	return list
}

// TestMoveSurvivesACrashAnywhere moves a partition again and again, and cuts the power, or kills the process, one
// disk operation later each time.
func TestMoveSurvivesACrashAnywhere(t *testing.T) {
	moved, stayed := 0, 0
	for _, power := range []bool{true, false} {
		for n := int64(1); ; n++ {
			r, h := bootTwo(t, uint64(n)), sim.NewHistory("t", 0)
			produce(t, r, h, 3, 200)
			produce(t, r, h, 1, 900_000)
			produce(t, r, h, 1, 900_000)
			from, _ := where(t, r)
			before := r.Disk().OpCount()
			r.Disk().CutAt(n)
			alter(r, other(from), "t", 0)
			for range 6 {
				r.Produce(h, 300)
				for range 4 {
					r.Step()
				}
			}
			done := r.Disk().OpCount()-before < n
			for life := range 2 {
				if life == 0 && !power {
					r.Kill()
				} else {
					r.PowerCut()
				}
				r.Disk().CutAt(0)
				if err := r.Boot(); err != nil {
					t.Fatalf("cut at %d: %v", n, err)
				}
				at, future := where(t, r)
				if at != "/one" && at != "/two" || future != "" {
					t.Fatalf("cut at %d: in %q, copied to %q", n, at, future)
				}
				if at == from {
					stayed++
				} else {
					moved++
				}
				if err := r.Check(h); err != nil {
					t.Fatalf("cut at %d, life %d, %s to %s: %v", n, life, from, at, err)
				}
				if code := r.Produce(h, 100); code != wire.None {
					t.Fatalf("cut at %d: %v", n, code)
				}
				if err := r.Check(h); err != nil {
					t.Fatalf("cut at %d: %v", n, err)
				}
				copies := 0
				for _, dir := range []string{"/one", "/two"} {
					if slices.Contains(names(t, r, dir), "t-0") {
						copies++
					}
				}
				if copies != 1 {
					t.Fatalf("cut at %d: %d directories are the partition's", n, copies)
				}
			}
			if done {
				t.Logf("power %v: %d operations", power, n)
				break
			}
		}
	}
	if moved == 0 || stayed == 0 {
		t.Fatalf("%d starts found the partition moved and %d in its place", moved, stayed)
	}
}
