package sim_test

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/sim"
)

// TestPowerCutWhileATopicIsMade cuts the power at every operation of the disk while a topic is made. Whatever was lost, a
// topic that is in the metadata afterwards takes records in all partitions, and one that is not can be made again.
func TestPowerCutWhileATopicIsMade(t *testing.T) {
	const partitions, cuts = 3, 50 // that many operations it takes, about
	made := 0
	for seed := uint64(1); seed <= 20; seed++ {
		for cut := int64(1); cut <= cuts; cut++ {
			rig := sim.NewRig(seed, slog.New(slog.DiscardHandler))
			if err := rig.Boot(); err != nil {
				t.Fatal(err)
			}
			rig.Disk().CutAt(cut)
			_ = rig.CreateTopic("t", partitions) // whether it got there shows below
			rig.Disk().CutAt(0)
			rig.PowerCut()
			if err := rig.Boot(); err != nil {
				t.Fatalf("seed %d, cut %d: %v", seed, cut, err)
			}
			if err := rig.CreateTopic("t", partitions); errors.Is(err, wire.TopicAlreadyExists) {
				made++
			} else if err != nil {
				t.Fatalf("seed %d, cut %d: %v", seed, cut, err)
			}
			for p := range int32(partitions) {
				if code := rig.Produce(sim.NewHistory("t", p), 100); code != wire.None {
					t.Fatalf("seed %d, cut %d: partition %d: %v", seed, cut, p, code)
				}
			}
		}
	}
	if made == 0 {
		t.Fatal("vacuous: no topic survived")
	}
}
