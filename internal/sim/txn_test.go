package sim_test

import (
	"flag"
	"log/slog"
	"os"
	"testing"

	"github.com/moldau/moldau/internal/sim"
)

var txnSeeds = flag.Int("txnseeds", 150, "how many seeds TestTransactions runs")

// TestTransactions has zombies and their successors copy numbers exactly once, while nodes are killed, power is cut and
// transactions time out.
func TestTransactions(t *testing.T) {
	if *oneSeed > 0 {
		log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
		r, err := sim.RunTransactions(sim.NewRig(*oneSeed, log))
		t.Logf("%+v", r)
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	var sum sim.TxnResult
	for seed := uint64(1); seed <= uint64(*txnSeeds); seed++ {
		r, err := sim.RunTransactions(sim.NewRig(seed, slog.New(slog.DiscardHandler)))
		if err != nil {
			t.Errorf("%v\nreplay: go test ./internal/sim -run TestTransactions -seed %d -v", err, seed)
			continue
		}
		sum.Add(r)
	}
	if sum.Kills == 0 || sum.PowerCuts == 0 || sum.Committed == 0 || sum.Aborted == 0 || sum.Fenced == 0 || sum.Lost == 0 {
		t.Errorf("vacuous: %+v", sum)
	}
	t.Logf("%d seeds: %+v", *txnSeeds, sum)
}
