package inspect

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"

	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/record"
)

// partition checks a partition's directory.
func (v *verifier) partition(s surroundings, dir string, list []vfs.Entry) error {
	v.sum.Partitions++
	topic, _, _ := parsePartition(dir)
	var bases []int64
	names := map[string]bool{}
	for _, e := range list {
		names[e.Name] = true
		if kind, base := kindOf(e.Name); kind == segmentFile {
			bases = append(bases, base)
		}
	}
	unfinished := int64(math.MaxInt64)
	if len(bases) > 0 {
		unfinished = s.unfinishedFrom(dir, bases[len(bases)-1])
	}
	end := int64(0)
	for i, base := range bases {
		c := &segmentCheck{log: segmentPath(dir, base, ".log"), base: base, next: math.MaxInt64, unfinished: unfinished, content: contentOf(topic), epoch: -1}
		if i+1 < len(bases) {
			c.next = bases[i+1]
		}
		c.index = names[filepath.Base(segmentPath(dir, base, ".index"))]
		c.times = names[filepath.Base(segmentPath(dir, base, ".timeindex"))]
		var err error
		if end, err = v.segment(c); err != nil {
			return err
		}
	}
	for _, e := range list {
		kind, _ := kindOf(e.Name)
		switch kind {
		case otherFile, segmentFile, offsetIndexFile, timeIndexFile:
			continue // indexes were read with their segments
		}
		if kind == jsonFile && e.Size == 0 {
			continue
		}
		if err := v.single(filepath.Join(dir, e.Name)); err != nil {
			return err
		}
	}
	if point, ok := s.recovery[filepath.Base(dir)]; ok && point > end && len(bases) > 0 {
		return v.report(Problem{Path: dir, Pos: -1, What: fmt.Sprintf("the log ends at offset %d, and all below %d had been synced to the disk: records are missing", end, point), Do: doRestore})
	}
	return nil
}

func segmentPath(dir string, base int64, suffix string) string {
	return filepath.Join(dir, fmt.Sprintf("%020d%s", base, suffix))
}

// segmentCheck is a segment under examination.
type segmentCheck struct {
	log  string
	base int64
	// next is the base of the segment behind, the greatest number when there is none.
	next int64
	// unfinished is the offset from which on a crash may have left torn writes.
	unfinished int64
	content    content
	// index and times say that these files are there.
	index, times bool

	epoch int32
	end   int64
	torn  bool // the last bytes are no batch, which is told already
}

// segment checks a segment with its indexes, and gives the offset behind its last batch.
func (v *verifier) segment(c *segmentCheck) (end int64, err error) {
	r, err := newReader(v.fs, c.log)
	if err != nil {
		return c.base, v.unreadable(c.log, -1, err)
	}
	defer r.close()
	v.sum.Files++
	c.end = c.base
	offsets, times := &indexWalk{v: v, c: c}, &timeWalk{v: v, c: c}
	if c.index {
		if offsets.r, err = newReader(v.fs, c.sibling(".index")); err != nil {
			return c.base, v.unreadable(c.sibling(".index"), -1, err)
		}
		defer offsets.r.close()
		v.sum.Files++
	}
	if c.times {
		if times.r, err = newReader(v.fs, c.sibling(".timeindex")); err != nil {
			return c.base, v.unreadable(c.sibling(".timeindex"), -1, err)
		}
		defer times.r.close()
		v.sum.Files++
	}
	err = v.batches(r, c.log, c.base, c.unfinished, func(next int64, e *record.EntryInfo, whole []byte) error {
		return errors.Join(v.batch(c, r.pos, next, e, whole), offsets.batch(r.pos, e), times.batch(e))
	})
	if err != nil {
		return c.end, err
	}
	c.torn = v.damagedTo >= r.size && r.size > 0
	if c.end > c.next {
		err = v.report(Problem{Path: c.log, Pos: -1, What: fmt.Sprintf("the segment ends with offset %d, and the next one begins with %d", c.end-1, c.next), Do: doRestore})
	}
	err = errors.Join(err, offsets.finish(), times.finish())
	if v.damagedTo == unknownEnd {
		return unknownEnd, err
	}
	return c.end, err
}

// sibling is a file of the same segment.
func (c *segmentCheck) sibling(suffix string) string {
	return segmentPath(filepath.Dir(c.log), c.base, suffix)
}

// batch checks one whole batch against those before it.
func (v *verifier) batch(c *segmentCheck, pos, next int64, e *record.EntryInfo, whole []byte) error {
	tell := func(format string, args ...any) error {
		return v.report(Problem{Path: c.log, Pos: pos, What: fmt.Sprintf(format, args...), Do: doRestore})
	}
	c.end = max(c.end, e.LastOffset+1)
	if e.BaseOffset < next && (!e.BaseUnknown || e.LastOffset < next) {
		if err := tell("a batch of offsets %d to %d stands where offset %d or later was expected", e.BaseOffset, e.LastOffset, next); err != nil {
			return err
		}
	}
	if e.Magic == 2 {
		if e.LeaderEpoch < c.epoch {
			if err := tell("the batch at offset %d is of leader epoch %d, and epoch %d stands before it", e.BaseOffset, e.LeaderEpoch, c.epoch); err != nil {
				return err
			}
		}
		c.epoch = max(c.epoch, e.LeaderEpoch)
	}
	if !v.o.Deep {
		return nil
	}
	return v.records(c, e, whole, tell)
}

// records unpacks a batch and checks what is inside.
func (v *verifier) records(c *segmentCheck, e *record.EntryInfo, whole []byte, tell func(string, ...any) error) error {
	it, err := record.IterateEntry(whole, &v.scratch, maxEntryBytes)
	if err != nil {
		return tell("the batch at offset %d cannot be unpacked: %v", e.BaseOffset, err)
	}
	isControl := e.Magic == 2 && record.Batch(whole).IsControl()
	count, last := int32(0), int64(-1)
	for rec, ok := it.Next(); ok; rec, ok = it.Next() {
		count++
		v.sum.Records++
		if rec.Offset <= last || rec.Offset > e.LastOffset || !e.BaseUnknown && rec.Offset < e.BaseOffset {
			if err := tell("a record has offset %d in a batch of offsets %d to %d, behind a record with %d", rec.Offset, e.BaseOffset, e.LastOffset, last); err != nil {
				return err
			}
		}
		last = rec.Offset
		if isControl {
			_, err = control(&rec)
		} else {
			_, err = c.content.decoded(&rec)
		}
		if err != nil {
			if err := tell("the record at offset %d cannot be decoded: %v", rec.Offset, err); err != nil {
				return err
			}
		}
	}
	if err := it.Err(); err != nil {
		return tell("the records of the batch at offset %d cannot be read: %v", e.BaseOffset, err)
	}
	if e.Count >= 0 && count != e.Count {
		return tell("the batch at offset %d announces %d records and holds %d", e.BaseOffset, e.Count, count)
	}
	return nil
}
