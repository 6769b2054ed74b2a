// Package idempotence keeps what one partition knows of its producers: the last sequence numbers of each
// producer id, by which a retried batch is recognised and a gap refused, and its open transactions, from
// which the last stable offset follows.
//
//	produce ─► Check ─► accept ─────► (offsets are assigned, batch is enqueued) ─► Apply
//	              ├──► duplicate ──► answer with the offsets of the first time
//	              └──► a refusal ──► answer with its error code
//	markers ─► CheckMarker ─► ApplyMarker ─► Completed: an entry of the transaction index
//	replication, replay at start ─► Apply, ApplyMarker, unchecked: the leader has checked
//
// The rules are those of Kafka's ProducerStateManager and ProducerAppendInfo; the snapshot is Kafka's
// `.snapshot` file to the byte (snapshot.go).
//
// Invariants: a producer has at most five remembered batches, all of its current epoch, in ascending order
// of sequence; a transaction is open exactly if its producer says so; Check and CheckMarker change nothing,
// Apply and ApplyMarker cannot fail. Check and Apply allocate nothing for a producer that is known. The
// number of producers is bounded only by their expiry (producer.id.expiration.ms), as Kafka's is.
//
// Called by node/partition under the partition's lock, and by the commit log at recovery. It never reads
// the clock, files or the batches' records.
//
// Specification: KIP-98, KIP-360 (unknown producers), KIP-890 (verification, transaction version 2).
package idempotence
