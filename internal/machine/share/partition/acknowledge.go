package partition

import "github.com/moldau/moldau/internal/format/wire"

// The acknowledge types of the protocol.
const (
	Gap     int8 = 0 // there is no such record
	Accept  int8 = 1
	Release int8 = 2
	Reject  int8 = 3
	Renew   int8 = 4
)

// Acknowledgement is what a member says about a range: one type for all, or
// one for each offset.
type Acknowledgement struct {
	Range
	Types []int8
}

// Refusal is why an acknowledgement is refused.
type Refusal uint8

// The refusals.
const (
	Granted Refusal = iota // it is not
	notThere
	firstBehind
	lastBehind
	batchState
	batchOwner
	offsetState
	offsetOwner
	noRenewal
	unknownType
)

// refusals are the refusals in Kafka's words.
var refusals = [...]struct {
	code wire.Code
	why  string
}{
	Granted:     {wire.None, ""},
	notThere:    {wire.InvalidRecordState, "Batch record not found. The request batch offsets are not found in the cache."},
	firstBehind: {wire.InvalidRequest, "Batch record not found. The first offset in request is past acquired records."},
	lastBehind:  {wire.InvalidRequest, "Batch record not found. The last offset in request is past acquired records."},
	batchState:  {wire.InvalidRecordState, "The batch cannot be acknowledged. The batch is not in the acquired state."},
	batchOwner:  {wire.InvalidRecordState, "Member is not the owner of batch record"},
	offsetState: {wire.InvalidRecordState, "The offset cannot be acknowledged. The offset is not acquired."},
	offsetOwner: {wire.InvalidRecordState, "Member is not the owner of offset"},
	noRenewal:   {wire.InvalidRecordState, "Renewing acquisition locks is not enabled for the group."},
	unknownType: {wire.InvalidRequest, "Invalid acknowledge type"},
}

// Code is the refusal's code in the protocol.
func (r Refusal) Code() wire.Code { return refusals[r].code }

// Why is the reason in words.
func (r Refusal) Why() string { return refusals[r].why }

// Acknowledge takes a member's word on records that it has. All is refused if
// something is wrong. What is to be persisted goes into w, which was Reset;
// unless it is Empty the caller persists it and then calls Settle.
func (p *Partition) Acknowledge(member string, acks []Acknowledgement, now int64, l *Limits, w *Write) Refusal {
	p.begin(w)
	for i := range acks {
		if acks[i].Last < p.start {
			continue
		}
		if why := p.acknowledge(member, &acks[i], now, l, w); why != Granted {
			p.Settle(w, false, now, l)
			w.Reset()
			return why
		}
	}
	p.seal(w)
	return Granted
}

func (p *Partition) begin(w *Write) {
	p.changes++
	w.id = p.changes
}

// acknowledge takes one range.
func (p *Partition) acknowledge(member string, a *Acknowledgement, now int64, l *Limits, w *Write) Refusal {
	i := p.floor(a.First)
	if i < 0 {
		if a.First >= p.start || len(p.batches) == 0 || p.batches[0].First > p.start {
			return notThere
		}
		i = 0
	}
	end := p.floor(a.Last)
	switch {
	case p.batches[end].Last < a.First:
		return firstBehind
	case p.batches[end].Last < a.Last:
		return lastBehind
	}
	for ; i <= end; i++ {
		if b := &p.batches[i]; b.Last >= a.First {
			if why := p.acknowledgeBatch(b, member, a, now, l, w); why != Granted {
				return why
			}
		}
	}
	return Granted
}

// acknowledgeBatch takes what a range says about one batch.
func (p *Partition) acknowledgeBatch(b *batch, member string, a *Acknowledgement, now int64, l *Limits, w *Write) Refusal {
	if !b.split() {
		r := &b.whole[0]
		switch {
		case r.state != Acquired || r.change != none:
			return batchState
		case r.member != member:
			return batchOwner
		case len(a.Types) == 1 && b.First >= a.First && b.Last <= a.Last:
			return p.answer(r, a.Types[0], now, l, w)
		}
		p.apart(b)
	}
	why := Granted
	in := Range{max(a.First, b.First), min(a.Last, b.Last)}
	for in.First <= in.Last && why == Granted {
		kind, last := a.Types[0], in.Last
		if len(a.Types) > 1 {
			kind, last = a.sameType(in.First, in.Last)
		}
		p.reshape(b, Range{in.First, last}, func(r *run) bool {
			switch {
			case r.state != Acquired || r.change != none:
				why = offsetState
			case r.member != member:
				why = offsetOwner
			default:
				why = p.answer(r, kind, now, l, w)
			}
			return why == Granted
		})
		in.First = last + 1
	}
	return why
}

// sameType is the type at an offset, and the last offset up to end that has the same.
func (a *Acknowledgement) sameType(first, end int64) (kind int8, last int64) {
	kind = a.Types[first-a.First]
	for last = first; last < end && a.Types[last+1-a.First] == kind; {
		last++
	}
	return kind, last
}

// answer does to acquired records what an acknowledge type says.
func (p *Partition) answer(r *run, kind int8, now int64, l *Limits, w *Write) Refusal {
	switch kind {
	case Renew:
		if !l.Renew {
			return noRenewal
		}
		r.deadline = now + l.LockMs
		p.due = min(p.due, r.deadline)
		return Granted
	case Accept:
		r.state = Acknowledged
	case Release:
		r.state = returned(r, l)
	case Gap, Reject:
		r.state = Archived
	default:
		return unknownType
	}
	r.change = w.id
	w.add(r)
	return Granted
}

// returned is the state of records that come back from a member.
func returned(r *run, l *Limits) State {
	if r.deliveries >= l.MaxDeliveries {
		return Archived
	}
	return Available
}

// ReleaseAll takes all records back from a member that is gone. As with
// Acknowledge, what is in w is to be persisted.
func (p *Partition) ReleaseAll(member string, l *Limits, w *Write) {
	p.begin(w)
	p.each(func(r *run) bool { return r.state == Acquired && r.member == member }, func(r *run) {
		r.state, r.change = returned(r, l), w.id
		w.add(r)
	})
	p.seal(w)
}

// each changes the runs that are wanted, all over the partition.
func (p *Partition) each(wanted func(*run) bool, change func(*run)) {
	for i := range p.batches {
		b, found := &p.batches[i], false
		for j, runs := 0, b.all(); j < len(runs); j++ {
			if wanted(&runs[j]) {
				change(&runs[j])
				found = true
			}
		}
		if found && b.split() {
			p.join(b)
		}
	}
}

// join makes neighbours that have become alike one.
func (p *Partition) join(b *batch) {
	n := 0
	for i := 1; i < len(b.runs); i++ {
		if b.runs[n].like(&b.runs[i]) {
			b.runs[n].Last = b.runs[i].Last
			continue
		}
		n++
		b.runs[n] = b.runs[i]
	}
	clear(b.runs[n+1:])
	b.runs = b.runs[:n+1]
}

// Settle tells whether a change was persisted. If it was not, it is taken
// back: the member has its records again, unless their lock has ended
// meanwhile. It reports whether there may be more to acquire than before.
func (p *Partition) Settle(w *Write, persisted bool, now int64, l *Limits) bool {
	for i := range w.Batches {
		p.settle(&w.Batches[i], w.id, persisted, now, l)
	}
	return p.advance() || p.look
}

func (p *Partition) settle(s *StateBatch, id uint64, persisted bool, now int64, l *Limits) {
	for i := max(p.floor(s.First), 0); i < len(p.batches) && p.batches[i].First <= s.Last; i++ {
		b, found := &p.batches[i], false
		for j, runs := 0, b.all(); j < len(runs); j++ {
			if r := &runs[j]; r.change == id && r.Last >= s.First && r.First <= s.Last {
				p.finish(r, persisted, now, l)
				found = true
			}
		}
		if found && b.split() {
			p.join(b)
		}
	}
}

// finish ends the change of a run.
func (p *Partition) finish(r *run, persisted bool, now int64, l *Limits) {
	r.change = none
	if !persisted {
		r.state = Acquired
		if r.deadline > now {
			p.due = min(p.due, r.deadline)
			return
		}
		r.state = returned(r, l)
	}
	r.member, r.deadline = "", noDeadline
	p.look = p.look || r.state == Available
}

// Due is when Expire has something to do, at the earliest; false when no record is locked.
func (p *Partition) Due() (ms int64, ok bool) { return p.due, p.due != noDeadline }

// Expire takes back what its member had for too long. The records may be
// acquired again at once; what is in w is to be persisted, but nothing depends
// on it. It reports whether there is something to acquire.
func (p *Partition) Expire(now int64, l *Limits, w *Write) bool {
	p.begin(w)
	p.due = noDeadline
	p.each(func(r *run) bool {
		locked := r.state == Acquired && r.change == none
		if locked && r.deadline > now {
			p.due = min(p.due, r.deadline)
		}
		return locked && r.deadline <= now
	}, func(r *run) {
		r.state, r.member, r.deadline = returned(r, l), "", noDeadline
		w.add(r)
		p.look = p.look || r.state == Available
	})
	p.seal(w)
	p.advance()
	return p.look && !w.Empty()
}
