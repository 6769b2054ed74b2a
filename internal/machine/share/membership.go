package share

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/assign"
	"github.com/moldau/moldau/internal/machine/group"
)

// step is one decision about a group: it emits records and applies them at once.
type step struct {
	g       *Groups
	sg      *shareGroup
	now     group.Time
	fx      *group.Effects
	records []group.Record
}

// done hands the records to the shell.
func (t *step) done() { t.fx.Record(t.records...) }

func (t *step) event(what, reason string) {
	t.fx.Events = append(t.fx.Events, group.Event{
		Group: t.sg.id, What: what, Reason: reason, Generation: t.sg.epoch, Members: len(t.sg.members),
	})
}

// CheckHeartbeat refuses what no group is needed for to refuse.
func CheckHeartbeat(req *wire.ShareGroupHeartbeatRequest) Problem {
	invalid := func(text string) Problem { return Problem{wire.InvalidRequest, text} }
	switch {
	case strings.TrimSpace(req.MemberID) == "":
		return invalid("MemberId can't be empty.")
	case strings.TrimSpace(req.GroupID) == "":
		return invalid("GroupId can't be empty.")
	case req.RackID != nil && strings.TrimSpace(*req.RackID) == "":
		return invalid("RackId can't be empty.")
	case req.MemberEpoch == joinEpoch && len(req.SubscribedTopicNames) == 0:
		return invalid("SubscribedTopicNames must be set in first request.")
	case req.MemberEpoch < leaveEpoch:
		return invalid("MemberEpoch is invalid.")
	}
	return Problem{}
}

// Heartbeat takes a member's heartbeat. If share partitions have to get a state first, initialize is what the share
// coordinator must be asked; its answer goes to Initialized or NotInitialized. Both answers are sent when the records
// are written.
func (g *Groups) Heartbeat(now group.Time, client group.Client, req *wire.ShareGroupHeartbeatRequest, fx *group.Effects) (
	resp *wire.ShareGroupHeartbeatResponse, initialize *wire.InitializeShareGroupStateRequest,
) {
	refused := func(p Problem) (*wire.ShareGroupHeartbeatResponse, *wire.InitializeShareGroupStateRequest) {
		return &wire.ShareGroupHeartbeatResponse{ErrorCode: p.Code, ErrorMessage: p.Message()}, nil
	}
	if req.MemberEpoch == leaveEpoch {
		return g.leave(now, req, fx), nil
	}
	sg, bad := g.find(req.GroupID, shareGroupMissing)
	if sg == nil {
		if _, taken := g.registry.TypeOf(req.GroupID); taken || req.MemberEpoch != joinEpoch {
			return refused(bad)
		}
		sg = newShareGroup(strings.Clone(req.GroupID))
	}
	m := sg.members[req.MemberID]
	if m == nil && len(sg.members) >= g.config.MaxSize {
		return refused(Problem{wire.GroupMaxSizeReached, fmt.Sprintf("The share group has reached its maximum capacity of %d members.", g.config.MaxSize)})
	}
	if bad := sg.check(m, req); bad.Code != wire.None {
		return refused(bad)
	}
	t := &step{g: g, sg: sg, now: now, fx: fx}
	m, had, bump, reason := t.update(m, client, req)
	t.bump(bump, reason)
	t.assign()
	t.reconcile(m, bump)
	g.heard(m, now)
	resp = &wire.ShareGroupHeartbeatResponse{MemberID: &m.id, MemberEpoch: m.epoch}
	if req.MemberEpoch == joinEpoch || req.SubscribedTopicNames != nil || !had.Equal(m.assigned) {
		resp.Assignment = &wire.ShareGroupHeartbeatResponseAssignment{TopicPartitions: assignmentOf(m.assigned)}
	}
	initialize = t.initialize()
	resp.HeartbeatIntervalMs = t.pace(m)
	t.done()
	return resp, initialize
}

func assignmentOf(a assign.Assignment) []wire.ShareGroupHeartbeatResponseTopicPartitions {
	out := make([]wire.ShareGroupHeartbeatResponseTopicPartitions, len(a))
	for i, tp := range a {
		out[i] = wire.ShareGroupHeartbeatResponseTopicPartitions{TopicID: tp.Topic, Partitions: tp.Partitions}
	}
	return out
}

// hurryMs is the heartbeat interval of members that wait for something.
const hurryMs = 200

// pace is the interval at which the member is told to report.
//
// Differs from Kafka: a member of a share group whose partitions are about to get a state, or whose group is about to get an
// assignment, is told to come back soon, so that it has something to read after a fraction of a second instead of one or two
// heartbeat intervals of five.
func (t *step) pace(m *member) int32 {
	s := t.g.settings(t.sg)
	ms := s.HeartbeatMs
	if !s.Paced {
		return ms
	}
	if t.sg.assignedEpoch < t.sg.epoch || m.epoch < t.sg.assignedEpoch || t.sg.states != nil && len(t.sg.states.initializing) > 0 {
		return min(ms, hurryMs)
	}
	return ms
}

// check compares the epochs of a heartbeat. A member may be one epoch behind when an answer was lost.
func (sg *shareGroup) check(m *member, req *wire.ShareGroupHeartbeatRequest) Problem {
	epoch := req.MemberEpoch
	switch {
	case epoch == joinEpoch:
		return Problem{}
	case m == nil:
		return unknownMember(req.MemberID, sg.id)
	case epoch > m.epoch:
		return Problem{wire.FencedMemberEpoch, fmt.Sprintf("The share group member has a greater member epoch (%d) than the one known by the "+
			"group coordinator (%d). The member must abandon all its partitions and rejoin.", epoch, m.epoch)}
	case epoch < m.epoch && epoch != m.previous:
		return Problem{wire.FencedMemberEpoch, fmt.Sprintf("The share group member has a smaller member epoch (%d) than the one known by the "+
			"group coordinator (%d), and it does not match the previous member epoch (%d). The member must abandon all its partitions and rejoin.",
			epoch, m.epoch, m.previous)}
	}
	return Problem{}
}

func unknownMember(member, id string) Problem {
	return Problem{wire.UnknownMemberID, fmt.Sprintf("Member %s is not a member of group %s.", member, id)}
}

// leave takes a member's farewell.
func (g *Groups) leave(now group.Time, req *wire.ShareGroupHeartbeatRequest, fx *group.Effects) *wire.ShareGroupHeartbeatResponse {
	sg, bad := g.find(req.GroupID, groupMissing)
	if sg == nil {
		return &wire.ShareGroupHeartbeatResponse{ErrorCode: bad.Code, ErrorMessage: bad.Message()}
	}
	m := sg.members[req.MemberID]
	if m == nil {
		bad := unknownMember(req.MemberID, req.GroupID)
		return &wire.ShareGroupHeartbeatResponse{ErrorCode: bad.Code, ErrorMessage: bad.Message()}
	}
	t := &step{g: g, sg: sg, now: now, fx: fx}
	t.remove(m)
	t.event("member left", m.id+": it has said so")
	t.done()
	return &wire.ShareGroupHeartbeatResponse{MemberID: &m.id, MemberEpoch: leaveEpoch}
}

// remove takes a member out. What it had goes to others with their next heartbeats.
func (t *step) remove(m *member) {
	t.gone(&wire.ShareGroupCurrentMemberAssignmentKey{GroupID: t.sg.id, MemberID: m.id})
	t.gone(&wire.ShareGroupTargetAssignmentMemberKey{GroupID: t.sg.id, MemberID: m.id})
	t.gone(&wire.ShareGroupMemberMetadataKey{GroupID: t.sg.id, MemberID: m.id})
	t.g.removeTarget(t.sg, m.id)
	t.g.removeMember(t.sg, m.id)
	t.putEpoch(t.sg.epoch+1, t.g.groupHash(t.sg))
}

// update writes what the member says of itself if it is new. had is what was assigned to it.
func (t *step) update(m *member, client group.Client, req *wire.ShareGroupHeartbeatRequest) (after *member, had assign.Assignment, bump bool, reason string) {
	v := &wire.ShareGroupMemberMetadataValue{ClientID: client.ID, ClientHost: client.Host}
	if m != nil {
		v.RackID, v.SubscribedTopicNames = m.rack, m.topics
	}
	if req.RackID != nil {
		v.RackID = req.RackID
	}
	if req.SubscribedTopicNames != nil {
		v.SubscribedTopicNames = slices.Clone(req.SubscribedTopicNames)
		slices.Sort(v.SubscribedTopicNames)
		v.SubscribedTopicNames = slices.Compact(v.SubscribedTopicNames)
	}
	switch {
	case m == nil:
		bump, reason = true, strings.Clone(req.MemberID)+": it has joined"
	case !slices.Equal(m.topics, v.SubscribedTopicNames):
		bump, reason = true, m.id+": it has changed its subscription"
	case m.clientID == v.ClientID && m.host == v.ClientHost && equalText(m.rack, v.RackID):
		return m, m.assigned, false, ""
	}
	if m != nil {
		had = m.assigned
	}
	v = cloneMember(v)
	id := strings.Clone(req.MemberID)
	t.put(&wire.ShareGroupMemberMetadataKey{GroupID: t.sg.id, MemberID: id}, v)
	t.g.groups[t.sg.id] = t.sg
	t.g.setMember(t.sg, id, v)
	return t.sg.members[id], had, bump, reason
}

// cloneMember copies what would else be part of a request.
func cloneMember(v *wire.ShareGroupMemberMetadataValue) *wire.ShareGroupMemberMetadataValue {
	out := &wire.ShareGroupMemberMetadataValue{ClientID: strings.Clone(v.ClientID), ClientHost: strings.Clone(v.ClientHost)}
	if v.RackID != nil {
		rack := strings.Clone(*v.RackID)
		out.RackID = &rack
	}
	out.SubscribedTopicNames = make([]string, len(v.SubscribedTopicNames))
	for i, name := range v.SubscribedTopicNames {
		out.SubscribedTopicNames[i] = strings.Clone(name)
	}
	return out
}

func equalText(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }

// bump begins a new epoch if something has changed that an assignment depends on.
func (t *step) bump(must bool, reason string) {
	sg := t.sg
	if !must && sg.assignedEpoch >= sg.epoch && t.assignmentPending() {
		must, reason = true, "share partitions have become readable"
	}
	if !must && !sg.stale {
		return
	}
	hash := t.g.groupHash(sg)
	if hash != sg.hash && !must {
		must, reason = true, "topics that it reads have changed"
	}
	sg.stale = false
	if must && sg.epoch < maxEpoch {
		t.putEpoch(sg.epoch+1, hash)
		t.event("group rebalances", reason)
	}
}

// assignmentPending tells whether a share partition has got a state and is not assigned yet, or has lost it.
func (t *step) assignmentPending() bool {
	if t.sg.states == nil || len(t.sg.states.initialized) == 0 || len(t.sg.members) == 0 {
		return false
	}
	given := map[wire.UUID]map[int32]bool{}
	for _, a := range t.sg.targets { //unordered: a union
		for _, tp := range a {
			if given[tp.Topic] == nil {
				given[tp.Topic] = map[int32]bool{}
			}
			for _, p := range tp.Partitions {
				given[tp.Topic][p] = true
			}
		}
	}
	for id, st := range t.sg.states.initialized { //unordered: one is enough
		if t.sg.reads[st.name] == 0 {
			continue
		}
		if len(given[id]) != len(st.partitions) || slices.ContainsFunc(st.partitions, func(p int32) bool { return !given[id][p] }) {
			return true
		}
	}
	return false
}

// assign computes targets for the group's epoch, unless they were computed a moment ago.
func (t *step) assign() {
	sg := t.sg
	if sg.assignedEpoch >= sg.epoch {
		return
	}
	// Targets without a single partition, as those of a group that has just begun, are no reason to wait.
	wait := int64(t.g.settings(sg).AssignmentMs)
	if sg.assignedAt != 0 && wait != 0 && t.now.Wall < sg.assignedAt+wait && !sg.idle() {
		return
	}
	members, topics := t.assignorInput()
	for i, a := range assign.Simple(members, topics) {
		id := members[i].ID
		if old, ok := sg.targets[id]; !ok || !old.Equal(a) {
			t.putTarget(id, a)
		}
	}
	t.putAssigned(sg.epoch, t.now.Wall)
}

// idle tells whether nothing is assigned to anybody.
func (sg *shareGroup) idle() bool {
	for _, a := range sg.targets { //unordered: one is enough
		if len(a) > 0 {
			return false
		}
	}
	return true
}

// assignorInput is the members, and the topics with those of their partitions that have a state.
func (t *step) assignorInput() ([]assign.Member, []assign.Topic) {
	var topics []assign.Topic
	for _, name := range slices.Sorted(maps.Keys(t.sg.reads)) {
		topic, ok := t.g.image.Topic(name)
		if !ok {
			continue
		}
		in := assign.Topic{ID: topic.ID, Partitions: int32(len(topic.Partitions)), Assignable: []int32{}}
		if t.sg.states != nil && t.sg.states.initialized[topic.ID] != nil {
			in.Assignable = t.sg.states.initialized[topic.ID].partitions
		}
		topics = append(topics, in)
	}
	slices.SortFunc(topics, func(a, b assign.Topic) int { return slices.Compare(a.ID[:], b.ID[:]) })
	shared := map[string][]wire.UUID{}
	members := make([]assign.Member, 0, len(t.sg.members))
	for _, id := range slices.Sorted(maps.Keys(t.sg.members)) {
		m := t.sg.members[id]
		key := strings.Join(m.topics, "\x00")
		subscribed, ok := shared[key]
		if !ok {
			subscribed = t.g.topicIDs(m.topics)
			shared[key] = subscribed
		}
		members = append(members, assign.Member{ID: id, Subscribed: subscribed, Owned: t.sg.targets[id]})
	}
	return members, topics
}

// topicIDs are the ids of topics that there are, sorted.
func (g *Groups) topicIDs(names []string) []wire.UUID {
	ids := make([]wire.UUID, 0, len(names))
	for _, name := range names {
		if topic, ok := g.image.Topic(name); ok {
			ids = append(ids, topic.ID)
		}
	}
	slices.SortFunc(ids, func(a, b wire.UUID) int { return slices.Compare(a[:], b[:]) })
	return ids
}

// reconcile brings the member to its target. Nothing has to be given up first: partitions are shared.
func (t *step) reconcile(m *member, changed bool) {
	epoch := t.sg.assignedEpoch
	if !changed && m.epoch == epoch {
		return
	}
	target := t.sg.targets[m.id]
	ids := t.g.topicIDs(m.topics)
	foreign := func(tp assign.TopicPartitions) bool {
		_, ok := slices.BinarySearchFunc(ids, tp.Topic, func(a, b wire.UUID) int { return slices.Compare(a[:], b[:]) })
		return !ok
	}
	if slices.ContainsFunc(target, foreign) {
		target = slices.DeleteFunc(slices.Clone(target), foreign)
	}
	previous := m.previous
	if m.epoch != epoch {
		previous = m.epoch
	} else if target.Equal(m.assigned) {
		return
	}
	t.putCurrent(m.id, epoch, previous, target)
}

// groupHash is the hash of the topics that the group reads, as they are.
func (g *Groups) groupHash(sg *shareGroup) int64 {
	var hashes []int64
	for _, name := range slices.Sorted(maps.Keys(sg.reads)) {
		if _, ok := g.image.Topic(name); ok {
			hashes = append(hashes, g.topicHash(name))
		}
	}
	return group.GroupHash(hashes)
}
