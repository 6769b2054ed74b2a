package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/moldau/moldau/internal/format/wire"
)

// later is when a member beats next.
func (m *groupMember) later() time.Time {
	return m.g.r.hand.Now().Add(time.Duration(m.g.r.rng.Int64N(int64(2 * time.Second))))
}

// beat is a heartbeat of KIP-848. Off is added to the epoch.
func (m *groupMember) beat(off int32) {
	r := m.g.r
	req := &wire.ConsumerGroupHeartbeatRequest{GroupID: m.g.id, MemberID: m.id, MemberEpoch: m.epoch + off, InstanceID: m.instance, RebalanceTimeoutMs: -1}
	joining := req.MemberEpoch == 0
	if joining {
		m.owned = nil
	}
	if m.full || joining {
		req.RebalanceTimeoutMs = int32(groupRebalance / time.Millisecond)
		req.SubscribedTopicNames = []string{groupTopic}
		if m.births%3 == 0 {
			pattern := "^i.$"
			req.SubscribedTopicNames, req.SubscribedTopicRegex = []string{}, &pattern
		}
		name := []string{"uniform", "range"}[m.births%2]
		req.ServerAssignor = &name
	}
	if m.full || m.told || joining {
		req.TopicPartitions = []wire.ConsumerGroupHeartbeatRequestTopicPartitions{}
		if len(m.owned) > 0 {
			req.TopicPartitions = append(req.TopicPartitions, wire.ConsumerGroupHeartbeatRequestTopicPartitions{TopicID: r.topic, Partitions: slices.Clone(m.owned)})
		}
	}
	m.full, m.told = false, false
	resp := &wire.ConsumerGroupHeartbeatResponse{}
	m.send(req, 1, resp, func(wire.Code) {
		m.last = resp.ErrorCode
		switch {
		case off != 0 && resp.ErrorCode == wire.None:
			r.violated("%s: a heartbeat with epoch %d is taken", m.name, req.MemberEpoch)
		case off != 0:
			r.result.Lies++
			m.full = true
		case resp.ErrorCode == wire.UnreleasedInstanceID:
			r.result.Static++
			m.full, m.next = true, m.later()
		case resp.ErrorCode != wire.None:
			m.heed(resp.ErrorCode)
		default:
			m.beaten(resp)
		}
	})
}

// beaten takes the answer to a heartbeat.
func (m *groupMember) beaten(resp *wire.ConsumerGroupHeartbeatResponse) {
	r := m.g.r
	if resp.MemberEpoch < m.epoch || resp.MemberEpoch == 0 {
		r.violated("%s: its epoch goes from %d to %d", m.name, m.epoch, resp.MemberEpoch)
	}
	m.epoch, m.heard, m.next = resp.MemberEpoch, m.sent, m.later()
	if resp.Assignment == nil {
		return
	}
	var parts []int32
	for _, t := range resp.Assignment.TopicPartitions {
		if t.TopicID != r.topic {
			r.violated("%s is given partitions of topic %v", m.name, t.TopicID)
		}
		parts = append(parts, t.Partitions...)
	}
	m.own(parts)
}

// leave ends the membership; then is called when it is certain or the node is gone.
func (m *groupMember) leave(then func()) {
	id, epoch := m.id, m.epoch
	m.forget()
	if id == "" || epoch == 0 {
		then()
		return
	}
	if m.modern {
		req := &wire.ConsumerGroupHeartbeatRequest{GroupID: m.g.id, MemberID: id, MemberEpoch: -1, InstanceID: m.instance, RebalanceTimeoutMs: -1}
		if m.instance != nil && m.g.r.rng.IntN(2) == 0 {
			req.MemberEpoch = -2 // it will be back
		}
		resp := &wire.ConsumerGroupHeartbeatResponse{}
		m.send(req, 1, resp, func(wire.Code) {
			m.last = resp.ErrorCode
			then()
		})
		return
	}
	req := &wire.LeaveGroupRequest{GroupID: m.g.id, Members: []wire.LeaveGroupRequestMemberIdentity{{MemberID: id, GroupInstanceID: m.instance}}}
	resp := &wire.LeaveGroupResponse{}
	m.send(req, 5, resp, func(wire.Code) {
		m.last = resp.ErrorCode
		then()
	})
}

// subscription is what a classic member tells of itself.
func (m *groupMember) subscription() []byte {
	s := &wire.ConsumerProtocolSubscription{Topics: []string{groupTopic}, GenerationID: m.epoch}
	if len(m.owned) > 0 {
		s.OwnedPartitions = []wire.ConsumerProtocolSubscriptionTopicPartition{{Topic: groupTopic, Partitions: slices.Clone(m.owned)}}
	}
	return s.Append([]byte{0, 2}, 2)
}

func (g *simGroup) protocol() string {
	if g.cooperative {
		return "cooperative-sticky"
	}
	return "range"
}

// join is JoinGroup of the classic protocol.
func (m *groupMember) join() {
	r := m.g.r
	if !m.g.cooperative || m.id == "" {
		m.owned = nil
	}
	slices.Sort(m.owned)
	req := &wire.JoinGroupRequest{
		GroupID: m.g.id, SessionTimeoutMs: int32(groupSession / time.Millisecond), RebalanceTimeoutMs: int32(groupRebalance / time.Millisecond),
		MemberID: m.id, GroupInstanceID: m.instance, ProtocolType: "consumer",
		Protocols: []wire.JoinGroupRequestProtocol{{Name: m.g.protocol(), Metadata: m.subscription()}},
	}
	resp := &wire.JoinGroupResponse{}
	m.send(req, 9, resp, func(wire.Code) {
		m.last = resp.ErrorCode
		switch resp.ErrorCode {
		case wire.None:
		case wire.MemberIDRequired:
			m.id = resp.MemberID
			return
		default:
			m.heed(resp.ErrorCode)
			return
		}
		if resp.ProtocolName == nil || *resp.ProtocolName != m.g.protocol() || resp.MemberID == "" || m.id != "" && m.id != resp.MemberID {
			r.violated("%s (id %q) has joined as %q with %v", m.name, m.id, resp.MemberID, resp.ProtocolName)
			return
		}
		m.joined = m.sent
		m.id, m.epoch, m.stage, m.plan = resp.MemberID, resp.GenerationID, memberSyncs, nil
		if resp.Leader == m.id && !resp.SkipAssignment {
			if err := m.divide(resp.Members); err != nil {
				r.violated("%s: %w", m.name, err)
			}
		}
	})
}

// divide is the leader's work: partitions in turn, of which a cooperative leader gives none that another member owns.
func (m *groupMember) divide(members []wire.JoinGroupResponseMember) error {
	slices.SortFunc(members, func(a, b wire.JoinGroupResponseMember) int {
		if a.MemberID < b.MemberID {
			return -1
		}
		return 1
	})
	if len(members) == 0 {
		return fmt.Errorf("leads generation %d (id %q) and is told of no members", m.epoch, m.id)
	}
	owner, since := [groupParts]int{}, [groupParts]int32{}
	for p := range owner {
		owner[p] = -1
	}
	for i := range members {
		s := &wire.ConsumerProtocolSubscription{}
		if _, err := wire.DecodeConsumerProtocol(members[i].Metadata, s); err != nil {
			return fmt.Errorf("the subscription of %s: %w", members[i].MemberID, err)
		}
		for _, t := range s.OwnedPartitions {
			for _, p := range t.Partitions {
				if owner[p] < 0 || since[p] < s.GenerationID {
					owner[p], since[p] = i, s.GenerationID
				}
			}
		}
	}
	parts := make([][]int32, len(members))
	for p := range groupParts {
		i := p % len(members)
		if owner[p] < 0 || owner[p] == i {
			parts[i] = append(parts[i], int32(p))
		}
	}
	for i := range members {
		a := &wire.ConsumerProtocolAssignment{}
		if len(parts[i]) > 0 {
			a.AssignedPartitions = []wire.ConsumerProtocolAssignmentTopicPartition{{Topic: groupTopic, Partitions: parts[i]}}
		}
		m.plan = append(m.plan, wire.SyncGroupRequestAssignment{MemberID: members[i].MemberID, Assignment: a.Append([]byte{0, 1}, 1)})
	}
	return nil
}

// sync is SyncGroup of the classic protocol.
func (m *groupMember) sync() {
	r := m.g.r
	typ, name := "consumer", m.g.protocol()
	req := &wire.SyncGroupRequest{
		GroupID: m.g.id, GenerationID: m.epoch, MemberID: m.id, GroupInstanceID: m.instance, ProtocolType: &typ, ProtocolName: &name, Assignments: m.plan,
	}
	resp := &wire.SyncGroupResponse{}
	m.send(req, 5, resp, func(wire.Code) {
		m.last = resp.ErrorCode
		if resp.ErrorCode != wire.None {
			m.heed(resp.ErrorCode)
			return
		}
		var parts []int32
		if len(resp.Assignment) > 0 {
			a := &wire.ConsumerProtocolAssignment{}
			if _, err := wire.DecodeConsumerProtocol(resp.Assignment, a); err != nil {
				r.violated("%s: its assignment: %w", m.name, err)
				return
			}
			for _, t := range a.AssignedPartitions {
				parts = append(parts, t.Partitions...)
			}
		}
		before := r.result.Revoked
		m.own(parts)
		// The request that only fetches an assignment does not count as a sign of life.
		m.told, m.heard, m.next, m.stage = false, m.joined, m.later(), memberWorks
		if m.g.cooperative && r.result.Revoked > before {
			m.stage = memberJoins // what it gave up is given to others
		}
	})
}

// heartbeat is Heartbeat of the classic protocol. Off is added to the generation.
func (m *groupMember) heartbeat(off int32) {
	r := m.g.r
	req := &wire.HeartbeatRequest{GroupID: m.g.id, GenerationID: m.epoch + off, MemberID: m.id, GroupInstanceID: m.instance}
	resp := &wire.HeartbeatResponse{}
	m.send(req, 4, resp, func(wire.Code) {
		m.last = resp.ErrorCode
		switch {
		case off != 0 && resp.ErrorCode == wire.None:
			r.violated("%s: a heartbeat with generation %d is taken", m.name, req.GenerationID)
		case off != 0:
			r.result.Lies++
		case resp.ErrorCode == wire.None:
			m.heard, m.next = m.sent, m.later()
		default:
			m.heed(resp.ErrorCode)
		}
	})
}
