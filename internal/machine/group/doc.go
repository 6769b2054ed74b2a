// Package group is the group coordinator's machine: the classic group protocol,
// the consumer groups of KIP-848, and the offsets of all groups of one
// partition of __consumer_offsets.
//
// Duty: it decides what a ConsumerGroupHeartbeat, JoinGroup, SyncGroup, Heartbeat, LeaveGroup,
// OffsetCommit, OffsetFetch, OffsetDelete, DescribeGroups, ListGroups and
// DeleteGroups request does and answers, when members and offsets expire, and
// what has to be written for it, as Apache Kafka 4.3.1 does and in its record
// formats.
//
// The state has two halves. The durable half (offsets, and that a group's
// metadata record exists) is changed by Apply while loading and by Settle once
// a write is committed, through the same code, so that what is live equals what
// a replay of the log gives. The session half (members between two
// generations, parked requests, timers) is never written by Kafka either; a
// new coordinator starts without it and the members rejoin.
//
//	           request, time                        committed or failed
//	shell ───────────────────► Machine  ─ Effects ─► shell ─────────────► Machine.Settle
//	                            writes, answers to parked requests, events
//
// Other kinds of groups (see [Kind]) live beside the classic ones: consumer
// groups in this package, because groups move between the two protocols while
// they run, and streams and share groups in their own. A kind changes its state
// at once, through the code that replay uses, and its records follow; if they
// cannot be written, the shell loads the partition anew.
//
// Invariants:
//   - No two members of a consumer group have the same partition, at any point
//     of the log. A member gets what another has given up, and not before.
//   - Writes settle in the order in which they were decided. A decision that
//     depends on what is not settled yet treats it as present.
//   - A reader never sees an offset that is not committed.
//   - Every Ticket that is parked is answered exactly once.
//   - A group exists as long as it has a metadata record, an offset, a member,
//     a pending member, an open transaction or an unsettled write.
//   - Whatever is seen in an answer or a record has a fixed order, so that the
//     same inputs give the same bytes.
//
// Called by internal/node/coordinator under a shard's lock. It must never do
// I/O, ask the time, draw random numbers, lock, or keep memory of a request.
//
// Specification: the classic protocol as amended by KIP-62 (rebalance timeout),
// KIP-134 (initial delay), KIP-211 (offset expiration), KIP-345 (static
// members), KIP-394 (member id required), KIP-447 (stable offsets), KIP-496
// (OffsetDelete), KIP-518 (state filter), KIP-559 (protocol in SyncGroup),
// KIP-709 (several groups), KIP-800 (reasons), KIP-814 (skip assignment);
// KIP-848 (consumer groups), KIP-1101 (hashes of topics), KIP-1251 (epochs of
// assignments).
package group
