package partition

import (
	"fmt"
	"math"
	"sort"
)

// State is what a record in flight is to the group. The values are those of
// persisted state.
type State uint8

// The states.
const (
	Available    State = 0
	Acquired     State = 1
	Acknowledged State = 2
	Archived     State = 4
)

// String is the state's name.
func (s State) String() string {
	switch s {
	case Available:
		return "available"
	case Acquired:
		return "acquired"
	case Acknowledged:
		return "acknowledged"
	case Archived:
		return "archived"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// terminal tells that the group is done with such records.
func (s State) terminal() bool { return s == Acknowledged || s == Archived }

// Limits are the group's settings as they are at the time of a call.
type Limits struct {
	MaxInFlight   int   // share.partition.max.record.locks
	MaxDeliveries int16 // share.delivery.count.limit
	LockMs        int64 // share.record.lock.duration.ms
	Renew         bool  // share.renew.acknowledge.enable
}

// Range is a run of offsets, both ends included.
type Range struct{ First, Last int64 }

// StateBatch is the persisted state of a range.
type StateBatch struct {
	Range
	State      State
	Deliveries int16
}

// none is the change of runs that have none under way.
const none uint64 = 0

// noDeadline is the deadline of runs without a lock.
const noDeadline int64 = math.MaxInt64

// run is records of one batch that share their state.
type run struct {
	Range
	state      State
	deliveries int16
	// change is the change under way that the state is the outcome of.
	change uint64
	// member has the records; it stays until the change is settled.
	member string
	// deadline is when the lock ends, in ms of the caller's monotonic clock.
	deadline int64
}

func (r *run) count() int64 { return r.Last - r.First + 1 }

// free tells whether the records may be acquired.
func (r *run) free() bool { return r.state == Available && r.change == none }

func (r *run) like(o *run) bool {
	return r.state == o.state && r.deliveries == o.deliveries && r.change == o.change && r.member == o.member && r.deadline == o.deadline
}

// batch is what was acquired at once. Its range stays what it was then; its
// runs cover the part of it that is not below the start offset.
type batch struct {
	Range
	// whole is the only run of a batch whose records were always treated
	// alike; runs replaces it once they were not.
	whole [1]run
	runs  []run
}

// split tells that records are tracked apart from each other.
func (b *batch) split() bool { return b.runs != nil }

// all is the batch's runs.
func (b *batch) all() []run {
	if b.runs == nil {
		return b.whole[:]
	}
	return b.runs
}

// Partition is one share partition. The zero value is not usable: see Load.
type Partition struct {
	// start is the first offset that is not done with (SPSO).
	start int64
	// next is the offset behind everything that was ever acquired.
	next    int64
	batches []batch

	// look tells that there may be available records below next.
	look bool
	// gap are offsets below next, found at load, of which nothing is known:
	// they were acquired by somebody and never persisted. gap.First moves up as
	// they are fetched; it ends when gap.Last+1 is not next any more.
	gap Range

	changes uint64
	// due is not after the earliest deadline.
	due int64
	// scratch is for building runs.
	scratch []run
}

// Load makes a partition of its persisted state: the start offset and, in
// ascending order, the batches at or above it.
func Load(start int64, batches []StateBatch) (*Partition, error) {
	p := &Partition{start: start, next: start, gap: Range{-1, -1}, due: noDeadline}
	for i := range batches {
		s := &batches[i]
		if s.First < p.next || s.Last < s.First || s.State > Archived || s.State == 3 {
			return nil, fmt.Errorf("share state has %s records %d to %d where offset %d was to come next, after the start offset %d",
				s.State, s.First, s.Last, p.next, start)
		}
		if s.First > p.next && p.gap.First < 0 {
			p.gap.First = p.next
		}
		b := batch{Range: s.Range}
		b.whole[0] = run{Range: s.Range, state: s.State, deliveries: s.Deliveries, deadline: noDeadline}
		if s.State == Acquired {
			b.whole[0].state = Available // who had it is not known any more
		}
		p.batches = append(p.batches, b)
		p.next = s.Last + 1
	}
	p.look = len(batches) > 0
	p.gap.Last = p.next - 1
	p.advance()
	return p, nil
}

// Start is the first offset that the group is not done with.
func (p *Partition) Start() int64 { return p.start }

// InFlight is how many offsets lie between the start and the next offset.
func (p *Partition) InFlight() int { return int(p.next - p.start) }

// Batches is how many batches are in flight.
func (p *Partition) Batches() int { return len(p.batches) }

// gapOpen tells that the gap found at load is still to be fetched.
func (p *Partition) gapOpen() bool { return p.gap.First >= 0 && p.gap.Last+1 == p.next }

// Delivered counts the records at or above the start that the group is done
// with, as they are persisted as delivery complete count.
func (p *Partition) Delivered() int32 {
	n := int64(0)
	for i := range p.batches {
		for j, runs := 0, p.batches[i].all(); j < len(runs); j++ {
			if runs[j].state.terminal() {
				n += runs[j].count()
			}
		}
	}
	return int32(min(n, math.MaxInt32))
}

// NextFetch is the offset from which records can be acquired.
func (p *Partition) NextFetch() int64 {
	if !p.look {
		return p.next
	}
	gap := max(p.gap.First, p.start)
	for i := range p.batches {
		b := &p.batches[i]
		if p.gapOpen() {
			if b.First > gap {
				return gap
			}
			gap = max(gap, b.Last+1)
		}
		for j, runs := 0, b.all(); j < len(runs); j++ {
			if runs[j].free() {
				return runs[j].First
			}
		}
	}
	p.look = false
	return p.next
}

// CanAcquire tells whether there are available records, or room for more in flight.
func (p *Partition) CanAcquire(l *Limits) bool {
	return p.NextFetch() != p.next || p.InFlight() < l.MaxInFlight
}

// floor is the index of the last batch that begins at or before the offset, -1 if there is none.
func (p *Partition) floor(offset int64) int {
	return sort.Search(len(p.batches), func(i int) bool { return p.batches[i].First > offset }) - 1
}

// advance moves the start over what is done with, and drops it. It reports
// whether the start moved.
func (p *Partition) advance() bool {
	start := p.start
	if len(p.batches) > 0 && p.batches[0].First > start && p.gapOpen() && p.gap.First < p.batches[0].First {
		return false // the gap comes first
	}
	n := 0
	for ; n < len(p.batches); n++ {
		b := &p.batches[n]
		if p.gapOpen() && b.Last >= p.gap.First {
			break
		}
		done := finished(b)
		if done < 0 {
			break
		}
		start = max(start, done+1)
		if done < b.Last {
			break
		}
		if n+1 < len(p.batches) {
			start = max(start, p.batches[n+1].First)
			if p.gapOpen() {
				start = max(p.start, min(start, p.gap.First))
			}
		}
	}
	if start == p.start {
		return false
	}
	p.trim(start)
	return true
}

// finished is the last offset of the batch up to which it is done with, -1 if it is not even at its beginning.
func finished(b *batch) int64 {
	done := int64(-1)
	for i, runs := 0, b.all(); i < len(runs); i++ {
		if runs[i].change != none || !runs[i].state.terminal() {
			break
		}
		done = runs[i].Last
	}
	return done
}

// trim moves the start up and forgets what is below it.
func (p *Partition) trim(start int64) {
	p.start, p.next = start, max(p.next, start)
	if p.gap.First >= 0 {
		p.gap.First = max(p.gap.First, start)
	}
	n := 0
	for n < len(p.batches) && p.batches[n].Last < start {
		p.batches[n] = batch{}
		n++
	}
	if p.batches = p.batches[n:]; len(p.batches) == 0 {
		p.batches, p.look = p.batches[:0], p.look && p.gapOpen()
		return
	}
	if b := &p.batches[0]; b.First < start {
		p.apart(b)
		i := 0
		for b.runs[i].Last < start {
			i++
		}
		b.runs = b.runs[i:]
		b.runs[0].First = max(b.runs[0].First, start)
	}
}

// apart makes a batch track its records apart from each other.
func (p *Partition) apart(b *batch) {
	if b.runs == nil {
		b.runs = append(make([]run, 0, 3), b.whole[0])
	}
}

// reshape replaces the runs of a batch where they lie in the range: change
// gets each piece and says whether to go on.
func (p *Partition) reshape(b *batch, in Range, change func(r *run) bool) bool {
	p.scratch = p.scratch[:0]
	more := true
	for i := range b.runs {
		r := b.runs[i]
		if !more || r.Last < in.First || r.First > in.Last {
			p.push(r)
			continue
		}
		if r.First < in.First {
			head := r
			head.Last = in.First - 1
			p.push(head)
			r.First = in.First
		}
		tail := r
		r.Last = min(r.Last, in.Last)
		more = change(&r)
		p.push(r)
		if tail.First = r.Last + 1; tail.First <= tail.Last {
			p.push(tail)
		}
	}
	b.runs = append(b.runs[:0], p.scratch...)
	clear(p.scratch)
	return more
}

// push appends to scratch what may be a continuation of its last run.
func (p *Partition) push(r run) {
	if n := len(p.scratch); n > 0 && p.scratch[n-1].like(&r) && p.scratch[n-1].Last+1 == r.First {
		p.scratch[n-1].Last = r.Last
		return
	}
	p.scratch = append(p.scratch, r)
}

// MoveLogStart tells that the log now begins at an offset: what lies below it
// cannot be delivered any more.
func (p *Partition) MoveLogStart(offset int64) {
	if offset <= p.start {
		return
	}
	p.trim(offset)
	p.look = true
	p.advance()
}

// Write is a change to persist.
type Write struct {
	id      uint64
	Start   int64
	Done    int32 // delivery complete count
	Batches []StateBatch
}

// Empty tells that there is nothing to persist.
func (w *Write) Empty() bool { return len(w.Batches) == 0 }

// Reset makes a write usable for the next call, and keeps its memory.
func (w *Write) Reset() { *w = Write{Batches: w.Batches[:0]} }

// add appends a range; what continues the last one becomes part of it.
func (w *Write) add(r *run) {
	if n := len(w.Batches); n > 0 {
		if b := &w.Batches[n-1]; b.Last+1 == r.First && b.State == r.state && b.Deliveries == r.deliveries {
			b.Last = r.Last
			return
		}
	}
	w.Batches = append(w.Batches, StateBatch{Range: r.Range, State: r.state, Deliveries: r.deliveries})
}

// seal completes a write with what is persisted along with every change.
func (p *Partition) seal(w *Write) { w.Start, w.Done = p.start, p.Delivered() }
