package commitlog

import (
	"errors"
	"fmt"
	"io"
	"sort"
	"sync"

	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/record"
)

// View is a run of batches. Either Mem holds them, or File has them at Pos. Len
// bytes may be used until Release, whatever happens to the log meanwhile.
type View struct {
	// Mem is a view of the tail: not to be changed.
	Mem  []byte
	File vfs.File
	Pos  int64
	Len  int
	// Cold says that the data is far behind the end: reading it should not push newer data out of the page cache.
	Cold bool

	chunk  *chunk
	handle *handle
}

// coldBytes is how far behind the end of the log data is called cold.
const coldBytes = 64 << 20

// Release gives the view back. It must be called once; calling it on the zero View does nothing.
func (v *View) Release() {
	if v.chunk != nil {
		v.chunk.release()
	}
	if v.handle != nil {
		v.handle.release()
	}
	*v = View{}
}

// Bytes copies the view's content to dst.
func (v *View) Bytes(dst []byte) ([]byte, error) {
	if v.File == nil {
		return append(dst, v.Mem...), nil
	}
	n := len(dst)
	dst = append(dst, make([]byte, v.Len)...)
	read := v.File.ReadAt
	if v.Cold {
		read = v.File.ReadCold
	}
	if _, err := read(dst[n:], v.Pos); err != nil && !errors.Is(err, io.EOF) {
		return dst[:n], err
	}
	return dst, nil
}

// Read gives batches from the one that holds offset on, at most maxBytes, none that
// reaches limit or Stable. One call gives bytes of one file or one piece of the tail: there may be more behind.
// The first batch is whole: with minOne even if it is larger, otherwise there is none then. Another
// batch may be cut at the end, as Kafka does. The offset is in [Start, min(limit, Stable)], else ErrOffsetOutOfRange.
func (l *Log) Read(offset, limit int64, maxBytes int, minOne bool) (View, error) {
	v, err := l.read(offset, limit, maxBytes, minOne)
	for tries := 0; tries < maxReplaced && errors.Is(err, errReplaced); tries++ {
		v, err = l.read(offset, limit, maxBytes, minOne)
	}
	if err != nil {
		if to := l.successor(); to != nil {
			return to.Read(offset, limit, maxBytes, minOne)
		}
	}
	return v, err
}

// maxReplaced is how often a reader looks again when the segments that it saw were replaced meanwhile.
const maxReplaced = 100

// read is Read, of this log even if another has taken its place.
func (l *Log) read(offset, limit int64, maxBytes int, minOne bool) (View, error) {
	l.mu.Lock()
	limit = min(limit, l.stable)
	if err := l.readable(offset, limit); err != nil || offset == limit {
		l.mu.Unlock()
		return View{}, err
	}
	if c := l.tailChunk(offset); c != nil {
		c.refs.Add(1)
		b, pos := c.buf[:c.used], c.pos
		l.mu.Unlock()
		v := View{chunk: c, Pos: pos}
		v.cutMem(b, offset, limit, maxBytes, minOne)
		return v, nil
	}
	i := l.segmentOf(offset)
	for ; i < len(l.segs); i++ {
		v, found, err := l.readFile(i, offset, limit, maxBytes, minOne)
		if err != nil || found {
			return v, err
		}
		// Compaction may leave no batch at or behind the offset in this segment: the next one has it.
		l.mu.Lock()
		if c := l.tailChunk(offset); c != nil && i+1 >= len(l.segs) {
			c.refs.Add(1)
			b, pos := c.buf[:c.used], c.pos
			l.mu.Unlock()
			v := View{chunk: c, Pos: pos}
			v.cutMem(b, offset, limit, maxBytes, minOne)
			return v, nil
		}
	}
	l.mu.Unlock()
	return View{}, nil
}

// readable tells whether an offset may be asked for. The caller holds mu.
func (l *Log) readable(offset, limit int64) error {
	if l.err != nil && !errors.Is(l.err, ErrNoSpace) {
		return l.err
	}
	if offset < l.start || offset > limit {
		return fmt.Errorf("reading %s-%d at %d, which has %d to %d: %w", l.topic, l.partition, offset, l.start, limit, ErrOffsetOutOfRange)
	}
	return nil
}

// segmentOf is the segment that holds an offset. The caller holds mu.
func (l *Log) segmentOf(offset int64) int {
	i := sort.Search(len(l.segs), func(i int) bool { return l.segs[i].base > offset })
	return max(i-1, 0)
}

// tailChunk is the piece of the tail that holds an offset, nil when the files do. The caller holds mu.
func (l *Log) tailChunk(offset int64) *chunk {
	c := l.tailHead
	if c == nil || offset < c.base {
		return nil
	}
	for c != nil && offset >= c.end {
		c = c.next
	}
	return c
}

// cutMem makes the view the part of b that Read asked for.
func (v *View) cutMem(b []byte, offset, limit int64, maxBytes int, minOne bool) {
	from := 0
	for from < len(b) && record.Batch(b[from:]).LastOffset() < offset {
		from += record.Batch(b[from:]).Length()
	}
	to := from
	for to < len(b) && record.Batch(b[to:]).BaseOffset() < limit {
		n := record.Batch(b[to:]).Length()
		if to+n-from > maxBytes && (to > from || !minOne) {
			if to > from {
				to = max(to, from+maxBytes)
			}
			break
		}
		to += n
	}
	v.Pos += int64(from)
	v.Mem = b[from:to:to]
	v.Len = len(v.Mem)
}

// readFile looks for the offset in the file of segment i. The caller holds mu, which is given up.
func (l *Log) readFile(i int, offset, limit int64, maxBytes int, minOne bool) (v View, found bool, err error) {
	s := l.segs[i]
	end := s.flushed
	// All of the file may be shown unless the limit is inside.
	whole := i+1 < len(l.segs) && l.segs[i+1].base <= limit || limit >= l.flushedOffset()
	behind := l.active().size - end
	if i+1 < len(l.segs) {
		behind += l.active().size
	}
	look := l.lookup(s, offset)
	lookLimit := l.lookup(s, limit)
	l.mu.Unlock()
	if end == 0 {
		return View{}, false, nil
	}
	f, err := l.store.files.hold(&s.log)
	if err != nil {
		return View{}, false, fmt.Errorf("opening segment %s: %w", s.log.path, err)
	}
	v = View{File: f, handle: &s.log}
	defer func() {
		if !found {
			v.Release()
		}
	}()
	at, e, err := l.find(f, s, look, end, func(e *record.EntryInfo) bool { return e.LastOffset >= offset })
	if err != nil || at < 0 {
		return v, false, err
	}
	if !whole {
		stop, _, err := l.find(f, s, lookLimit, end, func(e *record.EntryInfo) bool { return e.BaseOffset >= limit })
		if err != nil {
			return v, false, err
		}
		if stop >= 0 {
			end = stop
		}
	}
	n := min(int64(maxBytes), end-at)
	switch {
	case minOne:
		n = max(n, int64(e.Size))
	case n < int64(e.Size):
		n = 0
	}
	v.Pos, v.Len, v.Cold = at, int(max(n, 0)), behind+end-at > coldBytes
	if err := l.verify(s, &v, e.Size); err != nil {
		return v, false, err
	}
	return v, true, nil
}

// flushedOffset is the offset below which everything stable is in the files. The caller holds mu.
func (l *Log) flushedOffset() int64 {
	if l.tailHead != nil {
		return l.tailHead.base
	}
	return l.stable
}

// lookup is what the index says of an offset.
type lookup struct {
	rel     int64 // relative offset
	pos     int64 // where to begin, from the entries in memory
	inMem   bool
	entries int // in the file, unknown if they have to be counted
}

// lookup prepares a search; the caller holds mu.
func (l *Log) lookup(s *segment, offset int64) lookup {
	k := lookup{rel: offset - s.base, entries: s.idx.writtenOffsets}
	mem := s.idx.newOffsets
	i := sort.Search(len(mem), func(i int) bool { return int64(mem[i].offset) > k.rel })
	if i > 0 {
		k.pos, k.inMem = int64(mem[i-1].pos), true
	}
	return k
}

// startPos resolves a lookup to a position at or before the offset.
func (l *Log) startPos(s *segment, k lookup, end int64) (int64, error) {
	if k.inMem {
		return k.pos, nil
	}
	n, err := l.countEntries(s, k.entries, end)
	if err != nil || n == 0 {
		return 0, err
	}
	f, err := l.store.files.hold(&s.idx.offsets)
	if err != nil {
		return 0, fmt.Errorf("opening index %s: %w", s.idx.offsets.path, err)
	}
	defer s.idx.offsets.release()
	e, at, err := searchOffsets(f, n, k.rel, int(s.idx.near.Load()))
	if err != nil {
		return 0, fmt.Errorf("reading index %s: %w", s.idx.offsets.path, err)
	}
	s.idx.near.Store(int32(at))
	return int64(e.pos), nil
}

// countEntries is the number of valid entries in the segment's .index file.
func (l *Log) countEntries(s *segment, known int, end int64) (int, error) {
	if known != unknown {
		return known, nil
	}
	entry, err := l.store.fs.Stat(s.idx.offsets.path)
	if errors.Is(err, vfs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	f, err := l.store.files.hold(&s.idx.offsets)
	if err != nil {
		return 0, fmt.Errorf("opening index %s: %w", s.idx.offsets.path, err)
	}
	defer s.idx.offsets.release()
	n, _, err := countOffsets(f, entry.Size, end)
	if err != nil {
		return 0, fmt.Errorf("reading index %s: %w", s.idx.offsets.path, err)
	}
	l.mu.Lock()
	if s.idx.writtenOffsets == unknown {
		s.idx.writtenOffsets = n
	}
	l.mu.Unlock()
	return n, nil
}

// peekBytes is how much of a file a search reads at once.
const peekBytes = 4 << 10

var peekPool = sync.Pool{New: func() any { return new([peekBytes]byte) }}

// find walks the entries from where the lookup says and returns the first that is wanted, -1 when there is none before end.
// An index that does not lead to an entry is not believed: the walk begins at the start of the file.
func (l *Log) find(f vfs.File, s *segment, k lookup, end int64, wanted func(*record.EntryInfo) bool) (int64, record.EntryInfo, error) {
	pos, err := l.startPos(s, k, end)
	if err != nil {
		return -1, record.EntryInfo{}, err
	}
	target, misled := s.base+k.rel, false
	at, e, err := walk(f, pos, end, func(at int64, e *record.EntryInfo, _ []byte) bool {
		// An entry of the index names the last offset of the batch that it leads to.
		misled = misled || at == pos && pos > 0 && e.LastOffset > target
		return misled || wanted(e)
	})
	var bad *record.Error
	if misled || pos > 0 && errors.As(err, &bad) {
		at, e, err = walk(f, 0, end, func(_ int64, e *record.EntryInfo, _ []byte) bool { return wanted(e) })
	}
	switch {
	case err == nil:
		return at, e, nil
	case errors.As(err, &bad) || errors.Is(err, record.ErrShort):
		return -1, e, &CorruptError{Path: s.log.path, Pos: at, Why: err.Error()}
	default:
		return -1, e, fmt.Errorf("reading segment %s at %d: %w", s.log.path, at, err)
	}
}

// walk reads the heads of the entries in [pos, end) until stop says so, and returns where that was; -1 at the end. stop
// also gets the bytes of the head, at least record.PeekSize unless the entry is shorter.
func walk(f vfs.File, pos, end int64, stop func(at int64, e *record.EntryInfo, head []byte) bool) (int64, record.EntryInfo, error) {
	buf := peekPool.Get().(*[peekBytes]byte)
	defer peekPool.Put(buf)
	var have []byte
	from := pos
	for pos < end {
		if skip := pos - from; have == nil || skip+record.PeekSize > int64(len(have)) {
			n, err := f.ReadAt(buf[:min(peekBytes, end-pos)], pos)
			if err != nil && !errors.Is(err, io.EOF) {
				return pos, record.EntryInfo{}, err
			}
			have, from = buf[:n], pos
		}
		e, err := record.PeekHeader(have[pos-from:])
		if err != nil {
			return pos, e, err
		}
		if stop(pos, &e, have[pos-from:]) {
			return pos, e, nil
		}
		pos += int64(e.Size)
	}
	return -1, record.EntryInfo{}, nil
}
