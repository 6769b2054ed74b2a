package commitlog

import (
	"sync"
	"sync/atomic"
)

// Sizes of the pieces that tails are kept in. A log with little to say takes little.
var chunkSizes = [...]int{4 << 10, 16 << 10, 64 << 10, 256 << 10, DirectBytes}

// maxPooled bounds the free pieces of each size that are kept.
const maxPooled = 64

// chunk is a piece of a log's tail: bytes that the journal holds durably and the
// segment does not yet. Batches never cross the end of a chunk. What is
// below used never changes, so readers need the lock for used only.
type chunk struct {
	pool  *chunkPool
	class int
	buf   []byte
	refs  atomic.Int32 // the log's own, and one for each reader

	// Guarded by Log.mu.
	next   *chunk
	seg    *segment
	pos    int64 // of buf[0] in seg
	used   int
	base   int64 // first offset
	end    int64 // offset after the last batch
	sealed bool  // being written behind: nothing is added any more
}

// chunkPool hands out chunks and counts them against the store's budget.
type chunkPool struct {
	mu   sync.Mutex // guards free
	free [len(chunkSizes)][]*chunk
	held atomic.Int64 // bytes in chunks that are not free
}

// get takes a chunk that has room for need bytes; filled says how much the log's tail holds already.
func (p *chunkPool) get(need, filled int) *chunk {
	class := 0
	for class < len(chunkSizes)-1 && (chunkSizes[class] < need || chunkSizes[class] <= filled) {
		class++
	}
	p.held.Add(int64(chunkSizes[class]))
	p.mu.Lock()
	if n := len(p.free[class]); n > 0 {
		c := p.free[class][n-1]
		p.free[class][n-1] = nil
		p.free[class] = p.free[class][:n-1]
		p.mu.Unlock()
		c.refs.Store(1)
		return c
	}
	p.mu.Unlock()
	c := &chunk{pool: p, class: class, buf: make([]byte, chunkSizes[class])}
	c.refs.Store(1)
	return c
}

// release drops one reference; the last one returns the chunk to the pool.
func (c *chunk) release() {
	if c.refs.Add(-1) > 0 {
		return
	}
	p := c.pool
	p.held.Add(-int64(chunkSizes[c.class]))
	c.next, c.seg, c.used, c.sealed = nil, nil, 0, false
	p.mu.Lock()
	if len(p.free[c.class]) < maxPooled {
		p.free[c.class] = append(p.free[c.class], c)
	}
	p.mu.Unlock()
}
