package partition

import "sync/atomic"

// Counts are what was done with a partition since the node started. Those who
// do it add; whoever shows metrics reads.
type Counts struct {
	// Messages and bytes that producers wrote, and bytes that consumers were given.
	MessagesIn, BytesIn, BytesOut atomic.Uint64
	// Produces and FailedProduces are produce requests for the partition.
	Produces, FailedProduces atomic.Uint64
	// Fetches are answers with records, FailedFetches those with an error. Fetches
	// that found nothing new are not counted: they would cost more than the look.
	Fetches, FailedFetches atomic.Uint64
}
