package group

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
)

// Epochs with a meaning of their own in heartbeats.
const (
	joinEpoch        = 0
	leaveEpoch       = -1
	staticLeaveEpoch = -2 // a static member that will be back
)

const (
	// clientMemberIDSince is the version of ConsumerGroupHeartbeat in which clients make their member ids.
	clientMemberIDSince = 1
	// subscriptionLimit bounds the bytes of what one member's record holds.
	//
	// Differs from Kafka: what a member of a consumer group subscribes to may have 256 KiB, and a heartbeat with more is
	// refused; in Kafka a record that is too large fails when the log is written.
	subscriptionLimit = 256 << 10
)

// ConsumerHeartbeat is a ConsumerGroupHeartbeat request with all that decides on it.
type ConsumerHeartbeat struct {
	Request *wire.ConsumerGroupHeartbeatRequest
	Version int16
	Client  Client
	// Fresh makes a new member id for clients that have none; it must be random.
	Fresh wire.UUID
}

// refusal is an error that a client sees, with its text.
type refusal struct {
	code wire.Code
	text string
}

func refuse(code wire.Code, format string, args ...any) *refusal {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

func (r *refusal) heartbeat() *wire.ConsumerGroupHeartbeatResponse {
	return &wire.ConsumerGroupHeartbeatResponse{ErrorCode: r.code, ErrorMessage: &r.text}
}

// Heartbeat decides on a ConsumerGroupHeartbeat request. The answer is to be sent when the writes in fx, if any, are
// settled.
func (c *Consumers) Heartbeat(now Time, h *ConsumerHeartbeat, fx *Effects) *wire.ConsumerGroupHeartbeatResponse {
	if resp := c.quick(now, h); resp != nil {
		return resp
	}
	if r := c.checkRequest(h); r != nil {
		return r.heartbeat()
	}
	var resp *wire.ConsumerGroupHeartbeatResponse
	var r *refusal
	if h.Request.MemberEpoch < joinEpoch {
		resp, r = c.leave(now, h, fx)
	} else {
		resp, r = c.heartbeat(now, h, fx)
	}
	if r != nil {
		return r.heartbeat()
	}
	return resp
}

// quick answers a heartbeat that tells nothing new while there is nothing to tell, which is what most are.
func (c *Consumers) quick(now Time, h *ConsumerHeartbeat) *wire.ConsumerGroupHeartbeatResponse {
	req := h.Request
	if req.MemberEpoch <= joinEpoch || req.TopicPartitions != nil || req.SubscribedTopicNames != nil || req.SubscribedTopicRegex != nil ||
		req.InstanceID != nil || req.RackID != nil || req.ServerAssignor != nil || req.RebalanceTimeoutMs != -1 {
		return nil
	}
	g := c.groups[req.GroupID]
	if g == nil || g.stale || g.epoch != g.targetEpoch || len(g.regexes) > 0 || len(g.resolved) > 0 {
		return nil
	}
	mb := g.members[req.MemberID]
	if mb == nil || req.MemberEpoch != mb.current.MemberEpoch || !mb.reconciled(g.targetEpoch) || mb.meta.ClassicMemberMetadata != nil ||
		mb.meta.ClientID != h.Client.ID || mb.meta.ClientHost != h.Client.Host {
		return nil
	}
	g.heard(mb, now)
	return &wire.ConsumerGroupHeartbeatResponse{MemberID: &mb.id, MemberEpoch: mb.current.MemberEpoch, HeartbeatIntervalMs: g.pace(mb)}
}

// blank says whether a string is nothing but white space, which Kafka takes for empty.
func blank(s string) bool { return strings.TrimSpace(s) == "" }

// checkRequest is Kafka's validation, with its texts.
func (c *Consumers) checkRequest(h *ConsumerHeartbeat) *refusal {
	req := h.Request
	invalid := func(text string) *refusal { return &refusal{wire.InvalidRequest, text} }
	switch {
	case (h.Version >= clientMemberIDSince || req.MemberEpoch > joinEpoch || req.MemberEpoch == leaveEpoch) && blank(req.MemberID):
		return invalid("MemberId can't be empty.")
	case blank(req.GroupID):
		return invalid("GroupId can't be empty.")
	case req.InstanceID != nil && blank(*req.InstanceID):
		return invalid("InstanceId can't be empty.")
	case req.RackID != nil && blank(*req.RackID):
		return invalid("RackId can't be empty.")
	}
	switch {
	case req.MemberEpoch == joinEpoch && req.RebalanceTimeoutMs == -1:
		return invalid("RebalanceTimeoutMs must be provided in first request.")
	case req.MemberEpoch == joinEpoch && (req.TopicPartitions == nil || len(req.TopicPartitions) > 0):
		return invalid("TopicPartitions must be empty when (re-)joining.")
	case req.MemberEpoch == joinEpoch && req.SubscribedTopicNames == nil && req.SubscribedTopicRegex == nil:
		return invalid("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.")
	case req.MemberEpoch == staticLeaveEpoch && req.InstanceID == nil:
		return invalid("InstanceId can't be null.")
	case req.MemberEpoch < staticLeaveEpoch:
		return invalid("MemberEpoch is invalid.")
	}
	if req.ServerAssignor != nil && !slices.Contains(c.config.Assignors, *req.ServerAssignor) {
		return refuse(wire.UnsupportedAssignor, "ServerAssignor %s is not supported. Supported assignors: %s.",
			*req.ServerAssignor, joinNames(c.config.Assignors))
	}
	if n := subscriptionBytes(h); n > subscriptionLimit {
		return refuse(wire.InvalidRequest, "The subscription has %d bytes, more than the %d that a member may have.", n, subscriptionLimit)
	}
	return nil
}

// subscriptionBytes is about how large the member's record would be.
func subscriptionBytes(h *ConsumerHeartbeat) int {
	req := h.Request
	n := len(req.MemberID) + len(req.GroupID) + len(h.Client.ID)
	for _, s := range []*string{req.InstanceID, req.RackID, req.SubscribedTopicRegex} {
		if s != nil {
			n += len(*s)
		}
	}
	for _, name := range req.SubscribedTopicNames {
		n += len(name) + 4
	}
	return n
}

// newMemberID is a member id as Kafka's coordinator makes them: a UUID in its base 64.
func newMemberID(fresh wire.UUID) string {
	id := base64.RawURLEncoding.EncodeToString(fresh[:])
	if id[0] == '-' {
		id = "A" + id[1:] // it would look like an option on a command line
	}
	return id
}

// heartbeat lets a member join, or go on.
func (c *Consumers) heartbeat(now Time, h *ConsumerHeartbeat, fx *Effects) (*wire.ConsumerGroupHeartbeatResponse, *refusal) {
	req := h.Request
	id := req.MemberID
	if id == "" {
		id = newMemberID(h.Fresh)
	}
	if r := c.checkHeartbeat(req, id); r != nil {
		return nil, r
	}
	t, r := c.enter(now, req, fx)
	if r != nil {
		return nil, r
	}
	g := t.g
	mb := t.admit(id, req)
	before := mb.current.AssignedPartitions
	next, changed := h.update(mb)
	joined, regex := mb.reads == nil, stringOf(mb.meta.SubscribedTopicRegex)
	if joined || changed || !sameMember(&next, &mb.meta) {
		t.putMember(id, &next)
		mb = g.members[id]
	}
	expression := stringOf(mb.meta.SubscribedTopicRegex)
	regexChanged := regex != expression
	if joined || changed || regexChanged {
		t.event(joinsOr(joined, "member joins", "member changes its subscription"), id+" subscribes to "+subscriptionText(&mb.meta))
	}
	known := regexChanged && (expression == "" || g.resolved[expression] != nil)
	found := t.resolveAll(h.Client.Visible)
	t.bump(changed || known || found)
	t.retarget()
	has := ownedOf(req.TopicPartitions)
	t.reconcile(mb, has, changed || regexChanged)
	g.heard(mb, now)
	resp := &wire.ConsumerGroupHeartbeatResponse{
		MemberID: &mb.id, MemberEpoch: mb.current.MemberEpoch, HeartbeatIntervalMs: g.pace(mb),
	}
	full := req.RebalanceTimeoutMs != -1 && (req.SubscribedTopicNames != nil || req.SubscribedTopicRegex != nil) && req.TopicPartitions != nil
	if req.MemberEpoch == joinEpoch || full || !samePartitions(before, mb.current.AssignedPartitions) {
		resp.Assignment = assignmentOf(mb.current.AssignedPartitions)
	}
	t.done()
	return resp, nil
}

func joinsOr(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}

// stringOf is a string, "" for none.
func stringOf(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func differsOpt(a, b *string) bool { return (a == nil) != (b == nil) || a != nil && *a != *b }

// subscriptionText is what a member reads, for people.
func subscriptionText(m *wire.ConsumerGroupMemberMetadataValue) string {
	text := describeTopics(m.SubscribedTopicNames)
	if m.SubscribedTopicRegex != nil && *m.SubscribedTopicRegex != "" {
		text = strings.TrimPrefix(text+", all that match "+*m.SubscribedTopicRegex, ", ")
	}
	if text == "" {
		return "nothing"
	}
	return text
}

// ownedOf is what the member says it owns.
func ownedOf(list []wire.ConsumerGroupHeartbeatRequestTopicPartitions) owned {
	if list == nil {
		return nil
	}
	has := owned{}
	for i := range list {
		for _, p := range list[i].Partitions {
			has[partitionID{list[i].TopicID, p}] = true
		}
	}
	return has
}

func samePartitions(a, b []holding) bool {
	return slices.EqualFunc(a, b, func(x, y holding) bool { return x.TopicID == y.TopicID && slices.Equal(x.Partitions, y.Partitions) })
}

func assignmentOf(list []holding) *wire.ConsumerGroupHeartbeatResponseAssignment {
	a := &wire.ConsumerGroupHeartbeatResponseAssignment{TopicPartitions: make([]wire.ConsumerGroupHeartbeatResponseTopicPartitions, len(list))}
	for i := range list {
		a.TopicPartitions[i] = wire.ConsumerGroupHeartbeatResponseTopicPartitions{TopicID: list[i].TopicID, Partitions: list[i].Partitions}
	}
	return a
}

// checkHeartbeat refuses what must be refused before anything changes.
func (c *Consumers) checkHeartbeat(req *wire.ConsumerGroupHeartbeatRequest, id string) *refusal {
	g := c.groups[req.GroupID]
	joins := req.MemberEpoch == joinEpoch
	if g == nil {
		if !joins {
			return c.noGroup(req.GroupID)
		}
		if r := checkTakeover(c, req.GroupID); r != nil {
			return r
		}
		return g.checkRegex(req)
	}
	mb := g.members[id]
	if r := c.config.full(len(g.members), mb != nil); r != nil {
		return r
	}
	var r *refusal
	switch {
	case req.InstanceID != nil:
		r = g.checkStatic(req, id)
	case mb != nil:
		r = mb.checkEpoch(req)
	case !joins:
		r = refuse(wire.UnknownMemberID, "Member %s is not a member of group %s.", id, g.id)
	}
	if r != nil {
		return r
	}
	return g.checkRegex(req)
}

// checkTakeover says whether a consumer group may have an id that it has not yet.
func checkTakeover(c *Consumers, id string) *refusal {
	if typ, ok := c.machine.TypeOf(id); ok && typ != classicType {
		return c.noGroup(id)
	}
	if old := c.machine.groups[id]; old != nil && len(old.members) > 0 && old.state != stateDead {
		return c.checkUpgrade(old)
	}
	return nil
}

// checkRegex sees that an expression that the group does not have yet can be read.
func (g *consumerGroup) checkRegex(req *wire.ConsumerGroupHeartbeatRequest) *refusal {
	if stringOf(req.SubscribedTopicRegex) == "" || g != nil && g.regexes[*req.SubscribedTopicRegex] > 0 {
		return nil
	}
	if _, err := compileRegex(*req.SubscribedTopicRegex); err != nil {
		text := err.Error()
		if bad := (*syntax.Error)(nil); errors.As(err, &bad) {
			text = bad.Code.String()
		}
		return refuse(wire.InvalidRegularExpression, "SubscribedTopicRegex `%s` is not a valid regular expression: %s.", *req.SubscribedTopicRegex, text)
	}
	return nil
}

func (c *ConsumerConfig) full(members int, known bool) *refusal {
	if members >= int(c.MaxSize) && !known {
		return refuse(wire.GroupMaxSizeReached, "The consumer group has reached its maximum capacity of %d members.", c.MaxSize)
	}
	return nil
}

func (c *Consumers) noGroup(id string) *refusal {
	if _, ok := c.machine.TypeOf(id); ok {
		return refuse(wire.GroupIDNotFound, "Group %s is not a consumer group.", id)
	}
	return refuse(wire.GroupIDNotFound, "Consumer group %s not found.", id)
}

// checkStatic sees that an instance id belongs to the member that uses it.
func (g *consumerGroup) checkStatic(req *wire.ConsumerGroupHeartbeatRequest, id string) *refusal {
	old := g.statics[*req.InstanceID]
	if req.MemberEpoch == joinEpoch {
		if old == nil || old.meta.ClassicMemberMetadata != nil || old.current.MemberEpoch == staticLeaveEpoch {
			return nil
		}
		return refuse(wire.UnreleasedInstanceID, "Static member %s with instance id %s cannot join the group because the instance id is owned by %s member.",
			id, *req.InstanceID, old.id)
	}
	if r := g.checkInstance(*req.InstanceID, id); r != nil {
		return r
	}
	return old.checkEpoch(req)
}

// checkInstance sees that the static member is this one.
func (g *consumerGroup) checkInstance(instance, id string) *refusal {
	old := g.statics[instance]
	if old == nil {
		return refuse(wire.UnknownMemberID, "Instance id %s is unknown.", instance)
	}
	if old.id != id {
		return refuse(wire.FencedInstanceID, "Static member %s with instance id %s was fenced by member %s.", id, instance, old.id)
	}
	return nil
}

// checkEpoch sees that the member is where the coordinator thinks it is. One that comes with the epoch before, and
// with nothing that it was not given, has missed the answer.
func (mb *consumerMember) checkEpoch(req *wire.ConsumerGroupHeartbeatRequest) *refusal {
	epoch, known := req.MemberEpoch, mb.current.MemberEpoch
	switch {
	case epoch == joinEpoch:
		return nil
	case epoch > known:
		return refuse(wire.FencedMemberEpoch, "The consumer group member has a greater member epoch (%d) than the one known by the group coordinator (%d). "+
			"The member must abandon all its partitions and rejoin.", epoch, known)
	case epoch < known && (epoch != mb.current.PreviousMemberEpoch || !mb.covers(req.TopicPartitions)):
		return refuse(wire.FencedMemberEpoch, "The consumer group member has a smaller member epoch (%d) than the one known by the group coordinator (%d). "+
			"The member must abandon all its partitions and rejoin.", epoch, known)
	case mb.current.State > unreleasedPartitions && (req.TopicPartitions == nil || len(req.TopicPartitions) > 0):
		return refuse(wire.FencedMemberEpoch, "The consumer group member is in a unknown state. The member must abandon all its partitions and rejoin.")
	}
	return nil
}

// covers says whether all of what the member says it owns is assigned to it.
func (mb *consumerMember) covers(list []wire.ConsumerGroupHeartbeatRequestTopicPartitions) bool {
	if list == nil {
		return false
	}
	for i := range list {
		at, ok := slices.BinarySearchFunc(mb.current.AssignedPartitions, list[i].TopicID, func(h holding, id wire.UUID) int { return compareTopicIDs(h.TopicID, id) })
		if !ok {
			return false
		}
		for _, p := range list[i].Partitions {
			if _, ok := slices.BinarySearch(mb.current.AssignedPartitions[at].Partitions, p); !ok {
				return false
			}
		}
	}
	return true
}

// enter begins a decision on the request's group. If it joins, the group is made, or a classic one gives way to it.
func (c *Consumers) enter(now Time, req *wire.ConsumerGroupHeartbeatRequest, fx *Effects) (*consumerTurn, *refusal) {
	if g := c.groups[req.GroupID]; g != nil {
		return c.turn(g, now, fx), nil
	}
	if old := c.machine.groups[req.GroupID]; old != nil && len(old.members) > 0 && old.state != stateDead {
		return c.fromClassic(now, old, fx)
	}
	t := c.turn(newConsumerGroup(c, req.GroupID), now, fx)
	t.records, _ = c.machine.Vacate(req.GroupID, nil)
	c.groups[t.g.id] = t.g
	return t, nil
}

// admit finds the member, or makes it. A static member that comes back takes the place of the one that left: what that
// had is its own, under a new id.
func (t *consumerTurn) admit(id string, req *wire.ConsumerGroupHeartbeatRequest) *consumerMember {
	if req.MemberEpoch == joinEpoch && req.InstanceID != nil {
		if old := t.g.statics[*req.InstanceID]; old != nil {
			t.replace(old, id)
			t.event("static member returns", *req.InstanceID+" as "+id)
		}
	}
	mb := t.g.members[id]
	if mb == nil {
		// It is a member once its metadata are written, with the first record of this turn.
		mb = &consumerMember{id: strings.Clone(id), group: t.g, meta: blankMember()}
	}
	return mb
}

// replace gives a static member's place to another member id.
func (t *consumerTurn) replace(old *consumerMember, id string) {
	meta, current, target := old.meta, old.current, t.g.targets[old.id]
	current.MemberEpoch, current.PreviousMemberEpoch = joinEpoch, joinEpoch
	t.bury1(old.id)
	t.putMember(id, &meta)
	t.putTarget(id, target, false)
	t.putCurrent(id, &current)
}

// update is the member's metadata with what the request changes.
func (h *ConsumerHeartbeat) update(mb *consumerMember) (next wire.ConsumerGroupMemberMetadataValue, changed bool) {
	req := h.Request
	next = mb.meta
	set := func(to **string, from *string) {
		if from != nil && (*to == nil || **to != *from) {
			*to = cloneOpt(from)
		}
	}
	set(&next.InstanceID, req.InstanceID)
	set(&next.RackID, req.RackID)
	set(&next.ServerAssignor, req.ServerAssignor)
	set(&next.SubscribedTopicRegex, req.SubscribedTopicRegex)
	if req.RebalanceTimeoutMs != -1 {
		next.RebalanceTimeoutMs = req.RebalanceTimeoutMs
	}
	if req.SubscribedTopicNames != nil && !slices.Equal(req.SubscribedTopicNames, mb.meta.SubscribedTopicNames) {
		names := slices.Compact(slices.Sorted(slices.Values(req.SubscribedTopicNames)))
		if !slices.Equal(names, mb.meta.SubscribedTopicNames) {
			for i := range names {
				names[i] = strings.Clone(names[i])
			}
			next.SubscribedTopicNames, changed = names, true
		}
	}
	if next.ClientID != h.Client.ID {
		next.ClientID = strings.Clone(h.Client.ID)
	}
	if next.ClientHost != h.Client.Host {
		next.ClientHost = strings.Clone(h.Client.Host)
	}
	next.ClassicMemberMetadata = nil
	return next, changed
}

func sameMember(a, b *wire.ConsumerGroupMemberMetadataValue) bool {
	return !differsOpt(a.InstanceID, b.InstanceID) && !differsOpt(a.RackID, b.RackID) && !differsOpt(a.ServerAssignor, b.ServerAssignor) &&
		!differsOpt(a.SubscribedTopicRegex, b.SubscribedTopicRegex) && a.RebalanceTimeoutMs == b.RebalanceTimeoutMs &&
		a.ClientID == b.ClientID && a.ClientHost == b.ClientHost && slices.Equal(a.SubscribedTopicNames, b.SubscribedTopicNames) &&
		sameClassic(a.ClassicMemberMetadata, b.ClassicMemberMetadata)
}

// leave ends a membership, for good or, for a static member, until it is back.
func (c *Consumers) leave(now Time, h *ConsumerHeartbeat, fx *Effects) (*wire.ConsumerGroupHeartbeatResponse, *refusal) {
	req := h.Request
	g := c.groups[req.GroupID]
	if g == nil {
		if _, ok := c.machine.TypeOf(req.GroupID); ok {
			return nil, c.noGroup(req.GroupID)
		}
		return nil, refuse(wire.GroupIDNotFound, "Group %s not found.", req.GroupID)
	}
	if req.InstanceID != nil {
		if r := g.checkInstance(*req.InstanceID, req.MemberID); r != nil {
			return nil, r
		}
	}
	mb := g.members[req.MemberID]
	if mb == nil {
		return nil, refuse(wire.UnknownMemberID, "Member %s is not a member of group %s.", req.MemberID, g.id)
	}
	t := c.turn(g, now, fx)
	resp := &wire.ConsumerGroupHeartbeatResponse{MemberID: &mb.id, MemberEpoch: req.MemberEpoch}
	if req.InstanceID != nil && req.MemberEpoch == staticLeaveEpoch {
		away := mb.current
		away.MemberEpoch, away.PartitionsPendingRevocation = staticLeaveEpoch, nil
		t.putCurrent(mb.id, &away)
		t.event("static member pauses", *req.InstanceID)
	} else {
		t.event("member leaves", mb.id)
		t.remove([]*consumerMember{mb})
	}
	t.done()
	return resp, nil
}
