// Package clean decides what compaction keeps: the newest record of every key of a log.
//
// Duty: a cleaning reads a log twice. First the part that was never cleaned goes through a [Scan], which
// notes in [Keys] the newest offset of each key. Then all batches from the log's beginning go through a [Filter], which
// drops records that a newer one supersedes, tombstones and transaction markers whose time has come, and data of aborted
// transactions, and writes what stays. It is Kafka's cleaner to the record, with its delete horizon (KIP-534).
//
//	a record stays   if it is behind what the scan has seen, or is the newest of its key and no tombstone past its horizon
//	a batch stays    empty, if it has its producer's last sequence number, or ends what is being cleaned
//	a marker stays   until its transaction has no data, and then until its horizon has passed
//
// Invariants: offsets never change, nor the range of a batch that stays; a batch of which everything stays
// is copied byte for byte; one that fails its CRC is an error, never rewritten. Two keys are never taken for one: see [Keys].
// Nothing is allocated per record.
//
// Called by disk/commitlog, which reads and writes the files. It must never do I/O, ask the time or keep a caller's
// slice.
package clean
