// Package commitlog keeps the partitions' logs of one data directory: durable, in Kafka's files.
//
// Duty: a [Store] is one of log.dirs. It gives each append its offsets, commits what all logs have queued in
// one group, keeps what the segments do not have yet in memory, writes behind, checkpoints, rolls, retains, and
// after a crash brings every log back to what was acknowledged.
//
//	Append ─► Log.mu: producer check, offsets, epoch ─► Store.queue ─► committer, a round:
//	                                                                     group by log
//	    log brings ≥ DirectBytes ──► its segment (write, sync)  ◄────────┤
//	    all others ──► journal: one write, one sync             ◄────────┘
//	                        │ copied once
//	                        ▼
//	    Read ◄── tail (chunks) ──► write-behind ──► segment ──► checkpoint: sync, then the journal's space is free
//
// What an append costs:
//
//	                    bytes written    copies by us       system calls of a round        syncs of a round
//	journaled           2 (one behind)   1, to the tail     1 write for all logs           1 for all logs
//	                                     (+1 below 1 KiB)   + 1 per 256 KiB behind
//	direct              1                0                  1 write per log, 1 mark        1 per log
//	Written durability  1                0                  1 write per append or group    0
//
// While a round syncs, the next one gathers. A log with Written durability has no round: the appender writes, also
// for those that come meanwhile.
//
// # Offsets
//
//	start ≤ recovery point ≤ flushed ≤ stable ≤ end
//	        │                │         │        └ next offset to assign; above stable: in flight
//	        │                │         └ acknowledged, readable
//	        │                └ in the segment files; up to stable: in the tail
//	        └ synced in the segments: recovery reads from here
//
// Stable never goes back but by Truncate. Nothing at or above it is ever given by Read. An append that fails takes all
// behind it with it, and end, epochs, producers and segments are what they were.
//
// # Order on disk
//
//   - A segment's bytes may be written before the journal's are synced only in a direct round, and then nothing of
//     it is acknowledged before its file is synced.
//   - Journal frames are released when all that was in the tails at that time is synced in the segments.
//   - The name of a new segment is durable before a direct round in it is acknowledged, or its frames are released.
//     The removal of a segment that recovery or Truncate cut off is durable before anything is appended.
//   - Written logs never use the journal. The first round after a change to synced is direct and syncs all.
//   - A log's truncation stands in the journal with a begin and an end, its deletion with an end: older frames of
//     it never come back.
//   - The clean-stop marker is removed, durably, before anything else is changed at a start, and
//     written last at a stop, when the journal is gone.
//
// # Recovery
//
// With the marker, files are trusted and nothing is scanned but the end of the active segment. Without it, each log is
// walked from its recovery point: entries that the journal has are compared with it, and the journal wins;
// others are checked by their CRC. At the first place that neither has, the log ends if nothing proves that
// more was durable: the rest is cut and reported. The proof is a later journaled batch, a mark that a direct round left
// in the journal, or the recovery point itself; then the partition goes offline with a [CorruptError], nothing is
// deleted, what the journal had of it is kept in moldau-rescue, and moldau-damage keeps it offline until
// somebody has looked.
//
// # Compaction
//
// A [Cleaner] rewrites the closed segments of logs with cleanup.policy compact; disk/clean decides what stays. It reads
// twice: what was never cleaned, for the keys, and then all from the log's start, which it copies. Segments are
// replaced in groups, in the order of their offsets and each durably before the next, because a tombstone may go only after what it
// deletes. Only what lies below the recovery point in the checkpoint file, the high watermark, open transactions and the active segment
// is touched: recovery never has to compare a cleaned segment with the journal. Views of replaced segments stay good; who comes too late
// for a file gets errReplaced inside of this package, and looks again. Moves pause cleaning, truncation and deletion end it
// between two steps.
//
// # Locks
//
// In the order in which they are taken: Store.cleanMu, Store.ckptMu, Store.roundMu, Log.io, Log.mu, then the small ones of the
// store (mu, dirtyMu, queue, files, pool, offsetsMu), which are not held across each other's. Log.mu is never held
// across I/O. OnStable and Done are called with none of them held.
//
// Called by node/partition and node/quorum. It must never wait for another request, never answer before
// a batch is as durable as its log promises, never serve what it cannot vouch for, and never delete what it
// cannot read.
//
// Specification: Kafka's log directory as docs/format describes it; KIP-98, KIP-101, KIP-360, KIP-516, KIP-890.
package commitlog
