package group

// timerKind tells what happens when a timer fires.
type timerKind uint8

const (
	timerSession   timerKind = iota // a member was not heard of
	timerPending                    // a member id that was given out was not used
	timerInitial                    // a step of the initial delay of a new group
	timerJoin                       // the members that have not rejoined are out
	timerSync                       // the members that have not synced are out
	timerRetention                  // look for expired offsets
	timerRebalance                  // a member of a consumer group has not given up its partitions
)

// timer is a thing to do at a time. Setting it later than it was, which every heartbeat does, is one store:
// the queue learns of it when the old time comes.
type timer struct {
	at       int64 // when, 0 for never
	queued   int64 // the time of the entry in the queue that counts, 0 for none
	kind     timerKind
	group    *group
	member   *member
	memberID string // timerPending
	consumer *consumerMember
}

func (t *timer) stop() { t.at = 0 }

// timers is a heap of timers, ordered by time and then by when they were queued.
type timers struct {
	heap   []timerEntry
	serial uint64
}

type timerEntry struct {
	at     int64
	serial uint64
	timer  *timer
}

func (e *timerEntry) before(o *timerEntry) bool {
	return e.at < o.at || e.at == o.at && e.serial < o.serial
}

// set makes t fire at the given time instead of any time before.
func (q *timers) set(t *timer, at int64) {
	t.at = max(at, 1) // 0 is never
	if t.queued == 0 || t.at < t.queued {
		q.push(t)
	}
}

// next is the time of the first entry, which may prove void.
func (q *timers) next() (int64, bool) {
	if len(q.heap) == 0 {
		return 0, false
	}
	return q.heap[0].at, true
}

// due takes a timer that has to fire by now, or nil.
func (q *timers) due(now int64) *timer {
	for len(q.heap) > 0 && q.heap[0].at <= now {
		e := q.pop()
		t := e.timer
		if t.queued != e.at {
			continue // an earlier entry has taken its place
		}
		t.queued = 0
		switch {
		case t.at == 0:
		case t.at > now:
			q.push(t)
		default:
			t.at = 0
			return t
		}
	}
	return nil
}

func (q *timers) push(t *timer) {
	q.serial++
	t.queued = t.at
	q.heap = append(q.heap, timerEntry{t.at, q.serial, t})
	for i := len(q.heap) - 1; i > 0; {
		up := (i - 1) / 2
		if !q.heap[i].before(&q.heap[up]) {
			break
		}
		q.heap[i], q.heap[up] = q.heap[up], q.heap[i]
		i = up
	}
}

func (q *timers) pop() timerEntry {
	h := q.heap
	top, last := h[0], len(h)-1
	h[0] = h[last]
	h[last] = timerEntry{}
	h = h[:last]
	for i := 0; ; {
		first := i
		for c := 2*i + 1; c <= 2*i+2 && c < last; c++ {
			if h[c].before(&h[first]) {
				first = c
			}
		}
		if first == i {
			break
		}
		h[i], h[first] = h[first], h[i]
		i = first
	}
	q.heap = h
	return top
}
