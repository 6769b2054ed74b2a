package edge

import (
	"sync"
	"sync/atomic"

	"github.com/moldau/moldau/internal/invariant"
)

// classBytes are the sizes of pooled buffers. Anything larger than the last
// is made to measure and left to the garbage collector.
var classBytes = [...]int{
	1 << 10, 4 << 10, 16 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20, 2 << 20, 4 << 20,
}

const (
	classTiny  = 0 // what a connection that waits with a partial frame keeps
	classStage = 1 // where frames of a peer that nothing is known of are read
)

// Buffer is pooled, counted memory: what frames are read into. It goes back to
// its pool when everybody who holds it has called Release.
type Buffer struct {
	data  []byte
	refs  atomic.Int32
	class int8 // index in classBytes, -1 when made to measure
	home  *pools
}

// Bytes is the whole buffer, of which the holder's frame is a part.
func (b *Buffer) Bytes() []byte { return b.data }

func (b *Buffer) hold() *Buffer {
	b.refs.Add(1)
	return b
}

// Release gives up one hold. The bytes must not be touched afterwards.
func (b *Buffer) Release() {
	n := b.refs.Add(-1)
	if n < 0 { // its arguments would be allocated at every call
		invariant.Check(false, "edge buffer of %d bytes released once too often", len(b.data))
	}
	if n == 0 && b.class >= 0 {
		b.home.buffers[b.class].Put(b)
	}
}

// pools is the memory that a server's connections share. What lies in it
// unused is given back by the garbage collector.
type pools struct {
	buffers  [len(classBytes)]sync.Pool
	requests sync.Pool
	writers  sync.Pool
	// replyHint is, by API key, how large the last answers were, so that most
	// answers are built in a buffer that never has to grow.
	replyHint [maxHintedKey]atomic.Int32
}

// maxHintedKey bounds the table of reply sizes; keys beyond share the last entry.
const maxHintedKey = 128

// maxHintBytes bounds what is set aside for an answer before it is built.
const maxHintBytes = 1 << 20

// classOf is the smallest class that holds n bytes, or -1.
func classOf(n int) int8 {
	for i, size := range classBytes {
		if n <= size {
			return int8(i)
		}
	}
	return -1
}

// capacityFor is how many bytes a buffer for n bytes will have.
func capacityFor(n int) int {
	if k := classOf(n); k >= 0 {
		return classBytes[k]
	}
	return n
}

// buffer borrows at least n bytes, held once.
func (p *pools) buffer(n int) *Buffer {
	k := classOf(n)
	if k < 0 {
		return exactly(n)
	}
	b, _ := p.buffers[k].Get().(*Buffer)
	if b == nil {
		b = &Buffer{data: make([]byte, classBytes[k]), class: k, home: p}
	}
	b.refs.Store(1)
	return b
}

// exactly makes a buffer of n bytes that no pool keeps.
func exactly(n int) *Buffer {
	b := &Buffer{data: make([]byte, n), class: -1}
	b.refs.Store(1)
	return b
}

func (p *pools) request() *Request {
	q, _ := p.requests.Get().(*Request)
	if q == nil {
		q = new(Request)
	}
	return q
}

// budget bounds the bytes of all frames that are being read or handled.
//
// Unfinished frames could wait for the memory that other unfinished frames
// hold, for good. So there is a spare for one of them at a time, the finisher:
// when nothing else fits, the first in the queue gets room for all of its frame.
type budget struct {
	limit    int64
	spare    int64 // the largest frame
	used     atomic.Int64
	queue    atomic.Int32         // len(waiters), to be read without the lock
	finisher atomic.Pointer[Conn] // set under the lock

	mu      sync.Mutex // guards what follows; no other lock is taken under it
	waiters []*Conn    // first come, first served; bounded by the number of connections
}

// take charges n bytes whatever the limit: for frames so small that their
// connection alone bounds them.
func (b *budget) take(n int) { b.used.Add(int64(n)) }

// ask charges n bytes and returns true, or puts the connection into the queue.
// Its grant method is called when the bytes are there: n, or whole, which is
// what the frame will need in the end.
func (b *budget) ask(c *Conn, n, whole int) bool {
	if b.queue.Load() == 0 {
		if b.used.Add(int64(n)) <= b.limit {
			return true
		}
		b.used.Add(-int64(n))
	}
	b.mu.Lock()
	c.wanted, c.whole = n, whole
	c.queued.Store(true)
	b.waiters = append(b.waiters, c)
	b.queue.Store(int32(len(b.waiters)))
	b.mu.Unlock()
	b.serve()
	return false
}

// roomy says that memory may be set aside for frames that are only expected.
func (b *budget) roomy() bool { return b.queue.Load() == 0 && b.used.Load() < b.limit/2 }

// give returns n bytes.
func (b *budget) give(n int) {
	if n == 0 {
		return
	}
	b.used.Add(-int64(n))
	if b.queue.Load() > 0 {
		b.serve()
	}
}

// serve grants what the heads of the queue wait for as long as it fits.
func (b *budget) serve() {
	for {
		b.mu.Lock()
		if len(b.waiters) == 0 || !b.fits(b.waiters[0]) {
			b.mu.Unlock()
			return
		}
		c := b.waiters[0]
		b.waiters[0] = nil
		b.waiters = b.waiters[1:]
		b.queue.Store(int32(len(b.waiters)))
		c.queued.Store(false)
		b.mu.Unlock()
		c.grant()
	}
}

// fits charges what the connection waits for, if it may have it now.
func (b *budget) fits(c *Conn) bool {
	if b.used.Add(int64(c.wanted)) <= b.limit {
		return true
	}
	b.used.Add(-int64(c.wanted))
	if b.finisher.Load() != nil {
		return false
	}
	if b.used.Add(int64(c.whole)) > b.limit+b.spare {
		b.used.Add(-int64(c.whole))
		return false
	}
	c.wanted = c.whole
	b.finisher.Store(c)
	return true
}

// finish ends the use of the spare, if it is this connection that has it.
func (b *budget) finish(c *Conn) {
	if b.finisher.Load() == c {
		b.finisher.Store(nil)
		b.serve()
	}
}

// leave takes the connection out of the queue and reports whether it was in it.
func (b *budget) leave(c *Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, w := range b.waiters {
		if w == c {
			b.waiters = append(b.waiters[:i], b.waiters[i+1:]...)
			b.queue.Store(int32(len(b.waiters)))
			return true
		}
	}
	return false
}

// first is who waits longest.
func (b *budget) first() *Conn {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiters) == 0 {
		return nil
	}
	return b.waiters[0]
}
