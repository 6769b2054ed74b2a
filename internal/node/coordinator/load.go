package coordinator

import (
	"fmt"
	"time"

	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/machine/group"
)

const (
	// loadBufferBytes is what a loading shard reads at a time. A larger batch gets memory of its own.
	loadBufferBytes = 256 << 10
	// loadRetry is how soon a loading shard looks again for records that are not committed yet.
	loadRetry = 10 * time.Millisecond
)

// loader replays a partition into a fresh machine, in the background and without the shard's lock.
type loader[M machine] struct {
	shard   *shard[M]
	term    uint64
	log     Log
	machine M
	from    int64 // what to read next
	end     int64 // where the log ended at the election
	began   time.Duration
	buf     []byte
	scratch []byte
	skipped int
	entry   group.Entry
}

// run loads until the end, until leadership is lost, or until there is nothing to read for now.
func (l *loader[M]) run() {
	if l.buf == nil && l.from < l.end {
		l.buf = make([]byte, loadBufferBytes)
	}
	for l.from < l.end {
		if !l.current() {
			return
		}
		// What is before the start was deleted since, because what follows makes up for it.
		l.from = max(l.from, l.log.Start())
		batches, next, err := l.log.Read(l.from, l.buf)
		if err == nil && next > l.from {
			err = l.replay(batches)
		}
		if err != nil {
			l.fail(err)
			return
		}
		if next <= l.from {
			l.shard.opts.world.AfterFunc(loadRetry, func() { l.shard.opts.world.Go("load "+l.shard.opts.topic, l.run) })
			return
		}
		l.from = next
	}
	l.finish()
}

// current says whether the election that began this load still holds.
func (l *loader[M]) current() bool {
	l.shard.mu.Lock()
	defer l.shard.mu.Unlock()
	return l.shard.term == l.term
}

// replay feeds a run of batches to the machine. Batches of any format occur, since old brokers wrote here too.
func (l *loader[M]) replay(b []byte) error {
	for len(b) > 0 {
		info, err := record.PeekHeader(b)
		if err != nil {
			return fmt.Errorf("reading a batch behind offset %d: %w", l.from, err)
		}
		if info.Size > len(b) {
			return fmt.Errorf("reading the batch at offset %d: %w", info.BaseOffset, record.ErrShort)
		}
		entry := b[:info.Size]
		b = b[info.Size:]
		if err := record.CheckEntry(entry); err != nil {
			return fmt.Errorf("checking the batch at offset %d: %w", info.BaseOffset, err)
		}
		if err := l.replayEntry(entry, &info); err != nil {
			return err
		}
	}
	return nil
}

func (l *loader[M]) replayEntry(entry []byte, info *record.EntryInfo) error {
	producer := record.NoProducerID
	if info.Magic >= 2 {
		batch := record.Batch(entry)
		if batch.IsControl() {
			marker, ok, err := batch.EndTxnMarker()
			if err != nil {
				return fmt.Errorf("reading the marker at offset %d: %w", info.BaseOffset, err)
			}
			if ok {
				l.machine.endTransaction(marker.ProducerID, marker.Commit, info.BaseOffset)
			}
			return nil
		}
		if batch.IsTransactional() {
			producer = batch.ProducerID()
		}
	}
	it, err := record.IterateEntry(entry, &l.scratch, record.DefaultMaxInflated)
	if err != nil {
		return fmt.Errorf("unpacking the batch at offset %d: %w", info.BaseOffset, err)
	}
	for r, ok := it.Next(); ok; r, ok = it.Next() {
		if r.Offset < l.from {
			continue // before the start of the log, within its first batch
		}
		l.entry = group.Entry{Offset: r.Offset, ProducerID: producer, Key: r.Key, Value: r.Value}
		known, err := l.machine.replay(&l.entry)
		if err != nil {
			return err
		}
		if !known {
			l.skipped++
		}
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("reading the batch at offset %d: %w", info.BaseOffset, err)
	}
	return nil
}

// fail leaves the shard without service: what it does not know it must not answer for.
func (l *loader[M]) fail(err error) {
	s := l.shard
	s.mu.Lock()
	current := s.term == l.term
	if current {
		s.status = failed
	}
	s.mu.Unlock()
	if current {
		s.opts.logger.Error("coordinator partition cannot be loaded; what it holds has no coordinator until it is "+
			"repaired and led anew", "topic", s.opts.topic, "partition", s.partition, "offset", l.from, "error", err)
	}
}

// finish puts the machine into service.
func (l *loader[M]) finish() {
	s := l.shard
	s.mu.Lock()
	if s.term != l.term {
		s.mu.Unlock()
		return
	}
	s.machine, s.status = l.machine, active
	s.loads, s.loadTook = s.loads+1, s.opts.world.Mono()-l.began
	t := s.begin()
	if l.skipped > 0 {
		t.calls = append(t.calls, func() {
			s.opts.logger.Warn("records of unknown types were skipped", "topic", s.opts.topic,
				"partition", s.partition, "records", l.skipped)
		})
	}
	s.machine.loaded(t)
	s.end(t)
}
