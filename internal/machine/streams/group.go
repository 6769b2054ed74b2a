package streams

import (
	"fmt"
	"maps"
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/assign"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// failure is why a request is refused.
type failure struct {
	code    wire.Code
	message string
}

func failed(code wire.Code, format string, args ...any) *failure {
	return &failure{code, fmt.Sprintf(format, args...)}
}

// memberState is where a member is between two assignments. The values are those of the record.
type memberState int8

const (
	stateStable     memberState = 1
	stateUnrevoked  memberState = 2 // it has yet to give tasks up
	stateUnreleased memberState = 3 // it waits for tasks that others have yet to give up
)

// endpoint is where a member answers interactive queries.
type endpoint struct {
	host string
	port uint16
}

// profile is what a member says of itself.
type profile struct {
	rack           *string
	clientID, host string
	rebalanceMs    int32
	topologyEpoch  int32
	process        string
	endpoint       *endpoint
	tags           map[string]string
}

func (p *profile) equal(q *profile) bool {
	return equalPointers(p.rack, q.rack) && p.clientID == q.clientID && p.host == q.host && p.rebalanceMs == q.rebalanceMs &&
		p.topologyEpoch == q.topologyEpoch && p.process == q.process && equalPointers(p.endpoint, q.endpoint) && maps.Equal(p.tags, q.tags)
}

func equalPointers[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// progress is how far a member has come with its assignment.
type progress struct {
	epoch, previous int32
	state           memberState
	assigned        holding
	revoking        holding // what it has yet to give up
}

func (p *progress) equal(q *progress) bool {
	return p.epoch == q.epoch && p.previous == q.previous && p.state == q.state &&
		p.assigned.equal(&q.assigned) && p.revoking.equal(&q.revoking)
}

// reconciled says whether the member has the assignment of this epoch.
func (p *progress) reconciled(epoch int32) bool { return p.state == stateStable && p.epoch == epoch }

// member is a member of a group.
type member struct {
	id string
	profile
	progress

	// Of this session only.
	session, rebalance  timer
	offsets, endOffsets []wire.StreamsGroupHeartbeatRequestTaskOffset // as last reported
}

// newMember is a member that nothing is known of.
func newMember(id string) *member {
	m := &member{id: id, profile: profile{rebalanceMs: -1, topologyEpoch: -1}}
	m.progress = progress{state: stateStable, assigned: emptyHolding(), revoking: emptyHolding()}
	return m
}

// configs are the settings that an assignment was made with, by Kafka's names.
type configs []wire.StreamsGroupMetadataValueLastAssignmentConfig

// group is one streams group.
type group struct {
	id string

	epoch         int32
	hash          int64 // of the topics at that epoch
	validated     int32 // the epoch of the topology that was found right, -1 if it was not
	lastConfigs   configs
	assignedEpoch int32 // of the target assignment
	assignedAt    int64 // wall time
	topology      *topologyValue
	sources       map[string]string // source topics of the topology, and the subtopology that reads each
	members       map[string]*member
	target        map[string]*target
	owners        [roles]owners

	// Of this session only.
	configured    *configured
	image         *metadata.Image // that the topology was last matched with
	settings      Settings
	settingsOf    *metadata.Image // that the settings are of
	shutdownBy    string          // the member that has asked for a shutdown
	endpointEpoch int32
	initial       timer
}

// newGroup is a group before its first record.
func newGroup(id string) *group {
	g := &group{id: id, epoch: 1, assignedEpoch: 1, members: map[string]*member{}, target: map[string]*target{}}
	for i := range g.owners {
		g.owners[i] = owners{}
	}
	g.initial.kind, g.initial.group = timerInitial, g
	return g
}

// State of the group for people, by Kafka's names.
func (g *group) state() string {
	switch {
	case len(g.members) == 0:
		return "Empty"
	case g.topology == nil || g.topology.Epoch != g.validated:
		return "NotReady"
	case g.epoch > g.assignedEpoch:
		return "Assigning"
	}
	for _, m := range g.members { //unordered: any one will do
		if !m.reconciled(g.assignedEpoch) {
			return "Reconciling"
		}
	}
	return "Stable"
}

func (g *group) sortedMembers() []string { return slices.Sorted(maps.Keys(g.members)) }

// targetOf is what the member should have.
func (g *group) targetOf(member string) *target {
	if t := g.target[member]; t != nil {
		return t
	}
	return &target{}
}

// setTopology takes a topology, or none.
func (g *group) setTopology(t *topologyValue) {
	g.topology, g.sources = t, map[string]string{}
	if t == nil {
		return
	}
	for i := range t.Subtopologies {
		s := &t.Subtopologies[i]
		for _, name := range s.SourceTopics {
			g.sources[name] = s.SubtopologyID
		}
		for _, r := range s.RepartitionSourceTopics {
			g.sources[r.Name] = s.SubtopologyID
		}
	}
}

// change changes a member, and keeps track of who has which task.
func (g *group) change(m *member, f func()) {
	g.count(m, -1)
	f()
	g.count(m, +1)
}

func (g *group) count(m *member, n int) {
	assigned, revoking := m.assigned.roles(), m.revoking.roles()
	for role := range g.owners {
		g.owners[role].add(assigned[role], m.process, n)
		g.owners[role].add(revoking[role], m.process, n)
	}
}

// free says whether a member of the process may get the task in the role.
func (g *group) free(role int, t task, process string) bool {
	if role == active && len(g.owners[active][t]) > 0 {
		return false // some member still runs it
	}
	return !g.owners[active].in(t, process) && !g.owners[standby].in(t, process) && !g.owners[warmup].in(t, process)
}

// assignTasks computes what the members should have, of which one may be new or changed.
func (g *group) assignTasks(c *configured, updated *member, standbys int) map[string]*target {
	ids := g.sortedMembers()
	if updated != nil {
		if at, ok := slices.BinarySearch(ids, updated.id); !ok {
			ids = slices.Insert(ids, at, updated.id)
		}
	}
	out := make(map[string]*target, len(ids))
	if !c.ready() || len(ids) == 0 {
		for _, id := range ids {
			out[id] = &target{}
		}
		return out
	}
	workers := make([]assign.Worker, len(ids))
	for i, id := range ids {
		m := g.members[id]
		if updated != nil && updated.id == id {
			m = updated
		}
		t := g.targetOf(id)
		workers[i] = assign.Worker{ID: id, Process: m.process, Active: t.active, Standby: t.standby}
	}
	for i, a := range assign.Sticky(workers, c.tasks, standbys) {
		out[ids[i]] = &target{active: a.Active, standby: a.Standby}
	}
	return out
}
