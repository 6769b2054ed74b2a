package share

import (
	"fmt"
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/assign"
	"github.com/moldau/moldau/internal/machine/group"
)

// groupVersion is the version of the values, as Apache Kafka 4.3.1 writes them.
const groupVersion = 0

// memberStable is the only state that a member's record has: nothing is ever taken away from it in steps.
const memberStable = 0

// put emits a record; who calls applies it.
func (t *step) put(key wire.CoordinatorRecord, value wire.Record) {
	t.records = append(t.records, group.Record{Key: wire.AppendKey(nil, key), Value: wire.AppendValue(nil, value, groupVersion)})
}

// gone emits a tombstone; who calls applies it.
func (t *step) gone(key wire.CoordinatorRecord) {
	t.records = append(t.records, group.Record{Key: wire.AppendKey(nil, key)})
}

func (t *step) putEpoch(epoch int32, hash int64) {
	t.put(&wire.ShareGroupMetadataKey{GroupID: t.sg.id}, &wire.ShareGroupMetadataValue{Epoch: epoch, MetadataHash: hash})
	t.sg.epoch, t.sg.hash = epoch, hash
}

func (t *step) putAssigned(epoch int32, wall int64) {
	t.put(&wire.ShareGroupTargetAssignmentMetadataKey{GroupID: t.sg.id},
		&wire.ShareGroupTargetAssignmentMetadataValue{AssignmentEpoch: epoch, AssignmentTimestamp: wall})
	t.sg.assignedEpoch, t.sg.assignedAt = epoch, wall
}

func (t *step) putTarget(id string, a assign.Assignment) {
	v := &wire.ShareGroupTargetAssignmentMemberValue{TopicPartitions: make([]wire.ShareGroupTargetAssignmentMemberValueTopicPartition, len(a))}
	for i, tp := range a {
		v.TopicPartitions[i] = wire.ShareGroupTargetAssignmentMemberValueTopicPartition{TopicID: tp.Topic, Partitions: tp.Partitions}
	}
	t.put(&wire.ShareGroupTargetAssignmentMemberKey{GroupID: t.sg.id, MemberID: id}, v)
	t.sg.targets[id] = a
}

func (t *step) putCurrent(id string, epoch, previous int32, a assign.Assignment) {
	v := &wire.ShareGroupCurrentMemberAssignmentValue{MemberEpoch: epoch, PreviousMemberEpoch: previous, State: memberStable,
		AssignedPartitions: make([]wire.ShareGroupCurrentMemberAssignmentValueTopicPartitions, len(a))}
	for i, tp := range a {
		v.AssignedPartitions[i] = wire.ShareGroupCurrentMemberAssignmentValueTopicPartitions{TopicID: tp.Topic, Partitions: tp.Partitions}
	}
	t.put(&wire.ShareGroupCurrentMemberAssignmentKey{GroupID: t.sg.id, MemberID: id}, v)
	m := t.sg.members[id]
	m.epoch, m.previous, m.assigned = epoch, previous, a
}

func newShareGroup(id string) *shareGroup {
	return &shareGroup{
		id: id, epoch: firstEpoch, assignedEpoch: firstEpoch, members: map[string]*member{}, targets: map[string]assign.Assignment{}, reads: map[string]int{},
		stale: true,
	}
}

// setMember takes what a member's record says of it.
func (g *Groups) setMember(sg *shareGroup, id string, v *wire.ShareGroupMemberMetadataValue) {
	m := sg.member(id)
	m.rack, m.clientID, m.host = v.RackID, v.ClientID, v.ClientHost
	names := v.SubscribedTopicNames
	if !slices.IsSorted(names) {
		names = slices.Sorted(slices.Values(names))
	}
	g.setTopics(m, slices.Compact(names))
}

// member finds a member, or makes one that nothing is known of yet.
func (sg *shareGroup) member(id string) *member {
	m := sg.members[id]
	if m == nil {
		m = &member{id: id, group: sg, previous: -1}
		sg.members[id] = m
	}
	return m
}

// setTopics changes what the member reads.
func (g *Groups) setTopics(m *member, topics []string) {
	sg := m.group
	for _, name := range topics {
		if sg.reads[name]++; sg.reads[name] > 1 {
			continue
		}
		if g.readers[name] == nil {
			g.readers[name] = map[*shareGroup]bool{}
		}
		g.readers[name][sg] = true
	}
	for _, name := range m.topics {
		if sg.reads[name]--; sg.reads[name] > 0 {
			continue
		}
		delete(sg.reads, name)
		if delete(g.readers[name], sg); len(g.readers[name]) == 0 {
			delete(g.readers, name)
			delete(g.hashes, name)
		}
	}
	m.topics = topics
}

func (g *Groups) removeMember(sg *shareGroup, id string) {
	if m := sg.members[id]; m != nil {
		g.setTopics(m, nil)
		m.Stop()
		delete(sg.members, id)
	}
}

func (g *Groups) removeTarget(sg *shareGroup, id string) { delete(sg.targets, id) }

// Apply replays one record.
func (g *Groups) Apply(key, value []byte) (known bool, err error) {
	r := wire.NewReader(key)
	kind := r.Int16()
	if kind < wire.TypeShareGroupMemberMetadata || kind > wire.TypeShareGroupStatePartitionMetadata {
		return false, r.Err()
	}
	k, err := wire.DecodeGroupKey(key)
	if err != nil {
		return true, err
	}
	id, memberID := keyOf(k)
	sg := g.groups[id]
	if value == nil {
		if sg != nil {
			g.applyTombstone(sg, kind, memberID)
		}
		return true, nil
	}
	v, _, err := wire.DecodeGroupValue(kind, value)
	if err != nil {
		return true, fmt.Errorf("share group %s: %w", id, err)
	}
	if sg == nil {
		sg = newShareGroup(id)
		g.groups[id] = sg
	}
	g.applyValue(sg, memberID, v)
	return true, nil
}

// keyOf is the group and the member that a key names.
func keyOf(key wire.CoordinatorRecord) (id, memberID string) {
	switch k := key.(type) {
	case *wire.ShareGroupMetadataKey:
		return k.GroupID, ""
	case *wire.ShareGroupTargetAssignmentMetadataKey:
		return k.GroupID, ""
	case *wire.ShareGroupStatePartitionMetadataKey:
		return k.GroupID, ""
	case *wire.ShareGroupMemberMetadataKey:
		return k.GroupID, k.MemberID
	case *wire.ShareGroupTargetAssignmentMemberKey:
		return k.GroupID, k.MemberID
	case *wire.ShareGroupCurrentMemberAssignmentKey:
		return k.GroupID, k.MemberID
	default:
		return "", ""
	}
}

func (g *Groups) applyValue(sg *shareGroup, memberID string, value wire.CoordinatorRecord) {
	switch v := value.(type) {
	case *wire.ShareGroupMetadataValue:
		sg.epoch, sg.hash = v.Epoch, v.MetadataHash
	case *wire.ShareGroupTargetAssignmentMetadataValue:
		sg.assignedEpoch, sg.assignedAt = v.AssignmentEpoch, v.AssignmentTimestamp
	case *wire.ShareGroupStatePartitionMetadataValue:
		sg.setStates(v, 0)
	case *wire.ShareGroupMemberMetadataValue:
		g.setMember(sg, memberID, v)
	case *wire.ShareGroupTargetAssignmentMemberValue:
		a := make(assign.Assignment, len(v.TopicPartitions))
		for i, tp := range v.TopicPartitions {
			a[i] = assign.TopicPartitions{Topic: tp.TopicID, Partitions: tp.Partitions}
		}
		sg.targets[memberID] = ordered(a)
	case *wire.ShareGroupCurrentMemberAssignmentValue:
		a := make(assign.Assignment, len(v.AssignedPartitions))
		for i, tp := range v.AssignedPartitions {
			a[i] = assign.TopicPartitions{Topic: tp.TopicID, Partitions: tp.Partitions}
		}
		m := sg.member(memberID)
		m.epoch, m.previous, m.assigned = v.MemberEpoch, v.PreviousMemberEpoch, ordered(a)
	}
}

// ordered sorts an assignment as this machine keeps it; Kafka leaves the order to chance.
func ordered(a assign.Assignment) assign.Assignment {
	a = slices.DeleteFunc(a, func(tp assign.TopicPartitions) bool { return len(tp.Partitions) == 0 })
	for i := range a {
		slices.Sort(a[i].Partitions)
		a[i].Partitions = slices.Compact(a[i].Partitions)
	}
	slices.SortStableFunc(a, func(x, y assign.TopicPartitions) int { return slices.Compare(x.Topic[:], y.Topic[:]) })
	return slices.CompactFunc(a, func(x, y assign.TopicPartitions) bool { return x.Topic == y.Topic })
}

func (g *Groups) applyTombstone(sg *shareGroup, kind int16, memberID string) {
	switch kind {
	case wire.TypeShareGroupMetadata:
		g.forget(sg)
	case wire.TypeShareGroupTargetAssignmentMetadata:
		sg.assignedEpoch, sg.assignedAt = -1, 0
	case wire.TypeShareGroupStatePartitionMetadata:
		sg.states = nil
	case wire.TypeShareGroupMemberMetadata:
		g.removeMember(sg, memberID)
	case wire.TypeShareGroupTargetAssignmentMember:
		g.removeTarget(sg, memberID)
	case wire.TypeShareGroupCurrentMemberAssignment:
		if m := sg.members[memberID]; m != nil {
			m.epoch, m.previous, m.assigned = leaveEpoch, leaveEpoch, nil
		}
	}
}
