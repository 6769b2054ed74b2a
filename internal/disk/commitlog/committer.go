package commitlog

import (
	"errors"
	"sync"

	"github.com/moldau/moldau/internal/disk/journal"
	"github.com/moldau/moldau/internal/format/record"
)

const (
	// maxRoundBytes bounds what one round takes from the queue through the journal.
	maxRoundBytes = 8 << 20
	// aloneBytes is from where on the part of a log that has the round for itself goes straight to its segment: that
	// is one sync as well, and half of the bytes for the disk.
	aloneBytes = 64 << 10
	// behindBytes is how much tail a log gathers before it is written behind.
	behindBytes = 256 << 10
)

// queue is the store's queue of synced appends. It is taken whole.
type queue struct {
	mu         sync.Mutex // guards what follows
	head, last *Append
	active     bool // a committer is running or about to
}

// enqueue adds an append; the caller holds the log's mu, so that the queue has each log's appends in order.
func (s *Store) enqueue(a *Append) {
	q := &s.queue
	q.mu.Lock()
	if q.last == nil {
		q.head = a
	} else {
		q.last.next = a
	}
	q.last = a
	start := !q.active
	q.active = true
	q.mu.Unlock()
	if start {
		s.world.Go("commit", s.commitLoop)
	}
}

// settled is what is left to tell of one log when a round is over.
type settled struct {
	head, failed *Append
	err          error
	bytes        int64       // that became stable
	onStable     func(int64) // nil when nothing became stable
}

// tell calls everybody back, with no lock held: they may create and delete logs.
func (d *settled) tell() {
	if d.onStable != nil {
		d.onStable(d.bytes)
	}
	complete(d.head, d.failed, d.err)
}

// commitLoop runs rounds until the queue is empty. There is one at a time, to whom Store.settled belongs; it is
// given back before the queue is free, because the next loop may begin at once.
func (s *Store) commitLoop() {
	for done, more := s.settled, true; more; {
		done, more = s.commitOnce(done[:0])
	}
}

// commitOnce runs one round, and reports whether there may be more to do. It works in the memory of done.
func (s *Store) commitOnce(done []settled) ([]settled, bool) {
	done, more := s.commitQueued(done)
	for i := range done {
		done[i].tell()
	}
	clear(done)
	return done, more
}

func (s *Store) commitQueued(done []settled) ([]settled, bool) {
	s.roundMu.Lock()
	defer s.roundMu.Unlock()
	q := &s.queue
	q.mu.Lock()
	if q.head == nil || s.dead.Load() {
		s.settled = done
		q.active = false
		q.mu.Unlock()
		return done, false
	}
	list := q.take(s.roundBytes())
	q.mu.Unlock()
	return s.round(list, done), true
}

// roundBytes is what one round takes: it has to fit a journal file, with one append more than the bound.
func (s *Store) roundBytes() int { return int(min(maxRoundBytes, s.opts.JournalFileBytes/2)) }

// directBytes is DirectBytes, or less where journal files are small.
func (s *Store) directBytes() int { return int(min(DirectBytes, s.opts.JournalFileBytes/4)) }

// take cuts off what one round may carry.
func (q *queue) take(limit int) *Append {
	list, bytes := q.head, 0
	for a := q.head; a != nil; a = a.next {
		if bytes += len(a.Records); bytes >= limit && a.next != nil {
			q.head = a.next
			a.next = nil
			return list
		}
	}
	q.head, q.last = nil, nil
	return list
}

// round commits a list of appends: see the package documentation.
func (s *Store) round(list *Append, done []settled) []settled {
	began, appends := s.world.Mono(), uint64(0)
	for a := list; a != nil; a = a.next {
		appends++
	}
	logs := s.group(list)
	var bytes int64
	for _, l := range logs {
		bytes += int64(l.round.bytes)
	}
	failed := s.failure()
	if failed == nil && s.eraseDue {
		failed = s.erase()
	}
	if failed == nil && s.eraseDue {
		for _, l := range logs {
			l.round.failed, l.round.err = l.round.head, ErrNoSpace
		}
	} else if failed == nil {
		failed = s.writeRound(logs)
	}
	if failed != nil {
		s.fail(failed)
		for _, l := range logs {
			l.round.failed, l.round.err = l.round.head, s.failure()
		}
	}
	if failed == nil && !s.eraseDue {
		s.Figures.Rounds.Add(1)
		s.Figures.Appends.Add(appends)
		s.Figures.Bytes.Add(uint64(bytes))
		s.Figures.Took.Observe(s.world.Mono() - began)
		s.Figures.JournalBytes.Store(s.journal.LiveBytes())
	}
	for _, l := range logs {
		if errors.Is(l.round.err, ErrNoSpace) {
			s.refusals.note(s, count(l.round.failed), l.round.err)
		}
		done = append(done, s.finish(l))
	}
	clear(logs)
	s.published.Store(s.journal.Last())
	s.afterRound(bytes)
	return done
}

// writeRound brings the round to the disk. The error takes the directory offline; what only
// some logs suffer is noted in their rounds.
func (s *Store) writeRound(logs []*Log) error {
	if err := s.names.settleRound(logs); err != nil {
		return err
	}
	if err := s.writeDirects(logs); err != nil {
		return err
	}
	if err := s.writeJournal(logs); err != nil {
		return err
	}
	return s.syncDirects(logs)
}

// erase makes sure that a refused frame cannot come back. On a full disk it stays due, and nothing is acknowledged before.
func (s *Store) erase() error {
	err := s.journal.Erase()
	s.eraseDue = errors.Is(err, ErrNoSpace)
	if s.eraseDue {
		return nil
	}
	return err
}

// group sorts the appends by log, in the order of their first ones.
func (s *Store) group(list *Append) []*Log {
	logs := s.roundLogs[:0]
	for a := list; a != nil; {
		next := a.next
		a.next = nil
		l := a.log
		r := &l.round
		if r.head == nil {
			r.head = a
			logs = append(logs, l)
		} else {
			r.last.next = a
		}
		r.last = a
		if !a.Duplicate {
			r.bytes += len(a.Records)
		}
		a = next
	}
	s.roundLogs = logs
	return logs
}

// writeDirects writes the large parts to their segments. The error is one that takes the directory offline.
func (s *Store) writeDirects(logs []*Log) error {
	for _, l := range logs {
		r := &l.round
		l.mu.Lock()
		r.direct = r.bytes >= s.directBytes() || l.unsynced || len(logs) == 1 && r.bytes >= aloneBytes
		l.mu.Unlock()
		if !r.direct || r.bytes == 0 {
			r.direct = false
			continue
		}
		l.io.Lock()
		r.failed, r.err = l.writeDirect(r.head)
		l.io.Unlock()
		if r.err != nil && !errors.Is(r.err, ErrNoSpace) {
			return r.err
		}
	}
	return nil
}

// syncDirects syncs what writeDirects has written.
func (s *Store) syncDirects(logs []*Log) error {
	for _, l := range logs {
		if l.round.direct && l.round.failed != l.round.head {
			if err := l.syncDirect(); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeJournal writes the small parts into the journal and syncs it.
func (s *Store) writeJournal(logs []*Log) error {
	f := &s.frame
	f.Reset()
	need := 0
	for _, l := range logs {
		if !l.round.direct {
			need += l.round.bytes
		}
	}
	if err := s.makeRoom(need); err != nil {
		return s.refuseJournaled(logs, err)
	}
	for _, l := range logs {
		switch r := &l.round; {
		case r.direct && r.failed == nil:
			f.Add(&journal.Entry{Kind: journal.Mark, Topic: l.key(), Partition: l.partition, Base: r.head.prev, End: r.head.prev})
		case !r.direct && r.bytes > 0:
			l.addEntry(f)
		}
	}
	if f.Entries() == 0 {
		return nil
	}
	err := s.journal.Write(f)
	if err != nil {
		if err = s.refuseJournaled(logs, err); err != nil {
			return err
		}
		return s.erase()
	}
	if need == 0 {
		return nil // marks are durable with the next frame
	}
	return s.journal.Sync()
}

// addEntry adds the log's part of the round to the frame.
func (l *Log) addEntry(f *journal.Frame) {
	r := &l.round
	e := journal.Entry{
		Kind: journal.Data, Topic: l.key(), Partition: l.partition, LeaderEpoch: r.head.LeaderEpoch,
		Bytes: r.bytes, Base: -1,
	}
	for a := r.head; a != nil; a = a.next {
		if a.Duplicate {
			continue
		}
		if e.Base < 0 {
			e.Base = a.prev
		}
		e.End = a.LastOffset + 1
		f.Payload(a.Records)
		rest := a.Records
		for len(rest) > 0 {
			b, next, err := record.Next(rest)
			if err != nil {
				break // Log.stamp has walked the same bytes
			}
			e.Check = journal.CheckHeads(e.Check, b)
			rest = next
		}
	}
	f.Add(&e)
}

// refuseJournaled turns a full disk into the failure of the journaled appends; any other error is final.
func (s *Store) refuseJournaled(logs []*Log, err error) error {
	if !errors.Is(err, ErrNoSpace) {
		return err
	}
	for _, l := range logs {
		if r := &l.round; !r.direct && r.bytes > 0 {
			r.failed, r.err = r.head, err
		}
	}
	return nil
}

// finish publishes the log's part of the round and calls back.
func (s *Store) finish(l *Log) settled {
	r := &l.round
	head, failed := r.head, r.failed
	if !r.direct && failed == nil {
		l.publishTail(head)
	} else if r.direct {
		l.publishDirect(head, failed)
		s.noteDirty(l, false)
	}
	if failed != nil {
		s.rollBack(l, r.err)
	}
	l.mu.Lock()
	for a := head; a != nil; a = a.next {
		l.inFlightSynced--
		a.LogStart = l.start
	}
	d := settled{head: head, failed: failed, err: r.err, bytes: size(head, failed)}
	if failed != head {
		d.onStable = l.onStable
	}
	l.mu.Unlock()
	*r = logRound{}
	return d
}

// complete calls Done of each append; those from failed on are refused.
func complete(head, failed *Append, err error) {
	bad := false
	for a := head; a != nil; {
		next := a.next // a is its owner's after Done
		if a == failed {
			bad = true
		}
		a.next, a.snap = nil, nil
		if bad {
			a.Err, a.BaseOffset, a.LastOffset = err, -1, -1
		}
		a.Done(a)
		a = next
	}
}

// publishTail copies what the journal now holds into the tail, and moves Stable.
func (l *Log) publishTail(head *Append) {
	behind := false
	l.mu.Lock()
	for a := head; a != nil; a = a.next {
		if a.Duplicate {
			continue
		}
		l.rollFor(a)
		s := l.active()
		l.extend(s, a)
		l.keep(s, a)
		l.moveStable(a.LastOffset + 1)
	}
	behind = l.tailBytes >= behindBytes
	l.mu.Unlock()
	l.store.noteDirty(l, behind)
}

// keep copies the batches of an append to the tail. The caller holds mu.
func (l *Log) keep(s *segment, a *Append) {
	pos := s.size - int64(len(a.Records))
	rest := a.Records
	for len(rest) > 0 {
		b, next, err := record.Next(rest)
		if err != nil {
			return // Log.stamp has walked the same bytes
		}
		c := l.tailLast
		if c == nil || c.sealed || c.seg != s || len(c.buf)-c.used < len(b) {
			c = l.store.pool.get(len(b), l.tailBytes)
			c.seg, c.pos, c.base, c.next, c.used, c.sealed = s, pos, b.BaseOffset(), nil, 0, false
			if l.tailLast == nil {
				l.tailHead = c
			} else {
				l.tailLast.next = c
			}
			l.tailLast = c
		}
		copy(c.buf[c.used:], b)
		c.used += len(b)
		c.end = b.LastOffset() + 1
		l.tailBytes += len(b)
		pos += int64(len(b))
		rest = next
	}
}

// rollBack undoes all that is not stable; none of it is in the journal or in a segment.
func (s *Store) rollBack(l *Log, err error) {
	l.mu.Lock()
	queued := s.unqueue(l)
	l.undo()
	l.inFlightSynced -= count(queued)
	l.mu.Unlock()
	if s.failure() == nil {
		l.rebuildProducers()
	}
	complete(queued, queued, err)
}

// size is the bytes that the appends before end brought.
func size(list, end *Append) int64 {
	n := 0
	for a := list; a != end; a = a.next {
		if !a.Duplicate {
			n += len(a.Records)
		}
	}
	return int64(n)
}

func count(list *Append) int {
	n := 0
	for a := list; a != nil; a = a.next {
		n++
	}
	return n
}

// unqueue takes a log's appends out of the queue. The caller holds the log's mu.
func (s *Store) unqueue(l *Log) *Append {
	q := &s.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	var mine, mineLast, rest, restLast *Append
	for a := q.head; a != nil; {
		next := a.next
		a.next = nil
		first, last := &rest, &restLast
		if a.log == l {
			first, last = &mine, &mineLast
		}
		if *last == nil {
			*first = a
		} else {
			(*last).next = a
		}
		*last = a
		a = next
	}
	q.head, q.last = rest, restLast
	return mine
}
