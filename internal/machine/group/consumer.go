package group

import (
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// ConsumerConfig is what an administrator may set for consumer groups.
type ConsumerConfig struct {
	// MaxSize is group.consumer.max.size.
	MaxSize int32
	// Assignors is group.consumer.assignors, of "uniform" and "range"; the first is the default.
	Assignors []string
	// Upgrade and Downgrade are group.consumer.migration.policy: whether a classic group with members becomes a
	// consumer group when a member of the consumer protocol joins, and turns back when the last of them has left.
	Upgrade, Downgrade bool
	// RegexRefreshMs is group.consumer.regex.refresh.interval.ms.
	RegexRefreshMs int64
	// Settings are those of one group; nil stands for Kafka's defaults. They are asked for anew with each image.
	Settings func(id string) ConsumerSettings
	// Members is how many members of consumer groups the whole node serves, which paces heartbeats; nil counts those
	// of this machine.
	Members func() int64
}

// ConsumerSettings are those of one consumer group.
type ConsumerSettings struct {
	// SessionMs is consumer.session.timeout.ms.
	SessionMs int32
	// HeartbeatMs is consumer.heartbeat.interval.ms. While Paced is set it is the longest interval, see [Consumers].
	HeartbeatMs int32
	Paced       bool
	// AssignmentMs is consumer.assignment.interval.ms, the least time between two assignments. -1 lets the size of the
	// group decide.
	AssignmentMs int32
}

// defaultConsumerConfig is Kafka's.
func defaultConsumerConfig() ConsumerConfig {
	return ConsumerConfig{MaxSize: 1<<31 - 1, Assignors: []string{uniformAssignor, rangeAssignor}, Upgrade: true, Downgrade: true, RegexRefreshMs: 600_000}
}

func (c *ConsumerConfig) settings(id string) ConsumerSettings {
	if c.Settings == nil {
		return ConsumerSettings{SessionMs: 45_000, HeartbeatMs: 5_000, AssignmentMs: -1}
	}
	return c.Settings(id)
}

// consumerType is the type of consumer groups.
const consumerType = "consumer"

// Consumers are the consumer groups (KIP-848) of a machine.
//
// A member says in heartbeats what it subscribes to and what it owns. The group's epoch grows with each change of
// members, subscriptions or topics; for the newest epoch a target assignment is computed; each member is brought to
// its target on its own: it is told to give partitions up, and gets those that their former owners have given up.
//
// Differs from Kafka: unless group.consumer.heartbeat.interval.ms is set, members of consumer groups (KIP-848) are told to
// report more often while little is going on in the node, and most often while they wait for partitions, so that a group
// settles in a fraction of a second instead of several heartbeat intervals of five seconds.
type Consumers struct {
	machine *Machine
	config  *ConsumerConfig
	groups  map[string]*consumerGroup
	timers  timers
	readers map[string]map[*consumerGroup]bool // who reads a topic, by name
	hashes  map[string]knownTopic              // topics that somebody reads, as of the image
	topics  wire.UUID                          // the ids of all topics in one, to notice new ones
	image   *metadata.Image
	members int64
	images  int64 // how many there were, to know settings of an older one
	// expressions are how many regular expressions were resolved in all groups.
	expressions int
}

// knownTopic is what a topic of the image came to.
type knownTopic struct {
	topic *metadata.Topic
	hash  int64
}

func newConsumers(m *Machine, config *ConsumerConfig) *Consumers {
	return &Consumers{
		machine: m, config: config, groups: map[string]*consumerGroup{}, readers: map[string]map[*consumerGroup]bool{},
		hashes: map[string]knownTopic{},
	}
}

// Members is the number of members of all consumer groups of this machine.
func (c *Consumers) Members() int64 { return c.members }

// Type is "consumer".
func (c *Consumers) Type() string { return consumerType }

// Has says whether there is such a consumer group.
func (c *Consumers) Has(id string) bool { return c.groups[id] != nil }

// IDs are the consumer groups, sorted.
func (c *Consumers) IDs() []string { return sortedKeys(c.groups) }

// State is the state of a consumer group.
func (c *Consumers) State(id string) string {
	if g := c.groups[id]; g != nil {
		return g.state()
	}
	return "Dead"
}

// Subscribed says whether a member reads the topic.
func (c *Consumers) Subscribed(id, topic string) bool {
	g := c.groups[id]
	return g != nil && g.reads[topic] > 0
}

// Idle says whether the group has no members. As in Kafka, nobody knows since when.
func (c *Consumers) Idle(id string) (since int64, idle bool) {
	g := c.groups[id]
	return -1, g != nil && len(g.members) == 0
}

// Deletable says whether the group is empty.
func (c *Consumers) Deletable(id string) bool {
	g := c.groups[id]
	return g != nil && len(g.members) == 0
}

// Delete appends the tombstones of an empty group and forgets it.
func (c *Consumers) Delete(id string, records []Record) ([]Record, wire.Code) {
	g := c.groups[id]
	if g == nil {
		return records, wire.GroupIDNotFound
	}
	if len(g.members) > 0 {
		return records, wire.NonEmptyGroup
	}
	t := c.turn(g, Time{}, nil)
	t.records = records
	t.bury()
	return t.records, wire.None
}

// SetImage tells that topics or settings have changed: groups that read a changed topic look at it with the next
// heartbeat of any of their members.
func (c *Consumers) SetImage(_ Time, img *metadata.Image, _ *Effects) {
	c.image = img
	for name, groups := range c.readers { //unordered: marks do not see each other
		known := c.hashes[name]
		topic, _ := img.Topic(name)
		if topic == known.topic {
			continue
		}
		if now := c.hash(name); now != known.hash {
			for g := range groups { //unordered: as above
				g.stale, g.hashKnown = true, false
			}
		}
	}
	c.images++
	if c.expressions == 0 {
		c.topics = wire.UUID{}
	} else if all := c.fingerprint(); all != c.topics {
		c.topics = all
		//unordered: as above
		for _, g := range c.groups {
			g.unresolved = len(g.resolved) > 0
		}
	}
}

// fingerprint is all topic ids in one.
func (c *Consumers) fingerprint() (all wire.UUID) {
	for t := range c.image.Topics() {
		for i := range all {
			all[i] ^= t.ID[i]
		}
	}
	return all
}

// hash is the hash of a topic as of the image, 0 if there is no such topic.
func (c *Consumers) hash(name string) int64 {
	var topic *metadata.Topic
	if c.image != nil {
		topic, _ = c.image.Topic(name)
	}
	known, ok := c.hashes[name]
	if ok && known.topic == topic {
		return known.hash
	}
	known = knownTopic{topic: topic}
	if topic != nil {
		known.hash = TopicHash(topic, c.image)
	}
	c.hashes[name] = known
	return known.hash
}

// Loaded begins the sessions of all members anew.
func (c *Consumers) Loaded(now Time, _ *Effects) {
	for _, id := range sortedKeys(c.groups) {
		g := c.groups[id]
		g.stale = true
		for _, memberID := range sortedKeys(g.members) {
			mb := g.members[memberID]
			g.heard(mb, now)
			if mb.current.State == unrevokedPartitions && mb.meta.ClassicMemberMetadata == nil {
				mb.awaitRevocation(now)
			}
		}
	}
}

// Unload has nobody to answer: heartbeats are never parked.
func (c *Consumers) Unload(wire.Code, *Effects) {}

// Next tells when Expire has something to do.
func (c *Consumers) Next() (mono int64, ok bool) { return c.timers.Next() }

// Expire removes the members whose time is over.
func (c *Consumers) Expire(now Time, fx *Effects) {
	for due, ok := c.timers.Due(now.Mono); ok; due, ok = c.timers.Due(now.Mono) {
		mb := due.consumer
		g := mb.group
		if g.members[mb.id] != mb {
			continue
		}
		reason := ""
		switch due.kind {
		case timerRebalance:
			if mb.current.MemberEpoch != mb.revokingEpoch || mb.current.State != unrevokedPartitions {
				continue
			}
			reason = "it has not given up its partitions within its rebalance timeout"
		case timerJoin:
			reason = "it has not rejoined within its rebalance timeout"
		case timerSync:
			reason = "it has not asked for its assignment within its rebalance timeout"
		default:
			reason = "it was not heard of for its session timeout"
		}
		t := c.turn(g, now, fx)
		t.event("member removed", mb.id+": "+reason)
		t.remove([]*consumerMember{mb})
		t.done()
	}
}

// heard begins a member's session anew.
func (g *consumerGroup) heard(mb *consumerMember, now Time) {
	ms := int64(g.configuration().SessionMs)
	if mb.meta.ClassicMemberMetadata != nil {
		ms = int64(mb.meta.ClassicMemberMetadata.SessionTimeoutMs)
	}
	g.c.timers.Set(&mb.session, now.Mono+ms)
}

// awaitRevocation gives the member its rebalance timeout to give partitions up.
func (mb *consumerMember) awaitRevocation(now Time) {
	mb.revokingEpoch = mb.current.MemberEpoch
	mb.group.c.timers.Set(&mb.rebalance, now.Mono+int64(mb.meta.RebalanceTimeoutMs))
}

func (g *consumerGroup) configuration() *ConsumerSettings {
	if g.configured != g.c.images+1 {
		g.settings, g.configured = g.c.config.settings(g.id), g.c.images+1
	}
	return &g.settings
}

const (
	// restMs and hurryMs are the shortest heartbeat intervals that a member is told, at rest and while it waits.
	restMs, hurryMs = 500, 100
	// restMembers and hurryMembers are how many members of the node may come each millisecond; with more, intervals
	// grow.
	restMembers, hurryMembers = 4, 10
)

// pace is the interval at which a member is told to report.
//
// Differs from Kafka: where group.consumer.heartbeat.interval.ms is not set, the interval follows from how many members the
// node has. A member at rest learns within half a second that it has to give something up, instead of five; one that waits
// asks more often. A node with 20,000 members and more is where Kafka is.
func (g *consumerGroup) pace(mb *consumerMember) int32 {
	s := g.configuration()
	if !s.Paced {
		return s.HeartbeatMs
	}
	n := g.c.members
	if g.c.config.Members != nil {
		n = max(n, g.c.config.Members())
	}
	ms := max(n/restMembers, restMs)
	if g.epoch > g.targetEpoch || !mb.reconciled(g.targetEpoch) {
		ms = max(n/hurryMembers, hurryMs)
	}
	return int32(min(ms, int64(s.HeartbeatMs)))
}

// CheckOffsets says whether the member may commit or fetch offsets.
func (c *Consumers) CheckOffsets(id, member string, _ *string, epoch int32, commit bool) wire.Code {
	g := c.groups[id]
	if g == nil || commit && epoch < 0 && len(g.members) == 0 {
		return wire.None // an administrator, or a consumer that assigns itself
	}
	mb := g.members[member]
	switch {
	case mb == nil:
		return wire.UnknownMemberID
	case epoch == mb.current.MemberEpoch:
		return wire.None
	case mb.meta.ClassicMemberMetadata != nil:
		return wire.IllegalGeneration
	default:
		return wire.StaleMemberEpoch
	}
}

// memberCommitSince is the version of OffsetCommit that members of the consumer protocol must use.
const memberCommitSince = 9

// CheckCommit says whether an OffsetCommit request may change the group's offsets. A member that does not know yet of
// a newer epoch may still commit what it owns since before the epoch that it knows (KIP-1251).
func (c *Consumers) CheckCommit(req *wire.OffsetCommitRequest, version int16, transaction bool) wire.Code {
	code := c.CheckOffsets(req.GroupID, req.MemberID, nil, req.GenerationIDOrMemberEpoch, true)
	g := c.groups[req.GroupID]
	mb := g.members[req.MemberID]
	if mb == nil || mb.meta.ClassicMemberMetadata != nil {
		return code
	}
	if !transaction && version < memberCommitSince {
		return wire.UnsupportedVersion
	}
	if code != wire.StaleMemberEpoch || req.GenerationIDOrMemberEpoch > mb.current.MemberEpoch {
		return code
	}
	for i := range req.Topics {
		for k := range req.Topics[i].Partitions {
			since, ok := mb.ownsSince(req.Topics[i].TopicID, req.Topics[i].Partitions[k].PartitionIndex)
			if !ok || req.GenerationIDOrMemberEpoch < since {
				return wire.StaleMemberEpoch
			}
		}
	}
	return wire.None
}

// DescribeGroup describes one consumer group. Who asks has to fill in authorized operations.
func (c *Consumers) DescribeGroup(id string) wire.ConsumerGroupDescribeResponseDescribedGroup {
	out := wire.ConsumerGroupDescribeResponseDescribedGroup{}
	out.SetDefaults()
	out.GroupID = strings.Clone(id)
	g := c.groups[id]
	if g == nil {
		text := "Group " + out.GroupID + " not found."
		if _, ok := c.machine.TypeOf(id); ok {
			text = "Group " + out.GroupID + " is not a consumer group."
		}
		out.ErrorCode, out.ErrorMessage = wire.GroupIDNotFound, &text
		return out
	}
	out.GroupState, out.GroupEpoch, out.AssignmentEpoch, out.AssignorName = g.state(), g.epoch, g.targetEpoch, g.assignor()
	for _, memberID := range sortedKeys(g.members) {
		mb := g.members[memberID]
		d := wire.ConsumerGroupDescribeResponseMember{
			MemberID: mb.id, InstanceID: mb.meta.InstanceID, RackID: mb.meta.RackID, MemberEpoch: mb.current.MemberEpoch,
			ClientID: mb.meta.ClientID, ClientHost: mb.meta.ClientHost,
			SubscribedTopicNames: slices.Clone(mb.meta.SubscribedTopicNames), SubscribedTopicRegex: mb.meta.SubscribedTopicRegex,
			MemberType: 1,
		}
		if mb.meta.ClassicMemberMetadata != nil {
			d.MemberType = 0
		}
		for _, h := range mergeHoldings(mb.current.AssignedPartitions, mb.current.PartitionsPendingRevocation) {
			describeAssigned(c.image, &d.Assignment, h.TopicID, h.Partitions) // what it has not given up yet is still its own
		}
		for _, tp := range g.targets[memberID] {
			describeAssigned(c.image, &d.TargetAssignment, tp.Topic, tp.Partitions)
		}
		out.Members = append(out.Members, d)
	}
	return out
}

// describeAssigned adds partitions of a topic that there still is.
func describeAssigned(img *metadata.Image, to *wire.ConsumerGroupDescribeResponseAssignment, id wire.UUID, partitions []int32) {
	if img == nil {
		return
	}
	if topic, ok := img.TopicByID(id); ok {
		to.TopicPartitions = append(to.TopicPartitions, wire.ConsumerGroupDescribeResponseTopicPartitions{
			TopicID: id, TopicName: topic.Name, Partitions: slices.Clone(partitions),
		})
	}
}
