package sim_test

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/sim"
)

// boot starts a node with one topic of one partition.
func boot(t *testing.T, seed uint64) *sim.Rig {
	t.Helper()
	r := sim.NewRig(seed, slog.New(slog.DiscardHandler))
	if err := r.Boot(); err != nil {
		t.Fatal(err)
	}
	req := &wire.CreateTopicsRequest{}
	req.SetDefaults()
	topic := wire.CreateTopicsRequestCreatableTopic{}
	topic.SetDefaults()
	topic.Name, topic.NumPartitions, topic.ReplicationFactor = "t", 1, 1
	req.Topics = append(req.Topics, topic)
	resp := &wire.CreateTopicsResponse{}
	if err := r.Call(req, 7, resp); err != nil || resp.Topics[0].ErrorCode != wire.None {
		t.Fatal(err, resp.Topics)
	}
	return r
}

// produce sends batches of size bytes until one is refused or n were taken; it
// gives the number taken and the refusal.
func produce(t *testing.T, r *sim.Rig, h *sim.History, n, size int) (taken int, code wire.Code) {
	t.Helper()
	for range n {
		if code = r.Produce(h, size); code != wire.None {
			return taken, code
		}
		taken++
	}
	return taken, wire.None
}

func check(t *testing.T, r *sim.Rig, h *sim.History) {
	t.Helper()
	if err := r.Check(h); err != nil {
		t.Fatal(err)
	}
}

func TestFullDiskRefusesAndRecovers(t *testing.T) {
	for _, size := range []int{100, 5_000, 200_000} {
		r, h := boot(t, 1), sim.NewHistory("t", 0)
		produce(t, r, h, 5, size)
		r.Disk().SetTotal(6 << 20)
		taken, code := produce(t, r, h, 100_000, size)
		if code != wire.KafkaStorageError || taken == 0 {
			t.Fatalf("%d batches of %d bytes, then %v; want some, then KAFKA_STORAGE_ERROR", taken, size, code)
		}
		check(t, r, h)
		r.Disk().SetTotal(1 << 40)
		r.Pass()
		if taken, code = produce(t, r, h, 10, size); code != wire.None || taken != 10 {
			t.Fatalf("with space again: %d batches of %d bytes, then %v", taken, size, code)
		}
		check(t, r, h)
		r.PowerCut()
		if err := r.Boot(); err != nil {
			t.Fatal(err)
		}
		check(t, r, h)
	}
}

func TestFailedSyncIsFinal(t *testing.T) {
	for _, path := range []string{"*.journal", "*.log"} {
		r, h := boot(t, 2), sim.NewHistory("t", 0)
		produce(t, r, h, 5, 1_000)
		produce(t, r, h, 2, 300_000)
		r.Disk().Inject(vfs.Fault{Path: path, Ops: vfs.OpSync, Err: vfs.ErrIO, Times: 1})
		_, code := produce(t, r, h, 50, map[string]int{"*.journal": 1_000, "*.log": 300_000}[path])
		if code != wire.KafkaStorageError {
			t.Fatalf("%s: a failed sync is answered with %v", path, code)
		}
		if _, code = produce(t, r, h, 3, 100); code != wire.KafkaStorageError {
			t.Fatalf("%s: after a failed sync a produce is answered with %v: the directory must stay offline", path, code)
		}
		r.PowerCut()
		if err := r.Boot(); err != nil {
			t.Fatal(err)
		}
		check(t, r, h)
		if _, code = produce(t, r, h, 3, 100); code != wire.None {
			t.Fatalf("%s: after a restart: %v", path, code)
		}
	}
}

func TestFlippedBitIsNeverServed(t *testing.T) {
	r, h := boot(t, 3), sim.NewHistory("t", 0)
	produce(t, r, h, 20, 3_000)
	r.Kill()
	if err := r.Boot(); err != nil { // what was in the journal is in the segment now
		t.Fatal(err)
	}
	check(t, r, h)
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := r.Disk().FlipBit("/data/t-0/00000000000000000000.log", 10_000); err != nil {
		t.Fatal(err)
	}
	if err := r.Boot(); err != nil {
		t.Fatal(err)
	}
	if err := r.Check(h); !errors.Is(err, wire.CorruptMessage) {
		t.Fatalf("reading past a flipped bit gives %v, want CORRUPT_MESSAGE", err)
	}
	// The only replica is damaged: the partition is offline, loudly, and not just for its readers.
	if _, code := produce(t, r, h, 1, 100); code != wire.KafkaStorageError {
		t.Fatalf("a produce to the damaged partition is answered with %v", code)
	}
}

func TestDirectoryThatNoTopicOwnsIsSetAside(t *testing.T) {
	r, h := boot(t, 4), sim.NewHistory("t", 0)
	produce(t, r, h, 3, 100)
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := r.Disk().Rename("/data/t-0", "/data/other-0"); err != nil {
		t.Fatal(err)
	}
	if err := r.Boot(); err != nil {
		t.Fatal(err)
	}
	names, err := r.Disk().List("/data")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(names, func(e vfs.Entry) bool {
		return strings.HasPrefix(e.Name, "other-0.") && strings.HasSuffix(e.Name, "-stray")
	}) {
		t.Fatalf("the directory holds %v: other-0 was to be kept under a name that ends in -stray", names)
	}
	if _, code := produce(t, r, sim.NewHistory("t", 0), 1, 100); code != wire.None {
		t.Fatalf("a produce to the partition whose directory is new: %v", code)
	}
}
