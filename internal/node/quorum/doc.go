// Package quorum runs the controller over the metadata log.
//
// Duty: a [Quorum] owns the machines of the metadata quorum (machine/raft,
// machine/controller) and what they are kept in: the log
// `__cluster_metadata-0`, its snapshots (`*.checkpoint`) and the quorum-state file. It
// loads them, elects this node, writes what a new cluster begins with, registers this
// node's broker, and then answers requests: decide, append, and when the records are stable publish the
// next image to the subscribers and reply. [Format] and [Identify] look after meta.properties.
//
// Invariants: nothing is published or answered before it is committed, and everything in
// the order of the log; a request's records are in one batch; each subscriber has seen an image
// before the request that made it is answered; a snapshot holds committed records only; an epoch is durable
// before a record of it is written.
//
// Called by node (Format, Open, Subscribe, Start, Close) and node/broker (Propose, Image). It never blocks and
// has no goroutine of its own: Propose returns at once and callbacks come from the log's committer, so it runs in
// simulation. It must never call back with its lock held.
//
// Formats and names are Kafka's: KIP-595 (log and quorum-state), KIP-630 (snapshots), KIP-631 (records), KIP-853
// (voters), KIP-858 (directory ids).
package quorum
