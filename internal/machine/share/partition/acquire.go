package partition

import "slices"

// Mode is how far an acquisition may go beyond what was asked for (KIP-1206).
type Mode int8

// The modes.
const (
	// BatchOptimized acquires whole record batches: a little more than asked for.
	BatchOptimized Mode = 0
	// RecordLimit never acquires more than asked for.
	RecordLimit Mode = 1
)

// Batch is a record batch that was read from the log.
type Batch struct {
	Range
	// ProducerID, Transactional and AbortMarker are looked at when there are
	// aborted transactions.
	ProducerID    int64
	Transactional bool
	// AbortMarker tells that the batch is the end of an aborted transaction.
	AbortMarker bool
}

// Aborted is an aborted transaction: of whom, and from which offset on.
type Aborted struct{ ProducerID, First int64 }

// Acquisition is what a member wants.
type Acquisition struct {
	Member string
	Mode   Mode
	// BatchSize is how many records the member likes to have tracked, and
	// acknowledged, as one.
	BatchSize int
	// MaxRecords is how many it wants.
	MaxRecords int
	// Offset is what NextFetch gave, and Batches, whole and in order, are what
	// the log has from there on. It suffices that they reach Reach.
	Offset  int64
	Batches []Batch
	// Aborted is for groups that read committed data only.
	Aborted []Aborted
	// Now is the caller's monotonic clock in ms.
	Now int64
}

// Delivery is a range that was acquired, and how often its records have been delivered, this time included.
type Delivery struct {
	Range
	Count int16
}

// Reach is the offset up to which an acquisition of at most n records can
// matter, if the log's first batch from the fetch offset on begins at base.
func (p *Partition) Reach(base int64, n int) int64 { return max(p.next, base) + int64(n) - 1 }

// acquirer is one acquisition under way.
type acquirer struct {
	p   *Partition
	a   *Acquisition
	l   *Limits
	out []Delivery
	// last is the last offset that may be acquired, wanted how many records
	// may be, got how many were.
	last        int64
	wanted, got int64
	deadline    int64
}

// Acquire gives records to a member: it appends their ranges to out, ascending,
// and returns how many they are.
func (p *Partition) Acquire(a *Acquisition, l *Limits, out []Delivery) ([]Delivery, int) {
	if a.MaxRecords <= 0 || len(a.Batches) == 0 || a.Batches[len(a.Batches)-1].Last < p.start {
		return out, 0
	}
	had := len(out)
	q := &acquirer{p: p, a: a, l: l, out: out, deadline: a.Now + l.LockMs}
	if !q.bound() {
		return out, 0
	}
	base := p.skip(a)
	if i := p.floor(base); i >= 0 && p.batches[i].Last >= base {
		base = p.batches[i].First
	} else if i < 0 && base < p.start {
		base = p.start
	}
	q.run(base)
	if len(q.out) > had && p.gap.First >= 0 {
		p.closeGap(q.out[len(q.out)-1].Last + 1)
	}
	if len(a.Aborted) > 0 {
		q.out = p.dropAborted(a, q.out, had)
	}
	count := int64(0)
	for _, d := range q.out[had:] {
		count += d.Last - d.First + 1
	}
	return q.out, int(count)
}

// bound settles how many records may be acquired and how far: there may be
// room for none behind next, yet available ones before it.
func (q *acquirer) bound() bool {
	p, a := q.p, q.a
	q.last = a.Batches[len(a.Batches)-1].Last
	q.wanted = int64(min(a.MaxRecords, q.l.MaxInFlight-p.InFlight()))
	if q.wanted <= 0 && a.Offset < p.next {
		q.wanted = min(int64(a.MaxRecords), p.next-a.Offset)
		q.last = min(q.last, p.next-1)
	}
	return q.wanted > 0
}

// skip gives up available records between the fetch offset and the first batch
// that the log has there: compaction has taken them. It returns where that
// batch begins.
func (p *Partition) skip(a *Acquisition) int64 {
	base := a.Batches[0].First
	if a.Offset >= base {
		return base
	}
	if p.archive(Range{a.Offset, base - 1}, Available) {
		p.look = true
	}
	if p.gapOpen() && p.gap.First == a.Offset {
		p.closeGap(base)
	}
	p.advance()
	return base
}

// archive gives up records of one state in a range.
func (p *Partition) archive(in Range, from State) bool {
	found := false
	for i := max(p.floor(in.First), 0); i < len(p.batches) && p.batches[i].First <= in.Last; i++ {
		b := &p.batches[i]
		give := func(r *run) bool {
			if r.state == from {
				r.state, r.change, r.member, r.deadline = Archived, none, "", noDeadline
				found = true
			}
			return true
		}
		switch {
		case b.split():
			p.reshape(b, in, give)
		case b.whole[0].state != from || b.Last < in.First:
		case b.First >= in.First && b.Last <= in.Last:
			give(&b.whole[0])
		default:
			p.apart(b)
			p.reshape(b, in, give)
		}
	}
	return found
}

// closeGap tells that the gap is known up to an offset.
func (p *Partition) closeGap(offset int64) {
	if p.gapOpen() && offset <= p.gap.Last {
		p.gap.First = offset
		return
	}
	p.gap = Range{-1, -1}
}

// run goes over what is in flight from base on, and then to what is new.
func (q *acquirer) run(base int64) {
	p, first := q.p, q.a.Batches[0].First
	from := min(first, base)
	i := p.floor(from)
	if i < 0 || p.batches[i].First < from {
		i++
	}
	if i == len(p.batches) || p.batches[i].First > q.last {
		q.fresh(base, q.last)
		return
	}
	gap := base
	for ; i < len(p.batches) && p.batches[i].First <= q.last && q.got < q.wanted; i++ {
		if p.gapOpen() {
			if gap < p.batches[i].First {
				i += q.fresh(gap, p.batches[i].First-1)
			}
			gap = p.batches[i].Last + 1
			if q.got >= q.wanted {
				break
			}
		}
		if !q.again(&p.batches[i], first) {
			return
		}
	}
	at := p.floor(q.last)
	if end := p.batches[at].Last; q.got < q.wanted && end < q.last {
		q.fresh(end+1, q.last)
	}
}

// fresh acquires records that are not in flight: what [first, last] has,
// rounded up to a whole record batch. It returns how many batches that made.
func (q *acquirer) fresh(first, last int64) int {
	p := q.p
	if len(p.batches) == 0 {
		first = max(first, p.next)
	}
	room, end := q.wanted-q.got, last
	if room < last-first+1 {
		end = q.wholeBatch(first + room - 1)
		if p.gapOpen() {
			end = min(end, last)
		}
	}
	if end < first {
		return 0
	}
	at := p.floor(first) + 1
	made := 0
	if q.a.Mode == RecordLimit {
		end = q.limited(at, Range{first, end}, room)
		made = 1
	} else {
		made = q.pieces(at, Range{first, end})
	}
	if p.batches[0].First == first {
		p.start = max(p.start, first)
	}
	p.next = max(p.next, p.batches[at+made-1].Last+1)
	p.due = min(p.due, q.deadline)
	q.got += end - first + 1
	if p.gap.First >= 0 {
		p.closeGap(end + 1)
	}
	return made
}

// wholeBatch is the end of the record batch that has the offset.
func (q *acquirer) wholeBatch(offset int64) int64 {
	i := len(q.a.Batches) - 1
	for i >= 0 && q.a.Batches[i].First > offset {
		i--
	}
	if i < 0 {
		return offset
	}
	return max(offset, q.a.Batches[i].Last)
}

// pieces acquires a range in batches of about the size that the member likes,
// cut where record batches begin.
func (q *acquirer) pieces(at int, all Range) int {
	made, from := 0, all.First
	add := func(last int64) {
		q.insert(at+made, Range{from, last})
		q.out = append(q.out, Delivery{Range{from, last}, 1})
		made++
	}
	if size := int64(q.a.BatchSize); all.Last-all.First+1 > size {
		for i := range q.a.Batches {
			begin := q.a.Batches[i].First
			if begin > all.Last {
				break
			}
			if begin > from && begin-from >= size {
				add(begin - 1)
				from = begin
			}
		}
	}
	add(all.Last)
	return made
}

// limited acquires no more than room records; the rest of the last record
// batch becomes available.
func (q *acquirer) limited(at int, all Range, room int64) (last int64) {
	q.insert(at, all)
	last = min(all.Last, all.First+room-1)
	if last < all.Last {
		b := &q.p.batches[at]
		q.p.apart(b)
		q.p.reshape(b, Range{last + 1, all.Last}, func(r *run) bool {
			*r = run{Range: r.Range, state: Available, deadline: noDeadline}
			return true
		})
		q.p.look = true
	}
	q.out = append(q.out, Delivery{Range{all.First, last}, 1})
	return last
}

// insert puts an acquired batch into the list.
func (q *acquirer) insert(at int, all Range) {
	b := batch{Range: all}
	b.whole[0] = run{Range: all, state: Acquired, deliveries: 1, member: q.a.Member, deadline: q.deadline}
	q.p.batches = slices.Insert(q.p.batches, at, b)
}

// again acquires what is available of a batch that is in flight. It reports
// false when the acquisition must end there.
func (q *acquirer) again(b *batch, first int64) bool {
	in := Range{first, q.last}
	slow := q.slow(b, in)
	if slow && q.got > 0 {
		return false // what may be bad is not delivered along with anything else
	}
	whole := !b.split() && b.First >= in.First && b.Last <= in.Last && !slow &&
		(q.a.Mode != RecordLimit || b.Last-b.First+1 <= q.wanted-q.got)
	if !b.split() && !b.whole[0].free() {
		return true
	}
	if whole {
		r := &b.whole[0]
		q.take(r)
		q.out = append(q.out, Delivery{r.Range, r.deliveries})
		q.got += r.count()
		return true
	}
	q.p.apart(b)
	got := q.subset(b, in)
	q.got += got
	return !slow || got == 0
}

// take makes records the member's.
func (q *acquirer) take(r *run) {
	r.state, r.member, r.deadline = Acquired, q.a.Member, q.deadline
	r.deliveries++
	q.p.due = min(q.p.due, q.deadline)
}

// slowFrom is the delivery count from which on records are delivered fewer at a time.
func slowFrom(l *Limits) int16 { return max(2, (l.MaxDeliveries+1)/2) }

// slow tells whether available records of the batch have been delivered so
// often that they are suspected.
func (q *acquirer) slow(b *batch, in Range) bool {
	from := slowFrom(q.l)
	for i, runs := 0, b.all(); i < len(runs); i++ {
		r := &runs[i]
		inside := !b.split() || r.Last >= in.First && r.First <= in.Last
		if inside && r.free() && r.deliveries >= from {
			return true
		}
	}
	return false
}

// alone is the delivery count limit from which on a record's last attempt is made with nothing else.
const alone = 2

// subset acquires what is available of a range of a batch: all of it, unless
// the mode or suspected records set a limit.
func (q *acquirer) subset(b *batch, in Range) int64 {
	got, limit, from := int64(0), int64(-1), slowFrom(q.l)
	had := len(q.out)
	size := b.Last - b.First + 1
	q.p.reshape(b, in, func(r *run) bool {
		if !r.free() {
			return true
		}
		last := q.l.MaxDeliveries > alone && r.deliveries == q.l.MaxDeliveries-1
		if last && got > 0 {
			return false
		}
		if r.deliveries >= from && limit < 0 {
			limit = max(1, size>>(r.deliveries-from+1))
		}
		n := r.count()
		if last {
			n = 1
		}
		if q.a.Mode == RecordLimit {
			n = min(n, q.wanted-q.got-got)
		}
		if limit > got {
			n = min(n, limit-got)
		}
		r.Last = r.First + n - 1
		q.take(r)
		got += n
		q.deliver(r, had)
		return !last && got != limit && (q.a.Mode != RecordLimit || q.got+got < q.wanted)
	})
	return got
}

// deliver appends an acquired run; what continues the one before it, since had, becomes part of it.
func (q *acquirer) deliver(r *run, had int) {
	if n := len(q.out); n > had && q.out[n-1].Last+1 == r.First && q.out[n-1].Count == r.deliveries {
		q.out[n-1].Last = r.Last
		return
	}
	q.out = append(q.out, Delivery{r.Range, r.deliveries})
}

// dropAborted gives up what belongs to aborted transactions among what was
// acquired, and takes it out of the answer.
//
// Differs from Kafka: the start offset of a share group with share.isolation.level=read_committed moves over records of
// aborted transactions at once, not with the next acknowledgement: a partition full of them would stand still.
func (p *Partition) dropAborted(a *Acquisition, out []Delivery, had int) []Delivery {
	txns := slices.Clone(a.Aborted)
	slices.SortFunc(txns, func(x, y Aborted) int { return int(min(max(x.First-y.First, -1), 1)) })
	open := make(map[int64]bool)
	dropped := false
	for i := range a.Batches {
		b := &a.Batches[i]
		if b.ProducerID < 0 {
			continue
		}
		for len(txns) > 0 && txns[0].First <= b.Last {
			open[txns[0].ProducerID] = true
			txns = txns[1:]
		}
		switch {
		case b.AbortMarker:
			delete(open, b.ProducerID)
		case b.Transactional && open[b.ProducerID]:
			p.archive(b.Range, Acquired)
			out = cut(out, had, b.Range)
			dropped = true
		}
	}
	if dropped {
		p.advance()
	}
	return out
}

// cut takes a range out of the deliveries from index had on.
func cut(out []Delivery, had int, c Range) []Delivery {
	for i := had; i < len(out); i++ {
		d := out[i]
		switch {
		case d.Last < c.First || d.First > c.Last:
		case d.First >= c.First && d.Last <= c.Last:
			out = slices.Delete(out, i, i+1)
			i--
		case d.First >= c.First:
			out[i].First = c.Last + 1
		case d.Last <= c.Last:
			out[i].Last = c.First - 1
		default:
			out[i].Last = c.First - 1
			d.First = c.Last + 1
			out = slices.Insert(out, i+1, d)
			i++
		}
	}
	return out
}
