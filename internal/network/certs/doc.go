// Package certs turns Kafka's ssl.* settings into what Go's TLS needs: key and
// trust stores, protocols and cipher suites, and the names of principals.
//
// Duty: it reads stores in PEM, PKCS#12 and JKS, in files and in settings,
// builds a [Store] of them whose configuration changes under running
// listeners, guards such a change as Kafka does, and renders and maps
// distinguished names as Java and Kafka do. Everything that Go's TLS cannot
// do is refused with the reason, not ignored.
//
// Who calls it: the node's wiring, one [Store] for each listener with TLS; and
// the command line, for itself as a client ([LoadClient]) and for `moldau tls
// init` ([NewAuthority]).
//
// Invariants:
//   - A store that cannot be used never takes the place of one that can.
//   - A resumed TLS session proves what its first handshake proved: it ends with
//     the certificates it was made with, with the store that trusted them, and
//     after maxSession.
//   - No error holds a key, a password, or a part of either.
//   - What a file can make this package allocate or compute is bounded: by
//     the file's size, by maxEntries and by maxIterations.
//
// It must never open a file itself, nor start anything in the background:
// when to look for changes is the caller's business.
package certs
