// Package isolation finds what must not happen in a history of transactions over keyed logs: results that are
// lost, torn, duplicated, read though aborted, or cyclic (Adya's G0, G1a, G1b and G1c).
//
// Duty: a [History] takes what clients did and were told, and nothing else, so that the same check serves a node in a
// simulated world and a cluster of real ones. [History.Check] names every anomaly with the transactions that show it.
//
// What is known, and how:
//   - A version is what one write of one transaction leaves at a key; no two are alike. The versions of a key have the
//     order of their offsets, which acknowledgements and readers tell.
//   - A transaction whose end was not answered counts as committed as soon as a reader of committed data has met a
//     version of it, and as nothing before.
//   - A reader of committed data that has got to a position has everything committed below it: it must see the latest
//     committed version of each key below its position, unless a later one lies behind, for which compaction may have
//     taken that away.
//
// Called by the workloads of internal/sim and by those that run on clusters. It must never look at a server's insides, ask
// the time, or judge by chance.
//
// Specification: Adya, Weak Consistency (1999), section 4: the phenomena G0 and G1; anti-dependencies (G2) are left
// out, since Kafka's transactions do not forbid them.
package isolation
