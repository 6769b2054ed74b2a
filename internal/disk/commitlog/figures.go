package commitlog

import (
	"sync/atomic"

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
