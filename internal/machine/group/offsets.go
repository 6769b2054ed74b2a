package group

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/moldau/moldau/internal/format/wire"
)

// Offset is a committed offset.
type Offset struct {
	Offset      int64
	LeaderEpoch int32 // -1 for unknown
	Metadata    string
	CommitMs    int64
	ExpireMs    int64     // only old clients say when (OffsetCommit below version 5), else -1
	TopicID     wire.UUID // zero for unknown
	record      int64     // where in the log it is: of a plain and a transactional commit the later one counts
}

// topicOffsets are a group's offsets of one topic, by partition. There is at least one.
type topicOffsets struct {
	name string
	of   map[int32]Offset
}

// offset is the committed offset of a partition.
func (g *group) offset(topic string, partition int32) (o Offset, ok bool) {
	if t := g.offsets[topic]; t != nil {
		o, ok = t.of[partition]
	}
	return o, ok
}

// topicName is a topic's name to keep: that of offsets that the group has, or a copy of one that is only lent.
func (g *group) topicName(lent string) string {
	if t := g.offsets[lent]; t != nil {
		return t.name
	}
	return strings.Clone(lent)
}

// offsetKey is what an offset is of, among all groups.
type offsetKey struct {
	group     *group
	topic     string
	partition int32
}

// topicPartition is what an offset is of, within a group.
type topicPartition struct {
	topic     string
	partition int32
}

// pendingOffsets are those of a transaction, which wait for its marker.
type pendingOffsets map[topicPartition]Offset

// change is an offset to set, or to remove.
type change struct {
	offsetKey
	gone   bool
	offset Offset
}

const (
	// offsetRecordBytes is about what the record of an offset takes besides the name of its group.
	offsetRecordBytes = 96
	// maxSpare, maxSpareChanges and maxSpareBytes bound the memory of settled commits that is kept.
	maxSpare        = 64
	maxSpareChanges = 64
	maxSpareBytes   = 8 << 10
	// noOffset is answered where nothing is committed.
	noOffset = -1
	// groupIDNotFoundSince is the version of OffsetCommit that tells of missing groups (KIP-848).
	groupIDNotFoundSince = 9
	// tombstoneLimit bounds the tombstones of one batch, to stay well below max.message.bytes.
	tombstoneLimit = 1_000
)

// AnswerCommit answers an OffsetCommit request with one code for all partitions, in the memory that resp has. The answer
// shares its names with the request.
func AnswerCommit(req *wire.OffsetCommitRequest, resp *wire.OffsetCommitResponse, code wire.Code) {
	resp.Topics = grow(resp.Topics, len(req.Topics))
	for i := range req.Topics {
		t := &req.Topics[i]
		out := &resp.Topics[i]
		out.Name, out.TopicID = t.Name, t.TopicID
		out.Partitions = grow(out.Partitions, len(t.Partitions))
		for k := range t.Partitions {
			out.Partitions[k] = wire.OffsetCommitResponsePartition{PartitionIndex: t.Partitions[k].PartitionIndex, ErrorCode: code}
		}
	}
}

// grow gives s the length n, reusing its memory and that of its elements.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		s = append(s[:cap(s)], make([]T, n-cap(s))...)
	}
	return s[:n]
}

// CommitOffsets decides on an OffsetCommit request. The answer, which shares its names with the request, is to be sent
// when the write in fx, if any, is settled. Topics must have their names; the caller has resolved topic ids and taken out
// what it refused.
func (m *Machine) CommitOffsets(now Time, version int16, req *wire.OffsetCommitRequest, resp *wire.OffsetCommitResponse, fx *Effects) {
	o := offsetCommit{now: now, version: version, req: req, resp: resp, fx: fx}
	o.decide(m)
}

// offsetCommit is an OffsetCommit request that is being decided; with a producer the offsets become part of its
// transaction.
type offsetCommit struct {
	now      Time
	version  int16
	req      *wire.OffsetCommitRequest
	resp     *wire.OffsetCommitResponse
	producer *Producer
	fx       *Effects
}

// admit finds the group that the commit is for, or says why it is refused.
func (o *offsetCommit) admit(m *Machine) (*group, wire.Code) {
	req, producer := o.req, o.producer
	g := m.groups[req.GroupID]
	k := m.of(req.GroupID)
	if k != nil && !(producer != nil && anonymous(req)) {
		code := k.CheckOffsets(req.GroupID, req.MemberID, req.GroupInstanceID, req.GenerationIDOrMemberEpoch, true)
		if c, ok := k.(CommitChecker); ok {
			code = c.CheckCommit(req, o.version, producer != nil)
		}
		if code == wire.StaleMemberEpoch && producer != nil {
			code = wire.IllegalGeneration // TxnOffsetCommit does not know the other
		}
		if code != wire.None {
			return nil, code
		}
	}
	if g == nil {
		switch {
		case k != nil, req.GenerationIDOrMemberEpoch < 0:
			// An administrator, or a consumer that assigns itself: a simple group.
			g = m.create(req.GroupID, o.now.Wall)
		case o.version >= groupIDNotFoundSince:
			return nil, wire.GroupIDNotFound
		default:
			return nil, wire.IllegalGeneration
		}
	}
	if k == nil {
		return g, g.checkCommit(req, producer != nil)
	}
	return g, wire.None
}

// decide is CommitOffsets, also for transactions.
func (o *offsetCommit) decide(m *Machine) {
	now, req, resp := o.now, o.req, o.resp
	g, code := o.admit(m)
	AnswerCommit(req, resp, code)
	if code != wire.None {
		return
	}
	if mb := g.members[req.MemberID]; mb != nil && (g.state == stateStable || g.state == statePreparing) {
		(&decision{m: m, now: now}).heard(mb)
	}
	w := m.spare.take()
	w.kind, w.group, w.producer = writeOffsets, g, o.producer
	if w.producer != nil {
		w.kind = writeTxnOffsets
	}
	n := 0
	for i := range req.Topics {
		n += len(req.Topics[i].Partitions)
	}
	w.enc.buf = slices.Grow(w.enc.buf, n*(len(req.GroupID)+offsetRecordBytes))
	for i := range req.Topics {
		topic := g.topicName(req.Topics[i].Name)
		for k := range req.Topics[i].Partitions {
			p := &req.Topics[i].Partitions[k]
			if tooLong(p.CommittedMetadata, m.config.OffsetMetadataMaxBytes) {
				resp.Topics[i].Partitions[k].ErrorCode = wire.OffsetMetadataTooLarge
				continue
			}
			c := change{offsetKey: offsetKey{g, topic, p.PartitionIndex}, offset: Offset{
				Offset: p.CommittedOffset, LeaderEpoch: p.CommittedLeaderEpoch, CommitMs: now.Wall, ExpireMs: -1,
				TopicID: req.Topics[i].TopicID,
			}}
			if p.CommittedMetadata != nil {
				c.offset.Metadata = strings.Clone(*p.CommittedMetadata)
			}
			if req.RetentionTimeMs >= 0 {
				// The one version of the record that can say so has no place for these.
				c.offset.ExpireMs = now.Wall + req.RetentionTimeMs
				c.offset.LeaderEpoch, c.offset.TopicID = -1, wire.UUID{}
			}
			w.changes = append(w.changes, c)
			w.records = append(w.records, w.enc.offset(&c))
		}
	}
	if len(w.records) > 0 {
		m.submit(w, w.records, o.fx)
	} else {
		m.spare.put(w)
	}
	m.drop(g)
}

// spareWrites are settled commits whose memory is used again.
type spareWrites []*write

func (s *spareWrites) take() *write {
	n := len(*s)
	if n == 0 {
		return &write{}
	}
	w := (*s)[n-1]
	*s = (*s)[:n-1]
	return w
}

// put keeps the memory of a settled commit. Its records are in the log by now, or nowhere.
func (s *spareWrites) put(w *write) {
	if !w.commits() || len(*s) >= maxSpare || cap(w.changes) > maxSpareChanges || cap(w.enc.buf) > maxSpareBytes {
		return
	}
	clear(w.changes)
	clear(w.records)
	*w = write{changes: w.changes[:0], records: w.records[:0], enc: encoder{buf: w.enc.buf[:0]}}
	*s = append(*s, w)
}

// checkCommit says whether the sender may commit offsets of the group.
func (g *group) checkCommit(req *wire.OffsetCommitRequest, transactional bool) wire.Code {
	if g.state == stateDead {
		return wire.CoordinatorNotAvailable
	}
	if req.GenerationIDOrMemberEpoch < 0 && g.state == stateEmpty {
		return wire.None
	}
	if anonymous(req) {
		if transactional {
			return wire.None // old producers do not say who consumes (before KIP-447)
		}
		// Nobody may move the offsets under members.
		return wire.UnknownMemberID
	}
	if code := g.check(req.MemberID, req.GroupInstanceID); code != wire.None {
		return code
	}
	if req.GenerationIDOrMemberEpoch != g.generation {
		return wire.IllegalGeneration
	}
	if g.state == stateCompleting && !transactional {
		// The member knows the new generation but has no assignment in it yet, so these are offsets of the old one.
		return wire.RebalanceInProgress
	}
	return wire.None
}

// tooLong compares with a limit that Kafka counts in UTF-16 units.
func tooLong(s *string, limit int32) bool {
	if s == nil || len(*s) <= int(limit) {
		return false
	}
	n := 0
	for _, r := range *s {
		n += utf16.RuneLen(r)
	}
	return n > int(limit)
}

// Unsettled says whether the group has writes under way. A fetch of stable offsets waits for them (KIP-447).
func (m *Machine) Unsettled(groupID string) bool {
	g := m.groups[groupID]
	return g != nil && g.unsettled > 0
}

// FetchOffsets reads committed offsets: of the given topics, or of all if Topics is nil. With stable set, those
// that a transaction is about to change are refused.
//
// Differs from Kafka: an OffsetFetch with an epoch of a consumer group but without a member is answered UNKNOWN_MEMBER_ID, and not
// UNKNOWN_SERVER_ERROR.
func (m *Machine) FetchOffsets(req *wire.OffsetFetchRequestGroup, stable bool) wire.OffsetFetchResponseGroup {
	resp := wire.OffsetFetchResponseGroup{GroupID: strings.Clone(req.GroupID)}
	if k := m.of(req.GroupID); k != nil && (req.MemberID != nil || req.MemberEpoch >= 0) {
		member := ""
		if req.MemberID != nil {
			member = *req.MemberID
		}
		// As in Kafka, a group of a kind that commits no offsets has none, and that is no error.
		if code := k.CheckOffsets(req.GroupID, member, nil, req.MemberEpoch, false); code != wire.None && code != wire.GroupIDNotFound {
			resp.ErrorCode = code
			return resp
		}
	}
	g := m.groups[req.GroupID]
	if req.Topics == nil {
		if g != nil {
			resp.Topics = fetchAll(g, stable)
		}
		return resp
	}
	resp.Topics = make([]wire.OffsetFetchResponseTopics, len(req.Topics))
	for i := range req.Topics {
		t, out := &req.Topics[i], &resp.Topics[i]
		out.Name, out.TopicID = strings.Clone(t.Name), t.TopicID
		out.Partitions = make([]wire.OffsetFetchResponsePartitions, len(t.PartitionIndexes))
		for k, partition := range t.PartitionIndexes {
			out.Partitions[k] = fetchOne(g, out.Name, t.TopicID, partition, stable)
		}
	}
	return resp
}

func fetchAll(g *group, stable bool) []wire.OffsetFetchResponseTopics {
	topics := make([]wire.OffsetFetchResponseTopics, 0, len(g.offsets))
	for _, topic := range sortedKeys(g.offsets) {
		out := wire.OffsetFetchResponseTopics{Name: topic}
		for _, partition := range slices.Sorted(maps.Keys(g.offsets[topic].of)) {
			out.Partitions = append(out.Partitions, fetchOne(g, topic, wire.UUID{}, partition, stable))
		}
		topics = append(topics, out)
	}
	return topics
}

func fetchOne(g *group, topic string, id wire.UUID, partition int32, stable bool) wire.OffsetFetchResponsePartitions {
	out := wire.OffsetFetchResponsePartitions{
		PartitionIndex: partition, CommittedOffset: noOffset, CommittedLeaderEpoch: -1, Metadata: new(string),
	}
	if g == nil {
		return out
	}
	if stable && g.pendingIn(topic, partition) {
		out.ErrorCode = wire.UnstableOffsetCommit
		return out
	}
	o, ok := g.offset(topic, partition)
	if !ok || !sameTopic(o.TopicID, id) {
		return out
	}
	out.CommittedOffset, out.CommittedLeaderEpoch, out.Metadata = o.Offset, o.LeaderEpoch, &o.Metadata
	return out
}

// sameTopic says whether two ids can be of the same topic; one that is not known can. A topic that was deleted
// and made anew does not inherit offsets.
func sameTopic(a, b wire.UUID) bool { return a == b || a.IsZero() || b.IsZero() }

// pendingIn says whether an open transaction has an offset for the partition.
func (g *group) pendingIn(topic string, partition int32) bool {
	//unordered: any one will do
	for _, offsets := range g.open {
		if _, ok := offsets[topicPartition{topic, partition}]; ok {
			return true
		}
	}
	return false
}

// underway calls f for every offset commit of the group that is not settled.
func (m *Machine) underway(g *group, f func(*change)) {
	if g.unsettled == 0 {
		return
	}
	for _, w := range m.inflight {
		if !w.commits() || w.group != g {
			continue
		}
		for i := range w.changes {
			f(&w.changes[i])
		}
	}
}

// known is all offsets of the group that there are to delete: committed, on their way, or in a transaction.
func (m *Machine) known(g *group) map[offsetKey]bool {
	keys := map[offsetKey]bool{}
	for topic, t := range g.offsets { //unordered: sorted below
		for partition := range t.of { //unordered: sorted below
			keys[offsetKey{g, topic, partition}] = true
		}
	}
	for _, offsets := range g.open { //unordered: sorted below
		for tp := range offsets { //unordered: sorted below
			keys[offsetKey{g, tp.topic, tp.partition}] = true
		}
	}
	m.underway(g, func(c *change) { keys[c.offsetKey] = true })
	return keys
}

// allKnown lists the same in order.
func (m *Machine) allKnown(g *group) []offsetKey {
	return slices.SortedFunc(maps.Keys(m.known(g)), func(a, b offsetKey) int {
		if c := strings.Compare(a.topic, b.topic); c != 0 {
			return c
		}
		return int(a.partition) - int(b.partition)
	})
}

// committing says whether groups of a kind commit offsets: share groups have their own place for them.
func committing(k Kind) bool { return k.Type() != "share" }

// DeleteOffsets decides on an OffsetDelete request (KIP-496). The answer is to be sent when the writes in fx, if
// any, are settled.
func (m *Machine) DeleteOffsets(req *wire.OffsetDeleteRequest, fx *Effects) *wire.OffsetDeleteResponse {
	g := m.groups[req.GroupID]
	k := m.of(req.GroupID)
	if k == nil && (g == nil || g.state == stateDead) || k != nil && !committing(k) {
		return &wire.OffsetDeleteResponse{ErrorCode: wire.GroupIDNotFound}
	}
	if g == nil {
		g = newGroup(req.GroupID) // no offsets yet, and nothing to delete
	}
	if k == nil && g.state != stateEmpty && !g.usesConsumerProtocol() {
		return &wire.OffsetDeleteResponse{ErrorCode: wire.NonEmptyGroup}
	}
	resp := &wire.OffsetDeleteResponse{Topics: make([]wire.OffsetDeleteResponseTopic, len(req.Topics))}
	ts, known := m.tombstones(fx), m.known(g)
	for i := range req.Topics {
		t, out := &req.Topics[i], &resp.Topics[i]
		out.Name = strings.Clone(t.Name)
		out.Partitions = make([]wire.OffsetDeleteResponsePartition, len(t.Partitions))
		subscribed := k == nil && g.subscribed(t.Name) || k != nil && k.Subscribed(req.GroupID, t.Name)
		for k := range t.Partitions {
			partition := t.Partitions[k].PartitionIndex
			out.Partitions[k].PartitionIndex = partition
			switch {
			case subscribed:
				out.Partitions[k].ErrorCode = wire.GroupSubscribedToTopic
			case known[offsetKey{g, out.Name, partition}]:
				ts.offset(offsetKey{g, out.Name, partition})
			}
		}
	}
	ts.flush()
	return resp
}

// DeleteGroups decides on a DeleteGroups request for groups of this partition. The answer is to be sent when the
// writes in fx, if any, are settled.
func (m *Machine) DeleteGroups(ids []string, fx *Effects) []wire.DeleteGroupsResponseDeletableGroupResult {
	results := make([]wire.DeleteGroupsResponseDeletableGroupResult, len(ids))
	ts := m.tombstones(fx)
	var records []Record // of kinds
	for i, id := range ids {
		g := m.groups[id]
		results[i].GroupID = strings.Clone(id)
		if k := m.of(id); k != nil {
			records, results[i].ErrorCode = m.deleteKind(k, id, ts, records)
			continue
		}
		switch {
		case g == nil || g.state == stateDead:
			results[i].ErrorCode = wire.GroupIDNotFound
		case g.state != stateEmpty:
			results[i].ErrorCode = wire.NonEmptyGroup
		default:
			for _, k := range m.allKnown(g) {
				ts.offset(k)
			}
			ts.group(g)
		}
	}
	ts.flush()
	fx.Record(records...)
	return results
}

// DeleteTopic removes the offsets of a topic that was deleted. An offset of another topic of the same name, as its
// id tells, stays.
func (m *Machine) DeleteTopic(topic string, id wire.UUID, fx *Effects) {
	ts := m.tombstones(fx)
	for _, groupID := range sortedKeys(m.groups) {
		g := m.groups[groupID]
		if g.state == stateDead {
			continue
		}
		for _, k := range m.allKnown(g) {
			o, committed := g.offset(k.topic, k.partition)
			if k.topic == topic && (!committed || sameTopic(o.TopicID, id)) {
				ts.offset(k)
			}
		}
	}
	ts.flush()
}

// expireOffsets removes offsets that are past their retention (KIP-211), and empty groups that have none left.
func (d *decision) expireOffsets() {
	ts := d.m.tombstones(d.fx)
	leaving := map[string]bool{} // groups of kinds whose last offsets go
	for _, id := range sortedKeys(d.m.groups) {
		g := d.m.groups[id]
		if k := d.m.of(id); k != nil {
			leaving[id] = g.unsettled == 0 && !d.expireKind(k, g, ts)
			continue
		}
		// What is on its way d.now can wait for the next check.
		if g.state == stateDead || g.unsettled > 0 || !g.mayExpire() {
			continue
		}
		left := false
		for _, k := range d.m.allKnown(g) {
			o, committed := g.offset(k.topic, k.partition)
			if committed && !g.subscribed(k.topic) && !g.pendingIn(k.topic, k.partition) &&
				g.expired(&o, d.now.Wall, d.m.config.OffsetsRetentionMs) {
				ts.offset(k)
			} else {
				left = true
			}
		}
		if !left && g.state == stateEmpty && len(g.pending) == 0 && len(g.open) == 0 {
			ts.group(g)
		}
	}
	ts.flush()
	d.retireKinds(leaving)
}

// mayExpire says whether offsets of the group can expire in its present state: never while it rebalances, when
// nobody knows what its members read.
func (g *group) mayExpire() bool {
	return g.protocolType == "" || g.state == stateEmpty ||
		g.usesConsumerProtocol() && g.aware && g.state == stateStable
}

// expired says whether the offset's time is over. Retention begins when the last member left, or with the commit
// where members have no say in it.
func (g *group) expired(o *Offset, wall, retentionMs int64) bool {
	if o.ExpireMs >= 0 {
		return wall >= o.ExpireMs
	}
	base := o.CommitMs
	if g.protocolType != "" && g.state == stateEmpty && g.since >= 0 {
		base = g.since
	}
	return wall-base >= retentionMs
}

// tombstones collects removals into writes of a bounded size. Those of a group's offsets stand before its own.
type tombstones struct {
	machine *Machine
	fx      *Effects
	write   *write
	records []Record
	enc     encoder
}

func (m *Machine) tombstones(fx *Effects) *tombstones {
	return &tombstones{machine: m, fx: fx, write: &write{kind: writeTombstones}}
}

func (ts *tombstones) offset(k offsetKey) {
	ts.add(ts.enc.offset(&change{offsetKey: k, gone: true}))
	ts.write.changes = append(ts.write.changes, change{offsetKey: k, gone: true})
}

// group removes the group itself. Until that is settled it answers as a group that is about to move.
func (ts *tombstones) group(g *group) {
	ts.add(ts.enc.groupTombstone(g.id))
	g.transition(stateDead, g.since)
	ts.write.dead = append(ts.write.dead, g)
}

func (ts *tombstones) add(r Record) {
	if len(ts.records) >= tombstoneLimit {
		ts.flush()
	}
	ts.records = append(ts.records, r)
}

func (ts *tombstones) flush() {
	if len(ts.records) == 0 {
		return
	}
	ts.machine.submit(ts.write, ts.records, ts.fx)
	ts.write, ts.records = &write{kind: writeTombstones}, nil
}

// settleTombstones removes what was to go, or brings its groups back to life.
func (m *Machine) settleTombstones(w *write, base int64, code wire.Code) {
	if code != wire.None {
		for _, g := range w.dead {
			if w.id > g.yielded {
				g.state = stateEmpty
			}
		}
		return
	}
	m.applyChanges(w.changes, base)
	for _, g := range w.dead {
		if w.id > g.yielded {
			m.applyGroupTombstone(g)
		}
	}
}
