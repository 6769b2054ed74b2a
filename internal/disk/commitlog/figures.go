package commitlog

import (
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/internal/metric"
)

// Figures are what the committer of a data directory has done since it was
// opened. But for Refused, appends of topics with ack.durability=written are not among them.
type Figures struct {
	// Rounds are group commits: one write and one sync for all that was queued.
	Rounds atomic.Uint64
	// Appends are the batches that they made durable, and Bytes their size.
	Appends, Bytes atomic.Uint64
	// Took is how long a round's writing and syncing took.
	Took metric.Histogram
	// Refused are the batches, of all topics, that a full disk turned away.
	Refused atomic.Uint64
	// JournalBytes is what the journal's files hold that is not yet in segments.
	JournalBytes atomic.Int64
}

// refusalEvery is the least time between two lines about batches that a full disk turned away.
const refusalEvery = time.Minute

// refusals tells of batches that a full disk turned away. What is small may still find room, so that other appends are taken.
type refusals struct {
	told atomic.Int64 // when it last logged, by Mono; 0 for never
}

// note counts n batches and logs now and then. The committer calls it, or who holds a log's io.
func (r *refusals) note(s *Store, n int, err error) {
	all := s.Figures.Refused.Add(uint64(n))
	now := int64(s.world.Mono())
	told := r.told.Load()
	if told != 0 && now-told < int64(refusalEvery) || !r.told.CompareAndSwap(told, max(now, 1)) {
		return
	}
	s.logger.Error("the disk is full: batches that do not fit are refused until there is space, reading goes on", "error", err, "refused", all)
}
