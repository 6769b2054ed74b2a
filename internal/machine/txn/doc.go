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
// # Requests that come late
//
// A client whose connection broke may have asked twice, and the first copy may be heard last. With transaction.version 2
// that is harmless: each transaction has an epoch of its own, and what comes late has a fenced one. Clients of the
// older protocol keep their epoch from one transaction to the next, so that nothing in a request says to which of them it belongs
// (KAFKA-17754): a late EndTxn could end the next transaction in its middle, a late AddPartitionsToTxn begin one that nobody ends, a
// late Produce or TxnOffsetCommit be taken into the next one. What holds for them here:
//   - The requests of one connection take effect in their order, those of an id one at a time.
//   - What comes on a connection that the producer has given up is refused: see [Paths]. This is what tells a late request
//     from a present one, since a client that repeats a request after a timeout does so on a new connection.
//   - A late Produce is refused where the partition is not part of the present transaction (KIP-890, part 1), where its
//     sequence number was used (it is a duplicate) and where it leaves a gap. A marker voids what was being
//     verified when it came.
//   - A late EndTxn that finds its transaction ended, and none begun since, is answered as the first was, or refused.
//
// Measured by TestLate of internal/sim, with clients whose requests are under way for up to two seconds, one in six of them, and who
// connect again and repeat them after half a second: without the second rule 149 of 1,000 histories have an anomaly (a bank that has lost
// or made money, an aborted transaction that was read, offsets without their records), with it none.
//
// What is still possible for them:
//   - Between brokers: a connection is known to be given up only by the node that a newer one leads to. A late Produce or TxnOffsetCommit is
//     taken into the next transaction if that has the partition, the producer has not yet reached this node by a newer
//     connection, and, of a Produce, the sequence number is the next one, which it is only where the client did not repeat the
//     request. The same holds for coordinator requests if the coordinator has moved away and come back meanwhile.
//   - Behind a proxy that does not connect in the order in which it was connected to, a newer connection may look older.
//   - More than [mostLate] requests that come late on one connection; no known client has so many under way.
//   - A client with several connections for one use that are all alive: it is heard after five refusals, and what
//     comes late on one of them cannot be told.
//
// Who wants to be safe from those too uses a client that speaks EndTxn 5, Produce 12 and TxnOffsetCommit 5, or initialises the id
// again after each request that timed out, which fences what is late.
//
// Called by internal/node/coordinator under a shard's lock. It must never do I/O,
// ask the time, draw producer ids, lock, or keep memory of a request.
//
// Specification: KIP-98 (transactions), KIP-360 (epoch bump by the client),
// KIP-447 (offsets), KIP-664 (tools), KIP-890 (verification, an epoch for each
// transaction: transaction.version 2).
package txn
