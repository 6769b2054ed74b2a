// Package share holds the two replicated machines of share groups (KIP-932).
//
// Duty: [State] is the share coordinator's machine on one partition of
// __share_group_state: for each share partition (a group on a topic's
// partition) the start offset and the delivery state of the records behind it.
// [Groups] is the group coordinator's part, a group.Kind on __consumer_offsets:
// who is a member, what is assigned to whom, and which share partitions have a
// state. What becomes of single records is decided by the package partition
// beside this one.
//
// Both emit Apache Kafka's records and apply them at once through the code that
// replays them, so that what is live equals what a replay of the log gives. If
// a write fails the shell drops the machine and loads the partition anew.
//
// Invariants:
//   - A state epoch and a leader epoch never go back; who comes with an older
//     one is refused with FENCED_STATE_EPOCH or FENCED_LEADER_EPOCH.
//   - The state batches of a share partition are in order, do not overlap, and
//     none lies before its start offset.
//   - Only share partitions whose state has been initialized are assigned.
//   - Whatever is seen in an answer or a record has a fixed order, so that the
//     same inputs give the same bytes.
//
// Called by internal/node/coordinator under a shard's lock. It must never do
// I/O, ask the time, draw random numbers, lock, or keep memory of a request.
package share
