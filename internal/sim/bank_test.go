package sim_test

import (
	"flag"
	"log/slog"
	"os"
	"testing"

	"github.com/moldau/moldau/internal/sim"
)

var bankSeeds = flag.Int("bankseeds", 60, "how many seeds TestBank and TestLate run")

// bank plays seeds.
func bank(t *testing.T, options sim.BankOptions) (sum sim.BankResult) {
	first, last, log := uint64(1), uint64(*bankSeeds), slog.New(slog.DiscardHandler)
	if *oneSeed > 0 {
		first, last = *oneSeed, *oneSeed
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	for seed := first; seed <= last; seed++ {
		r, err := sim.RunBank(sim.NewRig(seed, log), options)
		if err != nil {
			t.Errorf("%v\nreplay: go test ./internal/sim -run %s -seed %d -v", err, t.Name(), seed)
		}
		if len(r.Anomalies) > 0 {
			t.Errorf("%s\nreplay: go test ./internal/sim -run %s -seed %d -v", r.Anomalies[0], t.Name(), seed)
		}
		sum.Add(r)
	}
	t.Logf("%d seeds: %+v", last-first+1, sum)
	return sum
}

// TestBank has tellers and zombies move money over a compacted topic, while nodes are killed, power is cut and
// transactions time out; the history has no anomaly.
func TestBank(t *testing.T) {
	r := bank(t, sim.BankOptions{})
	if *oneSeed == 0 && (r.Kills == 0 || r.PowerCuts == 0 || r.Committed == 0 || r.Aborted == 0 || r.Doubtful == 0 || r.Fenced == 0 || r.Cleaned == 0) {
		t.Errorf("vacuous: %+v", r)
	}
}

// TestLate has requests of earlier transactions arrive late, on connections that clients have given up.
func TestLate(t *testing.T) {
	r := bank(t, sim.BankOptions{Slow: true, Classic: true})
	if *oneSeed == 0 && (r.TimedOut == 0 || r.Committed == 0 || r.Aborted == 0) {
		t.Errorf("vacuous: %+v", r)
	}
}
