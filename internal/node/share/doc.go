// Package share delivers records to the members of share groups: the shell
// around the machines of machine/share/partition (KIP-932).
//
// Duty: [Delivery] keeps the share sessions and the share partitions of the
// partitions that this node leads. A fetch finds its session's partitions,
// reads what the machine wants from the log, has the machine acquire it, and
// waits when there is nothing; acknowledgements go to the machine, and what it
// changes goes to the share coordinator before anybody is told. Locks that time
// out, members that disconnect and settings that change are seen to here.
//
//	ShareFetch ─► session ─► share partition: NextFetch ─► Log.Read ─► Acquire ─► answer with a view of the log
//	acknowledgements ─────► share partition: Acknowledge ─► Persister ─► Settle ─► answer, next in line
//
// Invariants:
//   - Records are never copied or looked at, only the heads of their batches.
//   - One write of a share partition is with the persister at a time; what
//     comes meanwhile goes out together in the next.
//   - No lock is held while the persister, a log or a callback runs, but for
//     the reading lock of a share partition, which lets one member read at a
//     time so that no two get the same answer from the log.
//   - Who waits is in the queue of each share partition that it waits for; what
//     becomes available wakes one, who wakes the next if there is more.
//
// Locks, outermost first: Delivery, session, a share partition's reading lock,
// its state.
//
// Called by node/broker; wired by node. It must never decide about a record's state.
package share
