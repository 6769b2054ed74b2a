package streams

import "container/heap"

// timerKind tells what happens when a timer fires.
type timerKind uint8

const (
	timerSession   timerKind = iota // a member was not heard of
	timerRebalance                  // a member has not given up its tasks
	timerInitial                    // the first assignment of a group has waited long enough
)

// timer is a thing to do at a time. Setting it later than it was, which every heartbeat does, is one store: the queue
// learns of it when the old time comes.
type timer struct {
	at     int64 // when, 0 for never
	queued int64 // the time of the entry in the queue that counts, 0 for none
	kind   timerKind
	group  *group
	member *member
}

func (t *timer) stop() { t.at = 0 }

type timerEntry struct {
	at     int64
	serial uint64
	timer  *timer
}

// timers is a queue of timers, ordered by time and then by when they were queued.
type timers struct {
	entries []timerEntry
	serial  uint64
}

// Len, Less, Swap, Push and Pop are for container/heap.
func (q *timers) Len() int { return len(q.entries) }

// Less orders entries.
func (q *timers) Less(i, j int) bool {
	a, b := &q.entries[i], &q.entries[j]
	return a.at < b.at || a.at == b.at && a.serial < b.serial
}

// Swap swaps two entries.
func (q *timers) Swap(i, j int) { q.entries[i], q.entries[j] = q.entries[j], q.entries[i] }

// Push appends an entry.
func (q *timers) Push(x any) { q.entries = append(q.entries, x.(timerEntry)) }

// Pop takes the last entry.
func (q *timers) Pop() any {
	n := len(q.entries) - 1
	e := q.entries[n]
	q.entries[n] = timerEntry{}
	q.entries = q.entries[:n]
	return e
}

// set makes t fire at the given time instead of any time before.
func (q *timers) set(t *timer, at int64) {
	t.at = max(at, 1) // 0 is never
	if t.queued == 0 || t.at < t.queued {
		t.queued = t.at
		q.serial++
		heap.Push(q, timerEntry{t.at, q.serial, t})
	}
}

// next is the time of the first entry, which may prove void.
func (q *timers) next() (int64, bool) {
	if len(q.entries) == 0 {
		return 0, false
	}
	return q.entries[0].at, true
}

// due takes a timer that has to fire by now, or nil.
func (q *timers) due(now int64) *timer {
	for len(q.entries) > 0 && q.entries[0].at <= now {
		e := heap.Pop(q).(timerEntry)
		if e.at != e.timer.queued {
			continue // an earlier one was queued since
		}
		e.timer.queued = 0
		switch {
		case e.timer.at == 0:
		case e.timer.at > now:
			q.set(e.timer, e.timer.at)
		default:
			e.timer.at = 0
			return e.timer
		}
	}
	return nil
}
