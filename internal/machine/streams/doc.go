// Package streams keeps the streams groups (KIP-1071) of one partition of __consumer_offsets.
//
// Duty: it decides what a heartbeat of a Kafka Streams application does: which topology the group runs, which of its
// topics are missing, which member gets which tasks, when a member must give tasks up before another one gets them,
// and when a member is gone. What it decides, what it answers and its records are those of Apache Kafka 4.3.1. So it
// refuses what that refuses: static members, source topics by regular expression, a topology that changes.
//
// The durable state changes by Apply alone, in replay and live. Beside it each group has state of this session, which
// Kafka does not write either: timers, the topology matched with the topics that there are, who asked for a shutdown.
//
// Invariants:
//   - A request that is refused changes nothing.
//   - An active task is given to a member only when no member has it any more; a standby task only when no other
//     member of the same process has the task.
//   - Epochs of a group and of its members never go back.
//   - The order of whatever is seen in an answer or a record is fixed.
//
// Called by internal/node/coordinator under a shard's lock, and by internal/machine/group as one of its kinds. It
// must never do I/O, ask the time, lock, or keep memory of a request.
package streams
