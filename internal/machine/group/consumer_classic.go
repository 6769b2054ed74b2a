package group

import (
	"bytes"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// classicMetadata is what a consumer group keeps of a member that uses the classic protocol.
type classicMetadata = wire.ConsumerGroupMemberMetadataValueClassicMemberMetadata

func sameClassic(a, b *classicMetadata) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.SessionTimeoutMs == b.SessionTimeoutMs && slices.EqualFunc(a.SupportedProtocols, b.SupportedProtocols,
		func(x, y wire.ConsumerGroupMemberMetadataValueClassicProtocol) bool {
			return x.Name == y.Name && bytes.Equal(x.Metadata, y.Metadata)
		})
}

// supports says whether a member of the classic protocol fits to the others that use it.
func (g *consumerGroup) supports(protocolType string, protocols []wire.JoinGroupRequestProtocol) bool {
	return protocolType == consumerProtocol && slices.ContainsFunc(protocols, func(p wire.JoinGroupRequestProtocol) bool {
		return g.supported[p.Name] == g.classic
	})
}

// join decides on a JoinGroup request to a consumer group with members. It is answered with the member's own
// progress: nobody waits for the others, and nobody is a leader.
func (c *Consumers) joinClassic(now Time, j *Join, fx *Effects) {
	req := j.Request
	g := c.groups[req.GroupID]
	id, unknown := req.MemberID, req.MemberID == ""
	if unknown {
		id = newMemberID(j.Fresh)
	}
	subscription, code := g.checkClassicJoin(j, id)
	if code != wire.None {
		fx.join(j.Ticket, joinError("", code))
		return
	}
	if unknown && req.GroupInstanceID == nil && j.Version >= memberIDRequiredSince {
		fx.join(j.Ticket, joinError(id, wire.MemberIDRequired))
		return
	}
	t := c.turn(g, now, fx)
	var mb *consumerMember
	old := (*consumerMember)(nil)
	if req.GroupInstanceID != nil {
		old = g.statics[*req.GroupInstanceID]
	}
	downgrade := old != nil && unknown && g.downgradesFor(old)
	if old != nil && unknown {
		t.replace(old, id)
		t.event("static member returns", *req.GroupInstanceID+" as "+id)
	}
	mb = g.members[id]
	meta := classicMember(j, subscription, mb)
	joined, changed := mb == nil, len(meta.SubscribedTopicNames) > 0
	if !joined {
		changed = !slices.Equal(mb.meta.SubscribedTopicNames, meta.SubscribedTopicNames) ||
			stringOf(mb.meta.SubscribedTopicRegex) != ""
	}
	if mb == nil || !sameMember(&meta, &mb.meta) {
		t.putMember(id, &meta)
	}
	mb = g.members[id]
	if joined || changed {
		t.event("member joins", id+" of the classic protocol subscribes to "+subscriptionText(&mb.meta))
	}
	changed = t.resolveAll(j.Client.Visible) || changed
	t.bump(changed)
	if downgrade {
		t.toClassic(nil, mb)
		classic := c.machine.groups[t.g.id]
		r := classic.joined(classic.members[id], false)
		r.Leader = "" // whoever leads, the assignment stands: nobody is to make another one
		fx.Late = append(fx.Late, JoinReply{j.Ticket, r})
		t.done()
		return
	}
	t.retarget()
	t.reconcile(mb, ownedByName(c.image, subscription), changed)
	mb.join.Stop()
	g.heard(mb, now)
	c.timers.Set(&mb.sync, now.Mono+int64(req.RebalanceTimeoutMs))
	protocolType, name := consumerProtocol, meta.ClassicMemberMetadata.SupportedProtocols[0].Name
	fx.Late = append(fx.Late, JoinReply{j.Ticket, &wire.JoinGroupResponse{
		GenerationID: mb.current.MemberEpoch, ProtocolType: &protocolType, ProtocolName: &name, MemberID: mb.id,
	}})
	t.done()
}

// checkClassicJoin refuses what must be refused before anything changes.
//
// Differs from Kafka: a JoinGroup to a consumer group is answered INCONSISTENT_GROUP_PROTOCOL when its subscription cannot be read, and not
// UNKNOWN_SERVER_ERROR.
func (g *consumerGroup) checkClassicJoin(j *Join, id string) (*wire.ConsumerProtocolSubscription, wire.Code) {
	req := j.Request
	if !g.c.config.Upgrade && !g.c.config.Downgrade {
		return nil, wire.InconsistentGroupProtocol
	}
	if r := g.c.config.full(len(g.members), g.members[id] != nil); r != nil {
		return nil, r.code
	}
	if !g.supports(req.ProtocolType, req.Protocols) {
		return nil, wire.InconsistentGroupProtocol
	}
	n := 0
	for i := range req.Protocols {
		n += len(req.Protocols[i].Metadata) + len(req.Protocols[i].Name)
	}
	s := new(wire.ConsumerProtocolSubscription)
	if _, err := wire.DecodeConsumerProtocol(req.Protocols[0].Metadata, s); err != nil || n > subscriptionLimit {
		return nil, wire.InconsistentGroupProtocol
	}
	if req.GroupInstanceID != nil && req.MemberID != "" {
		if r := g.checkInstance(*req.GroupInstanceID, id); r != nil {
			return nil, r.code
		}
	}
	return s, wire.None
}

// classicMember is the metadata of a member of the classic protocol.
func classicMember(j *Join, s *wire.ConsumerProtocolSubscription, mb *consumerMember) wire.ConsumerGroupMemberMetadataValue {
	meta := blankMember()
	if mb != nil {
		meta = mb.meta
	}
	if j.Request.GroupInstanceID != nil {
		meta.InstanceID = cloneOpt(j.Request.GroupInstanceID)
	}
	if s.RackID != nil {
		meta.RackID = cloneOpt(s.RackID)
	}
	meta.RebalanceTimeoutMs = j.Request.RebalanceTimeoutMs
	meta.SubscribedTopicRegex = new(string)
	meta.SubscribedTopicNames = slices.Compact(slices.Sorted(slices.Values(s.Topics)))
	for i, name := range meta.SubscribedTopicNames {
		meta.SubscribedTopicNames[i] = strings.Clone(name)
	}
	meta.ClientID, meta.ClientHost = strings.Clone(j.Client.ID), strings.Clone(j.Client.Host)
	meta.ClassicMemberMetadata = &classicMetadata{SessionTimeoutMs: j.Request.SessionTimeoutMs}
	for i := range j.Request.Protocols {
		p := &j.Request.Protocols[i]
		meta.ClassicMemberMetadata.SupportedProtocols = append(meta.ClassicMemberMetadata.SupportedProtocols,
			wire.ConsumerGroupMemberMetadataValueClassicProtocol{Name: strings.Clone(p.Name), Metadata: bytes.Clone(p.Metadata)})
	}
	return meta
}

// ownedByName is what a subscription says that its member owns.
func ownedByName(img *metadata.Image, s *wire.ConsumerProtocolSubscription) owned {
	has := owned{}
	for i := range s.OwnedPartitions {
		if img == nil {
			break
		}
		if topic, ok := img.Topic(s.OwnedPartitions[i].Topic); ok {
			for _, p := range s.OwnedPartitions[i].Partitions {
				has[partitionID{topic.ID, p}] = true
			}
		}
	}
	return has
}

// classicMember finds a member that uses the classic protocol.
func (g *consumerGroup) classicMember(id string, instance *string) (*consumerMember, wire.Code) {
	if instance != nil {
		if r := g.checkInstance(*instance, id); r != nil {
			return nil, r.code
		}
	}
	mb := g.members[id]
	if mb == nil || mb.meta.ClassicMemberMetadata == nil {
		return nil, wire.UnknownMemberID
	}
	return mb, wire.None
}

// syncClassic decides on a SyncGroup request: the member learns what it has.
func (c *Consumers) syncClassic(now Time, req *wire.SyncGroupRequest) *wire.SyncGroupResponse {
	g := c.groups[req.GroupID]
	mb, code := g.classicMember(req.MemberID, req.GroupInstanceID)
	if code != wire.None {
		return &wire.SyncGroupResponse{ErrorCode: code}
	}
	protocolType, first := consumerProtocol, mb.meta.ClassicMemberMetadata.SupportedProtocols[0]
	switch {
	case req.GenerationID != mb.current.MemberEpoch:
		return &wire.SyncGroupResponse{ErrorCode: wire.IllegalGeneration}
	case differs(req.ProtocolType, &protocolType), differs(req.ProtocolName, &first.Name):
		return &wire.SyncGroupResponse{ErrorCode: wire.InconsistentGroupProtocol}
	case g.targetEpoch > mb.current.MemberEpoch && mb.current.State != unrevokedPartitions:
		mb.awaitJoin(now)
		return &wire.SyncGroupResponse{ErrorCode: wire.RebalanceInProgress}
	}
	mb.sync.Stop()
	g.heard(mb, now)
	return &wire.SyncGroupResponse{
		ProtocolType: cloneOpt(req.ProtocolType), ProtocolName: cloneOpt(req.ProtocolName),
		Assignment: classicAssignment(c.image, mb.current.AssignedPartitions, first.Metadata),
	}
}

// awaitJoin gives a member its rebalance timeout to rejoin, from the first time that it is told to.
func (mb *consumerMember) awaitJoin(now Time) {
	if !mb.join.Pending() {
		mb.group.c.timers.Set(&mb.join, now.Mono+int64(mb.meta.RebalanceTimeoutMs))
	}
}

// classicAssignment is an assignment as consumers of the classic protocol read it, in the version that they write.
func classicAssignment(img *metadata.Image, list []holding, metadata []byte) []byte {
	var a wire.ConsumerProtocolAssignment
	for i := range list {
		if img == nil {
			break
		}
		if topic, ok := img.TopicByID(list[i].TopicID); ok {
			a.AssignedPartitions = append(a.AssignedPartitions, wire.ConsumerProtocolAssignmentTopicPartition{Topic: topic.Name, Partitions: list[i].Partitions})
		}
	}
	version := min(max(wire.NewReader(metadata).Int16(), a.MinVersion()), a.MaxVersion())
	return wire.AppendValue(nil, &a, version)
}

// heartbeatClassic decides on a Heartbeat request.
func (c *Consumers) heartbeatClassic(now Time, req *wire.HeartbeatRequest) wire.Code {
	g := c.groups[req.GroupID]
	mb, code := g.classicMember(req.MemberID, req.GroupInstanceID)
	if code != wire.None {
		return code
	}
	if req.GenerationID != mb.current.MemberEpoch {
		return wire.IllegalGeneration
	}
	g.heard(mb, now)
	state := mb.current.State
	if mb.current.MemberEpoch < g.targetEpoch || state == unrevokedPartitions || state == unreleasedPartitions && !g.waitsFor(mb) {
		mb.awaitJoin(now)
		return wire.RebalanceInProgress
	}
	return wire.None
}

// leaver finds the member, of either protocol, that is to leave. Static ones may be named by their instance id alone.
func (g *consumerGroup) leaver(id *wire.LeaveGroupRequestMemberIdentity) (*consumerMember, wire.Code) {
	mb := g.members[id.MemberID]
	if id.GroupInstanceID != nil {
		mb = g.statics[*id.GroupInstanceID]
		if mb != nil && id.MemberID != "" && mb.id != id.MemberID {
			return nil, wire.FencedInstanceID
		}
	}
	if mb == nil {
		return nil, wire.UnknownMemberID
	}
	return mb, wire.None
}

// leaveClassic decides on a LeaveGroup request.
func (c *Consumers) leaveClassic(now Time, req *wire.LeaveGroupRequest, fx *Effects) *wire.LeaveGroupResponse {
	g := c.groups[req.GroupID]
	resp := &wire.LeaveGroupResponse{Members: make([]wire.LeaveGroupResponseMemberResponse, len(req.Members))}
	t := c.turn(g, now, fx)
	var gone []*consumerMember
	for i := range req.Members {
		id := &req.Members[i]
		mb, code := g.leaver(id)
		if code == wire.None && !slices.Contains(gone, mb) {
			gone = append(gone, mb)
			t.event("member leaves", leaver(id))
		}
		resp.Members[i] = wire.LeaveGroupResponseMemberResponse{
			MemberID: strings.Clone(id.MemberID), GroupInstanceID: cloneOpt(id.GroupInstanceID), ErrorCode: code,
		}
	}
	if len(gone) > 0 {
		t.remove(gone)
	}
	t.done()
	return resp
}
