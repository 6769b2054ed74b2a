package commitlog

import (
	"sync/atomic"

	"github.com/moldau/moldau/internal/metric"
)

// Figures are what the committer of a data directory has done since it was
// opened. Appends of topics with ack.durability=written are not among them.
type Figures struct {
	// Rounds are group commits: one write and one sync for all that was queued.
	Rounds atomic.Uint64
	// Appends are the batches that they made durable, and Bytes their size.
	Appends, Bytes atomic.Uint64
	// Took is how long a round's writing and syncing took.
	Took metric.Histogram
}

// Figures are the directory's; they go on counting.
func (s *Store) Figures() *Figures { return &s.figures }

// JournalBytes is what the journal holds that is not yet in segments.
func (s *Store) JournalBytes() int64 { return s.journal.LiveBytes() }
