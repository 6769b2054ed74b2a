package streams

import (
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/invariant"
	"github.com/moldau/moldau/internal/machine/assign"
	base "github.com/moldau/moldau/internal/machine/group"
)

// valueVersion is the version of all values of streams groups.
const valueVersion = 0

func record(key wire.CoordinatorRecord, value wire.Record) base.Record {
	return base.Record{Key: wire.AppendKey(nil, key), Value: wire.AppendValue(nil, value, valueVersion)}
}

func tombstone(key wire.CoordinatorRecord) base.Record {
	return base.Record{Key: wire.AppendKey(nil, key)}
}

func profileRecord(groupID, memberID string, p *profile) base.Record {
	v := &wire.StreamsGroupMemberMetadataValue{
		RackID: p.rack, ClientID: p.clientID, ClientHost: p.host, RebalanceTimeoutMs: p.rebalanceMs,
		TopologyEpoch: p.topologyEpoch, ProcessID: p.process,
	}
	if p.endpoint != nil {
		v.UserEndpoint = &wire.StreamsGroupMemberMetadataValueEndpoint{Host: p.endpoint.host, Port: p.endpoint.port}
	}
	for _, k := range sortedKeys(p.tags) {
		v.ClientTags = append(v.ClientTags, wire.StreamsGroupMemberMetadataValueKeyValue{Key: k, Value: p.tags[k]})
	}
	return record(&wire.StreamsGroupMemberMetadataKey{GroupID: groupID, MemberID: memberID}, v)
}

func topologyRecord(groupID string, t *topologyValue) base.Record {
	return record(&wire.StreamsGroupTopologyKey{GroupID: groupID}, t)
}

func epochRecord(groupID string, epoch int32, hash int64, validated int32, c configs) base.Record {
	v := &wire.StreamsGroupMetadataValue{}
	v.SetDefaults()
	v.Epoch, v.MetadataHash, v.ValidatedTopologyEpoch, v.LastAssignmentConfigs = epoch, hash, validated, c
	return record(&wire.StreamsGroupMetadataKey{GroupID: groupID}, v)
}

func targetRecord(groupID, memberID string, t *target) base.Record {
	return record(&wire.StreamsGroupTargetAssignmentMemberKey{GroupID: groupID, MemberID: memberID}, &wire.StreamsGroupTargetAssignmentMemberValue{
		ActiveTasks: targetTasks(t.active), StandbyTasks: targetTasks(t.standby), WarmupTasks: targetTasks(t.warmup),
	})
}

func targetTasks(in assign.Tasks) []wire.StreamsGroupTargetAssignmentMemberValueTaskIds {
	out := make([]wire.StreamsGroupTargetAssignmentMemberValueTaskIds, len(in))
	for i, s := range in {
		out[i].SubtopologyID, out[i].Partitions = s.Subtopology, s.Partitions
	}
	return out
}

func targetEpochRecord(groupID string, epoch int32, wall int64) base.Record {
	return record(&wire.StreamsGroupTargetAssignmentMetadataKey{GroupID: groupID}, &wire.StreamsGroupTargetAssignmentMetadataValue{
		AssignmentEpoch: epoch, AssignmentTimestamp: wall,
	})
}

func progressRecord(groupID, memberID string, p *progress) base.Record {
	return record(&wire.StreamsGroupCurrentMemberAssignmentKey{GroupID: groupID, MemberID: memberID}, &wire.StreamsGroupCurrentMemberAssignmentValue{
		MemberEpoch: p.epoch, PreviousMemberEpoch: p.previous, State: int8(p.state),
		ActiveTasks: currentTasks(p.assigned.active, true), StandbyTasks: currentTasks(p.assigned.standby, false),
		WarmupTasks: currentTasks(p.assigned.warmup, false), ActiveTasksPendingRevocation: currentTasks(p.revoking.active, true),
		StandbyTasksPendingRevocation: currentTasks(p.revoking.standby, false), WarmupTasksPendingRevocation: currentTasks(p.revoking.warmup, false),
	})
}

type currentTaskIds = wire.StreamsGroupCurrentMemberAssignmentValueTaskIds

func currentTasks(t tasks, epochs bool) []currentTaskIds {
	out := []currentTaskIds{}
	for _, s := range t.sets() {
		ids := currentTaskIds{SubtopologyID: s.Subtopology, Partitions: s.Partitions, AssignmentEpochs: []int32{}}
		if epochs {
			for _, p := range s.Partitions {
				ids.AssignmentEpochs = append(ids.AssignmentEpochs, t[task{s.Subtopology, p}])
			}
		}
		out = append(out, ids)
	}
	return out
}

// readTasks reads tasks of a member's record. Active tasks without epochs have that of the member.
func readTasks(sets []currentTaskIds, active bool, epoch int32) tasks {
	out := tasks{}
	for i := range sets {
		s := &sets[i]
		known := len(s.AssignmentEpochs) == len(s.Partitions)
		for j, p := range s.Partitions {
			switch t := (task{s.SubtopologyID, p}); {
			case !active:
				out[t] = 0
			case known:
				out[t] = s.AssignmentEpochs[j]
			default:
				out[t] = epoch
			}
		}
	}
	return out
}

func removeMember(groupID, memberID string) []base.Record {
	return []base.Record{
		tombstone(&wire.StreamsGroupCurrentMemberAssignmentKey{GroupID: groupID, MemberID: memberID}),
		tombstone(&wire.StreamsGroupTargetAssignmentMemberKey{GroupID: groupID, MemberID: memberID}),
		tombstone(&wire.StreamsGroupMemberMetadataKey{GroupID: groupID, MemberID: memberID}),
	}
}

// Apply takes one record of a streams group. What the log has left of groups and members that are gone, which
// compaction can bring about in any order, is taken as it comes.
func (k *Groups) Apply(key, value []byte) (known bool, err error) {
	r := wire.NewReader(key)
	switch r.Int16() {
	case wire.TypeStreamsGroupMetadata, wire.TypeStreamsGroupMemberMetadata, wire.TypeStreamsGroupTargetAssignmentMetadata,
		wire.TypeStreamsGroupTargetAssignmentMember, wire.TypeStreamsGroupCurrentMemberAssignment, wire.TypeStreamsGroupTopology:
	default:
		return false, nil
	}
	e, err := decode(key, value)
	if err == nil {
		k.take(e)
	}
	return true, err
}

// entry is a record that was read; value is nil for a tombstone.
type entry struct{ key, value wire.CoordinatorRecord }

func decode(key, value []byte) (e entry, err error) {
	if e.key, err = wire.DecodeGroupKey(key); err != nil || value == nil {
		return e, err
	}
	e.value, _, err = wire.DecodeGroupValue(e.key.CoordinatorType(), value)
	return e, err
}

// take changes the state as a record says.
func (k *Groups) take(e entry) {
	if e.value == nil {
		k.remove(e.key)
		return
	}
	k.put(e.key, e.value)
}

// recordLimit is the largest record that may be written: what surely fits a batch of __consumer_offsets. A record
// that the log refuses would cost the whole partition a new load.
const recordLimit = 900_000

// entries reads records that were made here, as a replay would, and says whether they can be written at all: a replay
// refuses what would take far more memory than its length can justify, which a hostile topology does.
func entries(groupID string, records []base.Record) ([]entry, *failure) {
	out := make([]entry, len(records))
	for i := range records {
		if n := len(records[i].Key) + len(records[i].Value); n > recordLimit {
			return nil, failed(wire.UnknownServerError, "The state of group %s would need a record of %d bytes; the limit is %d.", groupID, n, recordLimit)
		}
		e, err := decode(records[i].Key, records[i].Value)
		if err != nil {
			return nil, failed(wire.UnknownServerError, "The state of group %s cannot be written: %v", groupID, err)
		}
		out[i] = e
	}
	return out, nil
}

// put takes a record that is not a tombstone.
func (k *Groups) put(key wire.CoordinatorRecord, value wire.CoordinatorRecord) {
	switch key := key.(type) {
	case *wire.StreamsGroupMetadataKey:
		v := value.(*wire.StreamsGroupMetadataValue)
		g := k.group(key.GroupID)
		g.epoch, g.hash, g.validated, g.lastConfigs = v.Epoch, v.MetadataHash, v.ValidatedTopologyEpoch, v.LastAssignmentConfigs
	case *wire.StreamsGroupTopologyKey:
		k.group(key.GroupID).setTopology(value.(*topologyValue))
	case *wire.StreamsGroupMemberMetadataKey:
		g := k.group(key.GroupID)
		m := g.member(key.MemberID)
		g.change(m, func() { m.profile = readProfile(value.(*wire.StreamsGroupMemberMetadataValue)) })
	case *wire.StreamsGroupCurrentMemberAssignmentKey:
		g := k.group(key.GroupID)
		m := g.member(key.MemberID)
		g.change(m, func() { m.progress = readProgress(value.(*wire.StreamsGroupCurrentMemberAssignmentValue)) })
	case *wire.StreamsGroupTargetAssignmentMetadataKey:
		v := value.(*wire.StreamsGroupTargetAssignmentMetadataValue)
		g := k.group(key.GroupID)
		g.assignedEpoch, g.assignedAt = v.AssignmentEpoch, v.AssignmentTimestamp
	case *wire.StreamsGroupTargetAssignmentMemberKey:
		k.group(key.GroupID).target[key.MemberID] = readTarget(value.(*wire.StreamsGroupTargetAssignmentMemberValue))
	}
}

// remove takes a tombstone.
func (k *Groups) remove(key wire.CoordinatorRecord) {
	switch key := key.(type) {
	case *wire.StreamsGroupMetadataKey:
		if g := k.groups[key.GroupID]; g != nil {
			k.forget(g)
		}
	case *wire.StreamsGroupTopologyKey:
		if g := k.groups[key.GroupID]; g != nil {
			g.setTopology(nil)
		}
	case *wire.StreamsGroupMemberMetadataKey:
		if g := k.groups[key.GroupID]; g != nil {
			g.removeMember(key.MemberID)
		}
	case *wire.StreamsGroupCurrentMemberAssignmentKey:
		if g := k.groups[key.GroupID]; g != nil && g.members[key.MemberID] != nil {
			m := g.members[key.MemberID]
			g.change(m, func() { m.progress = newMember(m.id).progress })
		}
	case *wire.StreamsGroupTargetAssignmentMetadataKey:
		if g := k.groups[key.GroupID]; g != nil {
			g.assignedEpoch, g.assignedAt = -1, 0
		}
	case *wire.StreamsGroupTargetAssignmentMemberKey:
		if g := k.groups[key.GroupID]; g != nil {
			delete(g.target, key.MemberID)
		}
	}
}

// group finds a group or makes it.
func (k *Groups) group(id string) *group {
	g := k.groups[id]
	if g == nil {
		g = newGroup(id)
		k.groups[id] = g
	}
	return g
}

// forget drops a group with all that it has.
func (k *Groups) forget(g *group) {
	for _, m := range g.members { //unordered: timers stop apart
		m.session.Stop()
		m.rebalance.Stop()
	}
	g.initial.Stop()
	delete(k.groups, g.id)
}

// member finds a member or makes it.
func (g *group) member(id string) *member {
	m := g.members[id]
	if m == nil {
		m = newMember(id)
		m.session = timer{kind: timerSession, group: g, member: m}
		m.rebalance = timer{kind: timerRebalance, group: g, member: m}
		g.members[id] = m
	}
	return m
}

func (g *group) removeMember(id string) {
	m := g.members[id]
	if m == nil {
		return
	}
	g.count(m, -1)
	m.session.Stop()
	m.rebalance.Stop()
	if delete(g.members, id); len(g.members) == 0 {
		g.shutdownBy = ""
	}
}

func readProfile(v *wire.StreamsGroupMemberMetadataValue) profile {
	p := profile{
		rack: v.RackID, clientID: v.ClientID, host: v.ClientHost, rebalanceMs: v.RebalanceTimeoutMs,
		topologyEpoch: v.TopologyEpoch, process: v.ProcessID,
	}
	if v.UserEndpoint != nil {
		p.endpoint = &endpoint{v.UserEndpoint.Host, v.UserEndpoint.Port}
	}
	if len(v.ClientTags) > 0 {
		p.tags = make(map[string]string, len(v.ClientTags))
	}
	for _, t := range v.ClientTags {
		p.tags[t.Key] = t.Value
	}
	return p
}

func readProgress(v *wire.StreamsGroupCurrentMemberAssignmentValue) progress {
	return progress{
		epoch: v.MemberEpoch, previous: v.PreviousMemberEpoch, state: memberState(v.State),
		assigned: holding{
			readTasks(v.ActiveTasks, true, v.MemberEpoch), readTasks(v.StandbyTasks, false, 0), readTasks(v.WarmupTasks, false, 0),
		},
		revoking: holding{
			readTasks(v.ActiveTasksPendingRevocation, true, v.MemberEpoch), readTasks(v.StandbyTasksPendingRevocation, false, 0),
			readTasks(v.WarmupTasksPendingRevocation, false, 0),
		},
	}
}

func readTarget(v *wire.StreamsGroupTargetAssignmentMemberValue) *target {
	sets := func(in []wire.StreamsGroupTargetAssignmentMemberValueTaskIds) assign.Tasks {
		t := tasksOf(in, func(s *wire.StreamsGroupTargetAssignmentMemberValueTaskIds) (string, []int32) {
			return s.SubtopologyID, s.Partitions
		})
		return t.sets()
	}
	return &target{sets(v.ActiveTasks), sets(v.StandbyTasks), sets(v.WarmupTasks)}
}

// Delete appends the tombstones of an empty group.
func (k *Groups) Delete(id string, records []base.Record) ([]base.Record, wire.Code) {
	g := k.groups[id]
	switch {
	case g == nil:
		return records, wire.GroupIDNotFound
	case len(g.members) > 0:
		return records, wire.NonEmptyGroup
	}
	gone := []base.Record{tombstone(&wire.StreamsGroupTargetAssignmentMetadataKey{GroupID: id})}
	for _, member := range sortedKeys(g.target) {
		gone = append(gone, tombstone(&wire.StreamsGroupTargetAssignmentMemberKey{GroupID: id, MemberID: member}))
	}
	gone = append(gone, tombstone(&wire.StreamsGroupMetadataKey{GroupID: id}), tombstone(&wire.StreamsGroupTopologyKey{GroupID: id}))
	k.apply(id, gone)
	return append(records, gone...), wire.None
}

// apply takes records that were made here and are small.
func (k *Groups) apply(groupID string, records []base.Record) {
	list, f := entries(groupID, records)
	invariant.Check(f == nil, "records of streams group %s do not apply", groupID)
	for _, e := range list {
		k.take(e)
	}
}

func (c configs) equal(d configs) bool { return slices.Equal(c, d) }
