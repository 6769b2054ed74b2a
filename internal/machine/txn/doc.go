// Package txn is the transaction coordinator's machine: the transactional ids
// of one partition of __transaction_state.
//
// Duty: it decides what InitProducerId (with a transactional id),
// AddPartitionsToTxn, AddOffsetsToTxn, EndTxn, DescribeTransactions and
// ListTransactions do and answer, when a transaction is aborted because it
// takes too long, when an id is forgotten, which markers have to be written,
// and what has to be recorded for it, as Apache Kafka 4.3.1 does and in its
// record format.
//
//	          first partition           EndTxn             markers written
//	Empty ──────────────────► Ongoing ────────► Prepare… ─────────────────► Complete…
//	  ▲                          ▲ │ InitProducerId, timeout:                 │ │
//	  │                          │ └─────► epoch fenced, PrepareAbort         │ │
//	  │                          └────────────────────────────────────────────┘ │
//	  └──────────────── InitProducerId: epoch bumped ◄──────────────────────────┘
//
// The machine decides on its live state, which includes what is not committed
// yet: records are applied when they are decided, through the same function as
// in replay, and if the write fails the shell loads the partition anew. While
// a transactional id has a write under way every other request for it is told
// CONCURRENT_TRANSACTIONS, as Kafka does.
//
// Invariants:
//   - A producer id and epoch that a client was given are in a committed record.
//   - Markers go out only for a Prepare… state that is committed, with the epoch
//     recorded there; Complete… is recorded only when all are written.
//   - An epoch never comes back: when none is left the producer id changes.
//   - Whatever is seen in an answer or a record has a fixed order.
//
// Called by internal/node/coordinator under a shard's lock. It must never do I/O,
// ask the time, draw producer ids, lock, or keep memory of a request.
//
// Specification: KIP-98 (transactions), KIP-360 (epoch bump by the client),
// KIP-447 (offsets), KIP-664 (tools), KIP-890 (verification, an epoch for each
// transaction: transaction.version 2).
package txn
