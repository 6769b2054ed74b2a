// Package partition runs the partitions whose replica lives on this node.
//
// Duty: a [Partition] joins one commit log to those who use it: it takes
// appends, tells how far readers may see, and wakes the fetches that wait for
// data. A [Table] finds partitions by topic name and by topic id, and follows
// the metadata: it creates, configures and deletes logs as images are
// published.
//
// Invariants: nothing above the high watermark is ever shown to a consumer;
// the high watermark covers only records that are stable as the topic's
// ack.durability demands; a waiter is fired at most once; no lock of this
// package is held while a callback runs, and none but that of the moves between
// directories while the disk works.
//
// Called by node/broker and node/coordinator, wired by node. It must never
// wait for another request.
//
// Data path of a produce: the frame's bytes are validated where they lie
// (record.Validate), offsets are stamped in place under the log's lock, and the
// committer writes those same bytes: no copy here, no allocation.
package partition
