package commitlog

import (
	"errors"
	"fmt"
	"slices"

	"github.com/moldau/moldau/internal/disk/clean"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/record"
)

// cleanGroup is a run of segments that is being replaced by one.
//
// On disk it goes as in Kafka, with the directory synced between the lines, so that no name overtakes another:
//
//	BASE.log.cleaned and its indexes are written and synced
//	they become .swap                     from here on a start finishes what follows
//	the old segments become .deleted
//	.swap goes away
//
// Until the second line is durable a start removes what was written, and the old segments count. The last batch of the group
// stays in any case, empty if need be: from it a start reads which segments the new one stands for.
//
// Differs from Kafka: when compaction puts new segments in the place of old ones, the directory is synced after each of the
// four steps, not only at the end, and the last batch of the segments that are joined stays, empty if need be.
type cleanGroup struct {
	job          *cleanJob
	first, count int // in the job's segments
	last         int // the last one that is not empty
	s            *segment
	out          []byte
	at           int64 // where out goes in the file
	changed      bool
	txns         []AbortedTxn
	opened       []*handle
	begun        []string // files that are there under their .cleaned names
}

// beginGroup opens the replacement of the next segments.
func (j *cleanJob) beginGroup() (*cleanGroup, error) {
	l, d := j.log, j.d
	g := &cleanGroup{job: j, first: j.seg, count: j.groupEnd(j.seg) - j.seg, last: j.seg}
	for i := g.first; i < g.first+g.count; i++ {
		if d.sizes[i] > 0 {
			g.last = i
		}
	}
	l.io.Lock()
	defer l.io.Unlock()
	l.mu.Lock()
	gone := l.gone
	l.mu.Unlock()
	if gone {
		return nil, errCleanAborted
	}
	s := newSegment(l.dir, d.segs[g.first].base, d.segs[g.first+g.count-1].createdMs)
	s.named, s.aborts = true, noAborts
	g.s = s
	if err := g.open(&s.log); err != nil {
		g.discard()
		return nil, err
	}
	return g, nil
}

// open makes one of the new files. What an interrupted attempt has left is overwritten.
func (g *cleanGroup) open(h *handle) error {
	path := h.path + cleanedSuffix
	f, err := g.job.log.store.files.pin(h, path)
	if err != nil {
		g.job.fatal = true
		return fmt.Errorf("opening %s: %w", path, err)
	}
	g.opened, g.begun = append(g.opened, h), append(g.begun, h.path)
	if err := f.Truncate(0); err != nil {
		g.job.fatal = true
		return fmt.Errorf("emptying %s: %w", path, err)
	}
	return nil
}

// add takes the next entry of the old segments.
func (g *cleanGroup) add(f *clean.Filter, e *record.EntryInfo, b []byte, last bool) error {
	n := len(g.out)
	var err error
	if g.out, err = f.Entry(g.out, b, e, last); err != nil {
		return err
	}
	fresh := g.out[n:]
	// What stays as it was is copied to the byte.
	g.changed = g.changed || len(fresh) != len(b) || record.Batch(fresh).CRC() != record.Batch(b).CRC()
	for _, i := range f.TakeAborted() {
		g.txns = append(g.txns, g.job.aborted[i])
	}
	if len(fresh) > 0 {
		ts := e.MaxTimestamp
		if e.Magic == 2 {
			ts = record.Batch(fresh).MaxTimestamp()
		}
		g.s.extend(batchPlace{last: e.LastOffset, maxTs: ts, size: int64(len(fresh))}, &g.job.d.cfg)
	}
	if len(g.out) >= cleanChunk {
		return g.flush()
	}
	return nil
}

// flush writes what has gathered.
func (g *cleanGroup) flush() error {
	if len(g.out) == 0 {
		return nil
	}
	g.s.log.mu.Lock()
	f := g.s.log.file
	g.s.log.mu.Unlock()
	if f == nil {
		return errCleanAborted // the store was abandoned
	}
	if _, err := f.WriteAt(g.out, g.at); err != nil {
		g.job.fatal = true
		return fmt.Errorf("writing %s at %d: %w", g.s.log.path+cleanedSuffix, g.at, err)
	}
	g.at += int64(len(g.out))
	g.job.run0.BytesWritten += int64(len(g.out))
	if cap(g.out) > 4*cleanChunk {
		g.out = nil
	}
	g.out = g.out[:0]
	return nil
}

// endGroup puts the new segment into the place of the old ones.
func (j *cleanJob) endGroup() error {
	g := j.group
	if err := g.flush(); err != nil {
		return err
	}
	if !g.changed && g.count == 1 {
		g.discard()
		j.group = nil
		return nil
	}
	if g.at > maxRelativeOffset {
		return fmt.Errorf("cleaning %s: what stays has %d bytes, more than a segment can hold", g.s.log.path, g.at)
	}
	s := g.s
	s.flushed = s.size
	s.idx.addTime(s.maxTs, s.maxTsOffset)
	g.job.fatal = true // from here on every error is one of writing, unless it says that the job is over
	if err := g.writeIndexes(); err != nil {
		return err
	}
	l := j.log
	l.io.Lock()
	defer l.io.Unlock()
	if err := g.swap(); err != nil {
		return err
	}
	j.fatal, j.group = false, nil
	return nil
}

// writeIndexes writes and syncs all files of the new segment.
func (g *cleanGroup) writeIndexes() error {
	l, s := g.job.log, g.s
	for _, h := range []*handle{&s.idx.offsets, &s.idx.times} {
		if err := g.open(h); err != nil {
			return err
		}
	}
	x := &s.idx
	if err := x.flush(&l.store.files, pendingIndex{offsets: x.newOffsets, times: x.newTimes}); err != nil {
		return err
	}
	x.writtenOffsets, x.writtenTimes = len(x.newOffsets), len(x.newTimes)
	x.newOffsets, x.newTimes = nil, nil
	x.made, x.synced = true, true
	for _, h := range g.opened {
		f, err := l.store.files.hold(h)
		if err != nil {
			return fmt.Errorf("opening %s: %w", h.path, err)
		}
		err = f.Sync()
		h.release()
		if err != nil {
			return fmt.Errorf("syncing %s: %w", h.path+cleanedSuffix, err)
		}
	}
	if len(g.txns) == 0 {
		return nil
	}
	return g.writeTxns()
}

// writeTxns writes the new segment's transaction index.
func (g *cleanGroup) writeTxns() error {
	slices.SortFunc(g.txns, func(a, b AbortedTxn) int { return int(min(max(a.LastOffset-b.LastOffset, -1), 1)) })
	fsys, path := g.job.log.store.fs, g.s.txnPath()
	if err := fsys.Remove(path + cleanedSuffix); err != nil && !errors.Is(err, vfs.ErrNotExist) {
		return fmt.Errorf("removing %s: %w", path+cleanedSuffix, err)
	}
	g.begun = append(g.begun, path)
	return writeTxns(fsys, path+cleanedSuffix, g.s.base, g.txns)
}

// swap does what the type's comment says. The caller holds io.
func (g *cleanGroup) swap() error {
	l, fsys := g.job.log, g.job.log.store.fs
	if !g.current() {
		return errCleanAborted
	}
	if err := fsys.SyncDir(l.dir); err != nil {
		return fmt.Errorf("making the names of a cleaned segment durable in %s: %w", l.dir, err)
	}
	for _, path := range g.begun {
		if err := fsys.Rename(path+cleanedSuffix, path+swapSuffix); err != nil {
			l.store.fail(err) // what a start finds is not known
			return fmt.Errorf("renaming %s: %w", path+cleanedSuffix, err)
		}
	}
	err := fsys.SyncDir(l.dir)
	var old []*segment
	if err == nil {
		old = g.publish()
		err = g.rename(old)
	}
	if err != nil {
		err = fmt.Errorf("putting the cleaned segment %s into place: %w", g.s.log.path, err)
		l.store.fail(err)
		return err
	}
	l.mu.Lock()
	g.s.swapping, g.s.txns = false, nil
	l.clean.swaps++
	l.mu.Unlock()
	for _, h := range g.opened {
		h.release()
	}
	return nil
}

// current tells whether the log still has the segments that were read.
func (g *cleanGroup) current() bool {
	if g.job.check() != nil {
		return false
	}
	l := g.job.log
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := g.place()
	return ok
}

// place finds the group in the log's segments. The caller holds mu.
func (g *cleanGroup) place() (int, bool) {
	l := g.job.log
	old := g.job.d.segs[g.first : g.first+g.count]
	at := slices.Index(l.segs, old[0])
	if at < 0 || at+len(old) >= len(l.segs) {
		return at, false
	}
	return at, slices.Equal(l.segs[at:at+len(old)], old)
}

// publish shows the new segment to readers, whose views of the old ones stay good. The caller holds io.
func (g *cleanGroup) publish() []*segment {
	l := g.job.log
	l.mu.Lock()
	defer l.mu.Unlock()
	at, _ := g.place()
	old := g.job.d.segs[g.first : g.first+g.count]
	g.s.swapping, g.s.txns = true, g.txns
	if len(g.txns) > 0 {
		g.s.aborts = someAborts
	}
	// What waits for the old transaction indexes was read by the cleaning as well; a start may have found it again.
	from, to := g.s.base, l.segs[at+len(old)].base
	l.aborted = slices.DeleteFunc(slices.Clone(l.aborted), func(t AbortedTxn) bool { return t.LastOffset >= from && t.LastOffset < to })
	l.segs = slices.Concat(l.segs[:at], []*segment{g.s}, l.segs[at+len(old):])
	l.clean.swaps++
	for _, s := range old {
		for _, h := range []*handle{&s.log, &s.idx.offsets, &s.idx.times} {
			h.forget()
		}
	}
	return old
}

// rename gives the old files their last names and the new ones theirs. The caller holds io.
func (g *cleanGroup) rename(old []*segment) error {
	l, fsys := g.job.log, g.job.log.store.fs
	for _, s := range old {
		if err := l.deleteSegment(s, g.job.d.cfg.FileDeleteDelayMs); err != nil {
			return err
		}
	}
	if err := fsys.SyncDir(l.dir); err != nil {
		return err
	}
	for _, path := range g.begun {
		if err := fsys.Rename(path+swapSuffix, path); err != nil {
			return err
		}
	}
	return fsys.SyncDir(l.dir)
}

// discard takes back what was begun.
func (g *cleanGroup) discard() {
	l := g.job.log
	for _, h := range g.opened {
		h.forget()
		h.release()
	}
	if l.store.dead.Load() || l.store.failure() != nil {
		return // the next start removes it
	}
	for _, path := range g.begun {
		if err := l.store.fs.Remove(path + cleanedSuffix); err != nil && !errors.Is(err, vfs.ErrNotExist) {
			l.store.logger.Warn("an unfinished compaction could not be removed; the next start tries again", "path", path+cleanedSuffix, "error", err)
		}
	}
}
