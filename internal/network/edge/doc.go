// Package edge is where clients come in: listeners, frames, and replies in the
// order of the requests.
//
// Duty: it accepts connections, cuts their bytes into frames, checks that a
// frame begins with a header that Kafka's protocol knows, hands the request to
// a [Handler] and sends the answers in order. It knows the request header and
// nothing of what follows it. It refuses what is not Kafka with one clear line.
//
// Who calls it: the node's wiring makes a [Server] and gives it the handler;
// simulation and in-process tests use [Direct] and [NewDirect] instead, which
// run the same queue without a socket.
//
// Invariants:
//   - Answers leave in the order the requests came. A request is handed over
//     when all earlier ones of its connection are answered; Produce requests
//     also while earlier Produce requests are not. So effects are in order.
//   - A connection is one goroutine. While its peer is silent between two
//     frames it holds no buffer: the goroutine waits for readability first and
//     borrows memory then.
//   - Memory follows bytes that came, never bytes that are claimed, and all
//     frames being read or handled share one budget.
//   - Every wait is bounded: by the handshake time, by the idle time for silent peers, by the write
//     time for peers that do not take their replies, by the budget's eviction for
//     those that hold memory and do not go on.
//   - A buffer goes back to its pool only when the socket is done with it.
//   - A reply whose file region has become too short ends the connection.
//
// It must never call the handler from two goroutines at once for one
// connection, wait for the peer on a goroutine that only came to answer, or use
// the position of a shared file descriptor.
//
// The path of a small request on plain TCP: one read that gets it (and all that
// is pipelined behind it), Serve, one sendmsg with every answer that is ready,
// one read that finds nothing. A large frame is read into one buffer up to its
// end, in one or two reads, and is never copied. A large file region goes from
// the page cache to the socket by sendfile at an explicit offset.
package edge
