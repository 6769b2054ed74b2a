package group

import (
	"maps"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/assign"
)

// States of a member, as records have them.
const (
	stablePartitions     int8 = 0 // it has what its target says
	unrevokedPartitions  int8 = 1 // it has to give partitions up
	unreleasedPartitions int8 = 2 // it waits for partitions that others have to give up
)

// holding is some of a topic's partitions, ascending, and since which epoch a member has each.
type holding = wire.ConsumerGroupCurrentMemberAssignmentValueTopicPartitions

// consumerMember is a member of a consumer group.
type consumerMember struct {
	id      string
	group   *consumerGroup
	meta    wire.ConsumerGroupMemberMetadataValue
	current wire.ConsumerGroupCurrentMemberAssignmentValue
	reads   *interest // nil before the first metadata record

	session, rebalance timer
	join, sync         timer // of members of the classic protocol
	revokingEpoch      int32 // the epoch in which it was told to give partitions up
}

// blankMember is the metadata of a member that has said nothing yet.
func blankMember() wire.ConsumerGroupMemberMetadataValue {
	return wire.ConsumerGroupMemberMetadataValue{RebalanceTimeoutMs: -1, SubscribedTopicRegex: new(string)}
}

// reconciled says whether the member has what the target of this epoch says.
func (mb *consumerMember) reconciled(epoch int32) bool {
	return mb.current.State == stablePartitions && mb.current.MemberEpoch == epoch
}

// ownsSince tells since which epoch the member has a partition.
func (mb *consumerMember) ownsSince(topic wire.UUID, partition int32) (epoch int32, ok bool) {
	for _, list := range [][]holding{mb.current.AssignedPartitions, mb.current.PartitionsPendingRevocation} {
		for i := range list {
			if at, found := slices.BinarySearch(list[i].Partitions, partition); found && list[i].TopicID == topic {
				return list[i].AssignmentEpochs[at], true
			}
		}
	}
	return 0, false
}

// interest is what one or more members of a group subscribe to. Most groups have one.
type interest struct {
	key     string
	names   []string
	regex   string
	members int
	ids     []wire.UUID // the topics as of the group's idsOf, ascending
	known   bool
}

// partitionID names a partition.
type partitionID struct {
	topic     wire.UUID
	partition int32
}

// resolved is what a regular expression has come to.
type resolvedRegex struct {
	topics  []string // ascending
	version int64    // of the metadata
	ms      int64    // when
}

// consumerGroup is a consumer group.
type consumerGroup struct {
	c            *Consumers
	id           string
	epoch        int32
	metadataHash int64 // of the topics that the epoch knows of
	targetEpoch  int32
	targetMs     int64 // when the target was computed
	targets      map[string]assign.Assignment
	members      map[string]*consumerMember
	statics      map[string]*consumerMember // by instance id
	owners       map[partitionID]*consumerMember
	subs         map[string]*interest
	regexes      map[string]int // how many members subscribe to a regular expression
	resolved     map[string]*resolvedRegex
	reads        map[string]int // topics that are subscribed to, by how many subscriptions and expressions
	assignors    map[string]int
	classic      int            // members of the classic protocol
	supported    map[string]int // how many of them support a protocol
	oldMetadata  bool           // the log has a record of a type that is not written any more

	stale      bool  // topics may have changed
	unresolved bool  // topics were made that a regular expression may match
	resolvedAt int64 // Mono of the last look
	hashKnown  bool  // hash is of the present image and subscriptions
	hash       int64
	settings   ConsumerSettings
	configured int64 // the image that settings are of, counted from 1
}

// firstEpoch is that of a group before its first change. The first member joins with a change, unless it reads nothing.
const firstEpoch = 1

func newConsumerGroup(c *Consumers, id string) *consumerGroup {
	return &consumerGroup{
		c: c, id: strings.Clone(id), epoch: firstEpoch, targetEpoch: -1, targets: map[string]assign.Assignment{}, members: map[string]*consumerMember{},
		statics: map[string]*consumerMember{}, owners: map[partitionID]*consumerMember{}, subs: map[string]*interest{},
		regexes: map[string]int{}, resolved: map[string]*resolvedRegex{}, reads: map[string]int{}, assignors: map[string]int{},
		supported: map[string]int{},
	}
}

// state is the group's state with Kafka's names.
func (g *consumerGroup) state() string {
	if len(g.members) == 0 {
		return "Empty"
	}
	if g.epoch > g.targetEpoch {
		return "Assigning"
	}
	//unordered: any one will do
	for _, mb := range g.members {
		if !mb.reconciled(g.targetEpoch) {
			return "Reconciling"
		}
	}
	return "Stable"
}

// member finds or makes a member.
func (g *consumerGroup) member(id string) *consumerMember {
	mb := g.members[id]
	if mb == nil {
		mb = &consumerMember{id: strings.Clone(id), group: g, meta: blankMember()}
		mb.session = timer{kind: timerSession, consumer: mb}
		mb.rebalance = timer{kind: timerRebalance, consumer: mb}
		mb.join = timer{kind: timerJoin, consumer: mb}
		mb.sync = timer{kind: timerSync, consumer: mb}
		g.members[mb.id] = mb
		g.c.members++
	}
	return mb
}

// read counts a topic that is subscribed to, or is no longer.
func (g *consumerGroup) read(topic string, n int) {
	had := g.reads[topic] > 0
	if g.reads[topic] += n; g.reads[topic] == 0 {
		delete(g.reads, topic)
	}
	has := g.reads[topic] > 0
	switch {
	case has == had:
	case has:
		if g.c.readers[topic] == nil {
			g.c.readers[topic] = map[*consumerGroup]bool{}
		}
		g.c.readers[topic][g] = true
		g.hashKnown = false
	default:
		if delete(g.c.readers[topic], g); len(g.c.readers[topic]) == 0 {
			delete(g.c.readers, topic)
			delete(g.c.hashes, topic)
		}
		g.hashKnown = false
	}
}

// subscribe gives the member the subscription that its metadata tell of.
func (g *consumerGroup) subscribe(mb *consumerMember) {
	regex := ""
	if mb.meta.SubscribedTopicRegex != nil {
		regex = *mb.meta.SubscribedTopicRegex
	}
	key := strings.Join(mb.meta.SubscribedTopicNames, "\x00") + "\x01" + regex
	if mb.reads != nil && mb.reads.key == key {
		mb.meta.SubscribedTopicNames = mb.reads.names
		return
	}
	old := mb.reads
	s := g.subs[key]
	if s == nil {
		s = &interest{key: key, names: slices.Compact(slices.Sorted(slices.Values(mb.meta.SubscribedTopicNames))), regex: regex}
		g.subs[key] = s
		for _, name := range s.names {
			g.read(name, 1)
		}
	}
	s.members++
	mb.reads, mb.meta.SubscribedTopicNames = s, s.names
	if regex != "" {
		g.regexes[regex]++
	}
	g.unsubscribe(old)
}

// unsubscribe takes a member from a subscription.
func (g *consumerGroup) unsubscribe(s *interest) {
	if s == nil {
		return
	}
	if s.regex != "" {
		if g.regexes[s.regex]--; g.regexes[s.regex] == 0 {
			delete(g.regexes, s.regex)
		}
	}
	if s.members--; s.members > 0 {
		return
	}
	delete(g.subs, s.key)
	for _, name := range s.names {
		g.read(name, -1)
	}
}

// count adds or takes away what the member's metadata count for.
func (g *consumerGroup) count(mb *consumerMember, n int) {
	if mb.meta.ServerAssignor != nil {
		if g.assignors[*mb.meta.ServerAssignor] += n; g.assignors[*mb.meta.ServerAssignor] == 0 {
			delete(g.assignors, *mb.meta.ServerAssignor)
		}
	}
	if mb.meta.ClassicMemberMetadata == nil {
		return
	}
	g.classic += n
	protocols := mb.meta.ClassicMemberMetadata.SupportedProtocols
	for i := range protocols {
		again := slices.ContainsFunc(protocols[:i], func(p wire.ConsumerGroupMemberMetadataValueClassicProtocol) bool {
			return p.Name == protocols[i].Name
		})
		if again {
			continue
		}
		if g.supported[protocols[i].Name] += n; g.supported[protocols[i].Name] == 0 {
			delete(g.supported, protocols[i].Name)
		}
	}
}

// applyMember is what a member's metadata record says.
func (g *consumerGroup) applyMember(id string, v *wire.ConsumerGroupMemberMetadataValue) {
	if v == nil {
		g.forgetMember(id)
		return
	}
	mb := g.member(id)
	if mb.reads != nil {
		g.count(mb, -1)
		if old := mb.meta.InstanceID; old != nil && g.statics[*old] == mb {
			delete(g.statics, *old)
		}
	}
	mb.meta = *v
	g.count(mb, 1)
	if v.InstanceID != nil {
		g.statics[*v.InstanceID] = mb
	}
	g.subscribe(mb)
}

func (g *consumerGroup) forgetMember(id string) {
	mb := g.members[id]
	if mb == nil {
		return
	}
	if mb.reads != nil {
		g.count(mb, -1)
		g.unsubscribe(mb.reads)
	}
	if mb.meta.InstanceID != nil && g.statics[*mb.meta.InstanceID] == mb {
		delete(g.statics, *mb.meta.InstanceID)
	}
	g.own(mb, false)
	for _, t := range []*timer{&mb.session, &mb.rebalance, &mb.join, &mb.sync} {
		t.Stop()
	}
	delete(g.members, id)
	g.c.members--
}

// own makes the member the owner of its partitions, or not any more.
func (g *consumerGroup) own(mb *consumerMember, yes bool) {
	for _, list := range [][]holding{mb.current.AssignedPartitions, mb.current.PartitionsPendingRevocation} {
		for i := range list {
			for _, p := range list[i].Partitions {
				id := partitionID{list[i].TopicID, p}
				if yes {
					g.owners[id] = mb
				} else if g.owners[id] == mb {
					delete(g.owners, id)
				}
			}
		}
	}
}

// applyCurrent is what the record of a member's current assignment says.
func (g *consumerGroup) applyCurrent(id string, v *wire.ConsumerGroupCurrentMemberAssignmentValue) {
	if v == nil {
		if mb := g.members[id]; mb != nil {
			g.own(mb, false)
			mb.current = wire.ConsumerGroupCurrentMemberAssignmentValue{MemberEpoch: leaveEpoch, PreviousMemberEpoch: leaveEpoch}
		}
		return
	}
	mb := g.member(id)
	g.own(mb, false)
	mb.current = *v
	g.own(mb, true)
}

// applyTarget is what the record of a member's target says.
func (g *consumerGroup) applyTarget(id string, target assign.Assignment, gone bool) {
	if gone {
		delete(g.targets, id)
		return
	}
	g.targets[strings.Clone(id)] = target
}

// applyRegex is what the record of a resolved expression says.
func (g *consumerGroup) applyRegex(regex string, r *resolvedRegex) {
	old := g.resolved[regex]
	g.c.expressions += count(r) - count(old)
	if r != nil {
		g.resolved[strings.Clone(regex)] = r
		for _, topic := range r.topics {
			g.read(topic, 1)
		}
	} else {
		delete(g.resolved, regex)
	}
	if old != nil {
		for _, topic := range old.topics {
			g.read(topic, -1)
		}
	}
	if old == nil || r == nil || !slices.Equal(old.topics, r.topics) {
		//unordered: marks do not see each other
		for _, s := range g.subs {
			s.known = s.known && s.regex != regex
		}
	}
}

func count(r *resolvedRegex) int {
	if r == nil {
		return 0
	}
	return 1
}

// forget removes the group with all that is left of it.
func (g *consumerGroup) forget() {
	for _, id := range sortedKeys(g.members) {
		g.forgetMember(id)
	}
	for _, regex := range sortedKeys(g.resolved) {
		g.applyRegex(regex, nil)
	}
	delete(g.c.groups, g.id)
}

// normal sorts what a record says, and gives every partition its epoch: old records have none, then it is the member's.
func normal(list []holding, epoch int32) []holding {
	byTopic := func(a, b holding) int { return slices.Compare(a.TopicID[:], b.TopicID[:]) }
	if !slices.IsSortedFunc(list, byTopic) {
		slices.SortFunc(list, byTopic)
	}
	for i := range list {
		h := &list[i]
		if len(h.AssignmentEpochs) != len(h.Partitions) {
			h.AssignmentEpochs = slices.Repeat([]int32{epoch}, len(h.Partitions))
		}
		if !slices.IsSorted(h.Partitions) {
			epochs := make(map[int32]int32, len(h.Partitions))
			for k, p := range h.Partitions {
				epochs[p] = h.AssignmentEpochs[k]
			}
			h.Partitions = slices.Sorted(maps.Keys(epochs))
			h.AssignmentEpochs = make([]int32, len(h.Partitions))
			for k, p := range h.Partitions {
				h.AssignmentEpochs[k] = epochs[p]
			}
		}
	}
	return list
}
