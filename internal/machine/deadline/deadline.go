// Package deadline orders what a machine has to do later.
//
// Duty: a queue of things by when they are due. To put a thing off, which every heartbeat of every member does, is one
// store: the queue learns of it when the old time comes.
//
// Invariants: what is due at the same time comes in the order in which it was queued, so that a machine decides alike
// wherever it runs; each thing has at most one entry that counts.
//
// Called by the machines of groups. It must never ask for the time.
package deadline

// Deadline is when a thing is due. It is embedded in what a [Queue] holds.
type Deadline struct {
	at     int64 // 0 for never
	queued int64 // the time of the entry in the queue that counts, 0 for none
}

// Stop makes the thing never be due.
func (d *Deadline) Stop() { d.at = 0 }

// Pending says whether the thing will be due.
func (d *Deadline) Pending() bool { return d.at != 0 }

func (d *Deadline) deadline() *Deadline { return d }

// Queue is a heap of things, ordered by time and then by when they were queued.
type Queue[T interface{ deadline() *Deadline }] struct {
	heap   []entry[T]
	serial uint64
}

type entry[T any] struct {
	at     int64
	serial uint64
	thing  T
}

func (e *entry[T]) before(o *entry[T]) bool {
	return e.at < o.at || e.at == o.at && e.serial < o.serial
}

// Len is how many entries there are, void ones among them.
func (q *Queue[T]) Len() int { return len(q.heap) }

// Set makes a thing be due at the given time instead of any time before.
func (q *Queue[T]) Set(thing T, at int64) {
	d := thing.deadline()
	d.at = max(at, 1) // 0 is never
	if d.queued == 0 || d.at < d.queued {
		q.push(thing, d)
	}
}

// Next is the time of the first entry, which may prove void.
func (q *Queue[T]) Next() (int64, bool) {
	if len(q.heap) == 0 {
		return 0, false
	}
	return q.heap[0].at, true
}

// Due takes a thing that is due by now; ok is false when there is none.
func (q *Queue[T]) Due(now int64) (thing T, ok bool) {
	for len(q.heap) > 0 && q.heap[0].at <= now {
		e := q.pop()
		d := e.thing.deadline()
		if d.queued != e.at {
			continue // an earlier entry has taken its place
		}
		d.queued = 0
		switch {
		case d.at == 0:
		case d.at > now:
			q.push(e.thing, d)
		default:
			d.at = 0
			return e.thing, true
		}
	}
	return thing, false
}

func (q *Queue[T]) push(thing T, d *Deadline) {
	q.serial++
	d.queued = d.at
	q.heap = append(q.heap, entry[T]{d.at, q.serial, thing})
	for i := len(q.heap) - 1; i > 0; {
		up := (i - 1) / 2
		if !q.heap[i].before(&q.heap[up]) {
			break
		}
		q.heap[i], q.heap[up] = q.heap[up], q.heap[i]
		i = up
	}
}

func (q *Queue[T]) pop() entry[T] {
	h := q.heap
	top, last := h[0], len(h)-1
	h[0] = h[last]
	h[last] = entry[T]{}
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
