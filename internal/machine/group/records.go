package group

import (
	"fmt"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
)

// Versions of the values, as Apache Kafka 4.3.1 writes them. An offset commit with an expiry of its own, which
// only clients of old ask for, can be written in one version only.
const (
	groupValueVersion         = 3
	offsetValueVersion        = 4
	offsetValueVersionExpires = 1
)

// Types of keys that this machine replays.
const (
	keyOffsetOld = 0
	keyOffset    = 1
	keyGroup     = 2
)

// encoder writes records. Those of one write share memory.
type encoder struct {
	buf   []byte
	key   wire.OffsetCommitKey
	value wire.OffsetCommitValue
}

// cut returns what was appended since start, so that later appends leave it alone.
func (e *encoder) cut(start int) []byte { return e.buf[start:len(e.buf):len(e.buf)] }

// offset writes the record of a change.
func (e *encoder) offset(c *change) Record {
	e.key = wire.OffsetCommitKey{Group: c.group.id, Topic: c.topic, Partition: c.partition}
	start := len(e.buf)
	e.buf = wire.AppendKey(e.buf, &e.key)
	key := e.cut(start)
	if c.gone {
		return Record{Key: key}
	}
	o := &c.offset
	e.value = wire.OffsetCommitValue{
		Offset: o.Offset, LeaderEpoch: o.LeaderEpoch, Metadata: o.Metadata,
		CommitTimestamp: o.CommitMs, ExpireTimestamp: o.ExpireMs, TopicID: o.TopicID,
	}
	version := int16(offsetValueVersion)
	if o.ExpireMs >= 0 {
		version = offsetValueVersionExpires
	}
	start = len(e.buf)
	e.buf = wire.AppendValue(e.buf, &e.value, version)
	return Record{key, e.cut(start)}
}

func (e *encoder) groupTombstone(id string) Record {
	start := len(e.buf)
	e.buf = wire.AppendKey(e.buf, &wire.GroupMetadataKey{Group: id})
	return Record{Key: e.cut(start)}
}

// newGroupRecord is the metadata of a group that was just made. It says nothing of a member that is about to
// join, as in Kafka.
func newGroupRecord(g *group) Record {
	return encodeGroup(g.id, &wire.GroupMetadataValue{CurrentStateTimestamp: g.since})
}

// groupRecord is the metadata of the group with its members. Their assignments come from the map, if given, and
// are empty where it has none.
func groupRecord(g *group, assignment map[string][]byte) Record {
	v := &wire.GroupMetadataValue{
		ProtocolType: g.protocolType, Generation: g.generation, Protocol: g.protocol,
		CurrentStateTimestamp: g.since, Members: make([]wire.GroupMetadataValueMemberMetadata, len(g.order)),
	}
	if g.leader != "" {
		v.Leader = &g.leader
	}
	for i, mb := range g.order {
		a := mb.assignment
		if assignment != nil {
			a = assignment[mb.id]
		}
		v.Members[i] = wire.GroupMetadataValueMemberMetadata{
			MemberID: mb.id, GroupInstanceID: mb.instanceID(), ClientID: mb.clientID, ClientHost: mb.clientHost,
			RebalanceTimeout: mb.rebalanceMs, SessionTimeout: mb.sessionMs,
			Subscription: mb.metadata(*g.protocol), Assignment: a,
		}
	}
	return encodeGroup(g.id, v)
}

func encodeGroup(id string, v *wire.GroupMetadataValue) Record {
	return Record{
		Key:   wire.AppendKey(nil, &wire.GroupMetadataKey{Group: id}),
		Value: wire.AppendValue(nil, v, groupValueVersion),
	}
}

// Entry is a record read back from the log.
type Entry struct {
	Offset int64
	// ProducerID is that of a transactional batch, else -1.
	ProducerID int64
	Key, Value []byte // Value is nil for a tombstone
}

// replayed is memory for an offset that is replayed.
type replayed struct {
	key   wire.OffsetCommitKey
	value wire.OffsetCommitValue
}

// Apply replays one record while loading. Types that this machine does not keep are skipped, which known tells;
// an error means that the record is broken.
func (m *Machine) Apply(e *Entry) (known bool, err error) {
	r := &m.reader
	r.AliasStrings = true
	r.Reset(e.Key)
	switch kind := r.Int16(); {
	case r.Err() != nil:
		return false, fmt.Errorf("reading the key of the record at offset %d: %w", e.Offset, r.Err())
	case kind == keyOffset || kind == keyOffsetOld:
		return true, m.replayOffset(e)
	case kind == keyGroup:
		return true, m.replayGroup(e)
	default:
		return m.apply(e)
	}
}

// replayOffset copies names only where they are new: most of what is loaded is of a few groups and topics.
func (m *Machine) replayOffset(e *Entry) error {
	r, key, v := &m.reader, &m.replayed.key, &m.replayed.value
	if key.Decode(r, 0); r.Err() != nil {
		return fmt.Errorf("reading the key of the offset commit at offset %d: %w", e.Offset, r.Err())
	}
	g := m.groups[key.Group]
	if e.Value == nil {
		if g != nil {
			m.removeOffset(offsetKey{g, key.Topic, key.Partition})
			m.drop(g)
		}
		return nil
	}
	r.Reset(e.Value)
	version := r.Int16()
	if v.Decode(r, version); r.Err() != nil {
		return fmt.Errorf("reading the offset commit at offset %d, version %d: %w", e.Offset, version, r.Err())
	}
	if g == nil {
		g = m.create(key.Group, v.CommitTimestamp)
	}
	topic := g.topicName(key.Topic)
	o := Offset{
		Offset: v.Offset, LeaderEpoch: v.LeaderEpoch, Metadata: strings.Clone(v.Metadata), CommitMs: v.CommitTimestamp,
		ExpireMs: v.ExpireTimestamp, TopicID: v.TopicID, record: e.Offset,
	}
	if e.ProducerID < 0 {
		g.setOffset(topic, key.Partition, o)
		return nil
	}
	m.openOffset(g, e.ProducerID, topicPartition{topic, key.Partition}, o)
	return nil
}

// openOffset takes over an offset of a transaction that is still open.
func (m *Machine) openOffset(g *group, producerID int64, of topicPartition, o Offset) {
	if m.producers[producerID] == nil {
		m.producers[producerID] = map[*group]bool{}
	}
	m.producers[producerID][g] = true
	if g.open == nil {
		g.open = map[int64]pendingOffsets{}
	}
	if g.open[producerID] == nil {
		g.open[producerID] = pendingOffsets{}
	}
	g.open[producerID][of] = o
}

// EndTransaction takes note of the marker at an offset, live or in replay: offsets of the producer's transaction become
// committed, unless a later commit has overtaken them, or are dropped. To be told of a marker twice does no harm.
func (m *Machine) EndTransaction(producerID int64, commit bool, at int64) {
	for g := range m.producers[producerID] { //unordered: groups do not see each other
		open := g.open[producerID]
		for tp, o := range open { //unordered: neither do offsets
			if o.record >= at {
				continue // of the next transaction
			}
			delete(open, tp)
			if old, ok := g.offset(tp.topic, tp.partition); commit && (!ok || old.record < o.record) {
				g.setOffset(tp.topic, tp.partition, o)
			}
		}
		if len(open) == 0 {
			delete(g.open, producerID)
			delete(m.producers[producerID], g)
			m.drop(g)
		}
	}
	if len(m.producers[producerID]) == 0 {
		delete(m.producers, producerID)
	}
}

func (m *Machine) replayGroup(e *Entry) error {
	var key wire.GroupMetadataKey
	r := &m.reader
	if key.Decode(r, 0); r.Err() != nil {
		return fmt.Errorf("reading the key of the group metadata at offset %d: %w", e.Offset, r.Err())
	}
	g := m.groups[key.Group]
	if e.Value == nil {
		if g != nil {
			m.applyGroupTombstone(g)
			m.drop(g)
		}
		return nil
	}
	var v wire.GroupMetadataValue
	if _, err := wire.DecodeValue(e.Value, &v); err != nil {
		return fmt.Errorf("reading the metadata of group %s at offset %d: %w", key.Group, e.Offset, err)
	}
	if g == nil {
		g = m.create(key.Group, -1)
	}
	g.load(&v)
	return nil
}

// load makes the group what its metadata record says.
func (g *group) load(v *wire.GroupMetadataValue) {
	g.reset()
	g.durable = true
	g.protocolType, g.generation, g.protocol, g.since = v.ProtocolType, v.Generation, v.Protocol, v.CurrentStateTimestamp
	if len(v.Members) == 0 {
		g.subscribe()
		return
	}
	g.state = stateStable
	if g.protocol == nil {
		g.protocol = new(string)
	}
	for i := range v.Members {
		in := &v.Members[i]
		if g.members[in.MemberID] != nil {
			continue // broken, but no reason to lose the group
		}
		mb := &member{
			id: in.MemberID, clientID: in.ClientID, clientHost: in.ClientHost,
			rebalanceMs: in.RebalanceTimeout, sessionMs: in.SessionTimeout,
			protocols: []protocol{{name: *g.protocol, metadata: in.Subscription}}, assignment: in.Assignment,
		}
		if in.RebalanceTimeout < 0 {
			mb.rebalanceMs = mb.sessionMs
		}
		if in.GroupInstanceID != nil {
			mb.static, mb.instance = true, *in.GroupInstanceID
		}
		g.add(mb)
	}
	if v.Leader != nil && g.members[*v.Leader] != nil {
		g.leader = *v.Leader
	}
	g.subscribe()
}

// reset empties all but the offsets.
func (g *group) reset() {
	*g = group{
		id: g.id, prev: stateDead, since: -1, joinTimer: g.joinTimer, syncTimer: g.syncTimer,
		offsets: g.offsets, open: g.open, unsettled: g.unsettled, yielded: g.yielded,
	}
}

// applyGroupTombstone takes a group's metadata away. Offsets that are left, which compaction can bring about, make
// it a simple group.
func (m *Machine) applyGroupTombstone(g *group) {
	g.dropPending()
	g.reset()
}

// applyChanges does what records from base on say.
func (m *Machine) applyChanges(changes []change, base int64) {
	for i := range changes {
		c := &changes[i]
		if c.gone {
			m.removeOffset(c.offsetKey)
			continue
		}
		c.offset.record = base + int64(i)
		c.group.setOffset(c.topic, c.partition, c.offset)
	}
}

func (g *group) setOffset(topic string, partition int32, o Offset) {
	if g.offsets == nil {
		g.offsets = map[string]*topicOffsets{}
	}
	t := g.offsets[topic]
	if t == nil {
		t = &topicOffsets{name: topic, of: map[int32]Offset{}}
		g.offsets[topic] = t
	}
	t.of[partition] = o
}

// removeOffset removes an offset, also from open transactions.
func (m *Machine) removeOffset(k offsetKey) {
	if t := k.group.offsets[k.topic]; t != nil {
		if delete(t.of, k.partition); len(t.of) == 0 {
			delete(k.group.offsets, k.topic)
		}
	}
	for producer, offsets := range k.group.open { //unordered: each stands for itself
		if delete(offsets, topicPartition{k.topic, k.partition}); len(offsets) == 0 {
			delete(k.group.open, producer)
			delete(m.producers[producer], k.group)
		}
	}
}
