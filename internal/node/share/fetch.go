package share

import (
	"sync"
	"sync/atomic"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/disk/commitlog"
	"github.com/moldau/moldau/internal/format/wire"
	machine "github.com/moldau/moldau/internal/machine/share/partition"
	"github.com/moldau/moldau/internal/network/edge"
	"github.com/moldau/moldau/internal/node/partition"
)

// Fetch is one ShareFetch request from its arrival to its answer. The caller
// keeps it for reuse; its zero value is ready.
type Fetch struct {
	// The request. Topics and Forgotten are not needed once Fetch has returned.
	Group, Member string
	Epoch         int32
	MaxWaitMs     int32
	MinBytes      int
	MaxBytes      int
	MaxRecords    int
	BatchSize     int
	Mode          machine.Mode
	// Supports tells which acknowledge types the version has: up to Reject or up to Renew.
	Supports int8
	// Renewing is a request that prolongs locks and fetches nothing.
	Renewing  bool
	Topics    []wire.ShareFetchRequestFetchTopic
	Forgotten []wire.ShareFetchRequestForgottenTopic
	Conn      *edge.Conn
	// Denied tells that the member may not read a topic; nil when it may read all.
	Denied func(topic wire.UUID) bool
	// OnPark is called once, when the fetch begins to wait; cancel ends the waiting.
	OnPark func(cancel func())
	// Done is called once, with the answer.
	Done func(*Fetch)

	// The answer: for all, or for each partition that has something to say.
	Code    wire.Code
	Results []Result
	LockMs  int32

	d         *Delivery
	session   *session
	group     *shareGroup
	list      []*entry
	forgotten []partitionKey
	batches   []machine.Batch
	heads     []head
	acquired  []machine.Delivery
	acks      acknowledgements
	settings  *Settings
	// left counts what the answer waits for: the fetch and the acknowledgements.
	left atomic.Int32
	// bytes and records are what was acquired; broken tells that a log could not be read.
	bytes, records int
	broken         bool
	// refused are the partitions of list that this fetch has given up.
	refused map[int]Result
	// dry tells that there was not enough to acquire anything.
	dry      bool
	deadline int64
	parked   *parking
}

// Result is what one partition answers.
type Result struct {
	Topic wire.UUID
	Index int32
	// Code is why there are no records; Kafka does not say more.
	Code wire.Code
	// AckCode and AckWhy are about the acknowledgements for the partition.
	AckCode wire.Code
	AckWhy  string
	// View has the records, which belong to the caller from now on.
	View commitlog.View
	// Acquired are the ranges among them that the member has got.
	Acquired []machine.Delivery
	from, to int
}

// parking is what outlives a fetch that waits: timers and cancellations may come late.
type parking struct {
	// hold is held while the fetch parks: who resumes it, even at once, waits until park has left it alone.
	hold sync.Mutex

	mu     sync.Mutex // guards all below
	waiter *partition.Waiter
	over   bool // no more waiting
	lost   bool // the member is gone
	timer  clock.Timer
}

// end ends the waiting, now and for ever.
func (p *parking) end(lost bool) {
	p.mu.Lock()
	p.over, p.lost = true, p.lost || lost
	w := p.waiter
	p.mu.Unlock()
	if w != nil {
		w.Fire()
	}
}

// Recycle lets go of what the last request had, and keeps the memory.
func (f *Fetch) Recycle() {
	clear(f.Results)
	clear(f.list)
	f.acks.recycle()
	*f = Fetch{
		Results: f.Results[:0], list: f.list[:0], forgotten: f.forgotten[:0], batches: f.batches[:0], heads: f.heads[:0], acquired: f.acquired[:0], acks: f.acks,
	}
}

// Weight is how many entries a recycled fetch keeps memory for.
func (f *Fetch) Weight() int {
	return max(cap(f.Results), cap(f.list), cap(f.forgotten), cap(f.batches), cap(f.acquired), cap(f.acks.all))
}

// Fetch serves a request: acknowledgements first, then records.
func (d *Delivery) Fetch(f *Fetch) {
	f.d = d
	acked := f.hasAcknowledgements()
	f.Code = d.enterFetch(f, acked)
	switch f.Code {
	case wire.None:
	case wire.ShareSessionLimitReached:
		d.after(int64(f.MaxWaitMs), func() { f.Done(f) }) // or the client would ask again at once
		return
	default:
		f.Done(f)
		return
	}
	f.settings = d.settingsOf(f.group)
	f.LockMs = int32(f.settings.LockMs)
	f.left.Store(1)
	if acked {
		d.acknowledgeFetch(f)
	}
	if f.Renewing || f.Epoch == finalEpoch || len(f.list) == 0 {
		f.part()
		return
	}
	if f.MaxRecords == 0 || f.MaxBytes == 0 {
		f.refuse()
		f.part()
		return
	}
	f.deadline = d.now() + int64(f.MaxWaitMs)
	f.serve()
}

// enterFetch settles the session of a fetch.
func (d *Delivery) enterFetch(f *Fetch, acked bool) wire.Code {
	switch f.Epoch {
	case firstEpoch:
		if acked {
			return wire.InvalidRequest
		}
		return d.openSession(f, f.Conn)
	case finalEpoch:
		d.mu.Lock()
		defer d.mu.Unlock()
		s, code := d.enter(f.Group, f.Member, f.Epoch)
		if code == wire.None {
			f.session, f.group = s, s.group
		}
		return code
	default:
		return d.continueSession(f)
	}
}

// refuse answers a fetch that wants nothing: of partitions that there are there is nothing to say.
func (f *Fetch) refuse() {
	for _, e := range f.list {
		r := Result{Topic: e.key.topic, Index: e.key.index}
		if f.Denied != nil && f.Denied(e.key.topic) {
			r.Code = wire.TopicAuthorizationFailed
		} else if _, r.Code = f.d.locate(e.key, e.named); r.Code != wire.UnknownTopicID && r.Code != wire.UnknownTopicOrPartition {
			continue
		}
		f.Results = append(f.Results, r)
	}
}

// serve looks at all partitions, and waits if there is too little.
func (f *Fetch) serve() {
	lost, over := f.state()
	lost = lost || f.session.ended.Load()
	over = over || f.MaxWaitMs <= 0
	if !lost {
		f.collect(over)
	}
	if !lost && !over && !f.satisfied() {
		f.park()
		return
	}
	f.passOn()
	f.part()
}

// state tells whether the client is gone, and whether the time to wait is over.
func (f *Fetch) state() (lost, over bool) {
	if f.parked == nil {
		return false, false
	}
	f.parked.mu.Lock()
	defer f.parked.mu.Unlock()
	return f.parked.lost, f.parked.over
}

// satisfied tells that the answer is worth sending: records, an unreadable log, or nothing but errors.
func (f *Fetch) satisfied() bool {
	failed := 0
	for i := range f.Results {
		if f.Results[i].Code != wire.None {
			failed++
		}
	}
	return f.records > 0 || f.broken || failed == len(f.list)
}

// collect takes records from each partition in turn, within the limits.
func (f *Fetch) collect(over bool) {
	f.Results, f.acquired = f.Results[:0], f.acquired[:0]
	f.bytes, f.records, f.broken = 0, 0, false
	f.settings = f.d.settingsOf(f.group)
	f.dry = !over && f.MinBytes > 1 && !f.enough()
	for i, e := range f.list {
		r, refused := f.refused[i]
		if !refused {
			r = f.collectOne(i, e)
		}
		if r.to > r.from || r.Code != wire.None || f.Epoch == firstEpoch || e.tell.Load() {
			f.Results = append(f.Results, r)
		}
	}
}

// collectOne takes records from one partition. One that cannot be found or
// loaded is not asked again by this fetch.
func (f *Fetch) collectOne(i int, e *entry) Result {
	r := Result{Topic: e.key.topic, Index: e.key.index}
	if f.Denied != nil && f.Denied(e.key.topic) {
		r.Code = wire.TopicAuthorizationFailed
		return r
	}
	sp, code := f.d.find(f.group, e)
	if r.Code = code; sp != nil && (code != wire.None || f.dry) {
		r.Code = sp.failure()
	} else if sp != nil {
		f.take(sp, &r, max((f.MaxBytes-f.bytes)/(len(f.list)-i), 1))
	}
	if r.Code != wire.None && !f.broken {
		e.sp.Store(nil) // the next fetch tries again
		if f.refused == nil {
			f.refused = make(map[int]Result)
		}
		f.refused[i] = r
	}
	return r
}

// enough tells that all partitions together have as much as the member wants to have at once.
func (f *Fetch) enough() bool {
	have := 0
	for _, e := range f.list {
		if sp, code := f.d.find(f.group, e); code == wire.None {
			have += sp.available(f.settings, min(f.MinBytes-have, f.MaxBytes))
		}
		if have >= f.MinBytes {
			return true
		}
	}
	return false
}

// take acquires what one partition has.
func (f *Fetch) take(sp *sharePartition, r *Result, share int) {
	sp.mu.Lock()
	r.Code = sp.failed
	ready := sp.ready(f.settings)
	sp.mu.Unlock()
	if r.Code != wire.None || !ready || f.records >= f.MaxRecords || f.bytes > 0 && f.bytes >= f.MaxBytes {
		return
	}
	sp.reading.Lock()
	defer sp.reading.Unlock()
	q := reader{f: f, sp: sp, r: r, share: share}
	q.run()
	f.records += q.records
	f.bytes += r.View.Len
}

// part takes the fetch's own part out of what the answer waits for.
func (f *Fetch) part() {
	if f.left.Add(-1) == 0 {
		f.finish()
	}
}

// finish puts the answer together.
func (f *Fetch) finish() {
	if p := f.parked; p != nil && p.timer != nil {
		p.timer.Stop()
	}
	for i := range f.Results {
		r := &f.Results[i]
		r.Acquired = f.acquired[r.from:r.to]
	}
	f.tell()
	f.acks.merge(f)
	if f.session.ended.Load() || f.Epoch == finalEpoch {
		f.giveBack()
	}
	f.Done(f)
}

// tell remembers what the member need not be told again.
func (f *Fetch) tell() {
	if f.Epoch == firstEpoch || len(f.Results) == 0 {
		return
	}
	next := 0
	for _, e := range f.list {
		if next < len(f.Results) && f.Results[next].Index == e.key.index && f.Results[next].Topic == e.key.topic {
			e.tell.Store(f.Results[next].Code != wire.None)
			next++
		}
	}
}

// giveBack ends the session of a last request, and takes back what was given
// to a member whose session ended meanwhile.
func (f *Fetch) giveBack() {
	if f.Epoch == finalEpoch {
		f.d.endSession(f.session)
		return
	}
	f.d.mu.Lock()
	again := f.d.sessions[sessionKey{f.session.group.id, f.session.member}] != nil
	f.d.mu.Unlock()
	for _, e := range f.list {
		if sp := e.sp.Load(); sp != nil && !again {
			sp.release(f.session.member)
		}
	}
}

// passOn lets the next in line look at what this fetch has left.
func (f *Fetch) passOn() {
	if f.parked == nil && f.records == 0 {
		return
	}
	for _, e := range f.list {
		sp := e.sp.Load()
		if sp == nil {
			continue
		}
		sp.mu.Lock()
		ready := len(sp.waiting) > 0 && sp.ready(f.settings)
		sp.mu.Unlock()
		if ready {
			sp.wakeOne()
		}
	}
}

// park waits until a partition has something, time is over, or the member is gone.
//
// The waiter is in all lines before the second look at the partitions: what
// comes between the first look and that is seen by the second, what comes after it by the waiter.
func (f *Fetch) park() {
	d := f.d
	if f.parked == nil {
		p := &parking{}
		f.parked = p
		p.timer = d.after(f.deadline-d.now(), func() { p.end(false) })
		if f.OnPark != nil {
			f.OnPark(func() { p.end(true) })
		}
	}
	p := f.parked
	p.hold.Lock()
	defer p.hold.Unlock()
	var w *partition.Waiter
	w = partition.NewWaiter(1, func() {
		d.o.World.Go("share fetch", func() {
			p.hold.Lock()
			p.hold.Unlock() //nolint:staticcheck // only to wait until park is done
			f.resume(w)
		})
	})
	p.mu.Lock()
	p.waiter = w
	due := p.over
	p.mu.Unlock()
	for _, e := range f.list {
		if sp := e.sp.Load(); sp != nil && sp.wait(w, f.settings, f.dry) {
			due = true
		}
	}
	if due || f.dry && f.enough() {
		w.Fire()
	}
}

// resume looks again; it runs once for each time that the fetch was parked.
func (f *Fetch) resume(w *partition.Waiter) {
	for _, e := range f.list {
		if sp := e.sp.Load(); sp != nil {
			sp.forget(w)
		}
	}
	f.serve()
}
