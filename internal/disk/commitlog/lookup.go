package commitlog

import (
	"errors"
	"fmt"

	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/record"
)

// maxInflated bounds what a batch may unpack to when a record in it is looked for.
const maxInflated = record.DefaultMaxInflated

// largestTime is the greatest timestamp of a segment in ms; of one without timestamps when it was last written.
func (l *Log) largestTime(s *segment) (int64, error) {
	ts, _, err := l.largest(s)
	if err == nil && ts == noTime {
		ts = s.createdMs
	}
	return ts, err
}

// largest is the greatest timestamp of a segment and the last offset of its batch.
func (l *Log) largest(s *segment) (ts, offset int64, err error) {
	l.mu.Lock()
	ts, offset = s.maxTs, s.maxTsOffset
	known := s.timesKnown
	l.mu.Unlock()
	if known {
		return ts, offset, nil
	}
	entry, err := l.store.fs.Stat(s.idx.times.path)
	if err != nil {
		if errors.Is(err, vfs.ErrNotExist) {
			return noTime, s.base, nil
		}
		return 0, 0, err
	}
	f, err := l.store.files.hold(&s.idx.times)
	if err != nil {
		return 0, 0, err
	}
	defer s.idx.times.release()
	n, last, err := countTimes(f, entry.Size)
	if err != nil {
		return 0, 0, fmt.Errorf("reading index %s: %w", s.idx.times.path, err)
	}
	ts, offset = noTime, s.base
	if n > 0 {
		ts, offset = last.ts, s.base+int64(last.offset)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !s.timesKnown {
		s.maxTs, s.maxTsOffset, s.timesKnown = ts, offset, true
		if s.idx.writtenTimes == unknown {
			s.idx.writtenTimes = n
		}
	}
	return ts, offset, nil
}

// RecordPlace is where a record was found.
type RecordPlace struct {
	Offset, Timestamp int64
	LeaderEpoch       int32
}

// OffsetForTimestamp finds the first record, below Stable, whose timestamp is at least ts, as ListOffsets asks for it.
func (l *Log) OffsetForTimestamp(ts int64) (place RecordPlace, found bool, err error) {
	err = errReplaced
	for tries := 0; tries < maxReplaced && errors.Is(err, errReplaced); tries++ {
		place, found, err = l.offsetForTimestamp(ts)
	}
	return place, found, err
}

func (l *Log) offsetForTimestamp(ts int64) (place RecordPlace, found bool, err error) {
	l.mu.Lock()
	segs, start, stable := l.segs, l.start, l.stable
	l.mu.Unlock()
	for _, s := range segs {
		largest, _, err := l.largest(s)
		if err != nil {
			return RecordPlace{}, false, err
		}
		if largest < ts {
			continue
		}
		from, err := l.timeFloor(s, ts)
		if err != nil {
			return RecordPlace{}, false, err
		}
		return l.searchRecords(max(from, start), stable, func(e *record.EntryInfo) bool { return e.MaxTimestamp >= ts },
			func(r *record.Record) bool { return r.Timestamp >= ts && r.Offset >= start })
	}
	return RecordPlace{}, false, nil
}

// MaxTimestamp finds the first record with the greatest timestamp of the log, as ListOffsets does for -3.
//
// Differs from Kafka: the record with the largest timestamp, as ListOffsets -3 asks for it, is never one below the log's
// start.
func (l *Log) MaxTimestamp() (place RecordPlace, found bool, err error) {
	err = errReplaced
	for tries := 0; tries < maxReplaced && errors.Is(err, errReplaced); tries++ {
		place, found, err = l.maxTimestamp()
	}
	return place, found, err
}

func (l *Log) maxTimestamp() (place RecordPlace, found bool, err error) {
	l.mu.Lock()
	segs, start, stable := l.segs, l.start, l.stable
	l.mu.Unlock()
	best, at := noTime, int64(0)
	for i, s := range segs {
		ts, last, err := l.largest(s)
		if err == nil && ts > best && last < start {
			limit := stable
			if i+1 < len(segs) {
				limit = min(limit, segs[i+1].base)
			}
			ts, last, err = largestBetween(l, start, limit)
		}
		if err != nil {
			return RecordPlace{}, false, err
		}
		if ts > best && last >= start && last < stable {
			best, at = ts, last
		}
	}
	if best == noTime {
		return RecordPlace{}, false, nil
	}
	return l.searchRecords(at, stable, func(e *record.EntryInfo) bool { return e.MaxTimestamp >= best },
		func(r *record.Record) bool { return r.Timestamp >= best })
}

// largestBetween is largest for a part of a log: the rest of a segment whose largest is deleted.
func largestBetween(l *Log, start, limit int64) (ts, offset int64, err error) {
	ts = noTime
	_, _, err = l.searchRecords(start, limit, func(e *record.EntryInfo) bool {
		if e.MaxTimestamp > ts && e.LastOffset < limit {
			ts, offset = e.MaxTimestamp, e.LastOffset
		}
		return false
	}, nil)
	return ts, offset, err
}

// timeFloor is an offset from which on a record with the timestamp is to be searched: all before are older.
func (l *Log) timeFloor(s *segment, ts int64) (int64, error) {
	l.mu.Lock()
	mem, n := s.idx.newTimes, s.idx.writtenTimes
	for i := len(mem) - 1; i >= 0; i-- {
		if mem[i].ts < ts {
			at := s.base + int64(mem[i].offset)
			l.mu.Unlock()
			return at, nil
		}
	}
	l.mu.Unlock()
	entry, err := l.store.fs.Stat(s.idx.times.path)
	if errors.Is(err, vfs.ErrNotExist) {
		return s.base, nil
	}
	if err != nil {
		return 0, err
	}
	f, err := l.store.files.hold(&s.idx.times)
	if err != nil {
		return 0, err
	}
	defer s.idx.times.release()
	if n == unknown {
		if n, _, err = countTimes(f, entry.Size); err != nil {
			return 0, fmt.Errorf("reading index %s: %w", s.idx.times.path, err)
		}
	}
	e, ok, err := searchTimes(f, n, ts-1)
	if err != nil || !ok {
		return s.base, err
	}
	return s.base + int64(e.offset), nil
}

// searchRecords reads from an offset on and returns the first record that is wanted, in a batch that may have it.
func (l *Log) searchRecords(from, limit int64, may func(*record.EntryInfo) bool, wanted func(*record.Record) bool) (place RecordPlace, found bool, err error) {
	for from < limit {
		v, err := l.Read(from, limit, maxEntryBytes, true)
		if err != nil || v.Len == 0 {
			return RecordPlace{}, false, err
		}
		next := from
		place, found, next, err = v.search(may, wanted)
		v.Release()
		if err != nil || found || next <= from {
			return place, found, err
		}
		from = next
	}
	return RecordPlace{}, false, nil
}

// search looks for a record in a view; next is the offset behind the view.
func (v *View) search(may func(*record.EntryInfo) bool, wanted func(*record.Record) bool) (place RecordPlace, found bool, next int64, err error) {
	var scratch []byte
	look := func(e *record.EntryInfo, b []byte) bool {
		it, iterErr := record.IterateEntry(b, &scratch, maxInflated)
		if iterErr != nil {
			err = iterErr
			return true
		}
		for r, ok := it.Next(); ok; r, ok = it.Next() {
			if wanted(&r) {
				place, found = RecordPlace{r.Offset, r.Timestamp, e.LeaderEpoch}, true
				return true
			}
		}
		err = it.Err()
		return err != nil
	}
	if v.File == nil {
		for rest := v.Mem; len(rest) > 0; {
			e, peekErr := record.PeekHeader(rest)
			if peekErr != nil {
				return RecordPlace{}, false, next, peekErr
			}
			next = e.LastOffset + 1
			if may(&e) && look(&e, rest[:e.Size]) {
				break
			}
			rest = rest[e.Size:]
		}
		return place, found, next, err
	}
	_, _, walkErr := walk(v.File, v.Pos, v.Pos+int64(v.Len), func(at int64, e *record.EntryInfo, _ []byte) bool {
		next = e.LastOffset + 1
		if !may(e) {
			return false
		}
		b := make([]byte, e.Size)
		if _, err = v.File.ReadAt(b, at); err != nil {
			return true
		}
		return look(e, b)
	})
	return place, found, next, errors.Join(err, walkErr)
}
