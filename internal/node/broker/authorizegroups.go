package broker

import (
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/acl"
	"github.com/moldau/moldau/internal/network/edge"
)

// inGroup makes a handler that asks for a right on the group that a request names before f; refuse makes the answer for
// those who lack it, or some right on a topic. Nothing is made or changed then, not even the group.
func inGroup[T any, P message[T], R response](
	op acl.Operation, group func(P) string, refuse func(P, wire.Code) R, f func(b *Broker, q *edge.Request, m P, answer func(R)),
) handler {
	return on(func(b *Broker, q *edge.Request, m P, answer func(R)) {
		if !b.allowed(q, op, acl.Group, group(m)) {
			answer(refuse(m, wire.GroupAuthorizationFailed))
			return
		}
		f(b, q, m, answer)
	})
}

// coordinated asks the group coordinator.
func coordinated[P any, R response](call groupCall[P, R]) func(b *Broker, q *edge.Request, m P, answer func(R)) {
	return func(b *Broker, q *edge.Request, m P, answer func(R)) {
		call(b.groups, m, b.clientOf(q), q.Version, answer)
	}
}

// mayDescribe tells whether the peer may know of all the topics.
func (b rights) mayDescribe(q *edge.Request, topics []string) bool {
	if b.authorizer == nil {
		return true
	}
	all := true
	for i, name := range topics {
		if !slices.Contains(topics[:min(i, maxTwiceLooked)], name) && !b.allowed(q, acl.Describe, acl.Topic, name) {
			all = false
		}
	}
	return all
}

// maxTwiceLooked bounds how far back a name is looked for, so that none is asked for twice in lists of the usual length.
const maxTwiceLooked = 64

// notDescribable is the message for a group with topics that the peer may not know of.
const notDescribable = "The group has described topic(s) that the client is not authorized to describe."

func joinGroup(m *wire.JoinGroupRequest) string                      { return m.GroupID }
func syncGroup(m *wire.SyncGroupRequest) string                      { return m.GroupID }
func heartbeatGroup(m *wire.HeartbeatRequest) string                 { return m.GroupID }
func leaveGroup(m *wire.LeaveGroupRequest) string                    { return m.GroupID }
func consumerGroup(m *wire.ConsumerGroupHeartbeatRequest) string     { return m.GroupID }
func shareGroup(m *wire.ShareGroupHeartbeatRequest) string           { return m.GroupID }
func streamsGroup(m *wire.StreamsGroupHeartbeatRequest) string       { return m.GroupID }
func offsetDeleteGroup(m *wire.OffsetDeleteRequest) string           { return m.GroupID }
func alterShareGroup(m *wire.AlterShareGroupOffsetsRequest) string   { return m.GroupID }
func deleteShareGroup(m *wire.DeleteShareGroupOffsetsRequest) string { return m.GroupID }

func refuseJoinGroup(_ *wire.JoinGroupRequest, code wire.Code) *wire.JoinGroupResponse {
	out := &wire.JoinGroupResponse{}
	out.SetDefaults()
	out.ErrorCode, out.GenerationID = code, -1
	return out
}

func refuseSyncGroup(_ *wire.SyncGroupRequest, code wire.Code) *wire.SyncGroupResponse {
	return &wire.SyncGroupResponse{ErrorCode: code, Assignment: []byte{}}
}

func refuseHeartbeat(_ *wire.HeartbeatRequest, code wire.Code) *wire.HeartbeatResponse {
	return &wire.HeartbeatResponse{ErrorCode: code}
}

func refuseLeaveGroup(_ *wire.LeaveGroupRequest, code wire.Code) *wire.LeaveGroupResponse {
	return &wire.LeaveGroupResponse{ErrorCode: code}
}

func refuseConsumerGroup(_ *wire.ConsumerGroupHeartbeatRequest, code wire.Code) *wire.ConsumerGroupHeartbeatResponse {
	return &wire.ConsumerGroupHeartbeatResponse{ErrorCode: code}
}

func refuseShareGroup(_ *wire.ShareGroupHeartbeatRequest, code wire.Code) *wire.ShareGroupHeartbeatResponse {
	return &wire.ShareGroupHeartbeatResponse{ErrorCode: code}
}

func refuseStreamsGroup(_ *wire.StreamsGroupHeartbeatRequest, code wire.Code) *wire.StreamsGroupHeartbeatResponse {
	out := &wire.StreamsGroupHeartbeatResponse{}
	out.SetDefaults()
	out.ErrorCode = code
	return out
}

func refuseOffsetDelete(_ *wire.OffsetDeleteRequest, code wire.Code) *wire.OffsetDeleteResponse {
	return &wire.OffsetDeleteResponse{ErrorCode: code}
}

func refuseAlterShareOffsets(_ *wire.AlterShareGroupOffsetsRequest, code wire.Code) *wire.AlterShareGroupOffsetsResponse {
	return &wire.AlterShareGroupOffsetsResponse{ErrorCode: code, ErrorMessage: text(code.Message())}
}

func refuseDeleteShareOffsets(_ *wire.DeleteShareGroupOffsetsRequest, code wire.Code) *wire.DeleteShareGroupOffsetsResponse {
	return &wire.DeleteShareGroupOffsetsResponse{ErrorCode: code, ErrorMessage: text(code.Message())}
}

// serveConsumerGroupHeartbeat serves members of consumer groups (KIP-848): whoever subscribes to topics by name must be
// allowed to know of them.
func serveConsumerGroupHeartbeat(b *Broker, q *edge.Request, m *wire.ConsumerGroupHeartbeatRequest, answer func(*wire.ConsumerGroupHeartbeatResponse)) {
	if !b.mayDescribe(q, m.SubscribedTopicNames) {
		answer(refuseConsumerGroup(m, wire.TopicAuthorizationFailed))
		return
	}
	b.groups.ConsumerGroupHeartbeat(m, b.clientOf(q), q.Version, answer)
}

// serveShareGroupHeartbeat serves members of share groups (KIP-932).
func serveShareGroupHeartbeat(b *Broker, q *edge.Request, m *wire.ShareGroupHeartbeatRequest, answer func(*wire.ShareGroupHeartbeatResponse)) {
	if m.MemberID == "" || len(m.MemberID) > maxMemberID {
		answer(refuseShareGroup(m, wire.InvalidRequest))
		return
	}
	if !b.mayDescribe(q, m.SubscribedTopicNames) {
		answer(refuseShareGroup(m, wire.TopicAuthorizationFailed))
		return
	}
	b.groups.ShareGroupHeartbeat(m, client(q), q.Version, answer)
}

// serveListGroups lists the groups that the peer may know of.
func serveListGroups(b *Broker, q *edge.Request, m *wire.ListGroupsRequest, answer func(*wire.ListGroupsResponse)) {
	b.groups.ListGroups(m, client(q), q.Version, func(resp *wire.ListGroupsResponse) {
		if b.authorizer != nil && !b.everywhere(q, acl.Describe) {
			resp.Groups = slices.DeleteFunc(resp.Groups, func(g wire.ListGroupsResponseListedGroup) bool {
				return !b.visible(q, acl.Describe, acl.Group, g.GroupID)
			})
		}
		answer(resp)
	})
}

// serveDeleteGroups deletes those groups that the peer may delete.
func serveDeleteGroups(b *Broker, q *edge.Request, m *wire.DeleteGroupsRequest, answer func(*wire.DeleteGroupsResponse)) {
	if b.authorizer == nil {
		b.groups.DeleteGroups(m, client(q), q.Version, answer)
		return
	}
	slices.Sort(m.GroupsNames)
	may, mayNot := part(b.rights, q, acl.Delete, acl.Group, slices.Compact(m.GroupsNames), func(name *string) string { return *name })
	b.groups.DeleteGroups(&wire.DeleteGroupsRequest{GroupsNames: may}, client(q), q.Version, func(resp *wire.DeleteGroupsResponse) {
		for _, name := range mayNot {
			resp.Results = append(resp.Results, wire.DeleteGroupsResponseDeletableGroupResult{GroupID: name, ErrorCode: wire.GroupAuthorizationFailed})
		}
		answer(resp)
	})
}

// describable divides groups by whether the peer may describe them.
func (b rights) describable(q *edge.Request, groups []string) (may, mayNot []string) {
	return part(b, q, acl.Describe, acl.Group, groups, func(name *string) string { return *name })
}

// groupBits is what the peer may do to a group.
func (b rights) groupBits(q *edge.Request, group string) int32 {
	return b.operations(q, groupOperations, acl.Group, group)
}

// refuseShareTopic is the answer for a topic whose offsets the peer may not forget.
func refuseShareTopic(name string, code wire.Code) wire.DeleteShareGroupOffsetsResponseTopic {
	return wire.DeleteShareGroupOffsetsResponseTopic{TopicName: name, ErrorCode: code, ErrorMessage: text(code.Message())}
}

// serveDeleteShareGroupOffsets forgets offsets of topics that the peer may read.
func serveDeleteShareGroupOffsets(
	b *Broker, q *edge.Request, m *wire.DeleteShareGroupOffsetsRequest, answer func(*wire.DeleteShareGroupOffsetsResponse),
) {
	may, mayNot := part(b.rights, q, acl.Read, acl.Topic, m.Topics, func(t *wire.DeleteShareGroupOffsetsRequestTopic) string { return t.TopicName })
	finish := func(resp *wire.DeleteShareGroupOffsetsResponse) {
		if resp.ErrorCode == wire.None {
			for i := range mayNot {
				resp.Responses = append(resp.Responses, refuseShareTopic(mayNot[i].TopicName, wire.TopicAuthorizationFailed))
			}
		}
		answer(resp)
	}
	if m.Topics = may; len(may) == 0 && len(mayNot) > 0 {
		finish(&wire.DeleteShareGroupOffsetsResponse{})
		return
	}
	b.groups.DeleteShareGroupOffsets(m, client(q), q.Version, finish)
}

// serveAlterShareGroupOffsets sets offsets of topics that the peer may read.
func serveAlterShareGroupOffsets(
	b *Broker, q *edge.Request, m *wire.AlterShareGroupOffsetsRequest, answer func(*wire.AlterShareGroupOffsetsResponse),
) {
	may, mayNot := part(b.rights, q, acl.Read, acl.Topic, m.Topics, func(t *wire.AlterShareGroupOffsetsRequestTopic) string { return t.TopicName })
	finish := func(resp *wire.AlterShareGroupOffsetsResponse) {
		for i := range mayNot {
			if resp.ErrorCode != wire.None {
				break
			}
			t := wire.AlterShareGroupOffsetsResponseTopic{TopicName: mayNot[i].TopicName}
			for _, p := range mayNot[i].Partitions {
				t.Partitions = append(t.Partitions, wire.AlterShareGroupOffsetsResponsePartition{
					PartitionIndex: p.PartitionIndex, ErrorCode: wire.TopicAuthorizationFailed, ErrorMessage: text(wire.TopicAuthorizationFailed.Message()),
				})
			}
			resp.Responses = append(resp.Responses, t)
		}
		answer(resp)
	}
	if m.Topics = may; len(may) == 0 && len(mayNot) > 0 {
		finish(&wire.AlterShareGroupOffsetsResponse{})
		return
	}
	b.groups.AlterShareGroupOffsets(m, client(q), q.Version, finish)
}

// serveDescribeShareGroupOffsets tells the offsets of groups and topics that the peer may describe.
func serveDescribeShareGroupOffsets(
	b *Broker, q *edge.Request, m *wire.DescribeShareGroupOffsetsRequest, answer func(*wire.DescribeShareGroupOffsetsResponse),
) {
	if b.authorizer == nil {
		b.groups.DescribeShareGroupOffsets(m, client(q), q.Version, answer)
		return
	}
	var refused []wire.DescribeShareGroupOffsetsResponseGroup
	hidden := make(map[string][]wire.DescribeShareGroupOffsetsRequestTopic)
	rest := *m
	rest.Groups = nil
	for _, g := range m.Groups {
		if !b.allowed(q, acl.Describe, acl.Group, g.GroupID) {
			refused = append(refused, wire.DescribeShareGroupOffsetsResponseGroup{
				GroupID: g.GroupID, ErrorCode: wire.GroupAuthorizationFailed, ErrorMessage: text(wire.GroupAuthorizationFailed.Message()),
			})
			continue
		}
		if g.Topics != nil {
			g.Topics, hidden[g.GroupID] = part(b.rights, q, acl.Describe, acl.Topic, g.Topics, func(t *wire.DescribeShareGroupOffsetsRequestTopic) string { return t.TopicName })
		}
		rest.Groups = append(rest.Groups, g)
	}
	b.groups.DescribeShareGroupOffsets(&rest, client(q), q.Version, func(resp *wire.DescribeShareGroupOffsetsResponse) {
		for i := range resp.Groups {
			g := &resp.Groups[i]
			if g.ErrorCode != wire.None {
				continue
			}
			g.Topics = slices.DeleteFunc(g.Topics, func(t wire.DescribeShareGroupOffsetsResponseTopic) bool { // of those who asked for all
				return !b.visible(q, acl.Describe, acl.Topic, t.TopicName)
			})
			for k := range hidden[g.GroupID] {
				g.Topics = append(g.Topics, hiddenShareTopic(&hidden[g.GroupID][k]))
			}
		}
		resp.Groups = append(resp.Groups, refused...)
		answer(resp)
	})
}

func hiddenShareTopic(in *wire.DescribeShareGroupOffsetsRequestTopic) wire.DescribeShareGroupOffsetsResponseTopic {
	t := wire.DescribeShareGroupOffsetsResponseTopic{TopicName: in.TopicName}
	for _, index := range in.Partitions {
		p := wire.DescribeShareGroupOffsetsResponsePartition{}
		p.SetDefaults()
		p.PartitionIndex, p.StartOffset = index, -1
		p.ErrorCode, p.ErrorMessage = wire.TopicAuthorizationFailed, text(wire.TopicAuthorizationFailed.Message())
		t.Partitions = append(t.Partitions, p)
	}
	return t
}
