package sim_test

import (
	"flag"
	"log/slog"
	"os"
	"testing"

	"github.com/moldau/moldau/internal/sim"
)

var (
	oneSeed = flag.Uint64("seed", 0, "run this seed only, with the node's log")
	seeds   = flag.Int("seeds", 150, "how many seeds TestSeeds runs")
)

// TestSeeds kills nodes and cuts their power under load, and demands that
// everything acknowledged is there afterwards, in order, once.
func TestSeeds(t *testing.T) {
	if *oneSeed > 0 {
		log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
		r, err := sim.Run(sim.NewRig(*oneSeed, log))
		t.Logf("%+v", r)
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	var sum sim.Result
	for seed := uint64(1); seed <= uint64(*seeds); seed++ {
		r, err := sim.Run(sim.NewRig(seed, slog.New(slog.DiscardHandler)))
		if err != nil {
			t.Errorf("%v\nreplay: go test ./internal/sim -run TestSeeds -seed %d -v", err, seed)
			continue
		}
		sum.Add(r)
	}
	if sum.Kills == 0 || sum.PowerCuts == 0 || sum.Acked == 0 || sum.Unknown == 0 {
		t.Errorf("vacuous: %+v", sum)
	}
	t.Logf("%d seeds: %+v", *seeds, sum)
}
