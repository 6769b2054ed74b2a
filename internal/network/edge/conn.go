package edge

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/invariant"
	"github.com/moldau/moldau/internal/metric"
)

const (
	// maxPending bounds the requests of one connection that are read and whose
	// answers are not yet sent; reading stops there.
	maxPending = 256
	// maxPendingBytes bounds their frames; a single larger one is read alone.
	maxPendingBytes = 64 << 20
	// maxUnsent bounds the answers of one connection that are in memory and not sent, but for one that goes beyond it: what
	// is read meanwhile waits, so that a client that asks for much and reads slowly does not have all of it made.
	maxUnsent = 1 << 20
	// gatherFrames is how many large frames are read at most before the first
	// one's answer goes out.
	gatherFrames = 4
)

// Conn is one connection of a client.
type Conn struct {
	id       uint64
	listener string
	handler  Handler
	pools    *pools
	server   *Server               // nil for a connection without a socket
	socket   net.Conn              // nil for a connection without a socket
	direct   *DirectConn           // nil for a connection with a socket
	raw      syscall.RawConn       // nil when the socket is not TCP, with or without TLS
	readable func(fd uintptr) bool // in.readSome or in.readSecure, bound once
	tls      *tls.Conn             // nil without TLS; otherwise socket is the same
	below    *below                // nil without TLS; otherwise what lies below it

	counts metric.Shard // this connection's copy of the server's counters

	in reader // belongs to the connection's goroutine

	frameLimit atomic.Int32
	lastTick   atomic.Uint32 // when the peer last showed life, in the server's ticks
	wroteTick  atomic.Uint32 // when a write last made progress
	held       atomic.Int64  // bytes of the budget that the unfinished frame holds
	served     atomic.Int64  // when the handler returned from the last timed request, in monotonic time
	queued     atomic.Bool   // it waits for the budget
	broken     atomic.Bool   // no more bytes are sent or read; the goroutine is about to end
	shaking    atomic.Bool   // its TLS handshake is under way

	identity Identity
	mute     Mute
	guest    atomic.Pointer[guest] // nil: authenticated, or on a listener where nobody must

	// mu guards what follows. Under it nothing is called but the socket's
	// SetReadDeadline and the world's timers, and no other lock of this package is
	// taken.
	mu   sync.Mutex
	cond sync.Cond
	// head to tail are the requests whose answers are not yet being written, in
	// the order they came; next is the first that the handler has not got.
	head, tail, next *Request
	pending          int   // requests read and not yet answered on the wire
	pendingBytes     int   // their frames
	unsent           int   // bytes of answers in memory, not yet sent
	inHand           int   // with the handler, not yet answered
	inHandKey        int16 // the API of the last one that the handler got
	active           bool  // the connection's goroutine runs and will look at the queue before it waits
	asleep           bool  // it waits on cond
	kicked           bool  // its read was interrupted by a deadline in the past
	writing          bool  // somebody owns the writing side
	draining         bool  // no more requests are read
	granted          bool  // the budget gave what reader.want asked for
	dead             bool  // the queue is given up; late answers are dropped
	cause            error
	closers          []func() // to be told when the connection is lost
	// wanted is what is asked of the budget, or was granted by it; whole is
	// what the frame will need. Guarded by the budget's lock until the grant.
	wanted, whole int
}

// ID is unique among the server's connections.
func (c *Conn) ID() uint64 { return c.id }

// Listener is the name of the listener that accepted the connection.
func (c *Conn) Listener() string { return c.listener }

// RemoteAddr is the peer's address.
func (c *Conn) RemoteAddr() net.Addr {
	if c.socket == nil {
		return directAddr{}
	}
	return c.socket.RemoteAddr()
}

// Host is the peer's IP address as rules name it; invalid without a socket.
func (c *Conn) Host() netip.Addr {
	if c.socket == nil {
		return netip.Addr{}
	}
	ip, _ := addressOf(c.socket)
	return ip
}

// LocalAddr is our own address.
func (c *Conn) LocalAddr() net.Addr {
	if c.socket == nil {
		return directAddr{}
	}
	return c.socket.LocalAddr()
}

// Identity is who the peer is.
func (c *Conn) Identity() *Identity { return &c.identity }

// SetFrameLimit bounds the frames that follow, in bytes: a small bound before a
// peer has authenticated. It is never above the server's own.
func (c *Conn) SetFrameLimit(n int32) {
	if c.server != nil {
		if n >= c.server.options.FirstFrameBytes[c.listener] {
			c.server.guests.leave(c) // it has authenticated
		}
		n = min(n, c.server.frameLimit)
	}
	c.frameLimit.Store(n)
}

// OnClose has f called once when the connection is lost, or now if it is lost
// already. Whoever keeps something for a connection calls it once for each.
func (c *Conn) OnClose(f func()) {
	c.mu.Lock()
	lost := c.dead
	if !lost {
		c.closers = append(c.closers, f)
	}
	c.mu.Unlock()
	if lost {
		f()
	}
}

// Closed reports that the connection is lost.
func (c *Conn) Closed() bool { return c.broken.Load() }

// errDrained ends a connection that has nothing more to do at shutdown.
var errDrained = errors.New("the server stops")

// run is the connection's goroutine.
func (c *Conn) run() {
	if c.tls != nil {
		if err := handshake(c); err != nil {
			c.kill(err)
		}
	}
	for !c.broken.Load() {
		if err := c.in.parse(); err != nil {
			c.kill(err)
			break
		}
		if !c.settle() {
			break
		}
		if c.in.whole || c.in.granted {
			continue
		}
		err := c.in.fill() // at once while answers are gathered
		if !c.activate(err) {
			break
		}
	}
	c.finish()
}

// enqueue adds a request that was read and serves it at once if it may be.
func (c *Conn) enqueue(q *Request) {
	c.mu.Lock()
	if c.tail == nil {
		c.head = q
	} else {
		c.tail.next = q
	}
	c.tail = q
	c.pending++
	c.pendingBytes += q.charge
	now := c.next == nil && c.mayServe(q)
	if now {
		c.markServed(q)
	} else if c.next == nil {
		c.next = q
	}
	c.mu.Unlock()
	if now {
		c.serve(q)
	}
}

// mayServe is the rule that keeps effects in order, as Kafka does by muting the
// channel: a request is handed over when all before it are answered.
//
// Differs from Kafka: a Produce is handed over while earlier Produce requests
// wait for their disk, so that one connection fills a group commit, and an
// OffsetCommit behind OffsetCommit likewise. Their order is that of Serve.
func (c *Conn) mayServe(q *Request) bool {
	return (c.inHand == 0 || pipelined(q.Key) && q.Key == c.inHandKey) && !c.quiet() && c.unsent < maxUnsent
}

// pipelined tells the APIs whose requests wait for the disk but not for each other.
func pipelined(key int16) bool { return key == wire.KeyProduce || key == wire.KeyOffsetCommit }

func (c *Conn) markServed(q *Request) {
	q.outcome = served
	c.inHand++
	c.inHandKey = q.Key // of all in hand: another API's waits until there is none
}

// serveNext hands the oldest waiting request to the handler, if its turn has come.
func (c *Conn) serveNext() bool {
	c.mu.Lock()
	q := c.next
	if q == nil || !c.mayServe(q) || c.broken.Load() {
		c.mu.Unlock()
		return false
	}
	c.next = q.next
	c.markServed(q)
	c.mu.Unlock()
	c.serve(q)
	return true
}

// settle brings the queue to rest before the goroutine waits for the peer:
// serves what may be served, sends what is ready, and waits while a bound is
// reached. It reports false when the connection is to end.
func (c *Conn) settle() bool {
	for {
		for c.serveNext() {
		}
		if c.gathers() {
			return true
		}
		if c.startWriting() {
			c.write(true)
			continue
		}
		c.mu.Lock()
		switch {
		case c.broken.Load() || c.draining && c.pending == 0:
			c.mu.Unlock()
			return false
		case c.next != nil && c.mayServe(c.next), c.ready() && !c.writing:
			c.mu.Unlock()
			continue
		case c.mustWait():
			c.active, c.asleep = false, true
			c.cond.Wait()
			c.active, c.asleep = true, false
			c.mu.Unlock()
			continue
		}
		c.in.granted, c.granted = c.granted, false
		// Unless there is more to parse, completions write by themselves from
		// here on, and kick the read.
		c.active = c.in.whole || c.in.granted
		c.mu.Unlock()
		return true
	}
}

// gathers says whether answers that are ready wait for those to large frames
// that have come meanwhile: sending wakes the peer, which costs as much as
// reading 50 KB. Nothing waits for bytes that are not there yet.
func (c *Conn) gathers() bool {
	in := &c.in
	if in.now = c.raw != nil && in.last > largeFrame && in.taken < gatherFrames && !in.dry; in.now {
		c.mu.Lock()
		in.now = c.ready() && !c.writing && !c.mustWait() && !c.broken.Load()
		c.mu.Unlock()
	}
	if !in.now {
		in.taken, in.dry = 0, false
	}
	return in.now
}

// mustWait says that nothing more may be read for now.
func (c *Conn) mustWait() bool {
	return c.draining || c.full() || c.quiet() || c.in.want > 0 && !c.granted
}

// quiet says that the connection is muted. At shutdown none is.
func (c *Conn) quiet() bool { return c.mute.on && !c.draining }

func (c *Conn) full() bool { return c.pending >= maxPending || c.pendingBytes >= maxPendingBytes }

// ready says that the oldest request is answered.
func (c *Conn) ready() bool { return c.head != nil && c.head.outcome > served }

// activate ends a read. It reports false when the connection is to end.
func (c *Conn) activate(err error) bool {
	c.mu.Lock()
	c.active = true
	kicked := c.kicked
	c.kicked = false
	if kicked {
		c.socket.SetReadDeadline(time.Time{}) //nolint:errcheck // fails only on a closed socket, which the next read sees
	}
	c.mu.Unlock()
	switch {
	case err == nil, kicked && errors.Is(err, errTimeout):
		return true
	case err == io.EOF && owes(c):
		return true
	default:
		c.kill(err)
		return false
	}
}

// owes says that the peer has sent its last byte and may wait for what the disk is about to answer: nothing more is read,
// and the connection ends with those answers. Other requests end with their connection: they may wait for long.
func owes(c *Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inHand == 0 || !pipelined(c.inHandKey) || c.broken.Load() {
		return false
	}
	c.draining = true
	return true
}

// wake makes the connection's goroutine look at the queue. mu is held.
func (c *Conn) wake() {
	switch {
	case c.asleep:
		c.cond.Signal()
	case !c.active && !c.kicked && c.socket != nil:
		c.kicked = true
		c.socket.SetReadDeadline(longAgo) //nolint:errcheck // fails only on a closed socket, which wakes the read anyway
	}
}

// longAgo as a deadline interrupts a read. It is any time in the past.
var longAgo = time.Unix(1, 0)

// grant is called by the budget: the bytes asked for are charged.
func (c *Conn) grant() {
	c.mu.Lock()
	c.granted = true
	c.wake()
	c.mu.Unlock()
}

// answer takes an answered request back from the handler. If it is the oldest,
// and nobody else is at it, the caller sends it.
func (c *Conn) answer(q *Request, as outcome) {
	charge := q.charge
	q.Release()
	if q.timing.on {
		q.timing.answered = c.server.world.Mono()
	}
	c.mu.Lock()
	if q.outcome != served { // the check's arguments would be allocated at every call
		invariant.Check(false, "API key %d answered twice, or before Serve (state %d)", q.Key, q.outcome)
	}
	q.outcome, q.cancel = as, nil
	c.inHand--
	c.pendingBytes -= charge
	if c.dead {
		c.mu.Unlock()
		q.recycle()
		return
	}
	c.unsent += q.memory
	if q.hush > 0 {
		c.mute.begin(c, q)
	}
	if c.direct != nil {
		c.mu.Unlock()
		c.direct.pump()
		return
	}
	if c.active {
		c.mu.Unlock()
		return
	}
	mine := c.ready() && !c.writing
	if mine {
		c.writing = true
	}
	if c.asleep || c.quiet() || c.next != nil && c.mayServe(c.next) {
		c.wake()
	}
	c.mu.Unlock()
	if mine {
		c.write(false)
	}
}

// startWriting takes the writing side if there is something to send.
func (c *Conn) startWriting() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writing || !c.ready() {
		return false
	}
	c.writing = true
	return true
}

// takeReady removes the answered requests at the head of the queue, up to and
// with one that ends the connection. Without any it gives up the writing side.
func (c *Conn) takeReady() (batch *Request, count int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ready() {
		c.writing = false
		if c.asleep {
			c.cond.Signal()
		}
		return nil, 0
	}
	batch = c.head
	for {
		last := c.head
		c.head = last.next
		count++
		if last.outcome == hungUp || last.outcome == repliedBye || !c.ready() {
			last.next = nil
			break
		}
	}
	if c.head == nil {
		c.tail = nil
	}
	return batch, count
}

// written notes that count requests are off the connection's hands, and so much memory of their answers.
func (c *Conn) written(count, memory int) {
	c.mu.Lock()
	c.pending -= count
	c.unsent -= memory
	if c.asleep || c.draining && c.pending == 0 || c.next != nil && c.mayServe(c.next) {
		c.wake()
	}
	c.mu.Unlock()
}

// kill makes both directions fail, so that whoever waits in them returns. The
// first cause is kept. The socket itself is closed by the connection's goroutine.
func (c *Conn) kill(cause error) {
	if c.broken.Swap(true) {
		return
	}
	c.mu.Lock()
	c.cause = cause
	between := c.tls != nil && !c.writing // the last answer that was begun is out
	if between {
		c.writing = true
	}
	c.cond.Signal()
	c.mu.Unlock()
	switch s := c.socket.(type) {
	case *net.TCPConn:
		s.CloseRead()  //nolint:errcheck // the peer may be gone already
		s.CloseWrite() //nolint:errcheck // the peer may be gone already
	case *tls.Conn:
		if between {
			c.below.farewell()
		}
		c.below.hangUp()
		if between {
			c.mu.Lock()
			c.writing = false
			c.cond.Signal()
			c.mu.Unlock()
		}
		if c.shaking.Load() {
			c.server.handshakes.abandon(c)
		}
	default:
		s.Close() //nolint:errcheck // nothing is owed to the peer any more
	}
}

// drain stops reading; the connection ends when its answers are sent. It returns what is to be called, with no lock held, so
// that requests that wait for something are answered now.
func (c *Conn) drain() (hurry []func()) {
	c.mu.Lock()
	c.draining = true
	for q := c.head; q != nil; q = q.next {
		if q.outcome == served && q.cancel != nil {
			hurry = append(hurry, q.cancel)
			q.cancel = nil
		}
	}
	c.wake()
	c.mu.Unlock()
	if c.shaking.Load() {
		c.kill(errDrained)
	}
	return hurry
}

// finish gives the connection up: what the handler still has is cancelled, and
// its late answers are dropped.
func (c *Conn) finish() {
	c.kill(errDrained)
	c.mu.Lock()
	c.active = true
	for c.writing {
		c.asleep = true
		c.cond.Wait()
	}
	c.asleep, c.dead = false, true
	c.mute.stop()
	idle, cancels := c.disband()
	cancels = append(cancels, c.closers...)
	c.closers = nil
	cause := c.cause
	c.mu.Unlock()
	for idle != nil {
		next := idle.next
		idle.recycle()
		idle = next
	}
	for _, cancel := range cancels {
		cancel()
	}
	c.in.close()
	c.socket.Close() //nolint:errcheck // the last word to a socket that is shut down
	if c.below != nil {
		c.below.discard()
	}
	c.server.remove(c, cause)
}

// disband empties the queue. Requests that are with the handler are left to it;
// the others are returned as a list. mu is held.
func (c *Conn) disband() (idle *Request, cancels []func()) {
	q := c.head
	c.head, c.tail, c.next = nil, nil, nil
	for q != nil {
		next := q.next
		q.next = nil
		if q.outcome != served {
			q.next, idle = idle, q
		} else if q.cancel != nil {
			cancels = append(cancels, q.cancel)
			q.cancel = nil
		}
		q = next
	}
	return idle, cancels
}

// ordinary reports that a connection's end is nothing to tell about.
func ordinary(cause error) bool {
	return cause == nil || errors.Is(cause, io.EOF) || errors.Is(cause, errDrained) || errors.Is(cause, syscall.ECONNRESET) ||
		errors.Is(cause, syscall.EPIPE) || errors.Is(cause, net.ErrClosed) || errors.Is(cause, io.ErrClosedPipe)
}
