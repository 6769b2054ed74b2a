package share

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/group"
	"github.com/moldau/moldau/internal/machine/metadata"
	machine "github.com/moldau/moldau/internal/machine/share/partition"
	"github.com/moldau/moldau/internal/network/edge"
	"github.com/moldau/moldau/internal/node/partition"
)

// Persister keeps the state of share partitions: the share coordinator. done is
// called once, from within the call or later; the request is the caller's again
// when the call returns.
type Persister interface {
	ReadShareGroupState(req *wire.ReadShareGroupStateRequest, client group.Client, version int16, done func(*wire.ReadShareGroupStateResponse))
	WriteShareGroupState(req *wire.WriteShareGroupStateRequest, client group.Client, version int16, done func(*wire.WriteShareGroupStateResponse))
}

// Reset is where a group begins in a partition that it has no state for
// (share.auto.offset.reset).
type Reset int8

// The resets.
const (
	ResetLatest Reset = iota
	ResetEarliest
	ResetByDuration
)

// Settings are what of a group's settings concerns deliveries.
type Settings struct {
	machine.Limits
	Reset Reset
	// ResetMs is how far ResetByDuration goes back.
	ResetMs int64
	// Committed hides the records of open and aborted transactions.
	Committed bool
}

// Options are the parts a Delivery works with.
type Options struct {
	NodeID    int32
	World     clock.World
	Logger    *slog.Logger
	Table     *partition.Table
	Persister Persister
	// Settings gives a group's settings; it is asked again after changes of settings.
	Settings func(img *metadata.Image, group string) Settings
	// MaxSessions bounds the share sessions of this node.
	MaxSessions int
}

// Delivery serves the share groups of this node. It may be called from any goroutine.
type Delivery struct {
	o Options

	image atomic.Pointer[metadata.Image]
	// generation counts the changes of settings.
	generation atomic.Uint64

	mu sync.Mutex // guards all below
	// sessions has at most MaxSessions entries.
	sessions map[sessionKey]*session
	groups   map[string]*shareGroup
	conns    map[*edge.Conn]map[*session]struct{}
}

// shareGroup is a group with sessions on this node, or partitions that have not settled.
type shareGroup struct {
	id       string
	settings atomic.Pointer[resolved]
	// guarded by Delivery.mu
	parts    map[partitionKey]*sharePartition
	sessions int
}

type resolved struct {
	Settings
	generation uint64
}

type partitionKey struct {
	topic wire.UUID
	index int32
}

// New makes a Delivery.
func New(o Options) *Delivery {
	d := &Delivery{
		o: o, sessions: make(map[sessionKey]*session), groups: make(map[string]*shareGroup), conns: make(map[*edge.Conn]map[*session]struct{}),
	}
	d.image.Store(metadata.Empty())
	return d
}

// SetImage follows the metadata; configured tells that settings of groups or of the broker may have changed.
func (d *Delivery) SetImage(img *metadata.Image, configured bool) {
	d.image.Store(img)
	if configured {
		d.generation.Add(1)
	}
}

// settingsOf are the group's settings, resolved once for each change of any.
func (d *Delivery) settingsOf(g *shareGroup) *Settings {
	now := d.generation.Load()
	s := g.settings.Load()
	if s == nil || s.generation != now {
		s = &resolved{d.o.Settings(d.image.Load(), g.id), now}
		g.settings.Store(s)
	}
	return &s.Settings
}

// LockMs is how long a member of the group has records to itself.
func (d *Delivery) LockMs(id string) int32 {
	d.mu.Lock()
	g := d.groups[id]
	d.mu.Unlock()
	if g == nil {
		return int32(d.o.Settings(d.image.Load(), id).LockMs)
	}
	return int32(d.settingsOf(g).LockMs)
}

// DeleteTopic lets go of what is kept for a topic that is gone.
func (d *Delivery) DeleteTopic(id wire.UUID) {
	var gone []*sharePartition
	d.mu.Lock()
	for _, g := range d.groups { // unordered: each is dropped
		for key, sp := range g.parts { // unordered: each is dropped
			if key.topic == id {
				gone = append(gone, sp)
			}
		}
	}
	d.mu.Unlock()
	for _, sp := range gone {
		d.drop(sp)
	}
}

// Sessions counts share sessions.
func (d *Delivery) Sessions() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.sessions)
}

// group finds or makes a group; mu is held.
func (d *Delivery) group(id string) *shareGroup {
	g := d.groups[id]
	if g == nil {
		g = &shareGroup{id: id, parts: make(map[partitionKey]*sharePartition)}
		d.groups[id] = g
	}
	return g
}

// find gives the share partition that a session's entry stands for, which may
// still be loading, or why there is none.
func (d *Delivery) find(g *shareGroup, e *entry) (*sharePartition, wire.Code) {
	if sp := e.sp.Load(); sp != nil {
		if sp.usable() {
			return sp, wire.None
		}
		if code := sp.failure(); code != wire.None {
			return sp, code
		}
	}
	part, code := d.locate(e.key, e.named)
	if code != wire.None {
		return nil, code
	}
	d.mu.Lock()
	sp := g.parts[e.key]
	stale := sp != nil && !sp.usable()
	if sp == nil || stale {
		fresh := newSharePartition(d, g, e.key, part)
		g.parts[e.key] = fresh
		d.mu.Unlock()
		if stale {
			sp.leave()
		}
		fresh.load()
		sp = fresh
	} else {
		d.mu.Unlock()
	}
	e.sp.Store(sp)
	return sp, wire.None
}

// locate finds the partition among those that this node leads.
func (d *Delivery) locate(key partitionKey, named bool) (*partition.Partition, wire.Code) {
	img := d.image.Load()
	topic, ok := img.TopicByID(key.topic)
	switch {
	case !ok && !named:
		return nil, wire.UnknownTopicID
	case !ok || key.index < 0 || int(key.index) >= len(topic.Partitions):
		return nil, wire.UnknownTopicOrPartition
	case topic.Partitions[key.index].Leader != d.o.NodeID:
		return nil, wire.NotLeaderOrFollower
	}
	part := d.o.Table.ByID(key.topic).Partition(key.index)
	if part == nil {
		return nil, wire.NotLeaderOrFollower
	}
	return part, wire.None
}

// drop forgets a share partition: what it knows is not to be believed any more.
func (d *Delivery) drop(sp *sharePartition) {
	d.mu.Lock()
	if sp.group.parts[sp.key] == sp {
		delete(sp.group.parts, sp.key)
	}
	d.forgetGroup(sp.group)
	d.mu.Unlock()
	sp.leave()
}

// forgetGroup drops a group that has nothing left; mu is held.
func (d *Delivery) forgetGroup(g *shareGroup) {
	if g.sessions == 0 && len(g.parts) == 0 && d.groups[g.id] == g {
		delete(d.groups, g.id)
	}
}

// retire drops a share partition whose group has no session left. The state
// of what it had in delivery is persisted; who comes next reads it.
func (d *Delivery) retire(sp *sharePartition) {
	d.mu.Lock()
	idle := sp.group.sessions == 0 && sp.group.parts[sp.key] == sp && sp.settled()
	if idle {
		delete(sp.group.parts, sp.key)
		d.forgetGroup(sp.group)
	}
	d.mu.Unlock()
	if idle {
		sp.leave()
	}
}

func (d *Delivery) now() int64 { return d.o.World.Mono().Milliseconds() }

// after calls f in ms from now.
func (d *Delivery) after(ms int64, f func()) clock.Timer {
	return d.o.World.AfterFunc(time.Duration(max(ms, 0))*time.Millisecond, f)
}
