package commitlog

import (
	"errors"
	"io"
	"sync"

	"github.com/moldau/moldau/internal/format/record"
)

// maxVerify bounds what one read checks before it is served; a longer view is cut.
const maxVerify = 4 << 20

// verifyMemory is what views are checked in.
var verifyMemory sync.Pool

// verified is which bytes of a segment are known to be what was written: all
// from trusted on, which this process wrote or checked at start, and one run of what
// readers have had checked. It is guarded by Log.mu.
type verified struct {
	trusted  int64
	from, to int64
}

// has tells whether [at, end) needs no check.
func (v *verified) has(at, end int64) bool {
	end = min(end, v.trusted)
	return at >= end || at >= v.from && end <= v.to
}

// add notes that [at, end) was checked; a run that does not touch the known one replaces it.
func (v *verified) add(at, end int64) {
	if at > v.to || end < v.from || v.from == v.to {
		v.from, v.to = at, end
		return
	}
	v.from, v.to = min(v.from, at), max(v.to, end)
}

// verify checks the batches of a view of segment s that lay on the disk before
// this process began, once: a flipped bit must not be served. It costs one read through
// memory; what was checked goes out by sendfile from then on.
//
// first is the size of the view's first batch, which may be larger than maxVerify.
func (l *Log) verify(s *segment, v *View, first int) error {
	l.mu.Lock()
	known := s.verified.has(v.Pos, v.Pos+int64(v.Len))
	l.mu.Unlock()
	if known {
		return nil
	}
	held, _ := verifyMemory.Get().(*[]byte)
	if held == nil {
		held = new([]byte)
	}
	defer verifyMemory.Put(held)
	n := min(v.Len, max(maxVerify, first))
	if cap(*held) < n {
		*held = make([]byte, n)
	}
	b := (*held)[:n]
	read := v.File.ReadAt
	if v.Cold {
		read = v.File.ReadCold
	}
	if _, err := read(b, v.Pos); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	at, err := checkBatches(b)
	if err != nil {
		return &CorruptError{Path: s.log.path, Pos: v.Pos + int64(at), Why: err.Error()}
	}
	if v.Len > len(b) && at > 0 {
		v.Len = at
	}
	l.mu.Lock()
	s.verified.add(v.Pos, v.Pos+int64(at))
	l.mu.Unlock()
	return nil
}

// checkBatches checks the batches of b up to one that is cut by the reader's
// limit, which comes whole with the next read. It gives the position behind
// the last good one.
func checkBatches(b []byte) (at int, err error) {
	for at < len(b) {
		e, err := record.PeekHeader(b[at:])
		if errors.Is(err, record.ErrShort) || err == nil && at+e.Size > len(b) {
			return at, nil
		}
		if err == nil {
			err = record.CheckEntry(b[at : at+e.Size])
		}
		if err != nil {
			return at, err
		}
		at += e.Size
	}
	return at, nil
}
