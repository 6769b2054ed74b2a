// Package metadata turns the records of Kafka's metadata log into an immutable
// picture of the cluster.
//
// Duty: an [Image] is everything the log says up to one offset: topics and
// their partitions, brokers, controllers, configurations, features, producer
// ids, quotas, credentials, access rules and tokens. [Image.Edit] starts a
// [Delta], which takes records and ends in the next image; both images stay
// valid, so readers need no lock. [Image.Records] gives the records that build the image
// again: a snapshot. [Replay] is the same for whole committed batches and holds
// metadata transactions (KIP-868) back until they end.
//
// Invariants: an image never changes after [Delta.Finish]; what it hands out
// must not be written to. Replaying an image's records gives an equal image. One
// more topic among 100,000 copies a shard, not the table. A record of an unknown
// kind, or one that contradicts the image, is an error: carrying on would make this
// node disagree with the others, so the caller stops (Kafka does the same).
//
// Called by machine/controller, which decides upon images, by node/quorum,
// which publishes them, and by everyone who looks up topics or brokers. It must
// never do I/O, ask the time, or depend on the order of a Go map.
//
// The records are KIP-631's and later ones up to Kafka 4.4; which version of
// each is written follows the metadata.version in force ([RecordVersion]).
package metadata
