// Package controller decides on the cluster's metadata.
//
// Duty: a [Machine] is a replicated machine. Decide looks at a request and at
// the image of everything decided so far, and gives the records to append and
// the reply to send once they are committed; it changes nothing. Apply takes the
// records that were appended. Checks, error codes and messages are Kafka's, compared with a
// running one by the scripts in testdata.
//
// Invariants: the same image, request and context give the same records to the
// byte; what Decide returns can always be applied; a request is atomic: either
// all of its records are appended, in one batch, or none (but each topic or
// resource in it succeeds or fails by itself, as in Kafka).
//
// Called by node/quorum, which appends, replicates and publishes; nobody else. It must never do I/O,
// ask the time or chance other than through its [Context], or authorize: whoever forwards a request
// has removed from it what the client may not do.
//
// After KIP-500 and KIP-631; the single decisions name their own.
package controller
