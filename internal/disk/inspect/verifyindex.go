package inspect

import (
	"cmp"
	"fmt"
	"io"

	"github.com/moldau/moldau/internal/format/record"
)

// ordered checks entries one after the other with next, which says what is wrong. Zeros behind the last entry are room that a
// preallocated file still has.
func ordered(next func(b []byte) string) func(pos int64, b []byte) string {
	padded := false
	return func(_ int64, b []byte) string {
		if allZero(b) {
			padded = true
			return ""
		}
		fault := next(b)
		if padded {
			padded = false
			return "an entry stands behind unused ones"
		}
		return fault
	}
}

// orderOfIndex checks that entries grow.
func orderOfIndex(base int64) func(pos int64, b []byte) string {
	last := indexEntry{base - 1, -1}
	return ordered(func(b []byte) string {
		e, before := decodeIndexEntry(b, base), last
		last = e
		if e.offset <= before.offset || e.pos <= before.pos {
			return fmt.Sprintf("the entry for offset %d at byte %d stands behind that for offset %d at byte %d", e.offset, e.pos, before.offset, before.pos)
		}
		return ""
	})
}

// orderOfTimeIndex checks that neither timestamps nor offsets go back.
func orderOfTimeIndex(base int64) func(pos int64, b []byte) string {
	last := timeEntry{-1, base}
	return ordered(func(b []byte) string {
		e, before := decodeTimeEntry(b, base), last
		last = e
		if e.ts < before.ts || e.offset < before.offset {
			return fmt.Sprintf("the entry for time %d at offset %d stands behind that for time %d at offset %d", e.ts, e.offset, before.ts, before.offset)
		}
		return ""
	})
}

// indexWalk goes through an .index file beside the segment.
type indexWalk struct {
	v *verifier
	c *segmentCheck
	r *reader // nil when there is no file
	// order is made at the first entry.
	order func(int64, []byte) string
}

// present gives the entry at hand; ok is false at the end.
func (w *indexWalk) present() (e indexEntry, ok bool, err error) {
	for w.r != nil && w.r.pos+indexEntryBytes <= w.r.size {
		b, err := w.r.bytes(w.r.pos, indexEntryBytes)
		if err != nil {
			return e, false, w.v.unreadable(w.path(), w.r.pos, err)
		}
		if len(b) == indexEntryBytes && !allZero(b) {
			return decodeIndexEntry(b, w.c.base), true, nil
		}
		if err := w.pass(b); err != nil {
			return e, false, err
		}
	}
	return e, false, nil
}

// pass checks the order of the entry at hand and goes behind it.
func (w *indexWalk) pass(b []byte) error {
	if w.order == nil {
		w.order = orderOfIndex(w.c.base)
	}
	pos := w.r.pos
	w.r.pos += indexEntryBytes
	if len(b) < indexEntryBytes {
		return nil
	}
	if what := w.order(pos, b); what != "" {
		return w.tell(pos, what)
	}
	return nil
}

func (w *indexWalk) path() string { return w.c.sibling(".index") }

func (w *indexWalk) tell(pos int64, what string) error {
	return w.v.report(w.c.indexProblem(w.path(), pos, what))
}

// indexProblem is a notice where a crash may have torn an index.
func (c *segmentCheck) indexProblem(path string, pos int64, what string) Problem {
	p := Problem{Path: path, Pos: pos, What: what, Do: doRebuild}
	if c.end >= c.unfinished {
		p.Notice, p.Do = true, doStart
	}
	return p
}

// batch checks the entries up to the batch at pos.
func (w *indexWalk) batch(pos int64, e *record.EntryInfo) error {
	for {
		x, ok, err := w.present()
		if !ok || err != nil || x.pos > pos {
			return err
		}
		at := w.r.pos
		switch {
		case x.pos < pos && (x.pos < w.v.damagedFrom || x.pos >= w.v.damagedTo):
			err = w.tell(at, fmt.Sprintf("the entry for offset %d points to byte %d of the segment, where no batch begins", x.offset, x.pos))
		case x.pos == pos && !e.BaseUnknown && x.offset < e.BaseOffset:
			err = w.tell(at, fmt.Sprintf("the entry for offset %d points to byte %d, where the batch of offsets %d to %d begins", x.offset, x.pos, e.BaseOffset, e.LastOffset))
		}
		if err != nil {
			return err
		}
		if err := w.advance(); err != nil {
			return err
		}
	}
}

func (w *indexWalk) advance() error {
	b, err := w.r.bytes(w.r.pos, indexEntryBytes)
	if err != nil {
		return w.v.unreadable(w.path(), w.r.pos, err)
	}
	return w.pass(b)
}

// finish checks what is behind the last batch.
func (w *indexWalk) finish() error {
	if w.r == nil {
		return nil
	}
	for {
		x, ok, err := w.present()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if x.pos < w.v.damagedFrom || x.pos >= w.v.damagedTo {
			if err := w.tell(w.r.pos, fmt.Sprintf("the entry for offset %d points to byte %d, behind the last batch of the segment", x.offset, x.pos)); err != nil {
				return err
			}
		}
		if err := w.advance(); err != nil {
			return err
		}
	}
	w.v.passed(w.r.size)
	if left := w.r.size % indexEntryBytes; left > 0 {
		return w.tell(w.r.size-left, fmt.Sprintf("%d bytes at the end are less than an entry", left))
	}
	return nil
}

// timeWalk goes through a .timeindex file beside the segment.
type timeWalk struct {
	v      *verifier
	c      *segmentCheck
	r      *reader // nil when there is no file
	order  func(int64, []byte) string
	newest int64 // timestamp of the batches so far
}

func (w *timeWalk) path() string { return w.c.sibling(".timeindex") }

func (w *timeWalk) tell(pos int64, what string) error {
	return w.v.report(w.c.indexProblem(w.path(), pos, what))
}

// next takes the next entry whose offset is at most upTo.
func (w *timeWalk) next(upTo int64) (e timeEntry, pos int64, ok bool, err error) {
	if w.order == nil {
		w.order = orderOfTimeIndex(w.c.base)
	}
	for w.r != nil && w.r.pos+timeIndexEntryBytes <= w.r.size {
		b, err := w.r.bytes(w.r.pos, timeIndexEntryBytes)
		if err != nil || len(b) < timeIndexEntryBytes {
			err = cmp.Or(err, io.ErrUnexpectedEOF)
			at := w.r.pos
			w.r.pos = w.r.size
			return e, at, false, w.v.unreadable(w.path(), at, err)
		}
		e, pos = decodeTimeEntry(b, w.c.base), w.r.pos
		unused := allZero(b)
		if !unused && e.offset > upTo {
			return e, pos, false, nil
		}
		if what := w.order(pos, b); what != "" {
			if err := w.tell(pos, what); err != nil {
				return e, pos, false, err
			}
		}
		w.r.pos += timeIndexEntryBytes
		if !unused {
			return e, pos, true, nil
		}
	}
	return e, pos, false, nil
}

// batch checks that the entries up to the batch are not older than what stands before them.
func (w *timeWalk) batch(e *record.EntryInfo) error {
	for {
		x, pos, ok, err := w.next(e.LastOffset)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		newest := w.newest
		if x.offset == e.LastOffset {
			newest = max(newest, e.MaxTimestamp)
		}
		if x.ts < newest {
			if err := w.tell(pos, fmt.Sprintf("the entry says that up to offset %d no timestamp is above %d, and there is %d", x.offset, x.ts, newest)); err != nil {
				return err
			}
		}
	}
	w.newest = max(w.newest, e.MaxTimestamp)
	return nil
}

// finish checks what is behind the last batch.
func (w *timeWalk) finish() error {
	if w.r == nil {
		return nil
	}
	for {
		x, pos, ok, err := w.next(1<<63 - 1)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if w.c.torn {
			continue
		}
		if err := w.tell(pos, fmt.Sprintf("the entry for time %d names offset %d, which is behind the end of the segment", x.ts, x.offset)); err != nil {
			return err
		}
	}
	w.v.passed(w.r.size)
	if left := w.r.size % timeIndexEntryBytes; left > 0 {
		return w.tell(w.r.size-left, fmt.Sprintf("%d bytes at the end are less than an entry", left))
	}
	return nil
}
