package commitlog

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/disk/journal"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/record"
)

// startTimers begins what the store does by itself.
func (s *Store) startTimers() {
	s.every(checkpointEvery, "checkpoint", s.tick)
	s.every(time.Duration(s.opts.RetentionCheckMs)*time.Millisecond, "retention", s.Retain)
}

// every runs f in the background each time d has passed, until the store ends. One that still runs is not started again.
func (s *Store) every(d time.Duration, name string, f func()) {
	var t clock.Timer
	work := func() {
		if s.dead.Load() {
			return
		}
		f()
		s.timerMu.Lock()
		defer s.timerMu.Unlock()
		if !s.dead.Load() && !s.closing.Load() {
			t.Reset(d)
		}
	}
	s.timerMu.Lock()
	defer s.timerMu.Unlock()
	t = s.world.AfterFunc(d, func() { s.world.Go(name, work) })
	s.timers = append(s.timers, t)
}

func (s *Store) stopTimers() {
	s.timerMu.Lock()
	defer s.timerMu.Unlock()
	for _, t := range s.timers {
		t.Stop()
	}
}

// tick looks whether a checkpoint is due: when the store has been quiet, or has not had one for long.
func (s *Store) tick() {
	s.checkFull()
	bytes := s.sinceCkpt.Load()
	quiet := bytes == s.lastBytes
	s.lastBytes = bytes
	s.dirtyMu.Lock()
	dirty := len(s.dirty) > 0
	s.dirtyMu.Unlock()
	since := s.world.Mono() - time.Duration(s.lastCkpt.Load())
	if dirty && (quiet || since >= maxUnsynced) || s.offsetsDue() {
		s.kickCheckpoint()
	}
}

// Retain deletes what retention no longer keeps: the timer calls it, and tests.
func (s *Store) Retain() {
	for _, l := range s.Logs() {
		if s.dead.Load() {
			return
		}
		if err := l.retain(); err != nil {
			s.noteDiskError(err)
			return
		}
	}
	s.expireProducers()
}

func (s *Store) expireProducers() {
	now := s.nowMs()
	for _, l := range s.Logs() {
		l.mu.Lock()
		if l.err == nil && l.producers.Len() > 0 {
			l.producers.Expire(now, l.cfg.ProducerExpiryMs)
		}
		l.mu.Unlock()
	}
}

// retain deletes old segments by time, size and log start, as Kafka's deleteOldSegments.
func (l *Log) retain() error {
	l.io.Lock()
	defer l.io.Unlock()
	if err := l.flushTail(); err != nil {
		return err
	}
	l.mu.Lock()
	if l.err != nil || l.gone || l.held.on {
		l.mu.Unlock()
		return nil
	}
	cfg, segs := l.cfg, l.segs
	now := l.store.nowMs()
	l.mu.Unlock()
	n := 0
	if cfg.Delete {
		if cfg.RetentionMs >= 0 {
			for n < len(segs) {
				ts, err := l.largestTime(segs[n])
				if err != nil {
					return err
				}
				if now-ts <= cfg.RetentionMs || !l.deletable(segs, n) {
					break
				}
				n++
			}
		}
		if cfg.RetentionBytes >= 0 {
			n = max(n, l.oversized(segs, cfg.RetentionBytes))
		}
	}
	l.mu.Lock()
	start := l.start
	l.mu.Unlock()
	for n+1 < len(segs) && segs[n+1].base <= start {
		n++
	}
	return l.dropFirst(n)
}

// deletable tells whether the segment is below the high watermark, and not empty.
func (l *Log) deletable(segs []*segment, i int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	end := l.end
	if i+1 < len(segs) {
		end = segs[i+1].base
	} else if l.end != l.stable {
		return false // the active segment is being written to
	}
	return segs[i].size > 0 && end <= l.highWatermark()
}

// oversized counts the first segments that can go while retention.bytes remain.
func (l *Log) oversized(segs []*segment, keep int64) int {
	diff := l.Size() - keep
	n := 0
	for n < len(segs)-1 {
		l.mu.Lock()
		size := segs[n].size
		l.mu.Unlock()
		if diff-size < 0 || !l.deletable(segs, n) {
			break
		}
		diff -= size
		n++
	}
	return n
}

// dropFirst deletes the first n segments, and moves the log start. The caller holds io.
func (l *Log) dropFirst(n int) error {
	if n == 0 {
		return nil
	}
	l.mu.Lock()
	if n == len(l.segs) {
		if l.end != l.stable {
			n--
		} else {
			l.rollTo(l.end)
			l.snapshotProducers()
			l.resetPlan()
		}
	}
	active := l.active()
	first := l.segs[min(n, len(l.segs)-1)].base
	l.mu.Unlock()
	// What follows must be there, durably, before what came before is gone: the end offset lives in its name.
	if _, err := l.openSegment(active); err != nil {
		return err
	}
	if err := l.syncName(active); err != nil {
		return err
	}
	l.store.noteDirty(l, false)
	l.mu.Lock()
	gone := append([]*segment(nil), l.segs[:n]...)
	l.segs = append([]*segment(nil), l.segs[n:]...)
	if first > l.start {
		l.start = first
		l.epochs.truncateStart(first)
		l.producers.LogStartMoved(first)
	}
	delay := l.cfg.FileDeleteDelayMs
	l.mu.Unlock()
	for _, s := range gone {
		if err := l.deleteSegment(s, delay); err != nil {
			return err
		}
	}
	if err := l.store.fs.SyncDir(l.dir); err != nil {
		return fmt.Errorf("deleting segments of %s: %w", l.dir, err)
	}
	l.mu.Lock()
	l.recoveryPoint = max(l.recoveryPoint, first)
	l.mu.Unlock()
	return l.dropSnapshots(first)
}

// letGo has nobody open the segment's files by their paths any more, and gives what their names begin with. The caller holds io.
func (s *segment) letGo(l *Log) string {
	l.mu.Lock()
	dirty := s.dirty
	s.dirty = false
	l.mu.Unlock()
	if dirty {
		s.log.release()
	}
	for _, h := range []*handle{&s.log, &s.idx.offsets, &s.idx.times} {
		h.forget()
	}
	return s.log.path[:len(s.log.path)-len(logSuffix)]
}

// deleteSegment renames the files to .deleted and removes them after the delay; who reads them goes on. The caller holds io.
func (l *Log) deleteSegment(s *segment, delayMs int64) error {
	name := s.letGo(l)
	for _, suffix := range []string{indexSuffix, timeIndexSuffix, txnIndexSuffix, logSuffix} {
		err := l.store.fs.Rename(name+suffix, name+suffix+deletedSuffix)
		if errors.Is(err, vfs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("deleting segment %s: %w", s.log.path, err)
		}
		l.store.removeLater(name+suffix+deletedSuffix, delayMs)
	}
	return nil
}

// dropSnapshots removes producer snapshots below the first segment. The caller holds io.
func (l *Log) dropSnapshots(first int64) error {
	kept := l.snapOffsets[:0]
	for _, offset := range l.snapOffsets {
		if offset >= first {
			kept = append(kept, offset)
			continue
		}
		if err := l.store.fs.Remove(l.path(offsetName(offset) + snapshotSuffix)); err != nil && !errors.Is(err, vfs.ErrNotExist) {
			return fmt.Errorf("removing a producer snapshot: %w", err)
		}
	}
	l.snapOffsets = kept
	return nil
}

// removeLater removes a file or directory in the background.
func (s *Store) removeLater(path string, delayMs int64) {
	s.world.AfterFunc(time.Duration(delayMs)*time.Millisecond, func() {
		s.world.Go("remove", func() {
			if s.dead.Load() {
				return
			}
			if err := s.fs.RemoveAll(path); err != nil {
				s.logger.Warn("a deleted file could not be removed; the next start tries again", "path", path, "error", err)
			}
		})
	})
}

// DeleteRecords moves the log start to an offset, at most the high watermark: what is below is
// not read any more, and goes with its segments. -1 means the high watermark.
func (l *Log) DeleteRecords(before int64) error {
	l.io.Lock()
	defer l.io.Unlock()
	l.mu.Lock()
	if to := l.held.to; to != nil {
		l.mu.Unlock()
		return to.DeleteRecords(before)
	}
	if l.err != nil || l.held.on {
		err := l.err
		l.mu.Unlock()
		return errors.Join(err, ErrBusy)
	}
	if before < 0 {
		before = l.highWatermark()
	}
	if before > l.highWatermark() {
		hw := l.highWatermark()
		l.mu.Unlock()
		return fmt.Errorf("deleting records of %s-%d before %d, the high watermark is %d: %w", l.topic, l.partition, before, hw, ErrOffsetOutOfRange)
	}
	if before > l.start {
		l.start = before
		l.epochs.truncateStart(before)
		l.producers.LogStartMoved(before)
	}
	n := 0
	for n+1 < len(l.segs) && l.segs[n+1].base <= l.start {
		n++
	}
	l.mu.Unlock()
	l.store.noteDirty(l, false)
	if n == 0 {
		return nil
	}
	if err := l.flushTail(); err != nil {
		return err
	}
	return l.dropFirst(n)
}

// Truncate cuts the log to end at an offset, durably, which must be the start of a batch. No append may be in flight.
func (l *Log) Truncate(offset int64) error {
	s := l.store
	s.ckptMu.Lock()
	defer s.ckptMu.Unlock()
	s.roundMu.Lock()
	defer s.roundMu.Unlock()
	l.io.Lock()
	defer l.io.Unlock()
	l.mu.Lock()
	switch {
	case l.err != nil:
		l.mu.Unlock()
		return l.err
	case l.end != l.stable || l.held.on:
		l.mu.Unlock()
		return fmt.Errorf("truncating %s-%d to %d: %w", l.topic, l.partition, offset, ErrBusy)
	case offset >= l.end:
		l.mu.Unlock()
		return nil
	}
	l.err = errRebuilding
	l.mu.Unlock()
	err := l.truncate(offset)
	l.mu.Lock()
	if l.err == errRebuilding {
		l.err = nil
	}
	l.mu.Unlock()
	s.noteDiskError(err)
	return err
}

// truncate is Truncate. In the journal it has a begin and an end, since what
// was journaled above the offset must never come back. The caller holds io.
func (l *Log) truncate(offset int64) error {
	s := l.store
	if err := l.flushTail(); err != nil {
		return err
	}
	l.mu.Lock()
	l.recoveryPoint = min(l.recoveryPoint, offset)
	l.clean.gen++
	l.clean.to = min(l.clean.to, offset) // -1 stays
	full := offset <= l.segs[0].base
	l.mu.Unlock()
	if err := s.writeOffsets(); err != nil {
		return err
	}
	if err := s.journalNote(l, journal.TruncateBegin, offset); err != nil {
		return err
	}
	if err := l.cutSegments(offset, full); err != nil {
		return err
	}
	if err := s.journalNote(l, journal.TruncateDone, offset); err != nil {
		return err
	}
	l.mu.Lock()
	l.epochs.truncateEnd(offset)
	l.end, l.stable = offset, offset
	l.start = min(l.start, offset)
	l.hw = min(l.hw, offset)
	l.resetPlan()
	l.mu.Unlock()
	s.noteDirty(l, false)
	l.mu.Lock()
	l.snaps = nil
	l.mu.Unlock()
	if err := l.dropLaterSnapshots(offset); err != nil {
		return err
	}
	return l.rebuild()
}

// dropLaterSnapshots removes producer snapshots above the end. The caller holds io.
func (l *Log) dropLaterSnapshots(end int64) error {
	for n := len(l.snapOffsets); n > 0 && l.snapOffsets[n-1] > end; n-- {
		if err := l.store.fs.Remove(l.path(offsetName(l.snapOffsets[n-1]) + snapshotSuffix)); err != nil && !errors.Is(err, vfs.ErrNotExist) {
			return fmt.Errorf("removing a producer snapshot: %w", err)
		}
		l.snapOffsets = l.snapOffsets[:n-1]
	}
	return nil
}

// cutSegments cuts the files, durably. The caller holds io.
func (l *Log) cutSegments(offset int64, full bool) error {
	l.mu.Lock()
	segs := l.segs
	l.mu.Unlock()
	keep := len(segs)
	for keep > 1 && segs[keep-1].base > offset {
		keep--
	}
	if full {
		keep = 0
	}
	for _, s := range segs[keep:] {
		if err := l.removeFiles(s); err != nil {
			return err
		}
	}
	if keep < len(segs) {
		// A segment that came back would be taken for a part of what is appended from now on.
		if err := l.store.fs.SyncDir(l.dir); err != nil {
			return err
		}
	}
	if full {
		n := newSegment(l.dir, offset, l.store.nowMs())
		l.mu.Lock()
		l.segs = []*segment{n}
		l.mu.Unlock()
		if _, err := l.openSegment(n); err != nil {
			return err
		}
		return l.syncSegment(n)
	}
	s := segs[keep-1]
	f, err := l.openSegment(s)
	if err != nil {
		return err
	}
	at, _, err := walk(f, 0, s.flushed, func(_ int64, e *record.EntryInfo, _ []byte) bool { return e.LastOffset >= offset })
	if err != nil {
		return &CorruptError{Path: s.log.path, Pos: at, Why: err.Error()}
	}
	if at >= 0 {
		if err := f.Truncate(at); err != nil {
			return fmt.Errorf("cutting segment %s to %d: %w", s.log.path, at, err)
		}
	} else {
		at = s.flushed
	}
	d := &logLoad{log: l}
	l.mu.Lock()
	l.segs = segs[:keep]
	l.mu.Unlock()
	if err := l.flushIndexes(segs[:keep]); err != nil {
		return err
	}
	if _, err := d.resume(s, at); err != nil {
		return err
	}
	return l.syncSegment(s)
}

// Delete takes the log out of the store: its directory gets a name that is not the
// partition's, and is removed after file.delete.delay.ms. Appends in flight are still answered.
func (s *Store) Delete(l *Log) error {
	s.mu.Lock()
	delete(s.logs, logKey{l.topic, l.partition})
	s.departed[logKey{l.topic, l.partition}] = true
	s.mu.Unlock()
	queued, err := s.takeAway(l, deleteDirSuffix)
	complete(queued, queued, ErrClosed)
	if dir := l.Dir(); strings.HasSuffix(dir, deleteDirSuffix) {
		s.removeLater(dir, l.Config().FileDeleteDelayMs)
	}
	return err
}

// takeAway gives the log's directory a name that is no partition's; it returns the appends that nobody will write any more.
func (s *Store) takeAway(l *Log, suffix string) (queued *Append, err error) {
	s.roundMu.Lock()
	defer s.roundMu.Unlock()
	l.io.Lock()
	defer l.io.Unlock()
	l.mu.Lock()
	queued = s.unqueue(l)
	if l.err == nil || !errors.Is(l.err, ErrClosed) {
		l.err = fmt.Errorf("%s-%d was deleted: %w", l.topic, l.partition, ErrClosed)
	}
	l.gone = true
	segs := l.segs
	for c := l.tailHead; c != nil; {
		next := c.next
		c.release()
		c = next
	}
	l.tailHead, l.tailLast, l.tailBytes = nil, nil, 0
	l.mu.Unlock()
	for _, g := range segs {
		l.mu.Lock()
		dirty := g.dirty
		g.dirty = false
		l.mu.Unlock()
		if dirty {
			g.log.release()
		}
		for _, h := range []*handle{&g.log, &g.idx.offsets, &g.idx.times} {
			h.forget()
		}
	}
	if s.failure() != nil {
		return queued, nil
	}
	id := clock.UUIDBits(s.world)
	to := filepath.Join(s.dir, awayDirName(l.topic, l.partition, id, suffix))
	s.names.mu.Lock()
	defer s.names.mu.Unlock()
	if err := s.fs.Rename(l.dir, to); err != nil {
		return queued, fmt.Errorf("deleting %s: %w", l.dir, err)
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return queued, fmt.Errorf("deleting %s: %w", l.dir, err)
	}
	l.dir = to
	return queued, s.journalNote(l, journal.Reset, 0)
}

// maxDirName is what a file name may be long.
const maxDirName = 255

// awayDirName is Kafka's: the topic is cut if the name would be too long.
func awayDirName(topic string, partition int32, id [16]byte, why string) string {
	suffix := "-" + strconv.Itoa(int(partition)) + "." + fmt.Sprintf("%x", id) + why
	return topic[:min(len(topic), maxDirName-len(suffix))] + suffix
}

// journalNote writes one entry about a log into the journal, durably, if the journal may have older ones of it. The caller
// holds roundMu.
func (s *Store) journalNote(l *Log, kind journal.Kind, offset int64) error {
	if !s.journal.Used() {
		return nil
	}
	s.frame.Reset()
	s.frame.Add(&journal.Entry{Kind: kind, Topic: l.key(), Partition: l.partition, Base: offset, End: offset})
	if err := s.journal.Write(&s.frame); err != nil {
		if errors.Is(err, ErrNoSpace) {
			return errors.Join(err, s.erase())
		}
		return err
	}
	return s.journal.Sync()
}
