package sim

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Ends count how often a node died which way.
type Ends struct{ Kills, PowerCuts int }

func (e *Ends) add(o Ends) { e.Kills, e.PowerCuts = e.Kills+o.Kills, e.PowerCuts+o.PowerCuts }

// play has a run live its lives, and finish.
func (r *Rig) play(live func(life int) error, finish func() error) error {
	for life := range livesPerRun {
		if err := live(life); err != nil {
			return fmt.Errorf("seed %d, life %d: %w", r.seed, life, err)
		}
	}
	if err := finish(); err != nil {
		return fmt.Errorf("seed %d, at the end: %w", r.seed, err)
	}
	return nil
}

// end ends a life of the node, with the power or without it.
func (r *Rig) end(e *Ends, power bool) {
	if power {
		r.PowerCut()
		e.PowerCuts++
		return
	}
	r.Kill()
	e.Kills++
}

// cuts are power cuts at a start: each with one chance in odds, within so many writes, and if the node is up by then, within this time.
type cuts struct {
	odds   int
	writes int64
	within time.Duration
}

// bootThrough boots; now and then the power is cut meanwhile, or soon after.
func (r *Rig) bootThrough(e *Ends, rng *rand.Rand, c cuts) error {
	for rng.IntN(c.odds) == 0 {
		r.disk.CutAt(1 + rng.Int64N(c.writes))
		if err := r.Boot(); err == nil {
			r.hand.Advance(time.Duration(rng.Int64N(int64(c.within))))
		}
		r.end(e, true)
	}
	r.disk.CutAt(0)
	return r.Boot()
}
