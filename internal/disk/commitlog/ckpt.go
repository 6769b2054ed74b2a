package commitlog

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/moldau/moldau/internal/disk/vfs"
)

// checkpointGroup is how many logs are written before they are synced, which bounds the files held open.
const checkpointGroup = 256

// Checkpoint writes all tails behind, syncs what is not synced, writes the checkpoint files and
// gives the journal's space back. Appends go on meanwhile.
func (s *Store) Checkpoint() error {
	s.ckptMu.Lock()
	defer s.ckptMu.Unlock()
	if err := s.failure(); err != nil {
		return err
	}
	if s.dead.Load() {
		return ErrClosed
	}
	err := s.checkpoint()
	s.noteDiskError(err)
	return err
}

// checkpoint is Checkpoint; the caller holds ckptMu.
func (s *Store) checkpoint() error {
	last := s.published.Load() // before the dirty logs are taken: their tails have all of it
	s.sinceCkpt.Store(0)
	s.lastCkpt.Store(int64(s.world.Mono()))
	s.dirtyMu.Lock()
	logs := s.dirty
	s.dirty = nil
	for _, l := range logs {
		l.inDirty = false
	}
	s.dirtyMu.Unlock()
	for i := 0; i < len(logs); i += checkpointGroup {
		if err := s.checkpointLogs(logs[i:min(i+checkpointGroup, len(logs))]); err != nil {
			for _, l := range logs[i:] {
				s.noteDirty(l, false)
			}
			return err
		}
	}
	if len(logs) > 0 || s.offsetsDue() {
		if err := s.writeOffsets(); err != nil {
			return err
		}
	}
	defer func() { s.Figures.JournalBytes.Store(s.journal.LiveBytes()) }()
	if err := s.journal.Release(last); err != nil {
		return err
	}
	return nil
}

// logCheckpoint is the work of a checkpoint for one log.
type logCheckpoint struct {
	log    *Log
	reach  int64 // all below is in the segments
	segs   []*segment
	epochs []byte
	snaps  []producerSnapshot
}

// checkpointLogs brings a group of logs to the disk: first all writes, then all syncs, so that the
// kernel can merge them.
func (s *Store) checkpointLogs(logs []*Log) error {
	work := make([]logCheckpoint, len(logs))
	for i, l := range logs {
		work[i].log = l
		if err := work[i].write(); err != nil {
			return errors.Join(err, syncAll(work[:i+1]))
		}
	}
	if err := syncAll(work); err != nil {
		return err
	}
	for i := range work {
		if err := work[i].finish(); err != nil {
			return err
		}
	}
	return nil
}

func syncAll(work []logCheckpoint) error {
	var err error
	for i := range work {
		err = errors.Join(err, work[i].sync())
	}
	return err
}

// write writes tail and indexes behind.
func (w *logCheckpoint) write() error {
	l := w.log
	l.io.Lock()
	defer l.io.Unlock()
	if err := l.flushTail(); err != nil {
		return err
	}
	l.mu.Lock()
	if l.gone {
		l.mu.Unlock()
		return nil
	}
	w.reach = l.flushedOffset()
	for _, s := range l.segs {
		if s.dirty {
			s.dirty = false
			w.segs = append(w.segs, s) // its hold goes with it
		}
	}
	if l.epochs.dirty {
		w.epochs = encodeEpochs(l.epochs.list)
		l.epochs.dirty = false
	}
	if l.snapshotBytes >= snapshotEvery {
		l.snapshotProducers()
	}
	for len(l.snaps) > 0 && l.snaps[0].offset <= w.reach {
		w.snaps = append(w.snaps, l.snaps[0])
		l.snaps = l.snaps[1:]
	}
	segs := l.segs
	l.mu.Unlock()
	return errors.Join(l.flushIndexes(segs), l.flushTxns(w.reach))
}

// sync syncs the segments and gives their holds back.
func (w *logCheckpoint) sync() error {
	var err error
	for _, s := range w.segs {
		if e := w.log.syncHeld(s); e != nil {
			err = errors.Join(err, e)
		}
		s.log.release()
	}
	w.segs = nil
	return err
}

// syncHeld syncs a segment whose handle is held, and its name.
func (l *Log) syncHeld(s *segment) error {
	f, err := l.store.files.hold(&s.log)
	if err != nil {
		return fmt.Errorf("opening segment %s: %w", s.log.path, err)
	}
	defer s.log.release()
	if err := f.Sync(); err != nil {
		return final(fmt.Errorf("syncing segment %s: %w", s.log.path, err))
	}
	l.io.Lock()
	defer l.io.Unlock()
	l.mu.Lock()
	gone := l.gone
	l.mu.Unlock()
	if gone {
		return nil
	}
	return l.syncName(s)
}

// finish writes what depends on the synced segments.
func (w *logCheckpoint) finish() error {
	l := w.log
	l.io.Lock()
	defer l.io.Unlock()
	l.mu.Lock()
	if l.gone {
		l.mu.Unlock()
		return nil
	}
	l.mu.Unlock()
	if w.epochs != nil {
		if err := vfs.WriteFileAtomic(l.store.fs, l.path(epochsFile), w.epochs); err != nil {
			return err
		}
	}
	for _, p := range w.snaps {
		if err := l.writeSnapshot(p); err != nil {
			return err
		}
	}
	l.mu.Lock()
	l.recoveryPoint = max(l.recoveryPoint, w.reach)
	if l.stable == w.reach && !l.cfg.Written {
		l.unsynced = false
	}
	l.mu.Unlock()
	return nil
}

// writeSnapshot writes a producer snapshot. It is not synced: its CRC tells whether it is whole, and
// without it the one before serves. The caller holds io.
func (l *Log) writeSnapshot(p producerSnapshot) error {
	path := l.path(offsetName(p.offset) + snapshotSuffix)
	f, err := l.store.fs.Edit(path)
	if err != nil {
		return fmt.Errorf("opening producer snapshot %s: %w", path, err)
	}
	defer f.Close() //nolint:errcheck // see above
	if err := f.Truncate(0); err != nil {
		return fmt.Errorf("writing producer snapshot %s: %w", path, err)
	}
	if _, err := f.WriteAt(p.data, 0); err != nil {
		return fmt.Errorf("writing producer snapshot %s: %w", path, err)
	}
	return l.pruneSnapshots(p.offset)
}

// pruneSnapshots notes the newest snapshot, and removes those that neither belong to the start of a segment nor
// are among the last two. The caller holds io.
func (l *Log) pruneSnapshots(newest int64) error {
	kept := l.snapOffsets[:0]
	for i, offset := range l.snapOffsets {
		if offset == newest {
			continue
		}
		if i == len(l.snapOffsets)-1 || l.hasSegment(offset) {
			kept = append(kept, offset)
			continue
		}
		if err := l.store.fs.Remove(l.path(offsetName(offset) + snapshotSuffix)); err != nil && !errors.Is(err, vfs.ErrNotExist) {
			return fmt.Errorf("removing an old producer snapshot: %w", err)
		}
	}
	l.snapOffsets = append(kept, newest)
	return nil
}

// hasSegment tells whether a segment begins at the offset.
func (l *Log) hasSegment(base int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segs {
		if s.base == base {
			return true
		}
	}
	return false
}

// flushIndexes writes the index entries that are only in memory. The caller holds io.
func (l *Log) flushIndexes(segs []*segment) error {
	for _, s := range segs {
		l.mu.Lock()
		x := &s.idx
		p := pendingIndex{offsets: x.newOffsets, times: x.newTimes, atOffsets: x.writtenOffsets, atTimes: x.writtenTimes}
		size, made := s.flushed, x.made
		l.mu.Unlock()
		closed := s != segs[len(segs)-1] && !x.synced
		if size == 0 || made && len(p.offsets)+len(p.times) == 0 && !closed {
			continue
		}
		if err := x.flush(&l.store.files, p); err != nil {
			return err
		}
		if closed {
			if err := l.syncIndex(x); err != nil {
				return err
			}
		}
		l.mu.Lock()
		x.made, x.synced = true, closed
		x.writtenOffsets += len(p.offsets)
		x.writtenTimes += len(p.times)
		x.newOffsets = append([]offsetEntry(nil), x.newOffsets[len(p.offsets):]...)
		x.newTimes = append([]timeEntry(nil), x.newTimes[len(p.times):]...)
		l.mu.Unlock()
	}
	return nil
}

// syncIndex makes the index of a segment that gets no more entries durable. The caller holds io.
func (l *Log) syncIndex(x *index) error {
	for _, h := range []*handle{&x.offsets, &x.times} {
		f, err := l.store.files.hold(h)
		if err != nil {
			return fmt.Errorf("opening index %s: %w", h.path, err)
		}
		err = f.Sync()
		h.release()
		if err != nil {
			return fmt.Errorf("syncing index %s: %w", h.path, err)
		}
	}
	return nil
}

// flushTxns writes the entries of aborted transactions below reach to their segments' files. The caller holds io.
func (l *Log) flushTxns(reach int64) error {
	for {
		l.mu.Lock()
		n := 0
		var seg *segment
		for n < len(l.aborted) && l.aborted[n].LastOffset < reach {
			s := l.segs[l.segmentOf(l.aborted[n].LastOffset)]
			if seg != nil && s != seg {
				break
			}
			seg = s
			n++
		}
		txns := l.aborted[:n]
		l.mu.Unlock()
		if n == 0 {
			return nil
		}
		if err := writeTxns(l.store.fs, seg.txnPath(), seg.base, txns); err != nil {
			return err
		}
		l.mu.Lock()
		seg.aborts = someAborts
		l.aborted = append([]AbortedTxn(nil), l.aborted[n:]...)
		l.mu.Unlock()
	}
}

// offsetsDue tells whether Kafka's interval for its checkpoint files has passed.
func (s *Store) offsetsDue() bool {
	return int64(s.world.Mono())-s.lastOffsets.Load() >= s.opts.OffsetCheckpointMs*1e6
}

// writeOffsets writes Kafka's checkpoint files.
func (s *Store) writeOffsets() error {
	s.offsetsMu.Lock()
	defer s.offsetsMu.Unlock()
	if err := s.names.settleAll(); err != nil {
		return err
	}
	s.mu.Lock()
	departed := s.departed
	s.departed = map[logKey]bool{}
	s.mu.Unlock()
	err := s.writeOffsetFiles()
	if err != nil {
		s.mu.Lock()
		for key := range departed {
			s.departed[key] = true
		}
		s.mu.Unlock()
	}
	return err
}

// offsetFile is one of Kafka's checkpoint files.
type offsetFile struct {
	name  string
	lines []offsetLine
}

// writeOffsetFiles is writeOffsets; the caller holds offsetsMu.
func (s *Store) writeOffsetFiles() error {
	var points, starts, marks, cleaned []offsetLine
	// A line promises that the directory is durable: those made meanwhile have none yet.
	logs := slices.DeleteFunc(s.Logs(), func(l *Log) bool { return l.nameless.Load() })
	for _, l := range logs {
		key := logKey{l.topic, l.partition}
		l.mu.Lock()
		points = append(points, offsetLine{key, l.recoveryPoint})
		if len(l.segs) > 0 && l.start > l.segs[0].base {
			starts = append(starts, offsetLine{key, l.start})
		}
		marks = append(marks, offsetLine{key, l.highWatermark()})
		if l.clean.to >= 0 {
			cleaned = append(cleaned, offsetLine{key, l.clean.to})
		}
		l.mu.Unlock()
	}
	files := []offsetFile{{recoveryPointFile, points}, {logStartFile, starts}, {highWatermarkFile, marks}}
	if s.hasCleaned = s.hasCleaned || len(cleaned) > 0; s.hasCleaned {
		files = append(files, offsetFile{cleanedFile, cleaned})
	}
	for _, file := range files {
		if err := vfs.WriteFileAtomic(s.fs, filepath.Join(s.dir, file.name), encodeOffsets(file.lines)); err != nil {
			return err
		}
	}
	for i, l := range logs {
		l.mu.Lock()
		l.savedPoint = min(points[i].offset, l.recoveryPoint)
		l.mu.Unlock()
	}
	s.lastOffsets.Store(int64(s.world.Mono()))
	return nil
}

// afterRound starts a checkpoint when much was committed since the last one.
func (s *Store) afterRound(bytes int64) {
	if s.sinceCkpt.Add(bytes) >= checkpointBytes {
		s.kickCheckpoint()
	}
}

// kickCheckpoint starts a checkpoint in the background unless one is on its way.
func (s *Store) kickCheckpoint() {
	s.dirtyMu.Lock()
	start := !s.ckptBusy && !s.dead.Load()
	s.ckptBusy = s.ckptBusy || start
	s.dirtyMu.Unlock()
	if !start {
		return
	}
	s.world.Go("checkpoint", func() {
		err := s.Checkpoint()
		if err != nil && !errors.Is(err, ErrNoSpace) && !errors.Is(err, ErrClosed) {
			s.logger.Error("checkpoint failed", "error", err)
		}
		s.dirtyMu.Lock()
		s.ckptBusy = false
		s.dirtyMu.Unlock()
	})
}

// noteFull makes appends be refused until there is space.
func (s *Store) noteFull(err error) {
	if s.full.Swap(true) {
		return
	}
	s.logger.Error("the disk is full: appends are refused until there is space, reading goes on", "error", err)
}

// minFreeBytes is how much must be free before appends are taken again.
const minFreeBytes = 1 << 20

// checkFull looks whether a full disk has space again: by asking, and then by writing behind what waits.
func (s *Store) checkFull() {
	if !s.full.Load() {
		return
	}
	if _, free, err := s.fs.Space(s.dir); err == nil && free < minFreeBytes {
		return
	}
	if err := s.Checkpoint(); err != nil {
		return
	}
	s.full.Store(false)
	s.logger.Info("the disk has space again: appends are taken")
}
