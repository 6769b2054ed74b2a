package edge

import (
	"errors"
	"fmt"
	"net"
)

// directAddr is the address of a connection without a socket.
type directAddr struct{}

func (directAddr) Network() string { return "direct" }
func (directAddr) String() string  { return "direct" }

var _ net.Addr = directAddr{}

// ErrNoAnswer is given to a caller of DirectConn.Send whose request gets no
// answer (Produce with acks=0).
var ErrNoAnswer = errors.New("the request has no answer")

// DirectConn is a connection without a socket, for simulation and in-process
// tests. It queues as a real one does: requests are handed over and answered
// in order. It starts no goroutine and is not for use by several at once:
// Serve and the callbacks run on whatever goroutine sends or answers.
type DirectConn struct {
	conn *Conn
}

// NewDirect makes a connection to the handler.
func NewDirect(h Handler, listener string) *DirectConn {
	c := &Conn{listener: listener, handler: h, pools: new(pools)}
	c.cond.L = &c.mu
	c.direct = &DirectConn{conn: c}
	return c.direct
}

// SetID gives the connection the ID that a server would have given it. It is for use before the first Send.
func (d *DirectConn) SetID(id uint64) { d.conn.id = id }

// Conn is the connection as the handler sees it.
func (d *DirectConn) Conn() *Conn { return d.conn }

// Send sends one frame (without its length). done is called once, in order,
// with the answer (without its length), which is the caller's to keep, or with
// an error: ErrNoAnswer, or why the connection was closed.
func (d *DirectConn) Send(frame []byte, done func(response []byte, err error)) {
	c := d.conn
	if c.broken.Load() {
		done(nil, net.ErrClosed)
		return
	}
	b := c.pools.buffer(len(frame))
	own := b.data[:copy(b.data, frame)]
	h, why := c.in.header(own)
	if why != none {
		b.Release()
		err := refuseHeader(why, h.key, h.version)
		d.Close(err)
		done(nil, err)
		return
	}
	q := c.newRequest(h, own)
	q.frame, q.direct = b, done
	c.mu.Lock()
	if c.tail == nil {
		c.head = q
	} else {
		c.tail.next = q
	}
	c.tail = q
	if c.next == nil {
		c.next = q
	}
	c.pending++
	c.mu.Unlock()
	d.pump()
}

// pump delivers what is answered and serves what may be served. Calls from
// within itself return at once: the outer one goes on.
func (d *DirectConn) pump() {
	c := d.conn
	c.mu.Lock()
	if c.active {
		c.mu.Unlock()
		return
	}
	c.active = true
	for !c.dead {
		q := c.next
		switch {
		case c.ready():
			d.deliver()
		case q != nil && c.mayServe(q):
			c.next = q.next
			c.markServed(q)
			c.mu.Unlock()
			c.handler.Serve(q)
			c.mu.Lock()
		default:
			c.active = false
			c.mu.Unlock()
			return
		}
	}
	c.mu.Unlock()
}

// deliver gives the oldest answer to its caller. mu is held, but not meanwhile.
func (d *DirectConn) deliver() {
	c := d.conn
	q := c.head
	if c.head = q.next; c.head == nil {
		c.tail = nil
	}
	c.pending--
	c.unsent -= q.memory
	c.mu.Unlock()
	switch q.outcome {
	case replied, repliedBye:
		b, err := q.reply.flatten()
		if err != nil {
			d.Close(err)
		} else if q.outcome == repliedBye {
			d.Close(q.reason)
		}
		q.direct(b, err)
	case repliedNought:
		q.direct(nil, ErrNoAnswer)
	default:
		err := fmt.Errorf("the handler closed the connection: %w", q.reason)
		d.Close(err)
		q.direct(nil, err)
	}
	q.next = nil
	q.recycle()
	c.mu.Lock()
}

// flatten is the answer in one piece, without its length.
func (r *Response) flatten() ([]byte, error) {
	size, _ := r.size()
	out := make([]byte, 0, size)
	pos := 0
	for i := range r.Parts {
		p := &r.Parts[i]
		out = append(out, r.Buf[pos:p.At]...)
		pos = p.At
		if p.File == nil {
			out = append(out, p.Mem...)
			continue
		}
		to := out[len(out) : len(out)+p.Len]
		if n, err := p.File.ReadAt(to, p.Off); n < p.Len {
			return nil, shortFile(p.Off, p.Len, err)
		}
		out = out[:len(out)+p.Len]
	}
	return append(out, r.Buf[pos:]...)[4:], nil
}

// Close ends the connection: requests with the handler are cancelled, and
// their callbacks are given the cause.
func (d *DirectConn) Close(cause error) {
	c := d.conn
	if cause == nil {
		cause = net.ErrClosed
	}
	c.broken.Store(true)
	c.mu.Lock()
	if c.dead {
		c.mu.Unlock()
		return
	}
	c.dead, c.cause = true, cause
	c.mute.stop()
	var lost []func([]byte, error)
	for q := c.head; q != nil; q = q.next {
		lost = append(lost, q.direct)
	}
	idle, cancels := c.disband()
	cancels = append(cancels, c.closers...)
	c.closers = nil
	c.mu.Unlock()
	for idle != nil {
		next := idle.next
		idle.recycle()
		idle = next
	}
	for _, cancel := range cancels {
		cancel()
	}
	for _, done := range lost {
		done(nil, cause)
	}
}

// Direct hands one frame (without its length) to the handler as if it had come
// on a connection of its own, and done the answer (without its length). It is
// nil when there is none: the request expects none, or would have closed the
// connection.
func Direct(h Handler, frame []byte, done func(response []byte)) {
	NewDirect(h, "direct").Send(frame, func(response []byte, _ error) { done(response) })
}
