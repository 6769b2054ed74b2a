package edge

import (
	"encoding/binary"
	"os"
)

var errTimeout = os.ErrDeadlineExceeded

const (
	// largeFrame is from where on a frame is read into a buffer of its own, up
	// to its end and no further, so that it is never copied.
	largeFrame = 16 << 10
	// maxTrust bounds the memory set aside for a frame on the strength of what
	// the peer has delivered before.
	maxTrust = 4 << 20
	// growth is how many times the bytes that have come a buffer may have.
	growth = 4
	// maxStage is the class of the largest buffer that pipelined small frames share.
	maxStage = 3
	// parkBytes is up to how much of an unfinished frame is moved to a tiny
	// buffer while its rest is awaited.
	parkBytes = 512
	// lifeBytes of an unfinished frame count as a sign of life; a byte now and
	// then does not.
	lifeBytes = 64 << 10
)

// reader turns the byte stream into frames. While the peer is silent between
// two frames it holds no memory. A buffer is filled with bytes that came, and
// grows with them (four times as much at most): a length that is only claimed
// costs nothing. A peer that has delivered large frames gets the next one's
// buffer at once.
type reader struct {
	conn    *Conn
	buf     *Buffer
	at, end int   // the unread bytes of buf
	stage   int8  // class of the next buffer, when small frames are expected
	last    int   // total bytes of the last frame
	trust   int   // frames up to this size get their buffer at once
	life    int   // bytes since the last sign of life
	want    int   // capacity asked of the budget, 0 when not asking
	granted bool  // the budget gave it
	whole   bool  // a whole frame is in buf, but the connection is full
	err     error // of the last readSome
	now     bool  // the next read must not wait
	dry     bool  // such a read found nothing
	tokens  bool  // frames are bare tokens, without a header
	told    int   // what the guests were told that it holds
	taken   int   // frames taken since answers were sent
	client  string
	untimed uint // Produce and Fetch requests of the connection, of which one in timedOneIn is timed
}

// parse takes all whole frames out of the buffer and hands them on, then makes
// room for what comes next.
func (in *reader) parse() error {
	c := in.conn
	in.whole = false
	for {
		have := in.end - in.at
		if have < 4 {
			in.makeRoom(0, have)
			return nil
		}
		frame := in.buf.data[in.at:in.end]
		size := int(int32(binary.BigEndian.Uint32(frame)))
		if size < in.least() || size > int(c.frameLimit.Load()) {
			return c.refuseSize(frame, size)
		}
		total := 4 + size
		if have < total {
			if have >= 4+headerPeekBytes && !in.tokens {
				if key, version, why := peekHeader(frame[4:]); why != none {
					return refuseHeader(why, key, version)
				}
			}
			in.makeRoom(total, have)
			return nil
		}
		if in.stuffed() {
			in.whole = true
			return nil
		}
		if err := in.take(frame[4:total:total], total); err != nil {
			return err
		}
	}
}

// stuffed says, with the lock taken, that no more requests are to be made.
func (in *reader) stuffed() bool {
	c := in.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.full() || c.quiet()
}

// take makes a request of a whole frame and queues it.
func (in *reader) take(frame []byte, total int) error {
	c := in.conn
	h, why := in.header(frame)
	if why != none {
		return refuseHeader(why, h.key, h.version)
	}
	q := c.newRequest(h, frame)
	q.frame = in.buf.hold()
	c.server.budget.finish(c)
	if q.charge = int(c.held.Swap(0)); q.charge == 0 {
		q.charge = total
		c.server.budget.take(total)
	}
	in.life = 0
	in.at += total
	in.last = total
	in.taken++
	in.trust = max(in.trust, min(2*total, maxTrust))
	c.lastTick.Store(c.server.tick.Load())
	c.server.traffic.request(c.counts, q.Key, q.Version, total)
	if in.wantsTime(q.Key) {
		q.timing.on, q.timing.arrived = true, c.server.world.Mono()
	}
	if in.at == in.end {
		in.drop()
	}
	c.enqueue(q)
	return nil
}

// newRequest fills a pooled request from the header.
func (c *Conn) newRequest(h header, frame []byte) *Request {
	q := c.pools.request()
	q.conn = c
	q.Key, q.Version, q.CorrelationID = h.key, h.version, h.correlation
	if string(h.clientID) != c.in.client {
		c.in.client = string(h.clientID)
	}
	q.ClientID = c.in.client
	q.Body = frame[h.size:]
	return q
}

// drop lets go of a buffer that has been read to its end.
func (in *reader) drop() {
	if in.buf != nil {
		in.buf.Release()
	}
	in.buf, in.at, in.end = nil, 0, 0
}

// makeRoom sees to it that there is space behind the have unread bytes for more
// of a frame of total bytes (0: not known yet), or asks the budget for it.
func (in *reader) makeRoom(total, have int) {
	c := in.conn
	if in.buf == nil {
		return
	}
	if have == 0 {
		in.drop()
		return
	}
	capacity := len(in.buf.data)
	if in.at+total <= capacity && in.end < capacity {
		in.chargeGuess(capacity)
		return
	}
	if in.end < capacity && total > in.trust {
		return // more must come before more is set aside
	}
	need := max(total, classBytes[in.stage])
	if total > in.trust {
		need = min(need, max(growth*have, classBytes[in.stage]))
	}
	if c.guest.Load() != nil {
		// Half as much again as has come, not a byte more: there may be very many of them.
		in.move(exactly(min(max(total, classBytes[classTiny]), have+max(have/2, classBytes[classTiny]))))
		return
	}
	if need = capacityFor(need); need > largeFrame {
		if need = in.afford(need, capacityFor(total)); need == 0 {
			return
		}
	}
	in.move(c.pools.buffer(need))
	in.unhold()
	if need > largeFrame {
		c.held.Store(int64(need))
	}
}

// chargeGuess charges the large buffer that a frame was expected to need, now
// that its beginning is there.
func (in *reader) chargeGuess(capacity int) {
	c := in.conn
	if capacity > largeFrame && c.held.Load() == 0 && c.guest.Load() == nil {
		c.held.Store(int64(capacity))
		c.server.budget.take(capacity)
	}
}

// afford returns how many bytes the budget has given: n, or whole, or none. In
// that case it has been asked, and settle waits for it.
func (in *reader) afford(n, whole int) int {
	c := in.conn
	if in.granted {
		in.granted, in.want = false, 0
		return c.wanted
	}
	in.want = n
	if !c.server.budget.ask(c, n, whole) {
		return 0
	}
	in.want = 0
	return n
}

// unhold gives back what was charged for an unfinished frame.
func (in *reader) unhold() { in.conn.server.budget.give(int(in.conn.held.Swap(0))) }

// move takes the unread bytes over into another buffer.
func (in *reader) move(to *Buffer) {
	in.end = copy(to.data, in.buf.data[in.at:in.end])
	in.buf.Release()
	in.buf, in.at = to, 0
}

// space is where the next bytes go. A large frame is read up to its end, or to
// where it will end if it is as long as the one before.
func (in *reader) space() []byte {
	c := in.conn
	if in.buf == nil {
		if in.last > largeFrame && in.last <= maxTrust && c.server.budget.roomy() {
			in.buf = c.pools.buffer(in.last)
		} else {
			in.buf = c.pools.buffer(classBytes[in.stage])
		}
	}
	limit := len(in.buf.data)
	if have := in.end - in.at; have >= 4 {
		total := 4 + int(binary.BigEndian.Uint32(in.buf.data[in.at:]))
		if total > largeFrame {
			limit = min(limit, in.at+total)
		}
	} else if have == 0 && limit > largeFrame && in.last > largeFrame {
		limit = min(limit, in.last)
	}
	return in.buf.data[in.end:limit]
}

// took notes n bytes read into space of the given length.
func (in *reader) took(n, space int) {
	c := in.conn
	in.end += n
	c.counts.Add(countBytesIn, uint64(n))
	if in.life += n; in.life >= lifeBytes {
		in.life = 0
		c.lastTick.Store(c.server.tick.Load())
	}
	switch {
	case len(in.buf.data) > classBytes[maxStage]:
	case n == space && in.stage < maxStage:
		in.stage++
	case n < space/16 && in.stage > classStage:
		in.stage--
	}
}

// rest gives memory back before the goroutine waits for the peer.
func (in *reader) rest() {
	c := in.conn
	have := in.end - in.at
	switch {
	case in.buf == nil:
	case have == 0:
		in.drop()
	case have <= parkBytes && len(in.buf.data) > classBytes[classTiny]:
		in.move(c.pools.buffer(classBytes[classTiny]))
		in.unhold()
	}
	if g := c.guest.Load(); g != nil {
		in.tell(g)
	}
}

// tell counts what a peer that has not authenticated makes us hold.
func (in *reader) tell(g *guest) {
	n := 0
	if in.buf != nil {
		n = len(in.buf.data)
	}
	if b := in.conn.below; b != nil && b.room > guestRecord {
		n += b.room
	}
	if n != in.told {
		in.told = n
		in.conn.server.guests.hold(g, n)
	}
}

// close gives back what an ended connection holds.
func (in *reader) close() {
	c := in.conn
	b := &c.server.budget
	if in.want > 0 && !b.leave(c) {
		b.give(c.wanted) // it was granted in the meantime
	}
	in.unhold()
	b.finish(c)
	in.want = 0
	in.drop()
}

// fill reads once: it waits until the peer has sent something, or hung up, or
// the read is kicked.
func (in *reader) fill() error {
	c := in.conn
	if c.raw != nil {
		in.err = nil
		if err := c.raw.Read(c.readable); err != nil {
			return err
		}
		return in.err
	}
	// A stream of which readiness cannot be asked keeps a tiny buffer.
	if in.buf == nil {
		in.buf = c.pools.buffer(classBytes[classTiny])
	}
	space := in.space()
	n, err := c.socket.Read(space)
	if n > 0 {
		in.took(n, len(space))
		return nil
	}
	return err
}
