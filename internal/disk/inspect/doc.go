// Package inspect looks at the files of a data directory that no node serves.
//
// Duty: Dump shows what is in a file or a partition's directory, entry by entry; Verify
// checks a file, a partition or a whole data directory and says of everything that is wrong where
// it is, what it means and what to do. Both know the files of Kafka and Moldau alike: segments with their
// indexes, producer snapshots, snapshots of the metadata log, checkpoints, and our journal.
//
// Invariants: nothing is ever changed, created or locked; memory is bounded by the largest record batch,
// whatever the size of the files; damage is a finding, not an error: an error means that there was
// nothing to look at, or that the caller's own function returned it.
//
// Called by the command line (`moldau log`). It must never repair: that is the node's own business at its
// next start, or a replica's.
//
// A directory that was not stopped cleanly (there is no .kafka_cleanshutdown) may end in torn
// writes behind its recovery points. The next start cuts or replays them, so they are notices and not problems.
// A directory that a node serves right now looks just so.
//
// Formats: docs/format; Kafka's LogSegment, OffsetIndex, TimeIndex, TransactionIndex, ProducerStateManager.
package inspect
