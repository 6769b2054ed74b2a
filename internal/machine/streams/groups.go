package streams

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/moldau/moldau/internal/format/wire"
	base "github.com/moldau/moldau/internal/machine/group"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// Settings are those of one group: its own, else the broker's. Times are in milliseconds.
type Settings struct {
	// SessionMs is streams.session.timeout.ms, HeartbeatMs streams.heartbeat.interval.ms.
	SessionMs, HeartbeatMs int32
	// InitialDelayMs is streams.initial.rebalance.delay.ms.
	InitialDelayMs int32
	// AssignmentMs is streams.assignment.interval.ms.
	AssignmentMs int32
	// Standbys is streams.num.standby.replicas.
	Standbys int32
	// TaskOffsetMs is streams.task.offset.interval.ms, RecoveryLag streams.acceptable.recovery.lag. Clients are told
	// from version 1 of the heartbeat on.
	TaskOffsetMs int32
	RecoveryLag  int64
	// MaxSize is group.streams.max.size.
	MaxSize int32
}

// DefaultSettings are Kafka's.
func DefaultSettings() Settings {
	return Settings{
		SessionMs: 45_000, HeartbeatMs: 5_000, InitialDelayMs: 3_000, AssignmentMs: 1_000, TaskOffsetMs: 60_000,
		RecoveryLag: 10_000, MaxSize: 1<<31 - 1,
	}
}

// Type is the name of this kind of group.
const Type = "streams"

// Groups are the streams groups of one partition of __consumer_offsets.
type Groups struct {
	registry base.Registry
	settings func(id string) Settings
	groups   map[string]*group
	image    *metadata.Image
	timers   timers
}

// New makes an empty set of groups for a machine, to which it must be attached.
func New(registry base.Registry, settings func(id string) Settings) *Groups {
	return &Groups{registry: registry, settings: settings, groups: map[string]*group{}, image: metadata.Empty()}
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// settingsOf are the group's settings as of the newest image.
func (k *Groups) settingsOf(g *group) Settings {
	if g.settingsOf != k.image {
		g.settings, g.settingsOf = k.settings(g.id), k.image
	}
	return g.settings
}

// Type is "streams".
func (k *Groups) Type() string { return Type }

// Has says whether there is such a streams group.
func (k *Groups) Has(id string) bool { return k.groups[id] != nil }

// IDs are the streams groups, sorted.
func (k *Groups) IDs() []string { return sortedKeys(k.groups) }

// State is the group's state: Empty, NotReady while topics are missing or wrong, Assigning, Reconciling, Stable.
func (k *Groups) State(id string) string {
	if g := k.groups[id]; g != nil {
		return g.state()
	}
	return "Dead"
}

// SetImage tells that topics have changed. A group looks at them with its next heartbeat.
func (k *Groups) SetImage(_ base.Time, img *metadata.Image, _ *base.Effects) { k.image = img }

// Loaded begins the sessions of all members anew.
func (k *Groups) Loaded(now base.Time, _ *base.Effects) {
	for _, id := range k.IDs() {
		g := k.groups[id]
		s := k.settingsOf(g)
		for _, name := range g.sortedMembers() {
			m := g.members[name]
			k.timers.Set(&m.session, now.Mono+int64(s.SessionMs))
			if m.state == stateUnrevoked {
				k.timers.Set(&m.rebalance, now.Mono+int64(m.rebalanceMs))
			}
		}
	}
}

// Next tells when Expire has something to do.
func (k *Groups) Next() (mono int64, ok bool) { return k.timers.Next() }

// Expire removes members that were silent or did not give their tasks up, and makes the first assignments that have
// waited for members.
func (k *Groups) Expire(now base.Time, fx *base.Effects) {
	for t, ok := k.timers.Due(now.Mono); ok; t, ok = k.timers.Due(now.Mono) {
		g := t.group
		switch t.kind {
		case timerSession:
			k.fence(g, t.member, fmt.Sprintf("%s was not heard of for its session timeout", t.member.id), fx)
		case timerRebalance:
			k.fence(g, t.member, fmt.Sprintf("%s has not given its tasks up within its rebalance timeout", t.member.id), fx)
		case timerInitial:
			k.assignDelayed(now, g, fx)
		}
	}
}

// Unload ends service. Nobody is ever parked here.
func (k *Groups) Unload(wire.Code, *base.Effects) {}

// fence removes a member.
func (k *Groups) fence(g *group, m *member, reason string, fx *base.Effects) {
	records := append(removeMember(g.id, m.id), epochRecord(g.id, g.epoch+1, g.hash, g.validated, g.lastConfigs))
	k.apply(g.id, records)
	fx.Record(records...)
	k.event(fx, g, "member removed", reason)
	if len(g.members) == 0 {
		k.event(fx, g, "group is empty", "the last member is gone")
	}
}

// assignDelayed makes the first assignment of a group whose initial delay is over.
func (k *Groups) assignDelayed(now base.Time, g *group, fx *base.Effects) {
	if len(g.members) == 0 || g.configured == nil || g.epoch <= g.assignedEpoch {
		return
	}
	standbys := 0
	if len(g.lastConfigs) == 1 {
		standbys, _ = strconv.Atoi(g.lastConfigs[0].Value) // another's value counts as none
	}
	targets := g.assignTasks(g.configured, nil, standbys)
	records := g.targetRecords(targets, g.epoch, now.Wall)
	list, f := entries(g.id, records)
	if f != nil {
		k.event(fx, g, "assignment failed", f.message)
		return
	}
	for _, e := range list {
		k.take(e)
	}
	fx.Record(records...)
	k.event(fx, g, "assignment computed", "the initial delay is over")
}

// targetRecords are the records of a new target assignment: of the members whose target changes, and its epoch.
func (g *group) targetRecords(targets map[string]*target, epoch int32, wall int64) []base.Record {
	var records []base.Record
	for _, id := range sortedKeys(targets) {
		if old := g.target[id]; old == nil || !old.equal(targets[id]) {
			records = append(records, targetRecord(g.id, id, targets[id]))
		}
	}
	return append(records, targetEpochRecord(g.id, epoch, wall))
}

func (k *Groups) event(fx *base.Effects, g *group, what, reason string) {
	fx.Events = append(fx.Events, base.Event{Group: g.id, What: what, Reason: reason, Generation: g.epoch, Members: len(g.members)})
}

// CheckOffsets says whether the member may commit or fetch offsets: in its present epoch.
func (k *Groups) CheckOffsets(id, memberID string, _ *string, epoch int32, commit bool) wire.Code {
	g := k.groups[id]
	switch {
	case g == nil:
		return wire.GroupIDNotFound
	case commit && epoch < 0 && len(g.members) == 0, !commit && epoch < 0 && memberID == "":
		return wire.None // an administrator
	}
	switch m := g.members[memberID]; {
	case m == nil:
		return wire.UnknownMemberID
	case epoch != m.epoch:
		return wire.StaleMemberEpoch
	default:
		return wire.None
	}
}

// memberCommitSince is the version of OffsetCommit that members of streams groups must use.
const memberCommitSince = 9

// CheckCommit says whether an OffsetCommit request may change the group's offsets. A member that does not know yet of
// a newer epoch may still commit for the tasks that it has had since before the epoch that it knows (KIP-1251).
func (k *Groups) CheckCommit(req *wire.OffsetCommitRequest, version int16, transaction bool) wire.Code {
	code := k.CheckOffsets(req.GroupID, req.MemberID, nil, req.GenerationIDOrMemberEpoch, true)
	g := k.groups[req.GroupID]
	if g == nil || g.members[req.MemberID] == nil {
		return code
	}
	m := g.members[req.MemberID]
	if !transaction && version < memberCommitSince {
		return wire.UnsupportedVersion
	}
	if code != wire.StaleMemberEpoch || req.GenerationIDOrMemberEpoch > m.epoch {
		return code
	}
	for i := range req.Topics {
		sub, ok := g.sources[req.Topics[i].Name]
		if !ok {
			return wire.StaleMemberEpoch
		}
		for j := range req.Topics[i].Partitions {
			t := task{sub, req.Topics[i].Partitions[j].PartitionIndex}
			since, has := m.assigned.active[t]
			if !has {
				since, has = m.revoking.active[t]
			}
			if !has || req.GenerationIDOrMemberEpoch < since {
				return wire.StaleMemberEpoch
			}
		}
	}
	return wire.None
}

var _ base.CommitChecker = (*Groups)(nil)

// Subscribed says whether the group's topology reads the topic, while it has members.
func (k *Groups) Subscribed(id, topic string) bool {
	g := k.groups[id]
	if g == nil || len(g.members) == 0 {
		return false
	}
	_, ok := g.sources[topic]
	return ok
}

// Idle says whether the group has no members. Retention of its offsets counts from their commits, as in Kafka.
func (k *Groups) Idle(id string) (since int64, idle bool) {
	g := k.groups[id]
	return -1, g != nil && len(g.members) == 0
}

// Deletable says whether the group has no members.
func (k *Groups) Deletable(id string) bool {
	g := k.groups[id]
	return g != nil && len(g.members) == 0
}
