package commitlog

import (
	"errors"
	"fmt"
)

// appendWritten queues the append of a log with Written durability. If nobody is
// writing, this goroutine does, also for those that come meanwhile. The caller holds mu, which is given up.
func (l *Log) appendWritten(a *Append) {
	if l.queueLast == nil {
		l.queueHead = a
	} else {
		l.queueLast.next = a
	}
	l.queueLast = a
	lead := !l.writing
	l.writing = true
	l.mu.Unlock()
	if !lead {
		return
	}
	for i := 0; l.writeQueued(); i++ {
		if i == maxLead {
			// Others keep this one from its own work: somebody else goes on.
			l.store.world.Go("write", l.writeAllQueued)
			return
		}
	}
}

// maxLead is how many rounds an appender writes for others.
const maxLead = 4

func (l *Log) writeAllQueued() {
	for l.writeQueued() {
	}
}

// writeQueued writes what is queued; false when there was nothing.
func (l *Log) writeQueued() bool {
	l.io.Lock()
	l.mu.Lock()
	head := l.queueHead
	l.queueHead, l.queueLast = nil, nil
	if head == nil || l.store.dead.Load() {
		l.writing = false
		l.mu.Unlock()
		l.io.Unlock()
		return false
	}
	failed, err := head, l.err
	l.mu.Unlock()
	if err == nil {
		switch failed, err = l.writeDirect(head); {
		case errors.Is(err, ErrNoSpace):
			l.store.refusals.note(l.store, count(failed), err)
		case err != nil:
			l.store.fail(err)
			failed, err = head, l.store.failure()
		}
	}
	l.io.Unlock()
	l.finishWritten(head, failed, err)
	return true
}

// finishWritten publishes what writeQueued has written and calls back.
func (l *Log) finishWritten(head, failed *Append, err error) {
	var refused *Append
	if failed != head {
		l.publishDirect(head, failed)
	}
	l.mu.Lock()
	l.unsynced = true
	if err != nil {
		refused = l.queueHead
		l.queueHead, l.queueLast = nil, nil
		l.inFlightWritten -= count(refused)
		l.undo()
	}
	var bytes int64
	for a := head; a != nil; a = a.next {
		bytes += int64(len(a.Records))
		l.inFlightWritten--
		a.LogStart = l.start
	}
	f := l.onStable
	l.mu.Unlock()
	if err != nil && l.store.failure() == nil {
		l.rebuildProducers()
	}
	l.store.noteDirty(l, false)
	l.store.afterRound(bytes)
	if f != nil && failed != head {
		f(size(head, failed))
	}
	complete(head, failed, err)
	complete(refused, refused, err)
}

// undo takes the log back to what is stable. The caller holds mu, and rebuilds the producers next.
func (l *Log) undo() {
	if l.err == nil {
		l.err = errRebuilding
	}
	l.end = l.stable
	l.epochs.truncateEnd(l.end)
	l.resetPlan()
}

// writeDirect writes the appends to their segments, what the tail still holds first. It returns the first append that could
// not be written, all before it were. The caller holds io.
func (l *Log) writeDirect(head *Append) (failed *Append, err error) {
	if err := l.flushTail(); err != nil {
		return head, err
	}
	l.round.firstSeg = nil
	bufs := l.store.takeBufs()
	defer func() { l.store.giveBufs(bufs) }()
	for a := head; a != nil; {
		first := a
		l.mu.Lock()
		l.rollFor(a)
		s := l.active()
		mark := s.mark()
		at := s.size
		bufs = bufs[:0]
		for ; a != nil && (a == first || !a.roll); a = a.next {
			if !a.Duplicate {
				l.extend(s, a)
				bufs = append(bufs, a.Records)
			}
		}
		if l.round.firstSeg == nil {
			l.round.firstSeg = s
		}
		l.mu.Unlock()
		if err := l.writeRun(s, bufs, at); err != nil {
			if l.retract(s, mark, first) {
				err = errors.Join(err, l.removeFiles(s))
			}
			return first, err
		}
		clear(bufs)
	}
	return nil, nil
}

// writeRun writes the buffers to the segment at a position. After a full disk the file is cut back. The caller holds io.
func (l *Log) writeRun(s *segment, bufs [][]byte, at int64) error {
	if len(bufs) == 0 {
		return nil
	}
	f, err := l.openSegment(s)
	if err != nil {
		return err
	}
	if _, err = f.WriteBuffers(bufs, at); err == nil {
		return nil
	}
	err = fmt.Errorf("writing segment %s at %d: %w", s.log.path, at, err)
	if errors.Is(err, ErrNoSpace) {
		// What was written in part must not be found by a later start.
		if cut := f.Truncate(at); cut != nil {
			return fmt.Errorf("cutting segment %s back to %d: %w", s.log.path, at, cut)
		}
	}
	return err
}

// retract takes back what extend has noted of a run that could not be written, and reports whether the segment was begun
// for it. The caller holds io.
func (l *Log) retract(s *segment, m segmentMark, first *Append) (begun bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.restore(m)
	if first.roll && len(l.segs) > 1 && s.size == 0 && s == l.active() {
		l.segs = l.segs[:len(l.segs)-1]
		l.snaps = l.snaps[:len(l.snaps)-1]
		return true
	}
	return false
}

// flushTail writes the tail to the segments, without a sync. The caller holds io.
func (l *Log) flushTail() error {
	l.mu.Lock()
	head := l.tailHead
	for c := head; c != nil; c = c.next {
		c.sealed = true
	}
	last := l.tailLast
	l.mu.Unlock()
	if head == nil {
		return nil
	}
	bufs := l.store.takeBufs()
	defer func() { l.store.giveBufs(bufs) }()
	for c := head; c != nil; {
		// The chunks of one segment go out in one write. Nothing of a sealed chunk changes.
		s, at := c.seg, c.pos
		bufs = bufs[:0]
		n := 0
		end := c
		for ; c != nil && c.seg == s; c = c.next {
			bufs = append(bufs, c.buf[:c.used])
			n += c.used
			end = c
			if c == last {
				break
			}
		}
		f, err := l.openSegment(s)
		if err != nil {
			return err
		}
		if _, err := f.WriteBuffers(bufs, at); err != nil {
			return fmt.Errorf("writing segment %s at %d: %w", s.log.path, at, err)
		}
		clear(bufs)
		finished := end == last
		c = l.dropTail(s, end, int64(n))
		if finished {
			return nil
		}
	}
	return nil
}

// dropTail forgets the chunks up to last, which are in the file now, and returns the next one.
func (l *Log) dropTail(s *segment, last *chunk, n int64) *chunk {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.flushed += n
	l.tailBytes -= int(n)
	for {
		c := l.tailHead
		l.tailHead = c.next
		c.release()
		if c == last {
			break
		}
	}
	if l.tailHead == nil {
		l.tailLast = nil
	}
	return l.tailHead
}

// syncDirect syncs the segments that this round wrote directly.
func (l *Log) syncDirect() error {
	l.io.Lock()
	defer l.io.Unlock()
	l.mu.Lock()
	all := l.unsynced
	first := l.round.firstSeg
	var segs []*segment
	for _, s := range l.segs {
		if s == first {
			all = true
		}
		if all && s.dirty {
			segs = append(segs, s)
		}
	}
	l.mu.Unlock()
	for _, s := range segs {
		if err := l.syncSegment(s); err != nil {
			return err
		}
	}
	l.mu.Lock()
	l.unsynced = false
	l.mu.Unlock()
	return nil
}

// syncSegment makes a segment that is held open durable. The caller holds io.
func (l *Log) syncSegment(s *segment) error {
	f, err := l.store.files.hold(&s.log)
	if err != nil {
		return fmt.Errorf("opening segment %s: %w", s.log.path, err)
	}
	defer s.log.release()
	if err := f.Sync(); err != nil {
		return final(fmt.Errorf("syncing segment %s: %w", s.log.path, err))
	}
	return l.syncName(s)
}

// publishDirect lets readers see what a round wrote directly, up to the first failed append.
func (l *Log) publishDirect(head, failed *Append) {
	l.mu.Lock()
	for a := head; a != failed; a = a.next {
		if !a.Duplicate {
			l.moveStable(a.LastOffset + 1)
		}
	}
	// Without a first segment the round failed before it wrote: the tail is still needed.
	seen := false
	for _, s := range l.segs {
		if s == l.round.firstSeg {
			seen = true
		}
		if seen {
			s.flushed = s.size
		}
	}
	l.round.firstSeg = nil
	l.mu.Unlock()
}
