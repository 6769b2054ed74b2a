package partition

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// record is one record of the naive model.
type record struct {
	state            State
	count            int16
	member           string
	deadline, change int64
}

// model keeps each record by itself.
type model struct {
	start, next int64
	records     map[int64]*record
	writes      int64
}

func (m *model) advance() {
	for m.start < m.next {
		if r := m.records[m.start]; r != nil && (r.change != 0 || !r.state.terminal()) {
			return
		}
		delete(m.records, m.start)
		m.start++
	}
}

// acquire holds what the machine gave against the model, and follows it.
func (m *model) acquire(t *rapid.T, a *Acquisition, l *Limits, got []Delivery) {
	n, last := 0, int64(-1)
	for _, d := range got {
		if d.First <= last || d.Last < d.First {
			t.Fatalf("deliveries %v do not ascend", got)
		}
		last = d.Last
		for o := d.First; o <= d.Last; o++ {
			n++
			r := m.records[o]
			switch {
			case o < m.start:
				t.Fatalf("delivered %d, the start is %d", o, m.start)
			case r == nil && o < m.next:
				t.Fatalf("delivered %d, which is done with", o)
			case r == nil && d.Count != 1:
				t.Fatalf("new record %d delivered as the %d. time", o, d.Count)
			case r == nil:
				r = &record{}
				m.records[o] = r
			case r.state != Available || r.change != 0 || d.Count != r.count+1:
				t.Fatalf("delivered %d as the %d. time, which was %+v", o, d.Count, *r)
			}
			*r = record{state: Acquired, count: d.Count, member: a.Member, deadline: a.Now + l.LockMs}
		}
	}
	if a.Mode == RecordLimit && n > a.MaxRecords {
		t.Fatalf("%d records, %d were asked for", n, a.MaxRecords)
	}
}

// follow takes over what the machine made of record batches: what it left available behind a limit, and what it gave up.
func (m *model) follow(p *Partition) {
	for o := m.next; o < p.next; o++ {
		if m.records[o] == nil {
			m.records[o] = &record{state: Available, deadline: noDeadline}
		}
	}
	m.next = p.next
}

func outcome(r *record, kind int8, l *Limits) State {
	switch kind {
	case Accept:
		return Acknowledged
	case Release:
		return giveBack(r, l)
	default:
		return Archived
	}
}

func giveBack(r *record, l *Limits) State {
	if r.count >= l.MaxDeliveries {
		return Archived
	}
	return Available
}

// acknowledge says whether the member may, and does it.
func (m *model) acknowledge(member string, acks []Acknowledgement, l *Limits) bool {
	m.writes++
	type undo struct {
		r   *record
		was record
	}
	var undos []undo
	back := func() bool {
		for i := len(undos) - 1; i >= 0; i-- {
			*undos[i].r = undos[i].was
		}
		return false
	}
	for _, a := range acks {
		if a.Last < m.start {
			continue
		}
		for o := max(a.First, m.start); o <= a.Last; o++ {
			r := m.records[o]
			if r == nil || r.state != Acquired || r.member != member || r.change != 0 {
				return back()
			}
			kind := a.Types[0]
			if len(a.Types) > 1 {
				kind = a.Types[o-a.First]
			}
			undos = append(undos, undo{r, *r})
			r.state, r.change = outcome(r, kind, l), m.writes
		}
	}
	return true
}

func (m *model) settle(id int64, ok bool, now int64, l *Limits) {
	for _, r := range m.records {
		if r.change != id {
			continue
		}
		r.change = 0
		if !ok {
			r.state = Acquired
			if r.deadline > now {
				continue
			}
			r.state = giveBack(r, l)
		}
		r.member, r.deadline = "", noDeadline
	}
	m.advance()
}

// compare holds the machine's state against the model's.
func (m *model) compare(t *rapid.T, p *Partition) {
	if p.start != m.start || p.next != m.next {
		t.Fatalf("start %d next %d, the model has %d and %d", p.start, p.next, m.start, m.next)
	}
	seen := int64(0)
	for i := range p.batches {
		for j, runs := 0, p.batches[i].all(); j < len(runs); j++ {
			r := &runs[j]
			for o := r.First; o <= r.Last; o++ {
				seen++
				w := m.records[o]
				if w == nil {
					t.Fatalf("%d is %+v, the model has nothing", o, *r)
				}
				if w.state != r.state || w.count != r.deliveries || w.member != r.member || w.deadline != r.deadline || (w.change != 0) != (r.change != none) {
					t.Fatalf("%d is %+v, the model has %+v", o, *r, *w)
				}
			}
		}
	}
	if seen != int64(len(m.records)) {
		t.Fatalf("%d records in flight, the model has %d", seen, len(m.records))
	}
	for o := p.start; o < p.next; o++ {
		if r := m.records[o]; r != nil && r.state == Available && r.change == 0 {
			if p.NextFetch() != o {
				t.Fatalf("the next fetch is at %d, %d is available", p.NextFetch(), o)
			}
			return
		}
	}
	if p.NextFetch() != p.next {
		t.Fatalf("the next fetch is at %d, nothing is available before %d", p.NextFetch(), p.next)
	}
}

// pending is a write that is not settled.
type pending struct {
	w  *Write
	id int64
}

// play does the same to a machine and to a model.
type play struct {
	l      Limits
	p      *Partition
	m      *model
	log    []Batch
	queue  []pending
	now    int64
	member *rapid.Generator[string]
}

func newPlay(t *rapid.T) *play {
	y := &play{m: &model{records: map[int64]*record{}}, member: rapid.SampledFrom([]string{"a", "b", "c"})}
	y.l = Limits{
		MaxInFlight: rapid.IntRange(5, 60).Draw(t, "in flight"), MaxDeliveries: int16(rapid.IntRange(2, 6).Draw(t, "deliveries")),
		LockMs: 100, Renew: true,
	}
	var err error
	if y.p, err = Load(0, nil); err != nil {
		t.Fatal(err)
	}
	end := int64(0)
	for range 40 {
		n := int64(rapid.IntRange(1, 9).Draw(t, "batch"))
		y.log = append(y.log, Batch{Range: Range{end, end + n - 1}, ProducerID: -1})
		end += n
	}
	return y
}

func (y *play) wrote(w *Write) {
	if !w.Empty() {
		y.queue = append(y.queue, pending{w, y.m.writes})
	}
}

func (y *play) acquire(t *rapid.T) {
	if !y.p.CanAcquire(&y.l) {
		return
	}
	a := Acquisition{
		Member: y.member.Draw(t, "member"), Mode: Mode(rapid.IntRange(0, 1).Draw(t, "mode")), MaxRecords: rapid.IntRange(1, 30).Draw(t, "max"),
		BatchSize: rapid.IntRange(1, 20).Draw(t, "size"), Offset: y.p.NextFetch(), Now: y.now,
	}
	reach := int64(-1)
	for _, b := range y.log {
		if b.Last < a.Offset || reach >= 0 && b.First > reach {
			continue
		}
		if reach < 0 {
			reach = y.p.Reach(b.First, a.MaxRecords)
		}
		a.Batches = append(a.Batches, b)
	}
	got, n := y.p.Acquire(&a, &y.l, nil)
	if len(a.Batches) > 0 && n == 0 {
		t.Fatalf("nothing acquired from %d on, %+v", a.Offset, *y.p)
	}
	if n > 0 && got[0].First != a.Offset {
		t.Fatalf("acquired %v, the first available record is %d", got, a.Offset)
	}
	y.m.acquire(t, &a, &y.l, got)
	y.m.follow(y.p)
}

func (y *play) acknowledge(t *rapid.T) {
	if y.m.next == 0 {
		return
	}
	var acks []Acknowledgement
	for range rapid.IntRange(1, 3).Draw(t, "acks") {
		first := rapid.Int64Range(max(0, y.m.start-3), y.m.next).Draw(t, "first")
		last := first + rapid.Int64Range(0, 12).Draw(t, "length")
		a := Acknowledgement{Range: Range{first, last}}
		kinds := 1
		if rapid.Bool().Draw(t, "each") {
			kinds = int(last - first + 1)
		}
		for range kinds {
			a.Types = append(a.Types, int8(rapid.IntRange(0, 3).Draw(t, "type")))
		}
		acks = append(acks, a)
	}
	who := y.member.Draw(t, "member")
	w := &Write{}
	refusal := y.p.Acknowledge(who, acks, y.now, &y.l, w)
	if may := y.m.acknowledge(who, acks, &y.l); may != (refusal == Granted) {
		t.Fatalf("acknowledging %v for %s: %v, the model says %v", acks, who, refusal.Why(), may)
	}
	y.wrote(w)
	y.m.advance()
}

func (y *play) renew(t *rapid.T) {
	who := y.member.Draw(t, "member")
	for o := y.m.start; o < y.m.next; o++ {
		r := y.m.records[o]
		if r == nil || r.state != Acquired || r.change != 0 || r.member != who || rapid.Bool().Draw(t, "skip") {
			continue
		}
		r.deadline = y.now + y.l.LockMs
		w := &Write{}
		if refusal := y.p.Acknowledge(who, []Acknowledgement{{Range{o, o}, []int8{Renew}}}, y.now, &y.l, w); refusal != Granted || !w.Empty() {
			t.Fatalf("renewing %d for %s: %v, to write %v", o, who, refusal.Why(), w.Batches)
		}
	}
	y.m.advance()
}

func (y *play) release(t *rapid.T) {
	who := y.member.Draw(t, "member")
	w := &Write{}
	y.p.ReleaseAll(who, &y.l, w)
	y.m.writes++
	for _, r := range y.m.records {
		if r.state == Acquired && r.change == 0 && r.member == who {
			r.state, r.change = giveBack(r, &y.l), y.m.writes
		}
	}
	y.wrote(w)
}

func (y *play) settle(t *rapid.T) {
	if len(y.queue) == 0 {
		return
	}
	i := rapid.IntRange(0, len(y.queue)-1).Draw(t, "which")
	ok := rapid.Bool().Draw(t, "ok")
	y.p.Settle(y.queue[i].w, ok, y.now, &y.l)
	y.m.settle(y.queue[i].id, ok, y.now, &y.l)
	y.queue = slices.Delete(y.queue, i, i+1)
}

func (y *play) wait(t *rapid.T) {
	y.now += rapid.Int64Range(0, 60).Draw(t, "ms")
	due, ok := y.p.Due()
	first := noDeadline
	for _, r := range y.m.records {
		if r.state == Acquired && r.change == 0 {
			first = min(first, r.deadline)
		}
	}
	if first != noDeadline && (!ok || due > first) {
		t.Fatalf("due at %d, a lock ends at %d", due, first)
	}
	if !ok || due > y.now {
		return
	}
	w := &Write{}
	y.p.Expire(y.now, &y.l, w)
	for _, r := range y.m.records {
		if r.state == Acquired && r.change == 0 && r.deadline <= y.now {
			r.state, r.member, r.deadline = giveBack(r, &y.l), "", noDeadline
		}
	}
	y.m.advance()
}

func (y *play) moveLogStart(t *rapid.T) {
	at := rapid.Int64Range(y.m.start, y.m.next).Draw(t, "at")
	if rapid.IntRange(0, 5).Draw(t, "rarely") > 0 {
		return
	}
	y.p.MoveLogStart(at)
	for o := range y.m.records {
		if o < at {
			delete(y.m.records, o)
		}
	}
	y.m.start, y.m.next = max(y.m.start, at), max(y.m.next, at)
	y.m.advance()
}

func (y *play) check(t *rapid.T) {
	y.m.advance()
	check(t, y.p)
	y.m.compare(t, y.p)
}

// TestModel holds the machine against a model that keeps each record by itself.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		y := newPlay(t)
		t.Repeat(map[string]func(*rapid.T){
			"acquire":     y.acquire,
			"acknowledge": y.acknowledge,
			"renew":       y.renew,
			"release":     y.release,
			"settle":      y.settle,
			"wait":        y.wait,
			"log start":   y.moveLogStart,
			"":            y.check,
		})
	})
}

// TestRestart goes on from what was persisted: nothing that was acknowledged
// comes again, and everything else does.
func TestRestart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := Limits{MaxInFlight: 100, MaxDeliveries: 5, LockMs: 100}
		p, _ := Load(0, nil)
		kept := map[int64]StateBatch{}
		start := int64(0)
		log := []Batch{{Range: Range{0, 9}, ProducerID: -1}, {Range: Range{10, 19}, ProducerID: -1}, {Range: Range{20, 39}, ProducerID: -1}}
		done := map[int64]bool{}
		for range rapid.IntRange(1, 6).Draw(t, "rounds") {
			a := Acquisition{Member: "a", MaxRecords: rapid.IntRange(1, 15).Draw(t, "max"), BatchSize: 7, Offset: p.NextFetch()}
			for _, b := range log {
				if b.Last >= a.Offset {
					a.Batches = append(a.Batches, b)
				}
			}
			got, _ := p.Acquire(&a, &l, nil)
			for _, d := range got {
				kind := int8(rapid.IntRange(1, 3).Draw(t, "kind"))
				if rapid.Bool().Draw(t, "leave") {
					continue
				}
				w := &Write{}
				if refusal := p.Acknowledge("a", []Acknowledgement{{d.Range, []int8{kind}}}, 0, &l, w); refusal != Granted {
					t.Fatal(refusal.Why())
				}
				start = w.Start
				for _, s := range w.Batches {
					for o := s.First; o <= s.Last; o++ {
						kept[o] = StateBatch{Range{o, o}, s.State, s.Deliveries}
						done[o] = s.State.terminal()
					}
				}
				p.Settle(w, true, 0, &l)
			}
		}
		var state []StateBatch
		for o := start; o < 40; o++ {
			if s, ok := kept[o]; ok {
				state = append(state, s)
			}
		}
		q, err := Load(start, state)
		if err != nil {
			t.Fatal(err)
		}
		delivered := map[int64]bool{}
		for range 100 {
			a := Acquisition{Member: "b", MaxRecords: 500, BatchSize: 500, Offset: q.NextFetch()}
			for _, b := range log {
				if b.Last >= a.Offset {
					a.Batches = append(a.Batches, b)
				}
			}
			got, n := q.Acquire(&a, &l, nil)
			if n == 0 {
				break
			}
			for _, d := range got {
				for o := d.First; o <= d.Last; o++ {
					if delivered[o] || done[o] {
						t.Fatalf("%d is delivered again: %v", o, fmt.Sprint(state))
					}
					delivered[o] = true
				}
			}
		}
		for o := range int64(40) {
			if !delivered[o] && !done[o] {
				t.Fatalf("%d is not delivered after a restart with start %d and %v", o, start, state)
			}
		}
	})
}
