package commitlog

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/moldau/moldau/internal/disk/vfs"
)

// CloseClean stops the store so that a plain Kafka directory remains: what is queued is committed, everything
// reaches its segment durably, the journal goes, and the marker of a clean stop is written last. When that
// is not possible the directory stays as a crash leaves it, which the next start repairs.
func (s *Store) CloseClean(brokerEpoch int64) error {
	if s.closing.Swap(true) {
		return ErrClosed
	}
	s.stopTimers()
	endCleaning(s)
	err := s.drain()
	if err == nil {
		err = s.closeLogs()
	}
	if err == nil {
		err = s.writeMarker(brokerEpoch)
	}
	if err != nil {
		err = fmt.Errorf("stopping %s: the next start will check it: %w", s.dir, err)
	}
	// As Kafka does: a directory that nobody uses has no lock file.
	return errors.Join(err, s.fs.Remove(filepath.Join(s.dir, lockFile)), s.end())
}

// endCleaning gives up the cleanings that are under way: no step runs any more, and none of their files stays.
func endCleaning(s *Store) {
	s.cleanMu.Lock()
	defer s.cleanMu.Unlock()
	for _, l := range s.Logs() {
		l.mu.Lock()
		j := l.clean.job
		l.mu.Unlock()
		if j != nil {
			j.finish(errCleanAborted)
		}
	}
}

// drain commits what is queued.
func (s *Store) drain() error {
	for more := true; more; {
		_, more = s.commitOnce(nil)
	}
	for _, l := range s.Logs() {
		for l.writeQueued() {
		}
	}
	return s.failure()
}

// closeLogs makes the files what Kafka expects after a clean stop.
func (s *Store) closeLogs() error {
	s.ckptMu.Lock()
	defer s.ckptMu.Unlock()
	logs := s.Logs()
	for _, l := range logs {
		l.mu.Lock()
		if l.err == nil {
			active := l.active()
			active.idx.addTime(active.maxTs, active.maxTsOffset)
			n := len(l.snapOffsets)
			if l.snapshotBytes > 0 || len(l.snaps) > 0 || n > 0 && l.snapOffsets[n-1] != l.end {
				l.snapshotProducers()
			}
		}
		l.mu.Unlock()
	}
	if err := s.checkpoint(); err != nil {
		return err
	}
	if err := s.dropFutures(); err != nil {
		return err
	}
	for _, l := range logs {
		if err := l.closeFiles(); err != nil {
			return err
		}
	}
	if err := s.writeOffsets(); err != nil {
		return err
	}
	s.roundMu.Lock()
	defer s.roundMu.Unlock()
	return s.journal.Remove()
}

// closeFiles makes the index and the newest snapshot of a log that was written to durable.
func (l *Log) closeFiles() error {
	l.io.Lock()
	defer l.io.Unlock()
	l.store.dirtyMu.Lock()
	touched := l.touched
	l.store.dirtyMu.Unlock()
	l.mu.Lock()
	active := l.active()
	l.mu.Unlock()
	if l.Err() != nil {
		return nil
	}
	if active.size == 0 {
		if err := makeIndex(l, active); err != nil {
			return err
		}
	}
	if !touched {
		return nil
	}
	if err := l.flushIndexes(l.segs); err != nil {
		return err
	}
	if active.idx.made {
		if err := l.syncIndex(&active.idx); err != nil {
			return err
		}
	}
	if n := len(l.snapOffsets); n > 0 {
		path := l.path(offsetName(l.snapOffsets[n-1]) + snapshotSuffix)
		f, err := l.store.fs.Edit(path)
		if err != nil {
			return fmt.Errorf("opening producer snapshot %s: %w", path, err)
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return fmt.Errorf("syncing producer snapshot %s: %w", path, err)
		}
	}
	return l.store.fs.SyncDir(l.dir)
}

// makeIndex gives an empty segment its index files, without which Kafka takes a cleanly stopped log for a damaged one. They
// need not be durable: there is nothing to be lost. The caller holds io.
func makeIndex(l *Log, s *segment) error {
	l.mu.Lock()
	x, made := &s.idx, s.idx.made
	l.mu.Unlock()
	if made {
		return nil
	}
	if err := x.flush(&l.store.files, pendingIndex{}); err != nil {
		return err
	}
	l.mu.Lock()
	x.made = true
	l.mu.Unlock()
	return nil
}

// writeMarker says that the directory was stopped cleanly, unless a log is damaged: then the next start has to look again.
func (s *Store) writeMarker(brokerEpoch int64) error {
	for _, l := range s.Logs() {
		var corrupt *CorruptError
		if errors.As(l.Err(), &corrupt) {
			return nil
		}
	}
	b := append([]byte(`{"version":0,"brokerEpoch":`), strconv.FormatInt(brokerEpoch, 10)...)
	return vfs.WriteFileAtomic(s.fs, filepath.Join(s.dir, cleanMarker), append(b, '}'))
}

// Abandon ends the store as kill -9 would: nothing is written, no append in flight is answered.
func (s *Store) Abandon() {
	s.closing.Store(true)
	s.dead.Store(true)
	s.stopTimers()
	s.roundMu.Lock()
	defer s.roundMu.Unlock()
	_ = s.end() // What a dying process closes is not checked either.
}

// end gives everything back that the process holds.
func (s *Store) end() error {
	s.dead.Store(true)
	closed := fmt.Errorf("%s was closed: %w", s.dir, ErrClosed)
	for _, l := range s.Logs() {
		l.mu.Lock()
		if l.err == nil {
			l.err = closed
		}
		l.mu.Unlock()
	}
	if s.opts.Cleaner != nil {
		s.opts.Cleaner.remove(s)
	}
	err := s.journal.Close()
	s.files.closeAll()
	return errors.Join(err, s.lock.Close())
}
