package group

import (
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/invariant"
)

// Config is what an administrator may set. Times are in milliseconds.
type Config struct {
	// MinSessionTimeoutMs and MaxSessionTimeoutMs bound a member's session timeout
	// (group.min.session.timeout.ms, group.max.session.timeout.ms).
	MinSessionTimeoutMs, MaxSessionTimeoutMs int32
	// MaxSize is group.max.size.
	MaxSize int32
	// InitialRebalanceDelayMs is group.initial.rebalance.delay.ms.
	InitialRebalanceDelayMs int32
	// InitialQuietMs ends the initial delay once nobody has come for so long; 0 waits as Kafka does.
	//
	// Differs from Kafka: where group.initial.rebalance.delay.ms is not set, a new group begins as soon as its members
	// are there, and not three seconds after the last of them.
	InitialQuietMs int32
	// OffsetMetadataMaxBytes is offset.metadata.max.bytes; Kafka counts UTF-16 units, and so do we.
	OffsetMetadataMaxBytes int32
	// OffsetsRetentionMs is offsets.retention.minutes in milliseconds.
	OffsetsRetentionMs int64
	// RetentionCheckIntervalMs is offsets.retention.check.interval.ms.
	RetentionCheckIntervalMs int64
	// Consumer is what concerns consumer groups.
	Consumer ConsumerConfig
}

// DefaultConfig is Kafka's.
func DefaultConfig() Config {
	return Config{
		MinSessionTimeoutMs:      6_000,
		MaxSessionTimeoutMs:      1_800_000,
		MaxSize:                  1<<31 - 1,
		InitialRebalanceDelayMs:  3_000,
		OffsetMetadataMaxBytes:   4_096,
		OffsetsRetentionMs:       7 * 24 * 60 * 60_000,
		RetentionCheckIntervalMs: 600_000,
		Consumer:                 defaultConsumerConfig(),
	}
}

// Time is now, in milliseconds. Wall goes into records and retention, Mono drives timers.
type Time struct{ Wall, Mono int64 }

// Ticket names a request that may be answered later. The shell chooses it; 0 is none.
type Ticket uint64

// Client is who sent a request. Host is written as Kafka does: "/" and the address.
type Client struct {
	ID, Host string
	// Visible tells whether the client may know of a topic that only a regular expression names; nil when it may of all.
	Visible func(topic string) bool
}

// Record is one record for the log; a nil Value is a tombstone.
type Record struct{ Key, Value []byte }

// WriteID names a write until it is settled.
type WriteID uint64

// Write is what must be appended as one batch. Its outcome goes to Settle, after which its records must not be used any
// more.
type Write struct {
	ID      WriteID
	Records []Record
	// Applied says that the state has changed already (Effects.Record): nothing is settled, ID is 0, and when the write
	// fails the machine must be dropped and the partition loaded anew.
	Applied bool
	// Producer makes the batch part of its transaction.
	Producer *Producer
}

// Producer is a transactional producer.
type Producer struct {
	ID    int64
	Epoch int16
	// Guard is what the verification of the append gave; the machine hands it on.
	Guard uint64
}

// JoinReply answers a parked JoinGroup request.
type JoinReply struct {
	Ticket   Ticket
	Response *wire.JoinGroupResponse
}

// SyncReply answers a parked SyncGroup request.
type SyncReply struct {
	Ticket   Ticket
	Response *wire.SyncGroupResponse
}

// Event tells people what happened to a group and why.
type Event struct {
	Group      string
	What       string
	Reason     string
	Generation int32
	Members    int
}

// Effects collect what the shell has to do after a call. The machine appends to them.
type Effects struct {
	Writes []Write
	Joins  []JoinReply
	Syncs  []SyncReply
	Events []Event
	// Late are answers to JoinGroup requests that go out once the writes of the same call are settled.
	Late []JoinReply
}

// Reset empties the effects and keeps their memory.
func (fx *Effects) Reset() {
	clear(fx.Writes)
	clear(fx.Joins)
	clear(fx.Syncs)
	clear(fx.Events)
	clear(fx.Late)
	fx.Late = fx.Late[:0]
	fx.Writes, fx.Joins, fx.Syncs, fx.Events = fx.Writes[:0], fx.Joins[:0], fx.Syncs[:0], fx.Events[:0]
}

func (fx *Effects) join(t Ticket, r *wire.JoinGroupResponse) {
	if t != 0 {
		fx.Joins = append(fx.Joins, JoinReply{t, r})
	}
}

func (fx *Effects) sync(t Ticket, r *wire.SyncGroupResponse) {
	if t != 0 {
		fx.Syncs = append(fx.Syncs, SyncReply{t, r})
	}
}

func (fx *Effects) event(g *group, what, reason string) {
	fx.Events = append(fx.Events, Event{g.id, what, reason, g.generation, len(g.members)})
}

// Machine is the state of the groups of one partition of __consumer_offsets.
type Machine struct {
	kinds
	histories
	// Consumers are the consumer groups.
	Consumers *Consumers
	config    Config
	groups    map[string]*group
	producers map[int64]map[*group]bool // whose open transactions have offsets in which groups
	timers    timers
	retention timer
	inflight  []*write // in the order decided
	lastWrite WriteID
	spare     spareWrites
	reader    wire.Reader // of Apply
	replayed  replayed    // of Apply
}

// decision is one call of the machine while it is being decided: at what time, and what it brings.
type decision struct {
	m   *Machine
	now Time
	fx  *Effects
}

// New makes an empty machine. Feed the log to Apply, then call Loaded.
func New(config Config) *Machine {
	m := &Machine{config: config, groups: map[string]*group{}, producers: map[int64]map[*group]bool{}}
	m.retention.kind = timerRetention
	m.kinds.machine, m.histories.machine = m, m
	m.Consumers = newConsumers(m, &m.config.Consumer)
	m.Attach(m.Consumers)
	return m
}

// Groups is the number of groups.
func (m *Machine) Groups() int { return len(m.groups) }

// Loaded ends loading: sessions of all members start anew, as Kafka has it, and the first check for
// expired offsets is set.
func (m *Machine) Loaded(now Time, fx *Effects) {
	d := &decision{m, now, fx}
	m.reader.Reset(nil)
	m.replayed = replayed{}
	for _, id := range sortedKeys(m.groups) {
		g := m.groups[id]
		for _, mb := range g.order {
			m.timers.Set(&mb.timer, now.Mono+int64(mb.sessionMs))
		}
		if len(g.members) > int(m.config.MaxSize) {
			d.prepareRebalance(g, "the loaded group is over group.max.size")
		}
	}
	m.timers.Set(&m.retention, now.Mono+m.config.RetentionCheckIntervalMs)
	for _, k := range m.list {
		k.Loaded(now, fx)
	}
}

// Unload answers every parked request with code, usually NOT_COORDINATOR. The machine is of no use after.
func (m *Machine) Unload(code wire.Code, fx *Effects) {
	for _, id := range sortedKeys(m.groups) {
		g := m.groups[id]
		g.transition(stateDead, g.since)
		for _, mb := range g.order {
			fx.join(g.takeJoin(mb), joinError(mb.id, code))
			fx.sync(mb.takeSync(), &wire.SyncGroupResponse{ErrorCode: code})
		}
	}
	for _, k := range m.list {
		k.Unload(code, fx)
	}
}

// Next tells when Expire has something to do, in terms of Time.Mono.
func (m *Machine) Next() (mono int64, ok bool) { return m.next(m.timers.Next()) }

// Expire does what is due by now.
func (m *Machine) Expire(now Time, fx *Effects) {
	d := &decision{m, now, fx}
	for t, ok := m.timers.Due(now.Mono); ok; t, ok = m.timers.Due(now.Mono) {
		d.fire(t)
	}
	for _, k := range m.list {
		k.Expire(now, fx)
	}
}

func (d *decision) fire(t *timer) {
	switch t.kind {
	case timerSession:
		d.expireSession(t.group, t.member)
	case timerPending:
		d.expirePending(t.group, t.memberID)
	case timerInitial:
		d.expireInitial(t.group)
	case timerJoin:
		d.completeJoin(t.group)
	case timerSync:
		d.expireSync(t.group)
	case timerRetention:
		d.expireOffsets()
		d.m.timers.Set(t, d.now.Mono+d.m.config.RetentionCheckIntervalMs)
	}
}

// writeKind tells what a write was for.
type writeKind uint8

const (
	writeOffsets    writeKind = iota // offset commits
	writeTxnOffsets                  // offset commits of a transaction
	writeNewGroup                    // the empty metadata of a group that a member has just made
	writeEmptyGroup                  // a group without members
	writeAssignment                  // a generation with its assignment
	writeStatic                      // a static member that came back with a new member id
	writeTombstones                  // offsets and groups that go
)

// write is a write that is not settled. Which fields count depends on kind.
type write struct {
	id         WriteID
	kind       writeKind
	group      *group   // all but writeTombstones
	changes    []change // writeOffsets, writeTxnOffsets, writeTombstones
	records    []Record // writeOffsets, writeTxnOffsets: what is written, in the encoder's memory
	enc        encoder
	dead       []*group // writeTombstones: groups that go
	generation int32
	assignment map[string][]byte
	static     *replacement
	producer   *Producer // writeTxnOffsets
}

// commits says whether the write commits offsets.
func (w *write) commits() bool { return w.kind == writeOffsets || w.kind == writeTxnOffsets }

// submit hands a write to the shell. Each group that it concerns is held until it settles.
func (m *Machine) submit(w *write, records []Record, fx *Effects) {
	m.lastWrite++
	w.id = m.lastWrite
	w.hold(1)
	m.inflight = append(m.inflight, w)
	fx.Writes = append(fx.Writes, Write{ID: w.id, Records: records, Producer: w.producer})
}

func (w *write) hold(n int) {
	if w.group != nil {
		w.group.unsettled += n
	}
	if w.kind == writeTombstones {
		for i := range w.changes {
			w.changes[i].group.unsettled += n
		}
		for _, g := range w.dead {
			g.unsettled += n
		}
	}
}

// Settle tells the outcome of the oldest unsettled write: code None and the offset of its first record, or why
// it failed. Codes other than None must have been mapped by AppendCode.
func (m *Machine) Settle(now Time, id WriteID, base int64, code wire.Code, fx *Effects) {
	d := &decision{m, now, fx}
	invariant.Check(len(m.inflight) > 0 && m.inflight[0].id == id, "write %d settles out of order", id)
	w := m.inflight[0]
	m.inflight[0] = nil
	m.inflight = m.inflight[1:]
	w.hold(-1)
	if w.group != nil && !w.commits() && w.id <= w.group.yielded {
		m.drop(w.group)
		return
	}
	switch w.kind {
	case writeOffsets:
		if code == wire.None {
			m.applyChanges(w.changes, base)
		}
	case writeTxnOffsets:
		if code == wire.None {
			m.openOffsets(w, base)
		}
	case writeNewGroup:
		d.settleNewGroup(w.group, code)
	case writeEmptyGroup:
		d.settleEmptyGroup(w.group, code)
	case writeAssignment:
		d.settleAssignment(w, code)
	case writeStatic:
		d.settleStatic(w, code)
	case writeTombstones:
		m.settleTombstones(w, base, code)
	}
	m.sweep(w)
	m.spare.put(w)
}

// sweep drops the groups of a settled write that nothing holds any more.
func (m *Machine) sweep(w *write) {
	if w.group != nil {
		m.drop(w.group)
	}
	for i := range w.changes {
		m.drop(w.changes[i].group)
	}
	for _, g := range w.dead {
		m.drop(g)
	}
}

// drop forgets the group if it is hollow.
func (m *Machine) drop(g *group) {
	if g.hollow() && m.groups[g.id] == g {
		m.forget(g)
	}
}

func (m *Machine) forget(g *group) {
	delete(m.groups, g.id)
	g.joinTimer.Stop()
	g.syncTimer.Stop()
	g.dropPending()
	for _, mb := range g.order {
		mb.timer.Stop()
	}
}

// create adds an empty group.
func (m *Machine) create(id string, wall int64) *group {
	g := newGroup(id)
	g.since = wall
	m.groups[g.id] = g
	return g
}

// AppendCode maps why a write failed to what clients of groups understand, as Kafka maps it.
func AppendCode(code wire.Code) wire.Code {
	switch code {
	case wire.UnknownTopicOrPartition, wire.NotEnoughReplicas, wire.NotEnoughReplicasAfterAppend, wire.RequestTimedOut:
		return wire.CoordinatorNotAvailable
	case wire.NotLeaderOrFollower, wire.KafkaStorageError, wire.FencedLeaderEpoch:
		return wire.NotCoordinator
	case wire.MessageTooLarge, wire.RecordListTooLarge, wire.InvalidFetchSize:
		return wire.UnknownServerError
	default:
		return code
	}
}
