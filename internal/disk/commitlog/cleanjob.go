package commitlog

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/moldau/moldau/internal/disk/clean"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/record"
)

// cleanChunk is what one step of a cleaning reads, and writes at a time.
const cleanChunk = 1 << 20

// errCleanAborted ends a cleaning without blame: the log is truncated, moved, deleted or closed.
var errCleanAborted = errors.New("the cleaning was given up")

// cleanJob is one cleaning of one log. Its steps run one after the other, and nothing of it is shared.
type cleanJob struct {
	cleaner *Cleaner
	log     *Log
	d       *cleanable
	keys    *clean.Keys
	began   time.Duration
	run0    CleanRun
	fatal   bool // the error came from writing

	scan   *clean.Scan
	filter *clean.Filter
	end    int64 // all below is cleaned when it is over

	// src is what is being read: the segment with number seg from position pos.
	seg int
	pos int64
	buf []byte

	aborted []AbortedTxn
	group   *cleanGroup
}

// beginCleaning marks the log as being cleaned, unless something has changed since it was chosen.
func (l *Log) beginCleaning(c *Cleaner, d *cleanable) *cleanJob {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.clean.gen != d.gen || l.clean.job != nil {
		return nil
	}
	j := &cleanJob{cleaner: c, log: l, d: d, began: c.world.Mono(), seg: -1}
	l.clean.job = j
	return j
}

// run does one step; more says that there is another. It tells how many bytes it has read and written.
func (j *cleanJob) run() (bytes int64, more bool) {
	s := j.log.store
	s.cleanMu.RLock()
	defer s.cleanMu.RUnlock()
	before := j.run0
	err := j.check()
	if err == nil {
		more, err = j.step()
	}
	if err != nil || !more {
		j.finish(err)
		more = false
	}
	r := &j.run0
	return r.ScannedBytes - before.ScannedBytes + r.BytesRead - before.BytesRead + r.BytesWritten - before.BytesWritten, more
}

// size is the size of the segment being read.
func (j *cleanJob) size() int64 { return j.d.sizes[j.seg] }

// check tells whether the cleaning may go on.
func (j *cleanJob) check() error {
	l := j.log
	if l.store.usable() != nil || l.store.dead.Load() || j.cleaner.isClosed() {
		return errCleanAborted
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.clean.gen != j.d.gen || l.err != nil || l.gone || l.held.on || l.held.to != nil {
		return errCleanAborted
	}
	return nil
}

// step goes on by about one chunk.
func (j *cleanJob) step() (more bool, err error) {
	switch {
	case j.scan == nil:
		return true, j.beginScan()
	case j.filter == nil:
		return true, j.scanChunk()
	default:
		return j.filterChunk()
	}
}

// beginScan prepares the first pass.
func (j *cleanJob) beginScan() error {
	d := j.d
	bytes, load := j.cleaner.keyBytes()
	j.keys.Reset(d.first, max(d.upper-d.first, 1), bytes, load)
	txns, err := j.log.AbortedTxns(d.first, d.upper)
	if err != nil {
		return err
	}
	j.scan = clean.NewScan(j.keys, d.first, toClean(sortTxns(txns)))
	for j.seg = range d.segs {
		if j.seg+1 == len(d.segs) || d.segs[j.seg+1].base > d.first {
			break
		}
	}
	if j.seg < 0 || len(d.segs) == 0 {
		return errCleanAborted
	}
	return j.seek(d.segs[j.seg], d.first)
}

func sortTxns(txns []AbortedTxn) []AbortedTxn {
	slices.SortFunc(txns, func(a, b AbortedTxn) int {
		if a.FirstOffset != b.FirstOffset {
			return int(min(max(a.FirstOffset-b.FirstOffset, -1), 1))
		}
		return int(min(max(a.LastOffset-b.LastOffset, -1), 1))
	})
	return txns
}

func toClean(txns []AbortedTxn) []clean.Aborted {
	list := make([]clean.Aborted, len(txns))
	for i, t := range txns {
		list[i] = clean.Aborted{ProducerID: t.ProducerID, First: t.FirstOffset, Last: t.LastOffset}
	}
	return list
}

// seek goes to the entry with the offset, or to the segment's end.
func (j *cleanJob) seek(s *segment, offset int64) error {
	j.pos = 0
	if offset <= s.base {
		return nil
	}
	l := j.log
	l.mu.Lock()
	look, end := l.lookup(s, offset), j.size()
	l.mu.Unlock()
	if end == 0 {
		return nil
	}
	f, err := l.store.files.hold(&s.log)
	if err != nil {
		return fmt.Errorf("opening segment %s: %w", s.log.path, err)
	}
	defer s.log.release()
	at, _, err := l.find(f, s, look, end, func(e *record.EntryInfo) bool { return e.LastOffset >= offset })
	if err != nil {
		return err
	}
	if j.pos = at; at < 0 {
		j.pos = end
	}
	return nil
}

// scanChunk reads on for keys, and turns to copying at the end.
func (j *cleanJob) scanChunk() error {
	d := j.d
	s := d.segs[j.seg]
	n, err := j.entries(s, func(_ int64, e *record.EntryInfo, b []byte) error {
		if j.scan.Full() {
			return nil
		}
		return j.scan.Entry(b, e)
	})
	if err != nil {
		return err
	}
	j.run0.ScannedBytes += n
	if !j.scan.Full() && j.pos < j.size() {
		return nil
	}
	if !j.scan.Full() {
		next := d.upper
		if j.seg+1 < len(d.segs) {
			next = d.segs[j.seg+1].base
		}
		j.scan.Passed(next)
		if j.seg+1 < len(d.segs) {
			j.seg, j.pos = j.seg+1, 0
			return nil
		}
	}
	return j.beginFilter()
}

// beginFilter prepares the second pass, over all segments that the first one has reached.
func (j *cleanJob) beginFilter() error {
	d, l := j.d, j.log
	if j.end = j.scan.Latest() + 1; j.end <= d.first {
		return fmt.Errorf("cleaning %s-%d from offset %d: there is no memory for one key, raise log.cleaner.dedupe.buffer.size", l.topic, l.partition, d.first)
	}
	n := len(d.segs)
	for n > 1 && d.segs[n-1].base >= j.end {
		n--
	}
	d.segs = d.segs[:n]
	txns, err := l.AbortedTxns(d.segs[0].base, d.upper)
	if err != nil {
		return err
	}
	j.aborted = sortTxns(txns)
	l.mu.Lock()
	producers := map[int64]clean.LastRecord{}
	l.producers.EachLast(func(id int64, epoch int16, last int64) {
		producers[id] = clean.LastRecord{Offset: last, Epoch: epoch}
	})
	l.mu.Unlock()
	j.filter = clean.NewFilter(clean.Options{
		Keys: j.keys, Latest: j.scan.Latest(), End: d.upper, NowMs: l.store.nowMs(), DeleteRetentionMs: d.cfg.DeleteRetentionMs,
		Producers: producers, Aborted: toClean(j.aborted),
	})
	j.run0.Keys, j.run0.KeyRoom = j.keys.Len(), j.keys.Cap()
	j.seg, j.pos = 0, 0
	return nil
}

// filterChunk copies what stays of the next chunk.
func (j *cleanJob) filterChunk() (more bool, err error) {
	if j.group == nil {
		if j.group, err = j.beginGroup(); err != nil {
			return false, err
		}
	}
	g := j.group
	s := j.d.segs[j.seg]
	n, err := j.entries(s, func(at int64, e *record.EntryInfo, b []byte) error {
		last := j.seg == g.last && at+int64(e.Size) >= j.size()
		return g.add(j.filter, e, b, last)
	})
	j.run0.BytesRead += n
	if err != nil {
		return false, err
	}
	if j.pos < j.size() {
		return true, nil
	}
	j.seg, j.pos = j.seg+1, 0
	if j.seg < g.first+g.count {
		return true, nil
	}
	if err := j.endGroup(); err != nil {
		return false, err
	}
	return j.seg < len(j.d.segs), nil
}

// entries gives the entries of the next chunk of a segment to f, and moves pos behind them. It returns how many bytes they have.
func (j *cleanJob) entries(s *segment, f func(at int64, e *record.EntryInfo, b []byte) error) (int64, error) {
	if j.pos >= j.size() {
		return 0, nil
	}
	b, err := j.read(s)
	if err != nil {
		return 0, err
	}
	from := j.pos
	least, end := s.base, j.d.upper
	if j.seg+1 < len(j.d.segs) {
		end = j.d.segs[j.seg+1].base
	}
	for len(b) > 0 {
		e, err := record.PeekHeader(b)
		if err == nil && e.Size <= len(b) {
			if e.BaseOffset < least || e.LastOffset >= end {
				// The CRC does not cover offsets.
				return j.pos - from, &CorruptError{Path: s.log.path, Pos: j.pos, Why: fmt.Sprintf("offsets %d to %d where %d to %d are expected", e.BaseOffset, e.LastOffset, least, end-1)}
			}
			least = e.LastOffset + 1
			err = f(j.pos, &e, b[:e.Size])
		} else if err == nil || errors.Is(err, record.ErrShort) {
			break
		}
		var bad *record.Error
		if errors.As(err, &bad) {
			return j.pos - from, &CorruptError{Path: s.log.path, Pos: j.pos, Why: err.Error()}
		}
		if err != nil {
			return j.pos - from, err
		}
		j.pos += int64(e.Size)
		b = b[e.Size:]
	}
	if j.pos == from {
		return 0, &CorruptError{Path: s.log.path, Pos: j.pos, Why: "the entry is longer than the file"}
	}
	return j.pos - from, nil
}

// read reads a chunk from pos on: whole entries and the beginning of one, at least one whole.
func (j *cleanJob) read(s *segment) ([]byte, error) {
	if cap(j.buf) != cleanChunk {
		j.buf = make([]byte, cleanChunk)
	}
	f, err := j.log.store.files.hold(&s.log)
	if err != nil {
		return nil, fmt.Errorf("opening segment %s: %w", s.log.path, err)
	}
	defer s.log.release()
	b := j.buf[:min(int64(cap(j.buf)), j.size()-j.pos)]
	if err := readFull(f, b, j.pos); err != nil {
		return nil, fmt.Errorf("reading segment %s at %d: %w", s.log.path, j.pos, err)
	}
	e, err := record.PeekHeader(b)
	if err != nil || e.Size <= len(b) || e.Size > maxEntryBytes || j.pos+int64(e.Size) > j.size() {
		return b, nil // who looks at it will say what is wrong
	}
	j.buf = make([]byte, e.Size)
	if err := readFull(f, j.buf, j.pos); err != nil {
		return nil, fmt.Errorf("reading segment %s at %d: %w", s.log.path, j.pos, err)
	}
	return j.buf, nil
}

func readFull(f vfs.File, b []byte, at int64) error {
	n, err := f.ReadAt(b, at)
	if n < len(b) {
		return errors.Join(err, io.ErrUnexpectedEOF)
	}
	return nil
}

// finish ends the cleaning, successfully or not.
func (j *cleanJob) finish(err error) {
	l, c := j.log, j.cleaner
	if j.group != nil {
		j.group.discard()
		j.group = nil
	}
	took := c.world.Mono() - j.began
	l.mu.Lock()
	l.clean.job = nil
	if err == nil && l.clean.gen == j.d.gen {
		r := &j.run0
		r.From, r.To, r.At, r.Took = j.d.first, j.end, l.store.nowMs(), took
		if j.filter != nil {
			stats := j.filter.Stats()
			r.RecordsRead, r.RecordsWritten, r.Invalid = stats.RecordsRead, stats.RecordsKept, stats.Invalid
		}
		l.clean.to, l.clean.last = j.end, *r
	}
	l.mu.Unlock()
	switch {
	case err == nil:
		err = l.store.writeOffsets()
		l.store.noteDiskError(err)
		c.noteRun(&j.run0, l)
	case errors.Is(err, errCleanAborted) || errors.Is(err, errReplaced):
		c.mu.Lock()
		c.stats.Aborted++
		c.mu.Unlock()
	case errors.Is(err, ErrNoSpace):
		c.logger.Warn("compaction needs space on the disk; it is tried again later", "topic", l.topic, "partition", l.partition, "error", err)
	case j.fatal:
		l.store.noteDiskError(err)
	default:
		c.noteFailure(l, err)
	}
}

// noteRun adds a finished cleaning to the figures.
func (c *Cleaner) noteRun(r *CleanRun, l *Log) {
	c.mu.Lock()
	s := &c.stats
	s.Runs++
	s.BytesRead += r.ScannedBytes + r.BytesRead
	s.BytesWritten += r.BytesWritten
	s.RecordsRead += r.RecordsRead
	s.RecordsWritten += r.RecordsWritten
	s.BufferUse = float64(r.Keys) / float64(max(r.KeyRoom, 1))
	s.LastTook, s.MaxTook = r.Took, max(s.MaxTook, r.Took)
	c.mu.Unlock()
	c.logger.Info("compacted a log", "topic", l.topic, "partition", l.partition, "from", r.From, "to", r.To,
		"bytes", r.BytesRead, "kept", r.BytesWritten, "records", r.RecordsRead, "recordsKept", r.RecordsWritten, "took", r.Took)
	if r.Invalid > 0 {
		c.logger.Warn("compaction has dropped records without a key", "topic", l.topic, "partition", l.partition, "records", r.Invalid)
	}
}

// groupEnd is the number of segments from first on that become one: as many as fit segment.bytes and the range of an index.
func (j *cleanJob) groupEnd(first int) int {
	d, segs, sizes := j.d, j.d.segs, j.d.sizes
	room := int64(d.cfg.IndexBytes/timeEntryBytes) * max(d.cfg.IndexIntervalBytes, 1)
	size := sizes[first]
	n := first + 1
	for ; n < len(segs); n++ {
		end := d.upper
		if n+1 < len(segs) {
			end = segs[n+1].base
		}
		size += sizes[n]
		if size > min(d.cfg.SegmentBytes, math.MaxInt32) || size > room || sizes[n] > 0 && end-1-segs[first].base > maxRelativeOffset {
			break
		}
	}
	return n
}
