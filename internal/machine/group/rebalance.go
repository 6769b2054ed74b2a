package group

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
)

// rebalanceOrComplete begins a rebalance, or, when one is under way, ends its first phase if it can.
func (m *Machine) rebalanceOrComplete(now Time, g *group, reason string, fx *Effects) {
	if g.canRebalance() {
		m.prepareRebalance(now, g, reason, fx)
	} else {
		m.completeIfAllJoined(now, g, fx)
	}
}

// prepareRebalance has all members rejoin. A group that was empty waits a while for more members first.
func (m *Machine) prepareRebalance(now Time, g *group, reason string, fx *Effects) {
	if g.state == stateCompleting {
		m.refuseSyncs(now, g, wire.RebalanceInProgress, fx)
	}
	g.clearUnsynced()
	g.syncTimer.stop()
	initial := g.state == stateEmpty
	g.transition(statePreparing, now.Wall)
	fx.event(g, "rebalance begins", reason)
	if initial {
		g.grown = false
		g.stepMs = int64(m.config.InitialRebalanceDelayMs)
		g.leftMs = max(g.rebalanceMs()-g.stepMs, 0)
		m.setJoinTimer(now, g, timerInitial, g.stepMs)
		return
	}
	if g.allJoined() {
		m.completeJoin(now, g, fx)
		return
	}
	m.setJoinTimer(now, g, timerJoin, g.rebalanceMs())
}

// setJoinTimer sets the one timer of the first phase. A timer in the queue must not change its kind unseen, so
// kind is what decides when it fires.
func (m *Machine) setJoinTimer(now Time, g *group, kind timerKind, ms int64) {
	g.joinTimer.kind = kind
	m.timers.set(&g.joinTimer, now.Mono+ms)
}

// expireInitial ends a step of the initial delay: if members came meanwhile, another step follows, until the
// longest rebalance timeout is used up (KIP-134).
func (m *Machine) expireInitial(now Time, g *group, fx *Effects) {
	if !g.grown || g.leftMs == 0 {
		m.completeJoin(now, g, fx)
		return
	}
	g.grown = false
	delay, left := min(int64(m.config.InitialRebalanceDelayMs), g.leftMs), max(g.leftMs-g.stepMs, 0)
	g.stepMs, g.leftMs = delay, left
	m.setJoinTimer(now, g, timerInitial, delay)
}

// completeIfAllJoined ends the first phase when nobody is missing. The first rebalance of a group waits for its
// delay instead.
func (m *Machine) completeIfAllJoined(now Time, g *group, fx *Effects) {
	if g.state == statePreparing && g.prev != stateEmpty && g.allJoined() {
		m.completeJoin(now, g, fx)
	}
}

// completeJoin ends the first phase: dynamic members that are missing are out, static ones stay, and the next
// generation begins.
func (m *Machine) completeJoin(now Time, g *group, fx *Effects) {
	g.joinTimer.stop()
	for _, mb := range slices.Clone(g.order) {
		if mb.join == 0 && !mb.static {
			fx.event(g, "member removed", mb.id+" has not rejoined within its rebalance timeout")
			g.remove(mb, fx)
		}
	}
	if !g.electJoined() && len(g.members) > 0 {
		// Static members only, and none of them is there. Their sessions will tell.
		m.setJoinTimer(now, g, timerJoin, g.rebalanceMs())
		return
	}
	g.nextGeneration(now.Wall)
	if g.state == stateEmpty {
		fx.event(g, "group is empty", "the last member is gone")
		m.submit(&write{kind: writeEmptyGroup, group: g}, []Record{groupRecord(g, nil)}, fx)
		return
	}
	fx.event(g, "generation begins", "protocol "+*g.protocol+", leader "+g.leader)
	for _, mb := range g.order {
		r := g.joined(mb, true)
		fx.join(g.takeJoin(mb), r)
		m.timers.set(&mb.timer, now.Mono+int64(mb.sessionMs))
		mb.isNew, mb.pendingSync = false, true
		g.unsynced++
	}
	m.timers.set(&g.syncTimer, now.Mono+g.rebalanceMs())
}

// expireSync removes the members that have not asked for their assignment.
func (m *Machine) expireSync(now Time, g *group, fx *Effects) {
	if g.unsynced == 0 || g.state != stateCompleting && g.state != stateStable {
		return
	}
	n := g.unsynced
	for _, mb := range slices.Clone(g.order) {
		if mb.pendingSync {
			fx.event(g, "member removed", mb.id+" has not synced within the rebalance timeout")
			g.remove(mb, fx)
		}
	}
	m.prepareRebalance(now, g, "members that have not synced: "+strconv.Itoa(n), fx)
}

// expireSession removes a member that was not heard of for its session timeout.
func (m *Machine) expireSession(now Time, g *group, mb *member, fx *Effects) {
	if g.state == stateDead || g.members[mb.id] != mb || mb.satisfied() {
		return // satisfied: the timer is set anew when the request is answered
	}
	fx.event(g, "member removed", mb.id+" was not heard of for its session timeout")
	g.remove(mb, fx)
	m.afterRemoval(now, g, "member "+mb.id+" has expired", fx)
}

// expirePending takes back a member id that was not used within its session timeout.
func (m *Machine) expirePending(now Time, g *group, memberID string, fx *Effects) {
	if g.unpend(memberID) {
		m.afterPending(now, g, fx)
	}
}

// afterPending goes on when a pending member is not waited for any more.
func (m *Machine) afterPending(now Time, g *group, fx *Effects) {
	if g.state == statePreparing && g.allJoined() {
		m.completeJoin(now, g, fx)
	}
	m.drop(g)
}

// afterRemoval goes on when a member has been removed.
func (m *Machine) afterRemoval(now Time, g *group, reason string, fx *Effects) {
	switch g.state {
	case stateStable, stateCompleting:
		m.prepareRebalance(now, g, reason, fx)
	case statePreparing:
		if g.allJoined() {
			m.completeJoin(now, g, fx)
		}
	}
}

// heard sets a member's session anew.
func (m *Machine) heard(now Time, mb *member) { m.timers.set(&mb.timer, now.Mono+int64(mb.sessionMs)) }

// Heartbeat keeps a member's session alive and tells it when it has to rejoin.
func (m *Machine) Heartbeat(now Time, req *wire.HeartbeatRequest) wire.Code {
	g := m.groups[req.GroupID]
	if g == nil {
		return wire.UnknownMemberID
	}
	if g.state == stateDead {
		return wire.CoordinatorNotAvailable
	}
	if code := g.check(req.MemberID, req.GroupInstanceID); code != wire.None {
		return code
	}
	if req.GenerationID != g.generation {
		return wire.IllegalGeneration
	}
	m.heard(now, g.members[req.MemberID])
	if g.state == statePreparing {
		return wire.RebalanceInProgress
	}
	return wire.None
}

// SyncGroup gives a member its assignment, or takes all assignments from the leader. The answer comes through
// Effects.Syncs, now or when the assignment is written.
func (m *Machine) SyncGroup(now Time, req *wire.SyncGroupRequest, t Ticket, fx *Effects) {
	g := m.groups[req.GroupID]
	if g == nil || g.state == stateEmpty {
		fx.sync(t, &wire.SyncGroupResponse{ErrorCode: wire.UnknownMemberID})
		return
	}
	if code := g.checkSync(req); code != wire.None {
		fx.sync(t, &wire.SyncGroupResponse{ErrorCode: code})
		return
	}
	mb := g.members[req.MemberID]
	g.synced(mb)
	if g.state == stateStable {
		fx.sync(t, g.assigned(mb))
		return
	}
	fx.sync(mb.takeSync(), &wire.SyncGroupResponse{ErrorCode: wire.CoordinatorNotAvailable})
	mb.sync = t
	// Differs from Kafka: a leader that repeats itself while its assignment is being written waits for that.
	// Kafka would write the second assignment too and hand out the first, so that the log and the members differ.
	if g.leader == mb.id && !g.assigning {
		m.assign(g, req.Assignments, fx)
	}
}

func (g *group) checkSync(req *wire.SyncGroupRequest) wire.Code {
	if g.state == stateDead {
		return wire.CoordinatorNotAvailable
	}
	if code := g.check(req.MemberID, req.GroupInstanceID); code != wire.None {
		return code
	}
	switch {
	case req.GenerationID != g.generation:
		return wire.IllegalGeneration
	case differs(req.ProtocolType, g.typeOrNil()), differs(req.ProtocolName, g.protocol):
		return wire.InconsistentGroupProtocol
	case g.state == statePreparing:
		return wire.RebalanceInProgress
	}
	return wire.None
}

// differs says whether both are given and are not the same (KIP-559).
func differs(a, b *string) bool { return a != nil && b != nil && *a != *b }

// assigned is the answer to a member of a stable group.
func (g *group) assigned(mb *member) *wire.SyncGroupResponse {
	return &wire.SyncGroupResponse{ProtocolType: g.typeOrNil(), ProtocolName: g.protocol, Assignment: mb.assignment}
}

// assign writes the leader's assignment. Members it has not thought of get an empty one.
func (m *Machine) assign(g *group, assignments []wire.SyncGroupRequestAssignment, fx *Effects) {
	assignment := make(map[string][]byte, len(g.members))
	for i := range assignments {
		if mb := g.members[assignments[i].MemberID]; mb != nil {
			assignment[mb.id] = append([]byte{}, assignments[i].Assignment...)
		}
	}
	g.assigning = true
	w := &write{kind: writeAssignment, group: g, generation: g.generation, assignment: assignment}
	m.submit(w, []Record{groupRecord(g, assignment)}, fx)
}

// settleAssignment makes the group stable once its assignment is written. If it could not be written the members
// rejoin. A generation that is over meanwhile has answered its members already.
func (m *Machine) settleAssignment(now Time, w *write, code wire.Code, fx *Effects) {
	g := w.group
	if code == wire.None {
		g.durable = true
	}
	if g.state != stateCompleting || g.generation != w.generation {
		return
	}
	g.assigning = false
	if code != wire.None {
		m.refuseSyncs(now, g, code, fx)
		m.rebalanceOrComplete(now, g, "the assignment could not be written: "+code.String(), fx)
		return
	}
	for _, mb := range g.order {
		mb.assignment = w.assignment[mb.id]
		if t := mb.takeSync(); t != 0 {
			fx.sync(t, g.assigned(mb))
			// The session may have run out while the member waited for us, which did not count.
			m.heard(now, mb)
		}
	}
	g.transition(stateStable, now.Wall)
	fx.event(g, "group is stable", "the assignment is written")
}

// refuseSyncs answers all who wait for their assignment with an error, and forgets assignments.
func (m *Machine) refuseSyncs(now Time, g *group, code wire.Code, fx *Effects) {
	g.assigning = false
	for _, mb := range g.order {
		mb.assignment = nil
		if t := mb.takeSync(); t != 0 {
			fx.sync(t, &wire.SyncGroupResponse{ErrorCode: code})
			m.heard(now, mb)
		}
	}
}

// settleNewGroup ends the write of a group that was just made. If it failed the group is as if it had never been.
func (m *Machine) settleNewGroup(g *group, code wire.Code, fx *Effects) {
	if code == wire.None {
		g.durable = true
		return
	}
	if g.durable || len(g.offsets) > 0 || g.unsettled > 0 || m.groups[g.id] != g {
		return // something else has made the group meanwhile
	}
	for _, mb := range slices.Clone(g.order) {
		fx.join(g.takeJoin(mb), joinError("", code))
		g.remove(mb, fx)
	}
	for _, id := range slices.Collect(maps.Keys(g.pending)) {
		g.unpend(id)
	}
	fx.event(g, "group removed", "it could not be written: "+code.String())
	m.forget(g)
}

// settleEmptyGroup ends the write that a group has no members. If it failed, a later coordinator finds the former
// generation in the log and lets its members expire, so there is nothing to undo.
func (m *Machine) settleEmptyGroup(g *group, code wire.Code, fx *Effects) {
	if code == wire.None {
		g.durable = true
		return
	}
	fx.event(g, "group is empty", "which could not be written: "+code.String())
}

// LeaveGroup ends memberships, of the members themselves or by an administrator who names static members. The
// answer is to be sent when the writes in fx, if any, are settled. The caller has turned versions below 3, which
// name one member, into a list.
func (m *Machine) LeaveGroup(now Time, req *wire.LeaveGroupRequest, fx *Effects) *wire.LeaveGroupResponse {
	resp := &wire.LeaveGroupResponse{Members: make([]wire.LeaveGroupResponseMemberResponse, len(req.Members))}
	g := m.groups[req.GroupID]
	if g != nil && g.state == stateDead {
		return &wire.LeaveGroupResponse{ErrorCode: wire.CoordinatorNotAvailable}
	}
	var left []string
	for i := range req.Members {
		id := &req.Members[i]
		code := wire.UnknownMemberID
		if g != nil {
			code = m.leave(g, id, fx)
		}
		if code == wire.None {
			left = append(left, leaver(id))
		}
		resp.Members[i] = wire.LeaveGroupResponseMemberResponse{
			MemberID: strings.Clone(id.MemberID), GroupInstanceID: cloneOpt(id.GroupInstanceID), ErrorCode: code,
		}
	}
	if len(left) == 0 {
		return resp
	}
	switch g.state {
	case stateStable, stateCompleting:
		m.prepareRebalance(now, g, "members leave: "+strings.Join(left, ", "), fx)
	case statePreparing:
		m.completeIfAllJoined(now, g, fx)
	}
	m.drop(g)
	return resp
}

// leave ends one membership.
func (m *Machine) leave(g *group, id *wire.LeaveGroupRequestMemberIdentity, fx *Effects) wire.Code {
	if id.MemberID == "" {
		if id.GroupInstanceID == nil || g.statics[*id.GroupInstanceID] == nil {
			return wire.UnknownMemberID
		}
		g.remove(g.statics[*id.GroupInstanceID], fx)
		return wire.None
	}
	if g.unpend(id.MemberID) {
		return wire.None
	}
	if code := g.check(id.MemberID, id.GroupInstanceID); code != wire.None {
		return code
	}
	g.remove(g.members[id.MemberID], fx)
	return wire.None
}

// leaver names a member that leaves, with its reason.
func leaver(id *wire.LeaveGroupRequestMemberIdentity) string {
	name := id.MemberID
	if name == "" {
		name = *id.GroupInstanceID
	}
	return name + because(id.Reason)
}

func cloneOpt(s *string) *string {
	if s == nil {
		return nil
	}
	c := strings.Clone(*s)
	return &c
}
