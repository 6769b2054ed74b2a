package coordinator

import (
	"time"

	"github.com/moldau/moldau/internal/machine/txn"
)

// TransactionStats is what a transaction coordinator has to tell of itself.
type TransactionStats struct {
	// IDs counts the transactional ids of the partitions led here, by state.
	IDs [txn.Dead]int
	// Waiting counts markers that could not be written and will be tried again.
	Waiting int64
	// Reloading counts partitions that are loaded anew, because a state could not be written.
	Reloading int
	// Loads counts partitions that were loaded; LoadMax and LoadSum are how long that took, the last time of each.
	Loads            int
	LoadMax, LoadSum time.Duration
}

// Stats tells what there is now.
func (c *Transactions) Stats() TransactionStats {
	out := TransactionStats{Waiting: c.waiting.Load()}
	for _, s := range *c.shards.Load() {
		s.mu.Lock()
		if s.reload {
			out.Reloading++
		}
		if s.loads > 0 {
			out.Loads++
			out.LoadMax, out.LoadSum = max(out.LoadMax, s.loadTook), out.LoadSum+s.loadTook
		}
		if s.status == active {
			s.machine.machine.Count(&out.IDs)
		}
		s.mu.Unlock()
	}
	return out
}
