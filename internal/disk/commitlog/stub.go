package commitlog

import "github.com/moldau/moldau/internal/disk/journal"

func (s *Store) afterRound()          {}
func (s *Store) afterWritten(*Append) {}
func (s *Store) noteFull(error)       {}
func (l *Log) rebuildProducers()      { l.mu.Lock(); l.err = nil; l.mu.Unlock() }
func (s *Store) load() error {
	s.journal = journal.New(s.fs, s.dir, s.opts.JournalFileBytes, nil, s.world.Uint64())
	return nil
}
func (s *Store) startTimers() {}
func (l *Log) key() [16]byte  { return l.topicID }

// Checkpoint writes everything behind.
func (s *Store) Checkpoint() error { return nil }

// CloseClean stops the store.
func (s *Store) CloseClean(brokerEpoch int64) error { return nil }

// Abandon leaves everything as kill -9 would.
func (s *Store) Abandon() {}

// Delete deletes a log.
func (s *Store) Delete(l *Log) {}

// OffsetForTimestamp finds the first record at or after ts.
func (l *Log) OffsetForTimestamp(ts int64) (offset, timestamp int64, leaderEpoch int32, found bool, err error) {
	return
}

// MaxTimestamp finds the record with the greatest timestamp.
func (l *Log) MaxTimestamp() (offset, timestamp int64, leaderEpoch int32, found bool, err error) {
	return
}

// DeleteRecords moves the log start.
func (l *Log) DeleteRecords(before int64) error { return nil }

// Truncate cuts the end of the log.
func (l *Log) Truncate(offset int64) error { return nil }
