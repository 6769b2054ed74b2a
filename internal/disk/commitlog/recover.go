package commitlog

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"path/filepath"
	"slices"
	"sort"

	"github.com/moldau/moldau/internal/disk/journal"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/record"
)

// maxEntryBytes bounds the size of one entry that recovery believes in: segments are below 2 GiB.
const maxEntryBytes = 1 << 30

// key is what the journal knows the log by: its topic id, or a hash of the name in directories
// from before topic ids.
func (l *Log) key() [16]byte {
	if l.topicID != ([16]byte{}) {
		return l.topicID
	}
	h := fnv.New128a()
	h.Write([]byte(l.topic)) //nolint:errcheck // never fails
	var k [16]byte
	h.Sum(k[:0])
	return k
}

// trust takes a cleanly stopped log as it is: only the end of the last segment is looked at.
func (d *logLoad) trust() error {
	l := d.log
	for i, s := range l.segs {
		last := i == len(l.segs)-1
		if !s.idx.made {
			d.note("the index of %s is missing or damaged and is rebuilt", s.log.path)
			if err := d.rebuildIndex(s); err != nil {
				return err
			}
		}
		if last {
			end, err := d.resume(s, s.size)
			if err != nil {
				return err
			}
			l.end = end
		}
	}
	l.recoveryPoint = l.end
	return nil
}

// resume prepares a segment to be appended to at position end, up to which it is valid: the index is cut to
// what lies before, and the state behind its last entry is read. It returns the offset behind the last entry.
func (d *logLoad) resume(s *segment, end int64) (int64, error) {
	l := d.log
	from, err := d.trimIndex(s, end)
	if err != nil {
		return 0, err
	}
	next := s.base
	s.size, s.flushed = end, end
	// What is added from now on has to be synced when the segment is closed.
	s.timesKnown, s.idx.synced = true, false
	if end == 0 {
		return next, nil
	}
	f, err := l.store.files.hold(&s.log)
	if err != nil {
		return 0, err
	}
	defer s.log.release()
	if from > 0 {
		if _, e, err := walk(f, 0, end, func(int64, *record.EntryInfo, []byte) bool { return true }); err == nil {
			s.firstTs = e.MaxTimestamp
		}
	}
	at, _, err := walk(f, from, end, func(at int64, e *record.EntryInfo, _ []byte) bool {
		next = e.LastOffset + 1
		if at == 0 {
			s.firstTs = e.MaxTimestamp
		}
		s.note(at, e, &l.cfg)
		return false
	})
	if err != nil {
		return 0, &CorruptError{Path: s.log.path, Pos: at, Why: err.Error()}
	}
	return next, nil
}

// note is extend for an entry that is in the file already.
func (s *segment) note(at int64, e *record.EntryInfo, c *LogConfig) {
	if e.MaxTimestamp > s.maxTs {
		s.maxTs, s.maxTsOffset = e.MaxTimestamp, e.LastOffset
	}
	if s.sinceIndex > c.IndexIntervalBytes {
		s.idx.add(e.LastOffset, at, s.maxTs, s.maxTsOffset)
		s.sinceIndex = 0
	}
	s.sinceIndex += int64(e.Size)
}

// trimIndex cuts the index files to the entries for positions below end, and
// gives the position that the last one leads to. An index that is not right begins anew.
func (d *logLoad) trimIndex(s *segment, end int64) (from int64, err error) {
	l := d.log
	x := &s.idx
	x.writtenOffsets, x.writtenTimes, x.newOffsets, x.newTimes = 0, 0, nil, nil
	x.lastTime, x.lastTimeOffset = noTime, 0
	s.maxTs, s.maxTsOffset, s.sinceIndex = noTime, s.base, 0
	if !x.made {
		return 0, d.emptyIndex(x)
	}
	if d.isEmpty(x.offsets.path) && d.isEmpty(x.times.path) {
		return 0, nil
	}
	n, last, err := d.trimOffsets(s, end)
	if err != nil {
		return 0, err
	}
	misled := false
	if n > 0 && !d.leads(s, last, end) {
		d.note("the index of %s does not lead to its batches and is rebuilt", s.log.path)
		n, last, misled = 0, offsetEntry{}, true
	}
	whole := d.clean && !misled
	times, lastTime, err := d.trimTimes(s, n, last, whole)
	if err != nil {
		return 0, err
	}
	if times == 0 {
		n, last = 0, offsetEntry{}
	} else if !whole {
		if n, last, err = d.timedOffsets(x, n, lastTime); err != nil {
			return 0, err
		}
		if !d.leads(s, last, end) { // torn in the middle
			d.note("the index of %s does not lead to its batches and is rebuilt", s.log.path)
			n, times, last = 0, 0, offsetEntry{}
		}
	}
	if err := l.truncateFile(&x.offsets, int64(n)*offsetEntryBytes); err != nil {
		return 0, err
	}
	if err := l.truncateFile(&x.times, int64(times)*timeEntryBytes); err != nil {
		return 0, err
	}
	x.writtenOffsets, x.writtenTimes = n, times
	if times == 0 {
		return 0, nil
	}
	x.lastTime, x.lastTimeOffset = lastTime.ts, s.base+int64(lastTime.offset)
	s.maxTs, s.maxTsOffset = x.lastTime, x.lastTimeOffset
	return int64(last.pos), nil
}

// emptyIndex takes away what a damaged index has, before it is written anew.
func (d *logLoad) emptyIndex(x *index) error {
	for _, h := range []*handle{&x.offsets, &x.times} {
		if e, ok := d.find(filepath.Base(h.path)); ok && e.Size > 0 {
			if err := d.log.truncateFile(h, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// trimOffsets counts the .index entries below position end.
func (d *logLoad) trimOffsets(s *segment, end int64) (int, offsetEntry, error) {
	x := &s.idx
	f, err := d.log.store.files.hold(&x.offsets)
	if err != nil {
		return 0, offsetEntry{}, err
	}
	defer x.offsets.release()
	size, err := f.Size()
	if err != nil {
		return 0, offsetEntry{}, err
	}
	n, last, err := countOffsets(f, size, end)
	return n, last, err
}

// leads tells whether an index entry leads to a batch that ends with its offset.
func (d *logLoad) leads(s *segment, e offsetEntry, end int64) bool {
	f, err := d.log.store.files.hold(&s.log)
	if err != nil {
		return false
	}
	defer s.log.release()
	var head [record.PeekSize]byte
	n, err := f.ReadAt(head[:], int64(e.pos))
	if err != nil && !errors.Is(err, io.EOF) {
		return false
	}
	h, err := record.PeekHeader(head[:n])
	return err == nil && h.LastOffset == s.base+int64(e.offset) && int64(e.pos)+int64(h.Size) <= end
}

// trimTimes counts the .timeindex entries: of a file that is whole all, the last of which a clean stop has added, else those
// that are not beyond the last .index entry.
func (d *logLoad) trimTimes(s *segment, n int, lastOffset offsetEntry, whole bool) (int, timeEntry, error) {
	if n == 0 && !whole {
		return 0, timeEntry{}, nil
	}
	x := &s.idx
	f, err := d.log.store.files.hold(&x.times)
	if err != nil {
		return 0, timeEntry{}, err
	}
	defer x.times.release()
	size, err := f.Size()
	if err != nil {
		return 0, timeEntry{}, err
	}
	count, last, err := countTimes(f, size)
	for err == nil && !whole && count > 0 && last.offset > lastOffset.offset {
		if count--; count > 0 {
			last, err = readTimeEntry(f, count-1)
		}
	}
	return count, last, err
}

// timedOffsets counts the .index entries up to the one that was made with the last .timeindex entry. Of those behind it nobody
// knows whether there were no greater times, or a power cut took the entries that told of them.
func (d *logLoad) timedOffsets(x *index, n int, lastTime timeEntry) (int, offsetEntry, error) {
	f, err := d.log.store.files.hold(&x.offsets)
	if err != nil {
		return 0, offsetEntry{}, err
	}
	defer x.offsets.release()
	var readErr error
	var last offsetEntry
	i := sort.Search(n-1, func(i int) bool {
		e, err := readOffsetEntry(f, i)
		if err != nil {
			readErr = err
		}
		return e.offset >= lastTime.offset
	})
	if last, err = readOffsetEntry(f, i); err != nil {
		readErr = err
	}
	return i + 1, last, readErr
}

// truncateFile cuts a file to a size if it is longer.
func (l *Log) truncateFile(h *handle, size int64) error {
	f, err := l.store.files.hold(h)
	if err != nil {
		return err
	}
	defer h.release()
	have, err := f.Size()
	if err != nil || have == size {
		return err
	}
	if err := f.Truncate(size); err != nil {
		return fmt.Errorf("cutting %s to %d: %w", h.path, size, err)
	}
	return nil
}

// rebuildIndex walks a whole segment and writes its index files.
func (d *logLoad) rebuildIndex(s *segment) error {
	l := d.log
	s.idx.made = false
	if _, err := d.resume(s, s.size); err != nil {
		return err
	}
	s.idx.addTime(s.maxTs, s.maxTsOffset)
	if s.size == 0 {
		return nil
	}
	return l.flushIndexes([]*segment{s})
}

// recover brings a log back after a crash: from the recovery point on every entry is checked, and what the
// segments lack is taken from the journal.
func (d *logLoad) recover() error {
	l := d.log
	proof, cut := d.replayMarks()
	if cut >= 0 {
		d.point, d.cutShort = min(d.point, cut), true
	}
	if err := d.dropEmpties(); err != nil {
		return err
	}
	d.point = max(d.point, l.segs[0].base)
	r := &recovery{logLoad: d, proof: proof, cut: cut}
	if err := r.begin(); err != nil {
		return err
	}
	if err := r.run(); err != nil {
		return err
	}
	l.end = r.next
	l.recoveryPoint = min(d.point, l.end)
	if !r.changed && !r.found {
		return nil
	}
	l.store.noteDirty(l, false)
	return r.settle()
}

// dropEmpties removes empty segments that are no end of the log: see recovery.dropEmpty.
func (d *logLoad) dropEmpties() error {
	l := d.log
	kept := l.segs[:0]
	for i, s := range l.segs {
		last := i == len(l.segs)-1
		if s.size > 0 || i == 0 || last && s.base >= d.point {
			kept = append(kept, s)
			continue
		}
		if err := l.removeFiles(s); err != nil {
			return err
		}
	}
	l.segs = kept
	return nil
}

// settle makes durable what was found above the recovery point: the process that wrote it may have died
// before it was synced, and from now on it is shown to readers. Logs with Written durability promise less.
func (r *recovery) settle() error {
	l := r.log
	for _, s := range l.segs[r.first:] {
		if s.size == 0 {
			continue
		}
		if _, err := l.openSegment(s); err != nil {
			return err
		}
		s.named = false
		if r.found && !l.cfg.Written {
			if err := l.syncSegment(s); err != nil {
				return err
			}
		}
	}
	l.unsynced = l.cfg.Written
	return nil
}

// replayMarks sorts the journal's entries of the log: what remains in d.items is data that
// nothing later took back. proof is the offset below which all was durable, cut is where a truncation was under way, -1 if none.
func (d *logLoad) replayMarks() (proof, cut int64) {
	cut = -1
	var data []journal.Item
	for _, it := range d.items {
		switch it.Kind {
		case journal.Data:
			data = append(data, it)
			proof = max(proof, it.Base)
		case journal.Mark:
			proof = max(proof, it.End)
		case journal.TruncateBegin:
			for len(data) > 0 && data[len(data)-1].Base >= it.End {
				data = data[:len(data)-1]
			}
			if n := len(data); n > 0 {
				data[n-1].End = min(data[n-1].End, it.End)
			}
			proof, cut = min(proof, it.End), it.End
		case journal.TruncateDone:
			cut = -1
		case journal.Reset:
			data, proof, cut = nil, 0, -1
		}
	}
	d.items = data
	for i := range data {
		proof = max(proof, data[i].End)
	}
	return proof, cut
}

// recovery is the walk of recover: the next offset, and where in which segment it belongs.
type recovery struct {
	*logLoad
	proof, cut int64
	seg        int
	pos        int64
	next       int64
	first      int  // the segment with the recovery point
	changed    bool // something was written or cut
	found      bool // a segment had entries above the recovery point
	buf        []byte
}

// begin finds the recovery point.
func (r *recovery) begin() error {
	l := r.log
	i := max(sort.Search(len(l.segs), func(i int) bool { return l.segs[i].base > r.point })-1, 0)
	given := i > 0 && l.segs[i].size == 0
	if given {
		i-- // it may have been given up on a full disk, its removal lost: the log went on in the one before
	}
	for j, s := range l.segs[:i] {
		if !s.idx.made {
			r.note("the index of %s is missing or damaged and is rebuilt", s.log.path)
			if err := r.rebuildIndex(l.segs[j]); err != nil {
				return err
			}
		}
	}
	s := l.segs[i]
	r.seg, r.first, r.next = i, i, s.base
	if r.point <= s.base {
		return r.closeIndex(i - 1)
	}
	f, err := l.store.files.hold(&s.log)
	if err != nil {
		return err
	}
	defer s.log.release()
	var from int64
	if s.idx.made {
		_, last, err := r.trimOffsets(s, s.size)
		if err != nil {
			return err
		}
		if int64(last.offset)+s.base < r.point && r.leads(s, last, s.size) {
			from = int64(last.pos)
		}
	}
	// Below the recovery point everything is durable: the heads are enough to find it.
	at, _, err := walk(f, from, s.size, func(at int64, e *record.EntryInfo, _ []byte) bool {
		if e.BaseOffset >= r.point || at+int64(e.Size) > s.size {
			return true
		}
		r.pos, r.next = at+int64(e.Size), e.LastOffset+1
		return r.next >= r.point
	})
	if err != nil && r.ours {
		return &CorruptError{Path: s.log.path, Pos: max(at, 0), Why: fmt.Sprintf("it was durable up to offset %d: %v", r.point, err)}
	}
	if given && r.pos == s.size {
		r.next = max(r.next, min(r.point, l.segs[i+1].base)) // compaction leaves holes
	}
	return nil
}

// closeIndex completes the index of the segment that ends at the recovery point: it may have been closed after the point
// was written, and its last entry with it.
func (r *recovery) closeIndex(i int) error {
	if i < 0 {
		return nil
	}
	s := r.log.segs[i]
	if _, err := r.resume(s, s.size); err != nil {
		return err
	}
	s.idx.addTime(s.maxTs, s.maxTsOffset)
	return nil
}

// run walks to the end.
func (r *recovery) run() error {
	l := r.log
	for {
		s := l.segs[r.seg]
		if r.seg+1 < len(l.segs) && r.next >= l.segs[r.seg+1].base {
			if err := r.dropEmpty(s); err != nil {
				return err
			}
		}
		if r.seg+1 < len(l.segs) && r.next >= l.segs[r.seg+1].base {
			if err := r.leave(s); err != nil {
				return err
			}
			continue
		}
		done, err := r.step(s)
		if err != nil {
			return err
		}
		if done {
			return r.finish(s)
		}
	}
}

// dropEmpty removes the next segment if it is empty and the log goes on in this one: it was begun on a
// full disk, given up, and its removal was lost.
func (r *recovery) dropEmpty(s *segment) error {
	l := r.log
	next := l.segs[r.seg+1]
	if next.size > 0 {
		return nil
	}
	if r.seg+2 == len(l.segs) {
		if _, _, why := r.check(s); why != nil {
			return nil
		}
	}
	l.segs = slices.Delete(l.segs, r.seg+1, r.seg+2)
	r.changed = true
	return l.removeFiles(next)
}

// leave goes to the next segment: this one ends here.
func (r *recovery) leave(s *segment) error {
	if err := r.cutTo(s); err != nil {
		return err
	}
	if _, err := r.resume(s, r.pos); err != nil {
		return err
	}
	s.idx.addTime(s.maxTs, s.maxTsOffset)
	r.seg++
	r.pos = 0
	return nil
}

// step takes the next entry from the journal or the segment; done says that there is none.
func (r *recovery) step(s *segment) (done bool, err error) {
	for len(r.items) > 0 && r.items[0].End <= r.next {
		r.items = r.items[1:]
	}
	if r.cut >= 0 && r.next >= r.cut {
		return true, nil
	}
	if len(r.items) > 0 && r.items[0].Base <= r.next {
		return false, r.takeJournaled(s, &r.items[0])
	}
	size, next, why := r.check(s)
	if why == nil {
		r.pos += size
		r.next, r.found = next, true
		return false, nil
	}
	if r.pos >= s.size && r.next < r.log.clean.to && r.seg+1 < len(r.log.segs) {
		// Kafka's compaction removes the last batches of a segment, too: the log goes on in the next one.
		r.next = r.log.segs[r.seg+1].base
		return false, nil
	}
	if r.next < r.proof {
		return false, &CorruptError{Path: s.log.path, Pos: r.pos, Why: fmt.Sprintf("offsets %d to %d were durable, and are not there: %v", r.next, r.proof-1, why)}
	}
	if r.ours && r.next < r.point {
		return false, &CorruptError{Path: s.log.path, Pos: r.pos, Why: fmt.Sprintf("offsets %d to %d were durable, and are not there: %v", r.next, r.point-1, why)}
	}
	if !errors.Is(why, io.EOF) {
		r.note("%s was cut off at %d, offset %d, of %d bytes: %v", s.log.path, r.pos, r.next, s.size, why)
	}
	return true, nil
}

// check reads the entry at the present position and says how it goes on, or why it is not valid.
func (r *recovery) check(s *segment) (size, next int64, why error) {
	if r.pos >= s.size {
		return 0, 0, io.EOF
	}
	f, err := r.log.store.files.hold(&s.log)
	if err != nil {
		return 0, 0, err
	}
	defer s.log.release()
	b, err := r.read(f, r.pos, record.PeekSize)
	if err != nil {
		return 0, 0, err
	}
	e, err := record.PeekHeader(b)
	if err != nil {
		return 0, 0, err
	}
	if e.Size > maxEntryBytes || r.pos+int64(e.Size) > s.size {
		return 0, 0, record.ErrShort
	}
	if b, err = r.read(f, r.pos, e.Size); err != nil {
		return 0, 0, err
	}
	if err := record.CheckEntry(b); err != nil {
		return 0, 0, err
	}
	if !e.BaseUnknown && e.BaseOffset < r.next || e.LastOffset < r.next || e.LastOffset-s.base > maxRelativeOffset {
		return 0, 0, fmt.Errorf("offsets %d to %d follow offset %d", e.BaseOffset, e.LastOffset, r.next-1)
	}
	if r.seg+1 < len(r.log.segs) && e.LastOffset >= r.log.segs[r.seg+1].base && r.log.segs[r.seg+1].size > 0 {
		return 0, 0, fmt.Errorf("offset %d belongs to the next segment", e.LastOffset)
	}
	r.log.epochs.assign(e.LeaderEpoch, e.BaseOffset)
	return int64(e.Size), e.LastOffset + 1, nil
}

func (r *recovery) read(f vfs.File, pos int64, n int) ([]byte, error) {
	if cap(r.buf) < n {
		r.buf = make([]byte, max(n, 1<<20))
	}
	b := r.buf[:n]
	got, err := f.ReadAt(b, pos)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b[:got], err
}

// takeJournaled makes the segment hold what the journal has for the next offsets.
func (r *recovery) takeJournaled(s *segment, it *journal.Item) error {
	if it.Damaged {
		return r.takeDamaged(s, it)
	}
	p, err := r.payload(it)
	if err != nil {
		return err
	}
	to := it.End
	if r.seg+1 < len(r.log.segs) {
		to = min(to, r.log.segs[r.seg+1].base)
	}
	p, next := partFrom(p, r.next, to)
	if len(p) == 0 {
		r.next = to
		return nil
	}
	if s.size > 0 && r.pos > 0 && r.seg == len(r.log.segs)-1 && (r.pos+int64(len(p)) > r.log.cfg.SegmentBytes && r.pos >= s.size || next-1-s.base > maxRelativeOffset) {
		return r.rollTo(s)
	}
	f, err := r.log.store.files.hold(&s.log)
	if err != nil {
		return err
	}
	defer s.log.release()
	if r.pos+int64(len(p)) <= s.size {
		have, err := r.read(f, r.pos, len(p))
		if err != nil {
			return err
		}
		if bytes.Equal(have, p) {
			r.changed = true // it may be in the page cache only, and the journal will be released
			r.pos += int64(len(p))
			r.next = next
			r.assignEpochs(p)
			return nil
		}
	}
	if err := r.write(s, p); err != nil {
		return err
	}
	r.assignEpochs(p)
	r.pos += int64(len(p))
	r.next = next
	s.size = max(s.size, r.pos)
	return nil
}

// takeDamaged looks whether the segment has what the journal has lost.
func (r *recovery) takeDamaged(s *segment, it *journal.Item) error {
	size, next, why := r.check(s)
	if why != nil || next > it.End {
		return &CorruptError{Path: it.Path, Pos: it.Pos, Why: fmt.Sprintf("offsets %d to %d of %s-%d cannot be read, and segment %s does not have them",
			r.next, it.End-1, r.log.topic, r.log.partition, s.log.path)}
	}
	r.pos += size
	r.next = next
	return nil
}

// rollTo begins a new segment where the present one is full.
func (r *recovery) rollTo(s *segment) error {
	l := r.log
	n := newSegment(l.dir, r.next, l.store.nowMs())
	n.aborts = noAborts
	l.segs = slices.Insert(l.segs, r.seg+1, n)
	return nil
}

// write puts bytes of the journal into the segment. The rest of the file stays for the time being.
func (r *recovery) write(s *segment, p []byte) error {
	f, err := r.log.openSegment(s)
	if err != nil {
		return err
	}
	r.changed = true
	if _, err := f.WriteAt(p, r.pos); err != nil {
		return fmt.Errorf("writing segment %s at %d: %w", s.log.path, r.pos, err)
	}
	return nil
}

func (r *recovery) assignEpochs(p []byte) {
	for len(p) > 0 {
		b, rest, err := record.Next(p)
		if err != nil {
			return
		}
		r.log.epochs.assign(b.LeaderEpoch(), b.BaseOffset())
		p = rest
	}
}

// payload reads an item's batches from the journal.
func (d *logLoad) payload(it *journal.Item) ([]byte, error) {
	f, err := d.log.store.fs.Open(it.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	b := make([]byte, it.Bytes)
	if _, err := f.ReadAt(b, it.Pos); err != nil {
		return nil, fmt.Errorf("reading journal file %s at %d: %w", it.Path, it.Pos, err)
	}
	return b, nil
}

// partFrom cuts the batches of [from, to) out of p, and gives the offset behind them.
func partFrom(p []byte, from, to int64) (part []byte, next int64) {
	start, at := -1, 0
	next = from
	rest := p
	for len(rest) > 0 {
		b, more, err := record.Next(rest)
		if err != nil || b.LastOffset() >= to {
			break
		}
		if b.BaseOffset() >= from {
			if start < 0 {
				start = at
			}
			next = b.LastOffset() + 1
		}
		at += len(b)
		rest = more
	}
	if start < 0 {
		return nil, to
	}
	return p[start:at], next
}

// finish ends the log here: the rest of the file and later segments hold nothing that was acknowledged.
func (r *recovery) finish(s *segment) error {
	l := r.log
	for _, later := range l.segs[r.seg+1:] {
		if later.size > 0 {
			r.note("%s is removed: it begins at offset %d, and the log ends at %d", later.log.path, later.base, r.next)
		}
		if err := l.removeFiles(later); err != nil {
			return err
		}
		r.changed = true
	}
	if len(l.segs) > r.seg+1 {
		// A segment that came back would be taken for a part of what is appended from now on.
		if err := l.store.fs.SyncDir(l.dir); err != nil {
			return err
		}
	}
	l.segs = l.segs[:r.seg+1]
	if err := r.cutTo(s); err != nil {
		return err
	}
	end, err := r.resume(s, r.pos)
	if err != nil {
		return err
	}
	if r.pos > 0 && end != r.next {
		return &CorruptError{Path: s.log.path, Pos: r.pos, Why: fmt.Sprintf("it ends at offset %d, expected was %d", end, r.next)}
	}
	return nil
}

// cutTo cuts the segment at the present position.
func (r *recovery) cutTo(s *segment) error {
	if s.size == r.pos {
		return nil
	}
	f, err := r.log.openSegment(s)
	if err != nil {
		return err
	}
	r.changed = true
	if err := f.Truncate(r.pos); err != nil {
		return fmt.Errorf("cutting segment %s to %d: %w", s.log.path, r.pos, err)
	}
	s.size, s.flushed = r.pos, r.pos
	return nil
}

// removeFiles deletes the files of a segment at once.
func (l *Log) removeFiles(s *segment) error {
	name := s.letGo(l)
	for _, suffix := range []string{indexSuffix, timeIndexSuffix, txnIndexSuffix, logSuffix} {
		if err := l.store.fs.Remove(name + suffix); err != nil && !errors.Is(err, vfs.ErrNotExist) {
			return fmt.Errorf("removing %s: %w", name+suffix, err)
		}
	}
	return nil
}

// restoreProducers brings the producer table to the log's end: from the newest snapshot that is whole, and
// the batches behind it.
func (d *logLoad) restoreProducers() error {
	l := d.log
	for _, e := range d.files {
		if offset, suffix, ok := parseName(e.Name); ok && suffix == snapshotSuffix {
			if offset > l.end {
				// Of a later that is no more: it would be believed once the log is as long again.
				if err := l.store.fs.Remove(l.path(e.Name)); err != nil {
					return err
				}
				continue
			}
			l.snapOffsets = append(l.snapOffsets, offset)
		}
	}
	return l.replayProducers()
}

// replayProducers rebuilds the producer table from the newest usable snapshot and the batches behind it.
func (l *Log) replayProducers() error {
	from := l.start
	l.producers.Reset(from)
	for i := len(l.snapOffsets) - 1; i >= 0; i-- {
		offset := l.snapOffsets[i]
		if offset > l.stable {
			continue
		}
		b, err := vfs.ReadFile(l.store.fs, l.path(offsetName(offset)+snapshotSuffix), maxSmallFile)
		if err == nil {
			if err = l.producers.Restore(b, offset); err == nil {
				from = max(offset, l.start)
				break
			}
		}
		l.store.logger.Warn("a producer snapshot cannot be used, an older one or the log replaces it", "path", l.path(offsetName(offset)+snapshotSuffix), "error", err)
	}
	l.producers.LogStartMoved(l.start)
	l.snapshotBytes = 0
	l.aborted = nil
	for from < l.stable {
		next, err := l.replayFrom(from)
		if err != nil || next <= from {
			return err
		}
		from = next
	}
	l.producers.HighWatermarkMoved(l.stable)
	return nil
}

// replayFrom tells the producer table of the batches that one view from the offset on shows, and gives the next offset.
func (l *Log) replayFrom(from int64) (next int64, err error) {
	v, err := l.Read(from, l.stable, maxEntryBytes, true)
	if err != nil || v.Len == 0 {
		return from, err
	}
	defer v.Release()
	next = from
	if v.File == nil {
		for rest := v.Mem; len(rest) > 0; {
			b, more, err := record.Next(rest)
			if err != nil {
				return next, err
			}
			l.replayBatch(b)
			next, rest = b.LastOffset()+1, more
		}
		return next, nil
	}
	var readErr error
	at, _, err := walk(v.File, v.Pos, v.Pos+int64(v.Len), func(at int64, e *record.EntryInfo, head []byte) bool {
		next = e.LastOffset + 1
		l.snapshotBytes += int64(e.Size)
		if e.Magic != 2 {
			return false
		}
		b := record.Batch(head)
		if b.IsControl() && b.ProducerID() > record.NoProducerID {
			b = make([]byte, e.Size)
			if _, readErr = v.File.ReadAt(b, at); readErr != nil {
				return true
			}
		}
		l.replayBatch(b)
		return false
	})
	if err = errors.Join(err, readErr); err != nil {
		return next, &CorruptError{Path: v.handle.path, Pos: at, Why: err.Error()}
	}
	return next, nil
}

// replayBatch tells the producer table of a batch, of which data batches need only their header.
func (l *Log) replayBatch(b record.Batch) {
	if b.ProducerID() > record.NoProducerID {
		l.applyProducer(b)
	}
}

// rebuildProducers restores the producer table after a refused append, and takes appends again.
func (l *Log) rebuildProducers() {
	l.io.Lock()
	defer l.io.Unlock()
	l.mu.Lock()
	n := len(l.snaps)
	for n > 0 && l.snaps[n-1].offset > l.stable {
		n--
	}
	l.snaps = l.snaps[:n]
	needed := l.producers.Len() > 0
	l.mu.Unlock()
	var err error
	if needed {
		err = l.rebuild()
	}
	l.mu.Lock()
	if l.err == errRebuilding {
		l.err = err
	}
	l.mu.Unlock()
}

// rebuild makes the producer table anew, from what is stable. Appends are refused meanwhile. The caller holds io.
func (l *Log) rebuild() error {
	l.mu.Lock()
	fresh := &Log{
		store: l.store, topic: l.topic, partition: l.partition, dir: l.dir, hw: -1,
		start: l.start, stable: l.stable, end: l.stable, segs: l.segs, snapOffsets: l.snapOffsets,
		tailHead: l.tailHead, tailLast: l.tailLast,
	}
	fresh.producers.SkipVerification = l.producers.SkipVerification
	fresh.producers.Succeed(&l.producers)
	pending := l.aborted
	l.mu.Unlock()
	if err := fresh.replayProducers(); err != nil {
		return fmt.Errorf("reading the producers of %s-%d again: %w", l.topic, l.partition, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.producers = fresh.producers
	for len(pending) > 0 && pending[len(pending)-1].LastOffset >= l.stable {
		pending = pending[:len(pending)-1]
	}
	l.aborted = pending
	return nil
}
