package group

import (
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
)

// rebalanceOrComplete begins a rebalance, or, when one is under way, ends its first phase if it can.
func (d *decision) rebalanceOrComplete(g *group, reason string) {
	if g.canRebalance() {
		d.prepareRebalance(g, reason)
	} else {
		d.completeIfAllJoined(g)
	}
}

// prepareRebalance has all members rejoin. A group that was empty waits a while for more members first.
func (d *decision) prepareRebalance(g *group, reason string) {
	if g.state == stateCompleting {
		d.refuseSyncs(g, wire.RebalanceInProgress)
	}
	g.clearUnsynced()
	g.syncTimer.Stop()
	initial := g.state == stateEmpty
	g.transition(statePreparing, d.now.Wall)
	d.fx.event(g, "rebalance begins", reason)
	if initial {
		g.grown = false
		g.stepMs = int64(d.m.config.InitialRebalanceDelayMs)
		g.leftMs = max(g.rebalanceMs()-g.stepMs, 0)
		if quiet := int64(d.m.config.InitialQuietMs); quiet > 0 && g.stepMs > quiet {
			g.initialBy = d.now.Mono + max(g.rebalanceMs(), g.stepMs)
			g.stepMs, g.leftMs = quiet, 0
		}
		d.setJoinTimer(g, timerInitial, g.stepMs)
		return
	}
	if g.allJoined() {
		d.completeJoin(g)
		return
	}
	d.setJoinTimer(g, timerJoin, g.rebalanceMs())
}

// arrived extends the initial delay of a new group a little for each member that comes, if it may end early.
func (d *decision) arrived(g *group) {
	if g.state == statePreparing && g.prev == stateEmpty && d.m.config.InitialQuietMs > 0 && g.initialBy > 0 {
		d.setJoinTimer(g, timerInitial, max(min(int64(d.m.config.InitialQuietMs), g.initialBy-d.now.Mono), 0))
	}
}

// setJoinTimer sets the one timer of the first phase. A timer in the queue must not change its kind unseen, so
// kind is what decides when it fires.
func (d *decision) setJoinTimer(g *group, kind timerKind, ms int64) {
	g.joinTimer.kind = kind
	d.m.timers.Set(&g.joinTimer, d.now.Mono+ms)
}

// expireInitial ends a step of the initial delay: if members came meanwhile, another step follows, until the
// longest rebalance timeout is used up (KIP-134).
func (d *decision) expireInitial(g *group) {
	if !g.grown || g.leftMs == 0 {
		d.completeJoin(g)
		return
	}
	g.grown = false
	delay, left := min(int64(d.m.config.InitialRebalanceDelayMs), g.leftMs), max(g.leftMs-g.stepMs, 0)
	g.stepMs, g.leftMs = delay, left
	d.setJoinTimer(g, timerInitial, delay)
}

// completeIfAllJoined ends the first phase when nobody is missing. The first rebalance of a group waits for its
// delay instead.
func (d *decision) completeIfAllJoined(g *group) {
	if g.state == statePreparing && g.prev != stateEmpty && g.allJoined() {
		d.completeJoin(g)
	}
}

// completeJoin ends the first phase: dynamic members that are missing are out, static ones stay, and the next
// generation begins.
func (d *decision) completeJoin(g *group) {
	g.joinTimer.Stop()
	for _, mb := range slices.Clone(g.order) {
		if mb.join == 0 && !mb.static {
			d.fx.event(g, "member removed", mb.id+" has not rejoined within its rebalance timeout")
			g.remove(mb, d.fx)
		}
	}
	if !g.electJoined() && len(g.members) > 0 {
		// Static members only, and none of them is there. Their sessions will tell.
		d.setJoinTimer(g, timerJoin, g.rebalanceMs())
		return
	}
	g.nextGeneration(d.now.Wall)
	if g.state == stateEmpty {
		d.fx.event(g, "group is empty", "the last member is gone")
		d.m.submit(&write{kind: writeEmptyGroup, group: g}, []Record{groupRecord(g, nil)}, d.fx)
		return
	}
	d.fx.event(g, "generation begins", "protocol "+*g.protocol+", leader "+g.leader)
	for _, mb := range g.order {
		r := g.joined(mb, true)
		d.fx.join(g.takeJoin(mb), r)
		d.heard(mb)
		mb.isNew, mb.pendingSync = false, true
		g.unsynced++
	}
	d.m.timers.Set(&g.syncTimer, d.now.Mono+g.rebalanceMs())
}

// expireSync removes the members that have not asked for their assignment.
func (d *decision) expireSync(g *group) {
	if g.unsynced == 0 || g.state != stateCompleting && g.state != stateStable {
		return
	}
	n := g.unsynced
	for _, mb := range slices.Clone(g.order) {
		if mb.pendingSync {
			d.fx.event(g, "member removed", mb.id+" has not synced within the rebalance timeout")
			g.remove(mb, d.fx)
		}
	}
	d.prepareRebalance(g, "members that have not synced: "+strconv.Itoa(n))
}

// expireSession removes a member that was not heard of for its session timeout.
func (d *decision) expireSession(g *group, mb *member) {
	if g.state == stateDead || g.members[mb.id] != mb || mb.satisfied() {
		return // satisfied: the timer is set anew when the request is answered
	}
	d.fx.event(g, "member removed", mb.id+" was not heard of for its session timeout")
	g.remove(mb, d.fx)
	d.afterRemoval(g, "member "+mb.id+" has expired")
}

// expirePending takes back a member id that was not used within its session timeout.
func (d *decision) expirePending(g *group, memberID string) {
	if g.unpend(memberID) {
		d.afterPending(g)
	}
}

// afterPending goes on when a pending member is not waited for any more.
func (d *decision) afterPending(g *group) {
	if g.state == statePreparing && g.allJoined() {
		d.completeJoin(g)
	}
	d.m.drop(g)
}

// afterRemoval goes on when a member has been removed.
func (d *decision) afterRemoval(g *group, reason string) {
	switch g.state {
	case stateStable, stateCompleting:
		d.prepareRebalance(g, reason)
	case statePreparing:
		if g.allJoined() {
			d.completeJoin(g)
		}
	}
}

// heard sets a member's session anew.
func (d *decision) heard(mb *member) { d.m.timers.Set(&mb.timer, d.now.Mono+int64(mb.sessionMs)) }

// Heartbeat keeps a member's session alive and tells it when it has to rejoin.
func (m *Machine) Heartbeat(now Time, req *wire.HeartbeatRequest) wire.Code {
	if m.Consumers.Has(req.GroupID) {
		return m.Consumers.heartbeatClassic(now, req)
	}
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
	(&decision{m: m, now: now}).heard(g.members[req.MemberID])
	if g.state == statePreparing {
		return wire.RebalanceInProgress
	}
	return wire.None
}

// SyncGroup gives a member its assignment, or takes all assignments from the leader. The answer comes through
// Effects.Syncs, now or when the assignment is written.
func (m *Machine) SyncGroup(now Time, req *wire.SyncGroupRequest, t Ticket, fx *Effects) {
	if m.Consumers.Has(req.GroupID) {
		fx.sync(t, m.Consumers.syncClassic(now, req))
		return
	}
	d := &decision{m, now, fx}
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
	// Differs from Kafka: a leader of a classic group that repeats its SyncGroup while its assignment is being written waits
	// for that. Kafka would write the second assignment too and hand out the first, so that the log and the members differ.
	if g.leader == mb.id && !g.assigning {
		d.assign(g, req.Assignments)
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
func (d *decision) assign(g *group, assignments []wire.SyncGroupRequestAssignment) {
	assignment := make(map[string][]byte, len(g.members))
	for i := range assignments {
		if mb := g.members[assignments[i].MemberID]; mb != nil {
			assignment[mb.id] = append([]byte{}, assignments[i].Assignment...)
		}
	}
	g.assigning = true
	w := &write{kind: writeAssignment, group: g, generation: g.generation, assignment: assignment}
	d.m.submit(w, []Record{groupRecord(g, assignment)}, d.fx)
}

// settleAssignment makes the group stable once its assignment is written. If it could not be written the members
// rejoin. A generation that is over meanwhile has answered its members already.
func (d *decision) settleAssignment(w *write, code wire.Code) {
	g := w.group
	if code == wire.None {
		g.durable = true
	}
	if g.state != stateCompleting || g.generation != w.generation {
		return
	}
	g.assigning = false
	if code != wire.None {
		d.refuseSyncs(g, code)
		d.rebalanceOrComplete(g, "the assignment could not be written: "+code.String())
		return
	}
	for _, mb := range g.order {
		mb.assignment = w.assignment[mb.id]
		if t := mb.takeSync(); t != 0 {
			d.fx.sync(t, g.assigned(mb))
			// The session may have run out while the member waited for us, which did not count.
			d.heard(mb)
		}
	}
	g.transition(stateStable, d.now.Wall)
	d.fx.event(g, "group is stable", "the assignment is written")
}

// refuseSyncs answers all who wait for their assignment with an error, and forgets assignments.
func (d *decision) refuseSyncs(g *group, code wire.Code) {
	g.assigning = false
	for _, mb := range g.order {
		mb.assignment = nil
		if t := mb.takeSync(); t != 0 {
			d.fx.sync(t, &wire.SyncGroupResponse{ErrorCode: code})
			d.heard(mb)
		}
	}
}

// settleNewGroup ends the write of a group that was just made. If it failed the group is as if it had never been.
func (d *decision) settleNewGroup(g *group, code wire.Code) {
	if code == wire.None {
		g.durable = true
		return
	}
	if g.durable || len(g.offsets) > 0 || g.unsettled > 0 || d.m.groups[g.id] != g {
		return // something else has made the group meanwhile
	}
	for _, mb := range slices.Clone(g.order) {
		d.fx.join(g.takeJoin(mb), joinError("", code))
		g.remove(mb, d.fx)
	}
	g.dropPending()
	d.fx.event(g, "group removed", "it could not be written: "+code.String())
	d.m.forget(g)
}

// settleEmptyGroup ends the write that a group has no members. If it failed, a later coordinator finds the former
// generation in the log and lets its members expire, so there is nothing to undo.
func (d *decision) settleEmptyGroup(g *group, code wire.Code) {
	if code == wire.None {
		g.durable = true
		return
	}
	d.fx.event(g, "group is empty", "which could not be written: "+code.String())
}

// LeaveGroup ends memberships, of the members themselves or by an administrator who names static members. The
// answer is to be sent when the writes in fx, if any, are settled. The caller has turned versions below 3, which
// name one member, into a list.
func (m *Machine) LeaveGroup(now Time, req *wire.LeaveGroupRequest, fx *Effects) *wire.LeaveGroupResponse {
	if m.Consumers.Has(req.GroupID) {
		return m.Consumers.leaveClassic(now, req, fx)
	}
	d := &decision{m, now, fx}
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
			code = d.leave(g, id)
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
		d.prepareRebalance(g, "members leave: "+strings.Join(left, ", "))
	case statePreparing:
		d.completeIfAllJoined(g)
	}
	m.drop(g)
	return resp
}

// leave ends one membership.
func (d *decision) leave(g *group, id *wire.LeaveGroupRequestMemberIdentity) wire.Code {
	if id.MemberID == "" {
		if id.GroupInstanceID == nil || g.statics[*id.GroupInstanceID] == nil {
			return wire.UnknownMemberID
		}
		g.remove(g.statics[*id.GroupInstanceID], d.fx)
		return wire.None
	}
	if g.unpend(id.MemberID) {
		return wire.None
	}
	if code := g.check(id.MemberID, id.GroupInstanceID); code != wire.None {
		return code
	}
	g.remove(g.members[id.MemberID], d.fx)
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
