package share

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/assign"
	"github.com/moldau/moldau/internal/machine/deadline"
	"github.com/moldau/moldau/internal/machine/group"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// GroupsConfig is what an administrator may set for share groups. Times are in milliseconds.
type GroupsConfig struct {
	// MaxSize is group.share.max.size.
	MaxSize int
	// InitializeRetryMs is group.share.initialize.retry.interval.ms.
	InitializeRetryMs int64
	// Settings are those of one group; nil stands for Kafka's defaults.
	Settings func(id string) GroupSettings
}

// GroupSettings are those of one share group.
type GroupSettings struct {
	// SessionMs is share.session.timeout.ms.
	SessionMs int32
	// HeartbeatMs is share.heartbeat.interval.ms. While Paced is set members that wait for something are told less.
	HeartbeatMs int32
	Paced       bool
	// AssignmentMs is share.assignment.interval.ms, the least time between two assignments.
	AssignmentMs int32
}

// DefaultGroupsConfig is Kafka's.
func DefaultGroupsConfig() GroupsConfig {
	return GroupsConfig{MaxSize: 200, InitializeRetryMs: 30_000}
}

func (c *GroupsConfig) settings(id string) GroupSettings {
	if c.Settings == nil {
		return GroupSettings{SessionMs: 45_000, HeartbeatMs: 5_000, Paced: true, AssignmentMs: 1_000}
	}
	return c.Settings(id)
}

// groupType is how ListGroups names share groups.
const groupType = "share"

// assignorName is the assignor of share groups, the only one there is.
const assignorName = "simple"

// Groups are the share groups of one partition of __consumer_offsets: a group.Kind.
type Groups struct {
	config   GroupsConfig
	registry group.Registry
	groups   map[string]*shareGroup
	readers  map[string]map[*shareGroup]bool // who reads a topic, by name
	hashes   map[string]knownTopic           // of topics that somebody reads
	image    *metadata.Image
	sessions sessions
}

var _ group.Kind = (*Groups)(nil)

// knownTopic is what a topic of an image came to.
type knownTopic struct {
	topic *metadata.Topic
	hash  int64
}

// NewGroups makes an empty kind; registry is the machine that it is attached to.
func NewGroups(config GroupsConfig, registry group.Registry) *Groups {
	return &Groups{
		config: config, registry: registry, groups: map[string]*shareGroup{},
		readers: map[string]map[*shareGroup]bool{}, hashes: map[string]knownTopic{}, image: metadata.Empty(),
	}
}

// shareGroup is one group.
type shareGroup struct {
	id            string
	epoch         int32
	hash          int64 // of the topics as of the epoch
	assignedEpoch int32 // that the targets are for, firstEpoch before there are any
	assignedAt    int64 // wall time, 0 before the first
	members       map[string]*member
	targets       map[string]assign.Assignment
	reads         map[string]int // how many members read a topic, by name
	states        *stateTopics   // nil when no share partition has a state
	stale         bool           // topics have changed since the hash was made
	settings      GroupSettings  // as of the image, once configured
	configured    bool
}

// member is one member of a group.
type member struct {
	id                string
	group             *shareGroup
	rack              *string
	clientID          string
	host              string
	topics            []string // sorted
	epoch             int32
	previous          int32
	assigned          assign.Assignment
	deadline.Deadline // Mono when the session ends
}

// Values of a member epoch in a request.
const (
	joinEpoch  = 0
	leaveEpoch = -1
)

// Type is "share".
func (g *Groups) Type() string { return groupType }

// Has says whether there is such a share group.
func (g *Groups) Has(id string) bool { return g.groups[id] != nil }

// IDs are the share groups, sorted.
func (g *Groups) IDs() []string { return slices.Sorted(maps.Keys(g.groups)) }

// State is "Empty" or "Stable", and "Dead" when there is no such group.
func (g *Groups) State(id string) string {
	sg := g.groups[id]
	switch {
	case sg == nil:
		return "Dead"
	case len(sg.members) == 0:
		return "Empty"
	default:
		return "Stable"
	}
}

// CheckOffsets refuses: members of share groups do not commit offsets.
func (g *Groups) CheckOffsets(string, string, *string, int32, bool) wire.Code {
	return wire.GroupIDNotFound
}

// Subscribed says whether a member reads the topic.
func (g *Groups) Subscribed(id, topic string) bool {
	sg := g.groups[id]
	return sg != nil && sg.reads[topic] > 0
}

// Idle says whether the group has no members; nobody knows since when.
func (g *Groups) Idle(id string) (since int64, idle bool) {
	sg := g.groups[id]
	return -1, sg != nil && len(sg.members) == 0
}

// Deletable says no: as in Kafka a share group stays until it is deleted, since its states would be lost.
func (g *Groups) Deletable(string) bool { return false }

// Delete appends the tombstones of an empty group. Its states must have been deleted before (see StartDelete).
func (g *Groups) Delete(id string, records []group.Record) ([]group.Record, wire.Code) {
	sg := g.groups[id]
	if sg == nil {
		return records, wire.GroupIDNotFound
	}
	if len(sg.members) > 0 {
		return records, wire.NonEmptyGroup
	}
	t := &step{g: g, sg: sg, records: records}
	t.gone(&wire.ShareGroupTargetAssignmentMetadataKey{GroupID: sg.id})
	t.gone(&wire.ShareGroupStatePartitionMetadataKey{GroupID: sg.id})
	t.gone(&wire.ShareGroupMetadataKey{GroupID: sg.id})
	g.forget(sg)
	return t.records, wire.None
}

func (g *Groups) forget(sg *shareGroup) {
	for _, m := range sg.members { //unordered: each stands for itself
		g.setTopics(m, nil)
		m.Stop()
	}
	delete(g.groups, sg.id)
}

// SetImage tells that topics or settings have changed. Groups that read a changed topic look at it with the next
// heartbeat of any of their members; states of topics that are no more are forgotten at once.
func (g *Groups) SetImage(now group.Time, img *metadata.Image, fx *group.Effects) {
	g.image = img
	for name, groups := range g.readers { //unordered: marks do not see each other
		known := g.hashes[name]
		if topic, _ := img.Topic(name); topic == known.topic {
			continue
		}
		if g.topicHash(name) != known.hash {
			for sg := range groups { //unordered: as above
				sg.stale = true
			}
		}
	}
	for _, id := range g.IDs() {
		sg := g.groups[id]
		if sg.configured = false; sg.states != nil {
			t := &step{g: g, sg: sg, now: now, fx: fx}
			t.dropDeletedTopics()
			t.done()
		}
	}
}

// topicHash is the hash of a topic as of the image, 0 if there is no such topic.
func (g *Groups) topicHash(name string) int64 {
	topic, _ := g.image.Topic(name)
	known, ok := g.hashes[name]
	if ok && known.topic == topic {
		return known.hash
	}
	known = knownTopic{topic: topic}
	if topic != nil {
		known.hash = group.TopicHash(topic, g.image)
	}
	if g.readers[name] != nil {
		g.hashes[strings.Clone(name)] = known
	}
	return known.hash
}

// Loaded begins the sessions of all members anew.
func (g *Groups) Loaded(now group.Time, _ *group.Effects) {
	for _, id := range g.IDs() {
		sg := g.groups[id]
		sg.stale = true
		for _, memberID := range slices.Sorted(maps.Keys(sg.members)) {
			g.heard(sg.members[memberID], now)
		}
	}
}

// Unload has nobody to answer: heartbeats are never parked.
func (g *Groups) Unload(wire.Code, *group.Effects) {}

// Next tells when Expire has something to do.
func (g *Groups) Next() (mono int64, ok bool) { return g.sessions.Next() }

// Expire removes the members whose session is over.
func (g *Groups) Expire(now group.Time, fx *group.Effects) {
	for m, ok := g.sessions.Due(now.Mono); ok; m, ok = g.sessions.Due(now.Mono) {
		t := &step{g: g, sg: m.group, now: now, fx: fx}
		t.remove(m)
		t.event("member removed", m.id+": it was not heard of for its session timeout")
		t.done()
	}
}

// settings are those of a group as of the image.
func (g *Groups) settings(sg *shareGroup) *GroupSettings {
	if !sg.configured {
		sg.settings, sg.configured = g.config.settings(sg.id), true
	}
	return &sg.settings
}

func (g *Groups) heard(m *member, now group.Time) {
	g.sessions.Set(m, now.Mono+int64(g.settings(m.group).SessionMs))
}

// find gives a share group, or why there is none.
func (g *Groups) find(id, missing string) (*shareGroup, Problem) {
	if sg := g.groups[id]; sg != nil {
		return sg, Problem{}
	}
	if _, ok := g.registry.TypeOf(id); ok {
		missing = "Group %s is not a share group."
	}
	return nil, Problem{wire.GroupIDNotFound, fmt.Sprintf(missing, id)}
}

const (
	groupMissing      = "Group %s not found."
	shareGroupMissing = "Share group %s not found."
)

// Describe describes one group. Authorized operations are left to the broker.
func (g *Groups) Describe(id string) wire.ShareGroupDescribeResponseDescribedGroup {
	var out wire.ShareGroupDescribeResponseDescribedGroup
	out.SetDefaults()
	out.GroupID = strings.Clone(id)
	sg, bad := g.find(id, groupMissing)
	if sg == nil {
		out.ErrorCode, out.ErrorMessage = bad.Code, bad.Message()
		return out
	}
	out.GroupState, out.GroupEpoch, out.AssignmentEpoch, out.AssignorName = g.State(id), sg.epoch, sg.assignedEpoch, assignorName
	for _, memberID := range slices.Sorted(maps.Keys(sg.members)) {
		m := sg.members[memberID]
		described := wire.ShareGroupDescribeResponseMember{
			MemberID: m.id, RackID: m.rack, MemberEpoch: m.epoch, ClientID: m.clientID, ClientHost: m.host, SubscribedTopicNames: m.topics,
		}
		for _, tp := range m.assigned {
			if topic, ok := g.image.TopicByID(tp.Topic); ok {
				described.Assignment.TopicPartitions = append(described.Assignment.TopicPartitions,
					wire.ShareGroupDescribeResponseTopicPartitions{TopicID: tp.Topic, TopicName: topic.Name, Partitions: tp.Partitions})
			}
		}
		out.Members = append(out.Members, described)
	}
	return out
}

// sessions is a queue of members by when their sessions end.
type sessions = deadline.Queue[*member]

const (
	// firstEpoch is that of a group without records; its first member makes it 2.
	firstEpoch = 1
	// maxEpoch is where epochs end; a group that got there cannot change any more.
	maxEpoch = math.MaxInt32
)
