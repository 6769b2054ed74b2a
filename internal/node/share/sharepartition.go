package share

import (
	"sync"
	"sync/atomic"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/group"
	machine "github.com/moldau/moldau/internal/machine/share/partition"
	"github.com/moldau/moldau/internal/node/partition"
)

// Versions of the persister's requests.
const (
	readVersion  = 0
	writeVersion = 1
)

// How often and how soon the share coordinator is asked again while it loads or moves.
const (
	maxTries     = 8
	firstBackoff = 50 // ms, doubled each time
)

// self is who asks the share coordinator.
var self = group.Client{ID: "", Host: "/"}

// sharePartition is one partition as one group reads it.
type sharePartition struct {
	d     *Delivery
	group *shareGroup
	key   partitionKey
	part  *partition.Partition
	// leaderEpoch is that of the partition when this was made; stateEpoch is the state's.
	leaderEpoch int32
	stateEpoch  int32

	gone    atomic.Bool
	reading sync.Mutex // held by the member that reads the log

	mu sync.Mutex // guards all below
	m  *machine.Partition
	// failed is why the state could not be loaded.
	failed wire.Code

	// queue is what waits for the write that is with the persister.
	queue   []*change
	writing bool
	write   wire.WriteShareGroupStateRequest

	// waiting are parked fetches, first come first served; data is registered with the log for them.
	waiting []*partition.Waiter
	data    *partition.Waiter
	// barren is where the log had nothing to acquire, up to barrenEnd.
	barren, barrenEnd int64

	timer    clock.Timer
	timerAt  int64 // when it fires, 0 if it is not set
	deadline func()
}

// change is something to persist, and who waits for it.
type change struct {
	w    machine.Write
	done func(code wire.Code, why string) // nil if nobody does
}

func newSharePartition(d *Delivery, g *shareGroup, key partitionKey, part *partition.Partition) *sharePartition {
	sp := &sharePartition{d: d, group: g, key: key, part: part, leaderEpoch: part.LeaderEpoch(), barren: -1}
	sp.deadline = sp.expire
	return sp
}

// usable tells that the partition is still there and led in the same epoch.
func (sp *sharePartition) usable() bool {
	return !sp.gone.Load() && !sp.part.Closed() && sp.part.LeaderEpoch() == sp.leaderEpoch
}

// settled tells that nothing waits for the persister.
func (sp *sharePartition) settled() bool {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	return !sp.writing && (sp.m != nil || sp.failed != wire.None)
}

// leave ends service: who waits looks again.
func (sp *sharePartition) leave() {
	sp.gone.Store(true)
	sp.mu.Lock()
	if sp.timer != nil {
		sp.timer.Stop()
		sp.timerAt = 0
	}
	sp.mu.Unlock()
	sp.wakeAll()
}

// load reads the state; who waits is woken when it is there, or is known not to be.
func (sp *sharePartition) load() { sp.read(1) }

func (sp *sharePartition) read(try int) {
	req := &wire.ReadShareGroupStateRequest{GroupID: sp.group.id}
	req.Topics = []wire.ReadShareGroupStateRequestReadStateData{{
		TopicID: sp.key.topic, Partitions: []wire.ReadShareGroupStateRequestPartitionData{{Partition: sp.key.index, LeaderEpoch: sp.leaderEpoch}},
	}}
	sp.d.o.Persister.ReadShareGroupState(req, self, readVersion, func(resp *wire.ReadShareGroupStateResponse) {
		if len(resp.Results) != 1 || len(resp.Results[0].Partitions) != 1 {
			sp.loaded(nil, wire.UnknownServerError, "the share coordinator's answer is not about this partition")
			return
		}
		p := &resp.Results[0].Partitions[0]
		if passing(p.ErrorCode) && try < maxTries {
			sp.d.after(firstBackoff<<(try-1), func() { sp.read(try + 1) })
			return
		}
		if p.ErrorCode != wire.None {
			code, why := persistError(p.ErrorCode, p.ErrorMessage)
			sp.loaded(nil, code, why)
			return
		}
		sp.begin(p)
	})
}

// passing tells errors of the share coordinator that time heals.
func passing(code wire.Code) bool {
	return code == wire.CoordinatorLoadInProgress || code == wire.NotCoordinator || code == wire.CoordinatorNotAvailable
}

// persistError is what an error of the share coordinator is to a member.
func persistError(code wire.Code, message *string) (wire.Code, string) {
	why := ""
	if message != nil {
		why = *message
	}
	switch code {
	case wire.NotCoordinator, wire.CoordinatorNotAvailable, wire.CoordinatorLoadInProgress:
		return wire.CoordinatorNotAvailable, why
	case wire.GroupIDNotFound, wire.UnknownTopicOrPartition:
		return code, why
	case wire.FencedLeaderEpoch, wire.FencedStateEpoch:
		return wire.NotLeaderOrFollower, why
	default:
		return wire.UnknownServerError, why
	}
}

// fences tells errors after which the state that is kept here is not to be believed any more.
func fences(code wire.Code) bool {
	return code == wire.NotLeaderOrFollower || code == wire.GroupIDNotFound || code == wire.UnknownTopicOrPartition
}

// begin makes the machine of the state that was read.
func (sp *sharePartition) begin(p *wire.ReadShareGroupStateResponsePartitionResult) {
	start := p.StartOffset
	if start < 0 {
		var err error
		if start, err = sp.initial(); err != nil {
			sp.loaded(nil, partition.Code(err), err.Error())
			return
		}
	}
	batches := make([]machine.StateBatch, 0, len(p.StateBatches))
	for i := range p.StateBatches {
		s := &p.StateBatches[i]
		batches = append(batches, machine.StateBatch{
			Range: machine.Range{First: s.FirstOffset, Last: s.LastOffset}, State: machine.State(s.DeliveryState), Deliveries: s.DeliveryCount,
		})
	}
	m, err := machine.Load(start, batches)
	if err != nil {
		sp.d.o.Logger.Error("the state of a share partition cannot be used", "group", sp.group.id, "topic", sp.part.Topic,
			"partition", sp.key.index, "error", err)
		sp.loaded(nil, wire.UnknownServerError, err.Error())
		return
	}
	sp.stateEpoch = p.StateEpoch
	sp.loaded(m, wire.None, "")
}

// initial is where a group without state begins.
//
// Differs from Kafka: where no record is as young as a share group's share.auto.offset.reset demands, the group begins at
// the end; Kafka answers OFFSET_NOT_AVAILABLE until there is one.
func (sp *sharePartition) initial() (int64, error) {
	log := sp.part.Log()
	switch s := sp.d.settingsOf(sp.group); s.Reset {
	case ResetEarliest:
		return log.Start(), nil
	case ResetByDuration:
		place, found, err := log.OffsetForTimestamp(clock.Millis(sp.d.o.World.Now()) - s.ResetMs)
		if err != nil || found {
			return place.Offset, err
		}
	}
	return sp.part.HighWatermark(), nil
}

func (sp *sharePartition) loaded(m *machine.Partition, code wire.Code, why string) {
	sp.mu.Lock()
	sp.m, sp.failed = m, code
	sp.mu.Unlock()
	if code != wire.None {
		sp.d.o.Logger.Debug("the state of a share partition could not be loaded", "group", sp.group.id,
			"topic", sp.part.Topic, "partition", sp.key.index, "code", code, "error", why)
		sp.d.drop(sp) // the next fetch tries again
		return
	}
	sp.wakeAll()
	sp.d.retire(sp)
}

// limit is the offset below which the group may read.
func (sp *sharePartition) limit(s *Settings) int64 {
	if s.Committed {
		return sp.part.LastStable()
	}
	return sp.part.HighWatermark()
}

// ready tells that a member would probably get something; mu is held.
func (sp *sharePartition) ready(s *Settings) bool {
	if sp.m == nil || sp.gone.Load() {
		return false
	}
	from := sp.m.NextFetch()
	end := sp.limit(s)
	return from < end && sp.m.CanAcquire(&s.Limits) && (from != sp.barren || end != sp.barrenEnd)
}

// acknowledge takes a member's acknowledgements; done is called once.
func (sp *sharePartition) acknowledge(member string, acks []machine.Acknowledgement, done func(wire.Code, string)) {
	s := sp.d.settingsOf(sp.group)
	c := &change{done: done}
	sp.mu.Lock()
	if sp.m == nil {
		sp.mu.Unlock()
		done(wire.InvalidRecordState, "Batch record not found. The request batch offsets are not found in the cache.")
		return
	}
	if refusal := sp.m.Acknowledge(member, acks, sp.d.now(), &s.Limits, &c.w); refusal != machine.Granted {
		sp.mu.Unlock()
		done(refusal.Code(), refusal.Why())
		return
	}
	sp.arm()
	sp.submit(c)
}

// release takes everything back from a member.
func (sp *sharePartition) release(member string) {
	s := sp.d.settingsOf(sp.group)
	c := &change{}
	sp.mu.Lock()
	if sp.m == nil {
		sp.mu.Unlock()
		return
	}
	sp.m.ReleaseAll(member, &s.Limits, &c.w)
	sp.submit(c)
}

// submit queues a change and gives mu up.
func (sp *sharePartition) submit(c *change) {
	if c.w.Empty() {
		sp.mu.Unlock()
		if c.done != nil {
			c.done(wire.None, "")
		}
		return
	}
	sp.queue = append(sp.queue, c)
	if sp.writing {
		sp.mu.Unlock()
		return
	}
	sp.writing = true
	sp.mu.Unlock()
	sp.persist()
}

// persist sends all that is queued as one write.
func (sp *sharePartition) persist() {
	sp.mu.Lock()
	due := sp.queue
	sp.queue = nil
	req := &sp.write
	req.GroupID = sp.group.id
	if len(req.Topics) == 0 {
		req.Topics = []wire.WriteShareGroupStateRequestWriteStateData{{TopicID: sp.key.topic, Partitions: make([]wire.WriteShareGroupStateRequestPartitionData, 1)}}
	}
	p := &req.Topics[0].Partitions[0]
	p.Partition, p.StateEpoch, p.LeaderEpoch = sp.key.index, sp.stateEpoch, sp.leaderEpoch
	p.StartOffset, p.DeliveryCompleteCount = sp.m.Start(), sp.m.Delivered()
	p.StateBatches = p.StateBatches[:0]
	for _, c := range due {
		for i := range c.w.Batches {
			b := &c.w.Batches[i]
			p.StateBatches = append(p.StateBatches, wire.WriteShareGroupStateRequestStateBatch{
				FirstOffset: b.First, LastOffset: b.Last, DeliveryState: int8(b.State), DeliveryCount: b.Deliveries,
			})
		}
	}
	sp.mu.Unlock()
	sp.send(due, 1)
}

func (sp *sharePartition) send(due []*change, try int) {
	sp.d.o.Persister.WriteShareGroupState(&sp.write, self, writeVersion, func(resp *wire.WriteShareGroupStateResponse) {
		if len(resp.Results) != 1 || len(resp.Results[0].Partitions) != 1 {
			sp.settle(due, wire.UnknownServerError, "the share coordinator's answer is not about this partition")
			return
		}
		p := &resp.Results[0].Partitions[0]
		if passing(p.ErrorCode) && try < maxTries {
			sp.d.after(firstBackoff<<(try-1), func() { sp.send(due, try+1) })
			return
		}
		code, why := wire.None, ""
		if p.ErrorCode != wire.None {
			code, why = persistError(p.ErrorCode, p.ErrorMessage)
		}
		sp.settle(due, code, why)
	})
}

// settle ends a write: everybody is told, and the next one goes out.
func (sp *sharePartition) settle(due []*change, code wire.Code, why string) {
	s := sp.d.settingsOf(sp.group)
	now := sp.d.now()
	sp.mu.Lock()
	for _, c := range due {
		sp.m.Settle(&c.w, code == wire.None, now, &s.Limits)
	}
	more := len(sp.queue) > 0
	sp.writing = more
	ready := sp.ready(s)
	sp.arm()
	sp.mu.Unlock()
	if code != wire.None {
		sp.d.o.Logger.Warn("the state of a share partition could not be written; its members will get the records again", "group", sp.group.id,
			"topic", sp.part.Topic, "partition", sp.key.index, "code", code, "error", why)
	}
	if fences(code) {
		sp.d.drop(sp)
	}
	for _, c := range due {
		if c.done != nil {
			c.done(code, why)
		}
	}
	if ready {
		sp.wakeOne()
	}
	if more {
		sp.d.o.World.Go("share write", sp.persist)
		return
	}
	sp.d.retire(sp)
}

// arm sets the timer for the first lock that may end; mu is held.
func (sp *sharePartition) arm() {
	due, ok := sp.m.Due()
	if !ok || sp.gone.Load() || sp.timerAt != 0 && sp.timerAt <= due {
		return
	}
	sp.timerAt = max(due, 1)
	if sp.timer != nil {
		sp.timer.Stop()
	}
	sp.timer = sp.d.after(due-sp.d.now(), sp.deadline)
}

// expire takes back what was locked for too long.
func (sp *sharePartition) expire() {
	s := sp.d.settingsOf(sp.group)
	c := &change{}
	sp.mu.Lock()
	if sp.gone.Load() {
		sp.mu.Unlock()
		return
	}
	sp.timerAt = 0
	sp.m.Expire(sp.d.now(), &s.Limits, &c.w)
	sp.arm()
	ready := sp.ready(s)
	sp.submit(c)
	if ready {
		sp.wakeOne()
	}
}

// failure is why there is no state, if it could not be loaded.
func (sp *sharePartition) failure() wire.Code {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	return sp.failed
}

// available is how many bytes could be acquired, at most about limit.
func (sp *sharePartition) available(s *Settings, limit int) int {
	sp.mu.Lock()
	ready, from := sp.ready(s), int64(0)
	if ready {
		from = sp.m.NextFetch()
	}
	sp.mu.Unlock()
	if !ready {
		return 0
	}
	v, err := sp.part.Log().Read(from, sp.limit(s), limit, true)
	if err != nil {
		return limit // to be told at once
	}
	defer v.Release()
	return v.Len
}

// wait puts a parked fetch in line. True tells that it should look again: there
// is something, unless that was not enough, or something has changed.
func (sp *sharePartition) wait(w *partition.Waiter, s *Settings, dry bool) bool {
	sp.mu.Lock()
	sp.waiting = append(sp.waiting, w)
	first := sp.data == nil
	if first {
		sp.data = partition.NewWaiter(1, sp.arrived)
	}
	data := sp.data
	sp.mu.Unlock()
	if first {
		sp.part.Wait(data)
	}
	sp.mu.Lock()
	defer sp.mu.Unlock()
	return !sp.usable() || sp.failed != wire.None || !dry && sp.ready(s)
}

// forget takes a fetch out of the line.
func (sp *sharePartition) forget(w *partition.Waiter) {
	sp.mu.Lock()
	for i, x := range sp.waiting {
		if x == w {
			sp.waiting = append(sp.waiting[:i], sp.waiting[i+1:]...)
			break
		}
	}
	var data *partition.Waiter
	if len(sp.waiting) == 0 {
		data, sp.data = sp.data, nil
	}
	sp.mu.Unlock()
	if data != nil {
		sp.part.Leave(data)
	}
}

// arrived is called when the log has more, or is closed.
func (sp *sharePartition) arrived() {
	s := sp.d.settingsOf(sp.group)
	sp.mu.Lock()
	old := sp.data
	sp.data = nil
	again := len(sp.waiting) > 0 && !sp.part.Closed()
	if again {
		sp.data = partition.NewWaiter(1, sp.arrived)
	}
	data, ready := sp.data, sp.ready(s)
	sp.mu.Unlock()
	if old != nil {
		sp.part.Leave(old)
	}
	if again {
		sp.part.Wait(data)
	}
	if sp.part.Closed() {
		sp.wakeAll()
	} else if ready {
		sp.wakeOne()
	}
}

// wakeOne lets the first in line look.
func (sp *sharePartition) wakeOne() {
	sp.mu.Lock()
	var w *partition.Waiter
	if len(sp.waiting) > 0 {
		w = sp.waiting[0]
		sp.waiting = append(sp.waiting[:0], sp.waiting[1:]...)
	}
	sp.mu.Unlock()
	if w != nil {
		w.Fire()
	}
}

// wakeAll lets everybody look.
func (sp *sharePartition) wakeAll() {
	sp.mu.Lock()
	due := append([]*partition.Waiter(nil), sp.waiting...)
	sp.mu.Unlock()
	for _, w := range due {
		w.Fire()
	}
}
