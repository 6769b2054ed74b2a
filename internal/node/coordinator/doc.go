// Package coordinator runs replicated machines over the partitions of internal
// topics: today the groups of __consumer_offsets.
//
// Duty: a [shard] is one partition with its machine. When the broker becomes
// the partition's leader the shard replays the partition in the background and
// then serves; each request is decided at once, what it writes is appended as
// one batch, and the answer goes out when that is committed. When leadership
// ends, everybody who waits is sent on to the new coordinator. [Groups] is the
// broker's door to all shards: one method per API, which never blocks and
// calls done exactly once.
//
//	request ─► Groups ─► shard (lock) ─► machine decides ─► batch ─► Log.Append
//	                                         ▲                          │ committed or failed
//	    done ◄───────────────────────────────┴── machine settles ◄──────┘
//
// Invariants:
//   - One lock per shard. Neither an append nor a callback happens under it, so
//     that a Log may call back from within Append, and done may do anything.
//   - Batches reach the log in the order in which they were decided, and their
//     outcomes reach the machine in that order.
//   - One timer per shard. A heartbeat sets no timer and allocates nothing that
//     outlives it.
//   - Time, timers and background work come from clock.World alone.
//
// Called by internal/node/broker with requests and by the node with elections.
// It must never look into a request's meaning (the machine does), nor block.
package coordinator
