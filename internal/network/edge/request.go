package edge

import (
	"cmp"
	"encoding/binary"
	"math"
	"net"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/invariant"
)

// Handler answers requests.
type Handler interface {
	// Serve is called on the connection's goroutine, for one request of the
	// connection at a time. It must see to it that exactly one of q.Reply,
	// q.ReplyAndHangup, q.ReplyNothing and q.Hangup is called once, before it
	// returns or later, from any goroutine; it must not wait for another request.
	Serve(q *Request)
}

// Request is one request and the place where its answer is built. It belongs
// to the handler from Serve until the handler answers; it is reused afterwards
// and must not be touched any more.
type Request struct {
	Key           int16 // API key, one that wire.Lookup knows
	Version       int16 // within the API's range, except for ApiVersions
	CorrelationID int32
	ClientID      string // "" when null
	// Body is what follows the request header. It is a view of the frame and
	// may be changed in place; it is gone once Release or an answer is called,
	// unless Retain was.
	Body []byte

	conn    *Conn
	next    *Request
	frame   *Buffer // nil once released
	charge  int     // bytes of the server's budget that the frame holds
	reply   Response
	memory  int     // bytes of the answer that are no file's
	own     *Buffer // what reply.Buf was borrowed from
	outcome outcome
	reason  error
	cancel  func()
	direct  func(response []byte, err error)
	timing  timing
	hush    time.Duration // the connection is muted for that after the answer
	world   clock.World   // in which the time passes
}

// outcome is what became of a request.
type outcome uint8

const (
	waiting       outcome = iota // read, not yet with the handler
	served                       // with the handler
	replied                      // answered with bytes
	repliedBye                   // answered with bytes, the connection ends after them
	repliedNought                // needs no bytes
	hungUp                       // the connection ends here
)

// Response is an answer under construction: the bytes in Buf with the Parts
// put in at their places.
type Response struct {
	// Buf begins with room for the frame's length and the response header;
	// the handler appends the body.
	Buf   []byte
	Parts []Part
}

// Part is a piece of an answer that is not in Response.Buf: memory that is
// kept by somebody else, or a region of a file.
type Part struct {
	At  int    // position in Buf before which the part goes; ascending
	Mem []byte // when File is nil

	File File
	Off  int64
	Len  int

	// Done, when not nil, is released once the part is no longer needed,
	// whether or not it was sent.
	Done Releaser
}

// Releaser is told that what it stands for is no longer needed.
type Releaser interface{ Release() }

// File is what a file region is read from. It is shared: only reads at
// explicit offsets are made.
type File interface {
	// Descriptor gives the descriptor for sendfile; ok is false if there is none.
	Descriptor() (fd uintptr, ok bool)
	ReadAt(p []byte, off int64) (int, error)
}

// AddMem puts memory behind what Buf holds now.
func (r *Response) AddMem(mem []byte, done Releaser) {
	r.Parts = append(r.Parts, Part{At: len(r.Buf), Mem: mem, Done: done})
}

// AddFile puts n bytes of the file from off behind what Buf holds now.
func (r *Response) AddFile(f File, off int64, n int, done Releaser) {
	r.Parts = append(r.Parts, Part{At: len(r.Buf), File: f, Off: off, Len: n, Done: done})
}

// size is the length of the answer with its four bytes of length, and how much of it is files'.
func (r *Response) size() (n, files int) {
	n = len(r.Buf)
	for i := range r.Parts {
		p := &r.Parts[i]
		if p.File != nil {
			files += p.Len
		} else {
			n += len(p.Mem)
		}
	}
	return n + files, files
}

// Conn is the connection that the request came from.
func (q *Request) Conn() *Conn { return q.conn }

// Begin borrows a buffer for the answer and writes the response header of the
// request's version into it. Calling it again starts over.
func (q *Request) Begin() *Response {
	q.begin()
	q.reply.Buf = wire.AppendResponseHeader(q.reply.Buf, q.Key, q.Version, q.CorrelationID)
	return &q.reply
}

// BeginVersion is Begin with the response header of another version than the
// request's: what Kafka answers to ApiVersions in a version it does not have.
func (q *Request) BeginVersion(version int16) *Response {
	q.begin()
	q.reply.Buf = wire.AppendResponseHeader(q.reply.Buf, q.Key, version, q.CorrelationID)
	return &q.reply
}

func (q *Request) begin() {
	q.releaseReply()
	p := q.conn.pools
	q.own = p.buffer(int(p.replyHint[hintIndex(q.Key)].Load()))
	q.reply.Buf = append(q.own.data[:0], 0, 0, 0, 0)
}

// Retain keeps the frame's bytes beyond the answer. Whoever gets the Buffer
// releases it.
func (q *Request) Retain() *Buffer {
	invariant.Check(q.frame != nil, "Retain after Release (API key %d)", q.Key)
	return q.frame.hold()
}

// Release gives the frame's bytes back before the answer is ready: for requests
// that wait. Body must not be used afterwards.
func (q *Request) Release() {
	if q.frame == nil {
		return
	}
	q.frame.Release()
	q.frame, q.Body = nil, nil
	if q.conn.server != nil {
		q.conn.server.budget.give(q.charge)
	}
}

// OnCancel has f called once if the connection is lost, or the server stops, before the request is
// answered, or now if that is so already. f may run while another goroutine
// answers the request, so it must not touch the request unless it knows that
// nobody else will. A cancelled request must still be answered.
func (q *Request) OnCancel(f func()) {
	c := q.conn
	c.mu.Lock()
	lost := c.dead || c.draining || c.broken.Load()
	if !lost {
		q.cancel = f
	}
	c.mu.Unlock()
	if lost {
		f()
	}
}

// Reply sends what was built since Begin, after the answers to all earlier
// requests of the connection.
func (q *Request) Reply() { q.send(replied) }

// ReplyAndHangup sends what was built since Begin and ends the connection.
func (q *Request) ReplyAndHangup(reason error) {
	q.reason = cmp.Or(reason, net.ErrClosed)
	q.send(repliedBye)
}

func (q *Request) send(as outcome) {
	size, files := q.reply.size()
	n := size - 4
	q.memory = size - files
	if n < 4 && q.Version != TokenVersion { // the check's arguments would be allocated at every call
		invariant.Check(false, "reply to API key %d without Begin", q.Key)
	}
	if n > math.MaxInt32 {
		q.Hangup(refuse(ReplyTooLarge, "the answer to %s has %d bytes; the protocol ends at %d",
			wire.APIName(q.Key), n, math.MaxInt32))
		return
	}
	binary.BigEndian.PutUint32(q.reply.Buf, uint32(n))
	q.conn.pools.learnReply(q.Key, len(q.reply.Buf))
	if s := q.conn.server; s != nil {
		q.conn.counts.Add(s.traffic.at[q.Key]+ofResponseBytes, uint64(n)+4)
	}
	q.conn.answer(q, as)
}

// ReplyNothing says that the request is done and the client expects no answer
// (Produce with acks=0).
func (q *Request) ReplyNothing() { q.conn.answer(q, repliedNought) }

// Hangup closes the connection once the earlier answers are sent, as Kafka does
// when a request cannot be answered. The reason is logged; nil is for an end
// that is nothing to tell about.
func (q *Request) Hangup(reason error) {
	q.reason = cmp.Or(reason, net.ErrClosed)
	q.conn.answer(q, hungUp)
}

// releaseReply lets go of all that the answer was built from.
func (q *Request) releaseReply() {
	for i := range q.reply.Parts {
		if d := q.reply.Parts[i].Done; d != nil {
			d.Release()
		}
		q.reply.Parts[i] = Part{}
	}
	q.reply.Parts = q.reply.Parts[:0]
	q.reply.Buf = nil
	if q.own != nil {
		q.own.Release()
		q.own = nil
	}
}

// maxKeptParts bounds the part slots a pooled request keeps.
const maxKeptParts = 16

// recycle returns a request nobody will touch any more to the pool.
func (q *Request) recycle() {
	q.Release()
	q.releaseReply()
	parts := q.reply.Parts
	if cap(parts) > maxKeptParts {
		parts = nil
	}
	p := q.conn.pools
	*q = Request{reply: Response{Parts: parts}}
	p.requests.Put(q)
}

func hintIndex(key int16) int {
	if key < 0 || key >= maxHintedKey {
		return maxHintedKey - 1
	}
	return int(key)
}

// learnReply remembers the size of an answer: the next larger one at once,
// smaller ones slowly.
func (p *pools) learnReply(key int16, n int) {
	h := &p.replyHint[hintIndex(key)]
	old := int(h.Load())
	if n = min(max(n, old-old/16), maxHintBytes); n != old {
		h.Store(int32(n))
	}
}
