package edge

import (
	"errors"
	"io"
	"time"
)

const (
	// copyBelow is up to which length a file region is read and sent together
	// with its neighbours in one call; longer ones go by sendfile. Over loopback
	// a lone region costs both ends together, copied or by sendfile: at 8 KiB
	// 6.9 or 8.2 µs of CPU, at 64 KiB 11.9 or 11.5, at 128 KiB 18.4 or 15.8
	// (BenchmarkFileRegion with this constant set to 1 GiB and to 1).
	copyBelow = 64 << 10
	// copyChunk is the buffer that file regions are copied into.
	copyChunk = 256 << 10
	// maxSendfile bounds one call of sendfile, so that no thread is held for long.
	maxSendfile = 1 << 20
	// maxSegments bounds the pieces that are gathered before they are sent.
	maxSegments = 256
	// maxTurns bounds the batches that somebody else's goroutine sends for a
	// connection before the background takes over.
	maxTurns = 2
)

// segment is one piece of what is to be sent: memory, or a file region that is
// long enough for sendfile.
type segment struct {
	mem  []byte
	file File
	fd   int
	off  int64
	n    int
}

// progress is how a write ended.
type progress uint8

const (
	finished progress = iota
	blocked           // the socket takes no more for now
	failed
)

// writer sends one batch of answers. It keeps its place, so that it can be
// carried on by another goroutine when the socket blocks.
type writer struct {
	conn  *Conn
	batch *Request
	count int

	// The cursor: the piece after which nothing is gathered yet.
	q    *Request
	part int // parts of q gathered
	pos  int // bytes of q's Buf gathered

	segs   []segment
	first  int       // segs before it are sent
	copied []*Buffer // what small file regions were read into
	fill   int       // bytes used of the last of copied
	bye    *Request  // ends the connection after the batch

	block bool
	began time.Duration // when the batch was begun, 0 if nothing of it is timed
	err   error
	state progress
	plain
}

// write sends what is ready. The caller owns the writing side and gives it up
// by this call. Only with block may it wait for the peer; without, a peer that
// does not read costs the caller one failed system call.
func (c *Conn) write(block bool) {
	for turn := 0; ; turn++ {
		if turn >= maxTurns && !block {
			c.server.background("edge: send replies", func() { c.write(true) })
			return
		}
		batch, count := c.takeReady()
		if batch == nil {
			return
		}
		w := c.newWriter(batch, count, block)
		if w.run() == blocked {
			c.server.background("edge: send replies to a slow peer", w.carryOn)
			return
		}
		w.done()
	}
}

// carryOn sends the rest of a batch, and all that became ready meanwhile.
func (w *writer) carryOn() {
	c := w.conn
	w.block = true
	if c.below != nil {
		if _, err := c.below.uncork(true); err != nil {
			c.kill(err)
		}
	}
	w.run()
	w.done()
	c.write(true)
}

func (c *Conn) newWriter(batch *Request, count int, block bool) *writer {
	w, _ := c.pools.writers.Get().(*writer)
	if w == nil {
		w = new(writer)
		w.bind()
	}
	w.conn, w.batch, w.count, w.block = c, batch, count, block
	w.q, w.state, w.err = batch, finished, nil
	w.begin()
	c.wroteTick.Store(c.server.tick.Load())
	return w
}

// run gathers and sends until the batch is out, blocked, or failed.
func (w *writer) run() progress {
	for {
		if w.conn.broken.Load() {
			return failed
		}
		if w.first == len(w.segs) && !w.gather() {
			return finished
		}
		var p progress
		if w.err == nil {
			p = w.send()
		}
		if w.err != nil {
			p = failed
			w.conn.kill(w.err)
		}
		if p != finished {
			return p
		}
	}
}

// gather fills segs from the cursor on, within the bounds. It reports false
// when nothing is left.
func (w *writer) gather() bool {
	w.reset()
	for w.q != nil && len(w.segs) < maxSegments-1 && len(w.copied) < 2 {
		if w.q.outcome == hungUp || w.q.outcome == repliedBye {
			w.bye = w.q
		}
		if w.q.outcome == hungUp || w.q.outcome == repliedNought {
			w.advance()
			continue
		}
		r := &w.q.reply
		if w.part == len(r.Parts) {
			w.addMem(r.Buf[w.pos:])
			w.advance()
			continue
		}
		p := &r.Parts[w.part]
		w.addMem(r.Buf[w.pos:p.At])
		w.pos = p.At
		w.part++
		w.addPart(p)
		if w.err != nil {
			return true
		}
	}
	return len(w.segs) > 0
}

func (w *writer) advance() { w.q, w.part, w.pos = w.q.next, 0, 0 }

func (w *writer) addMem(b []byte) {
	if len(b) > 0 {
		w.segs = append(w.segs, segment{mem: b})
	}
}

func (w *writer) addPart(p *Part) {
	if p.File == nil {
		w.addMem(p.Mem)
		return
	}
	s := segment{file: p.File, off: p.Off, n: p.Len, fd: -1}
	if w.conn.raw != nil && w.conn.tls == nil {
		if fd, ok := p.File.Descriptor(); ok {
			s.fd = int(fd)
		}
	}
	if s.n >= copyBelow {
		w.segs = append(w.segs, s)
	} else if s.n > 0 {
		w.addMem(w.copyIn(&s))
	}
}

// copyIn reads a short file region.
func (w *writer) copyIn(s *segment) []byte {
	if len(w.copied) == 0 || w.fill+s.n > len(w.copied[len(w.copied)-1].data) {
		w.copied, w.fill = append(w.copied, w.conn.pools.buffer(w.shortBytes(s.n))), 0
	}
	to := w.copied[len(w.copied)-1].data[w.fill : w.fill+s.n]
	if n, err := s.file.ReadAt(to, s.off); n < len(to) {
		w.err = shortFile(s.off, s.n, err)
		return nil
	}
	w.fill += len(to)
	return to
}

// shortBytes is how much the present part, of n bytes, and the short file
// regions after it in the same answer have together, within copyChunk.
func (w *writer) shortBytes(n int) int {
	for i := w.part; i < len(w.q.reply.Parts) && n < copyChunk; i++ {
		if p := &w.q.reply.Parts[i]; p.File != nil && p.Len < copyBelow {
			n += p.Len
		}
	}
	return min(n, copyChunk)
}

// shortFile is why a connection ends when a file has lost bytes that a reply
// has promised already: anything else would be garbage to the client.
func shortFile(off int64, n int, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return refuse(FileShort, "reading %d bytes at %d of a log for a reply: %v", n, off, err)
}

// reset makes segs and copied empty after everything in them was sent.
func (w *writer) reset() {
	clear(w.segs)
	w.segs, w.first = w.segs[:0], 0
	for i, b := range w.copied {
		b.Release()
		w.copied[i] = nil
	}
	w.copied, w.fill = w.copied[:0], 0
}

// sent notes progress.
func (w *writer) sent(n int) {
	w.conn.counts.Add(countBytesOut, uint64(n))
	w.conn.wroteTick.Store(w.conn.server.tick.Load())
}

// send puts out segs.
func (w *writer) send() progress {
	switch {
	case w.conn.tls != nil:
		return w.sendSecure()
	case w.conn.raw != nil:
		return w.sendRaw()
	case !w.block:
		return blocked // it cannot be asked whether it would block
	}
	for ; w.first < len(w.segs); w.first++ {
		if w.sendStream(&w.segs[w.first]) != nil {
			return failed
		}
	}
	return finished
}

// sendStream writes one segment to a connection that is not plain TCP: adjacent
// small pieces in one call, file regions through a buffer.
func (w *writer) sendStream(s *segment) error {
	if s.file != nil {
		return w.copyOut(s)
	}
	out := s.mem
	if len(out) < joinBytes && w.first+1 < len(w.segs) {
		join := w.conn.pools.buffer(joinBytes)
		defer join.Release()
		n := copy(join.data, out)
		for w.first+1 < len(w.segs) {
			m := w.segs[w.first+1].mem
			if w.segs[w.first+1].file != nil || n+len(m) > joinBytes {
				break
			}
			n += copy(join.data[n:], m)
			w.first++
		}
		out = join.data[:n]
	}
	return w.put(out)
}

// joinBytes is the record size of TLS, and the most that is joined into one
// write where there is no writev.
const joinBytes = 16 << 10

func (w *writer) put(b []byte) error {
	n, err := w.conn.socket.Write(b)
	w.sent(n)
	w.err = err
	return err
}

// copyOut sends a long file region through a buffer.
func (w *writer) copyOut(s *segment) error {
	b := w.conn.pools.buffer(copyChunk)
	defer b.Release()
	for s.n > 0 {
		part := b.data[:min(s.n, len(b.data))]
		if n, err := s.file.ReadAt(part, s.off); n < len(part) {
			w.err = shortFile(s.off, s.n, err)
			return w.err
		}
		if err := w.put(part); err != nil {
			return err
		}
		s.off += int64(len(part))
		s.n -= len(part)
	}
	return nil
}

// done releases the batch and the writer.
func (w *writer) done() {
	c := w.conn
	if w.bye != nil {
		if !c.broken.Load() {
			c.below.farewell()
		}
		c.kill(w.bye.reason)
	}
	w.sentAll()
	memory := 0
	for q := w.batch; q != nil; {
		next := q.next
		memory += q.memory
		q.next = nil
		q.recycle()
		q = next
	}
	count := w.count
	w.reset()
	w.conn, w.batch, w.q, w.bye, w.err = nil, nil, nil, nil, nil
	w.part, w.pos = 0, 0
	c.pools.writers.Put(w)
	c.written(count, memory)
}
