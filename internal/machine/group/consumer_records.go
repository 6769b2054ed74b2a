package group

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/assign"
)

// consumerValueVersion is the version of all values of consumer groups.
const consumerValueVersion = 0

// consumerTurn is one decision on a consumer group: each record it writes takes effect at once.
type consumerTurn struct {
	c       *Consumers
	g       *consumerGroup
	now     Time
	fx      *Effects
	records []Record
	buf     []byte
}

func (c *Consumers) turn(g *consumerGroup, now Time, fx *Effects) *consumerTurn {
	return &consumerTurn{c: c, g: g, now: now, fx: fx}
}

// done hands the records on. A group that nothing was written for was never there.
func (t *consumerTurn) done() {
	if t.g.epoch == 0 && t.g.targetEpoch < 0 && len(t.g.members) == 0 {
		t.g.forget()
	}
	t.fx.Record(t.records...)
	t.records = nil
}

func (t *consumerTurn) event(what, reason string) {
	t.fx.Events = append(t.fx.Events, Event{t.g.id, what, reason, t.g.epoch, len(t.g.members)})
}

// put adds a record; a nil value is a tombstone. The caller applies it.
func (t *consumerTurn) put(key wire.CoordinatorRecord, value wire.Record) {
	start := len(t.buf)
	t.buf = wire.AppendKey(t.buf, key)
	r := Record{Key: t.buf[start:len(t.buf):len(t.buf)]}
	if value != nil {
		start = len(t.buf)
		t.buf = wire.AppendValue(t.buf, value, consumerValueVersion)
		r.Value = t.buf[start:len(t.buf):len(t.buf)]
	}
	t.records = append(t.records, r)
}

func (t *consumerTurn) putMember(id string, v *wire.ConsumerGroupMemberMetadataValue) {
	key := &wire.ConsumerGroupMemberMetadataKey{GroupID: t.g.id, MemberID: id}
	if v == nil {
		t.put(key, nil)
	} else {
		t.put(key, v)
	}
	t.g.applyMember(id, v)
}

func (t *consumerTurn) putEpoch(epoch int32, hash int64) {
	t.put(&wire.ConsumerGroupMetadataKey{GroupID: t.g.id}, &wire.ConsumerGroupMetadataValue{Epoch: epoch, MetadataHash: hash})
	t.g.epoch, t.g.metadataHash = epoch, hash
}

func (t *consumerTurn) putTarget(id string, target assign.Assignment, gone bool) {
	key := &wire.ConsumerGroupTargetAssignmentMemberKey{GroupID: t.g.id, MemberID: id}
	if gone {
		t.put(key, nil)
	} else {
		v := &wire.ConsumerGroupTargetAssignmentMemberValue{TopicPartitions: make([]wire.ConsumerGroupTargetAssignmentMemberValueTopicPartition, len(target))}
		for i, tp := range target {
			v.TopicPartitions[i] = wire.ConsumerGroupTargetAssignmentMemberValueTopicPartition{TopicID: tp.Topic, Partitions: tp.Partitions}
		}
		t.put(key, v)
	}
	t.g.applyTarget(id, target, gone)
}

func (t *consumerTurn) putTargetEpoch(epoch int32, ms int64) {
	t.put(&wire.ConsumerGroupTargetAssignmentMetadataKey{GroupID: t.g.id},
		&wire.ConsumerGroupTargetAssignmentMetadataValue{AssignmentEpoch: epoch, AssignmentTimestamp: ms})
	t.g.targetEpoch, t.g.targetMs = epoch, ms
}

func (t *consumerTurn) putCurrent(id string, v *wire.ConsumerGroupCurrentMemberAssignmentValue) {
	key := &wire.ConsumerGroupCurrentMemberAssignmentKey{GroupID: t.g.id, MemberID: id}
	if v == nil {
		t.put(key, nil)
	} else {
		t.put(key, v)
	}
	t.g.applyCurrent(id, v)
}

func (t *consumerTurn) putRegex(regex string, r *resolvedRegex) {
	key := &wire.ConsumerGroupRegularExpressionKey{GroupID: t.g.id, RegularExpression: regex}
	if r == nil {
		t.put(key, nil)
	} else {
		t.put(key, &wire.ConsumerGroupRegularExpressionValue{Topics: r.topics, Version: r.version, Timestamp: r.ms})
	}
	t.g.applyRegex(regex, r)
}

// bury removes the group: tombstones of all that it has, in Kafka's order.
func (t *consumerTurn) bury() {
	g := t.g
	ids := sortedKeys(g.members)
	for _, id := range ids {
		t.putCurrent(id, nil)
	}
	for _, id := range sortedKeys(g.targets) {
		t.putTarget(id, nil, true)
	}
	t.put(&wire.ConsumerGroupTargetAssignmentMetadataKey{GroupID: g.id}, nil)
	g.targetEpoch = -1
	for _, id := range ids {
		t.putMember(id, nil)
	}
	for _, regex := range sortedKeys(g.resolved) {
		t.putRegex(regex, nil)
	}
	t.dropOld()
	t.put(&wire.ConsumerGroupMetadataKey{GroupID: g.id}, nil)
	g.forget()
}

// dropOld removes the record that brokers before 4.1 kept the topics' metadata in.
func (t *consumerTurn) dropOld() {
	if t.g.oldMetadata {
		t.put(&wire.ConsumerGroupPartitionMetadataKey{GroupID: t.g.id}, nil)
		t.g.oldMetadata = false
	}
}

// Apply takes one record of a consumer group.
func (c *Consumers) Apply(key, value []byte) (known bool, err error) {
	switch kind := wire.NewReader(key).Int16(); kind {
	case wire.TypeConsumerGroupMetadata, wire.TypeConsumerGroupPartitionMetadata, wire.TypeConsumerGroupMemberMetadata,
		wire.TypeConsumerGroupTargetAssignmentMetadata, wire.TypeConsumerGroupTargetAssignmentMember,
		wire.TypeConsumerGroupCurrentMemberAssignment, wire.TypeConsumerGroupRegularExpression:
	default:
		return false, nil
	}
	k, err := wire.DecodeGroupKey(key)
	if err != nil {
		return true, err
	}
	if err := c.apply(k, value); err != nil {
		return true, fmt.Errorf("reading the value of a record of type %d: %w", k.CoordinatorType(), err)
	}
	return true, nil
}

// open finds the group of a record, or makes it. nil says that the record is a tombstone for what is not there.
func (c *Consumers) open(id string, gone bool) *consumerGroup {
	g := c.groups[id]
	if g == nil && !gone {
		g = newConsumerGroup(c, id)
		c.groups[g.id] = g
	}
	return g
}

func (c *Consumers) apply(key wire.CoordinatorRecord, value []byte) (err error) {
	gone := value == nil
	switch k := key.(type) {
	case *wire.ConsumerGroupMetadataKey:
		var v wire.ConsumerGroupMetadataValue
		if err = decodeUnless(gone, value, &v); err != nil {
			return err
		}
		if g := c.open(k.GroupID, gone); g != nil && gone {
			g.forget()
		} else if g != nil {
			g.epoch, g.metadataHash = v.Epoch, v.MetadataHash
		}
	case *wire.ConsumerGroupPartitionMetadataKey:
		if g := c.open(k.GroupID, gone); g != nil {
			g.oldMetadata = !gone
		}
	case *wire.ConsumerGroupMemberMetadataKey:
		v := new(wire.ConsumerGroupMemberMetadataValue)
		if err = decodeUnless(gone, value, v); err != nil {
			return err
		}
		if gone {
			v = nil
		}
		if g := c.open(k.GroupID, gone); g != nil {
			g.applyMember(k.MemberID, v)
		}
	case *wire.ConsumerGroupTargetAssignmentMetadataKey:
		v := wire.ConsumerGroupTargetAssignmentMetadataValue{AssignmentEpoch: -1}
		if err = decodeUnless(gone, value, &v); err != nil {
			return err
		}
		if g := c.open(k.GroupID, gone); g != nil {
			g.targetEpoch, g.targetMs = v.AssignmentEpoch, v.AssignmentTimestamp
		}
	default:
		return c.applyAssignments(key, value)
	}
	return nil
}

func (c *Consumers) applyAssignments(key wire.CoordinatorRecord, value []byte) (err error) {
	gone := value == nil
	switch k := key.(type) {
	case *wire.ConsumerGroupTargetAssignmentMemberKey:
		var v wire.ConsumerGroupTargetAssignmentMemberValue
		if err = decodeUnless(gone, value, &v); err != nil {
			return err
		}
		if g := c.open(k.GroupID, gone); g != nil {
			g.applyTarget(k.MemberID, targetOf(&v), gone)
		}
	case *wire.ConsumerGroupCurrentMemberAssignmentKey:
		v := new(wire.ConsumerGroupCurrentMemberAssignmentValue)
		if err = decodeUnless(gone, value, v); err != nil {
			return err
		}
		v.AssignedPartitions = normal(v.AssignedPartitions, v.MemberEpoch)
		v.PartitionsPendingRevocation = normal(v.PartitionsPendingRevocation, v.MemberEpoch)
		if gone {
			v = nil
		}
		if g := c.open(k.GroupID, gone); g != nil {
			g.applyCurrent(k.MemberID, v)
		}
	case *wire.ConsumerGroupRegularExpressionKey:
		var v wire.ConsumerGroupRegularExpressionValue
		if err = decodeUnless(gone, value, &v); err != nil {
			return err
		}
		g := c.open(k.GroupID, gone)
		if g == nil {
			return nil
		}
		if gone {
			g.applyRegex(k.RegularExpression, nil)
			return nil
		}
		topics := slices.Compact(slices.Sorted(slices.Values(v.Topics)))
		g.applyRegex(k.RegularExpression, &resolvedRegex{topics, v.Version, v.Timestamp})
	}
	return nil
}

// decodeUnless reads a value, unless there is none.
func decodeUnless(gone bool, value []byte, v wire.Record) error {
	if gone {
		return nil
	}
	_, err := wire.DecodeValue(value, v)
	return err
}

// targetOf is a record's target as assignors have it.
func targetOf(v *wire.ConsumerGroupTargetAssignmentMemberValue) assign.Assignment {
	a := make(assign.Assignment, 0, len(v.TopicPartitions))
	for i := range v.TopicPartitions {
		tp := &v.TopicPartitions[i]
		if len(tp.Partitions) > 0 {
			a = append(a, assign.TopicPartitions{Topic: tp.TopicID, Partitions: slices.Compact(slices.Sorted(slices.Values(tp.Partitions)))})
		}
	}
	slices.SortFunc(a, func(x, y assign.TopicPartitions) int { return slices.Compare(x.Topic[:], y.Topic[:]) })
	return a
}

// describeTopics names a few topics for people.
func describeTopics(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
