package sim_test

import (
	"flag"
	"log/slog"
	"os"
	"testing"

	"github.com/moldau/moldau/internal/sim"
)

var groupSeeds = flag.Int("groupseeds", 60, "how many seeds TestGroups, TestShareGroups and TestCompaction run each")

// seeded is what one run did.
type seeded[R any] interface {
	*R
	Add(R)
	Vacuous() bool
}

// eachSeed plays all seeds, or the one that was asked for.
func eachSeed[R any, P seeded[R]](t *testing.T, play func(*sim.Rig) (R, error)) {
	if *oneSeed > 0 {
		r, err := play(sim.NewRig(*oneSeed, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))))
		t.Logf("%+v", r)
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	var sum R
	for seed := uint64(1); seed <= uint64(*groupSeeds); seed++ {
		r, err := play(sim.NewRig(seed, slog.New(slog.DiscardHandler)))
		if err != nil {
			t.Errorf("%v\nreplay: go test ./internal/sim -run '^%s$' -seed %d -v", err, t.Name(), seed)
			continue
		}
		P(&sum).Add(r)
	}
	if P(&sum).Vacuous() {
		t.Errorf("vacuous: %+v", sum)
	}
	t.Logf("%d seeds: %+v", *groupSeeds, sum)
}

// TestGroups has members of classic and consumer groups come, go, stall, lie, migrate and commit, while nodes are killed and
// power is cut.
func TestGroups(t *testing.T) { eachSeed(t, sim.RunGroups) }

// TestShareGroups has members of a share group take, accept, release, reject and renew records, stall and die, while nodes are
// killed and power is cut.
func TestShareGroups(t *testing.T) { eachSeed(t, sim.RunShareGroups) }

// TestCompaction writes and deletes keys while the cleaner works, nodes are killed and power is cut.
func TestCompaction(t *testing.T) { eachSeed(t, sim.RunCompaction) }
