package group

import (
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
)

// Join is a JoinGroup request with all that decides on it.
type Join struct {
	Request *wire.JoinGroupRequest
	Version int16
	Client  Client
	Ticket  Ticket
	// Fresh makes a new member id; it must be random.
	Fresh wire.UUID
}

const (
	// newMemberTimeoutMs is how long a new member may wait in its first JoinGroup. It cannot heartbeat yet, and its
	// connection is silent while the request is parked, so a client that went away and came back would leave members
	// behind for ever. As in Kafka, where it cannot be set either.
	newMemberTimeoutMs = 5 * 60_000

	// pendingLimit bounds the member ids of a group that were given out and not used yet.
	//
	// Differs from Kafka: a classic group has at most 65,536 member ids that were given out and not used yet. Kafka has no
	// bound, so that one client can fill the memory with them.
	pendingLimit = 65_536

	// memberIDRequiredSince is the version of JoinGroup that has clients ask for a member id first (KIP-394).
	memberIDRequiredSince = 4
	// skipAssignmentSince is the version that can tell a leader not to assign (KIP-814).
	skipAssignmentSince = 9
)

// joinError refuses a JoinGroup request.
func joinError(memberID string, code wire.Code) *wire.JoinGroupResponse {
	return &wire.JoinGroupResponse{ErrorCode: code, GenerationID: -1, MemberID: strings.Clone(memberID)}
}

// JoinGroup decides on a request to become or stay a member. The answer comes through Effects.Joins, now or when
// the rebalance is complete. The caller has checked the group id.
func (m *Machine) JoinGroup(now Time, j *Join, fx *Effects) {
	d := &decision{m, now, fx}
	req := j.Request
	if j.Version == 0 {
		req.RebalanceTimeoutMs = req.SessionTimeoutMs // which version 0 has no other for
	}
	if req.SessionTimeoutMs < m.config.MinSessionTimeoutMs || req.SessionTimeoutMs > m.config.MaxSessionTimeoutMs {
		fx.join(j.Ticket, joinError(req.MemberID, wire.InvalidSessionTimeout))
		return
	}
	if k := m.of(req.GroupID); k != nil && !m.makeRoom(k, req.GroupID, fx) {
		if k == Kind(m.Consumers) {
			m.Consumers.joinClassic(now, j, fx)
		} else {
			fx.join(j.Ticket, joinError("", wire.InconsistentGroupProtocol))
		}
		return
	}
	g := m.groups[req.GroupID]
	created := g == nil
	if created {
		if req.MemberID != "" {
			fx.join(j.Ticket, joinError(req.MemberID, wire.UnknownMemberID))
			return
		}
		g = m.create(req.GroupID, now.Wall)
	}
	writes := len(fx.Writes)
	switch {
	case g.state == stateDead:
		fx.join(j.Ticket, joinError(req.MemberID, wire.CoordinatorNotAvailable))
	case !d.accepts(g, req.MemberID):
		if mb := g.members[req.MemberID]; mb != nil {
			g.remove(mb, fx)
		}
		g.unpend(req.MemberID)
		fx.join(j.Ticket, joinError("", wire.GroupMaxSizeReached))
	case !g.supports(req.ProtocolType, req.Protocols):
		fx.join(j.Ticket, joinError(req.MemberID, wire.InconsistentGroupProtocol))
	case req.MemberID == "":
		d.joinNew(g, j)
	default:
		d.joinKnown(g, j)
	}
	// Differs from Kafka: a JoinGroup that is refused does not leave an empty group behind.
	m.drop(g)
	if created && m.groups[g.id] == g && len(fx.Writes) == writes {
		m.submit(&write{kind: writeNewGroup, group: g}, []Record{newGroupRecord(g)}, fx)
	}
}

// accepts says whether group.max.size has room for the member.
func (d *decision) accepts(g *group, memberID string) bool {
	mb := g.members[memberID]
	switch g.state {
	case statePreparing:
		// Those who wait count, not the members: the limit may have been lowered, and then the last to rejoin
		// are out.
		return mb != nil && mb.join != 0 || g.awaiting < int(d.m.config.MaxSize)
	case stateCompleting, stateStable:
		return mb != nil || len(g.members) < int(d.m.config.MaxSize)
	default:
		return true
	}
}

// joinNew handles a request without a member id.
func (d *decision) joinNew(g *group, j *Join) {
	req := j.Request
	if req.GroupInstanceID != nil {
		id := *req.GroupInstanceID + "-" + formatUUID(j.Fresh)
		if old := g.statics[*req.GroupInstanceID]; old != nil {
			d.replaceStatic(g, old, id, j)
		} else {
			d.addMember(g, id, j)
		}
		return
	}
	id := j.Client.ID + "-" + formatUUID(j.Fresh)
	if j.Version < memberIDRequiredSince {
		d.addMember(g, id, j)
		return
	}
	if len(g.pending) >= pendingLimit {
		d.fx.join(j.Ticket, joinError("", wire.GroupMaxSizeReached))
		return
	}
	if g.pending == nil {
		g.pending = map[string]*timer{}
	}
	t := &timer{kind: timerPending, group: g, memberID: id}
	g.pending[id] = t
	d.m.timers.Set(t, d.now.Mono+int64(req.SessionTimeoutMs))
	d.arrived(g)
	d.fx.join(j.Ticket, joinError(id, wire.MemberIDRequired))
}

// joinKnown handles a request with a member id.
func (d *decision) joinKnown(g *group, j *Join) {
	req := j.Request
	if _, pending := g.pending[req.MemberID]; pending {
		if req.GroupInstanceID != nil {
			// Only a lying client gets here: ids are given out ahead to dynamic members only.
			d.fx.join(j.Ticket, joinError("", wire.UnknownServerError))
			return
		}
		d.addMember(g, strings.Clone(req.MemberID), j)
		return
	}
	if code := g.check(req.MemberID, req.GroupInstanceID); code != wire.None {
		d.fx.join(j.Ticket, joinError(req.MemberID, code))
		return
	}
	mb := g.members[req.MemberID]
	switch {
	case g.state == statePreparing:
		d.updateMember(g, mb, j, "member "+mb.id+" rejoins")
	case !mb.matches(req.Protocols):
		d.updateMember(g, mb, j, "member "+mb.id+" has new metadata")
	case g.state == stateStable && g.leader == mb.id:
		// The leader may know of changes that its metadata do not show, such as more partitions of a topic.
		d.updateMember(g, mb, j, "leader "+mb.id+" rejoins")
	default:
		// The member has missed the answer, or asks for no reason: it learns of the generation as it is.
		d.fx.join(j.Ticket, g.joined(mb, g.state == stateCompleting))
	}
}

// joined is the answer to a member that is part of the generation. The leader gets the members to assign to.
func (g *group) joined(mb *member, assigns bool) *wire.JoinGroupResponse {
	r := &wire.JoinGroupResponse{
		GenerationID: g.generation, ProtocolType: g.typeOrNil(), ProtocolName: g.protocol,
		Leader: g.leader, MemberID: mb.id,
	}
	if assigns && g.leader == mb.id {
		r.Members = g.listMembers()
	}
	return r
}

func (g *group) listMembers() []wire.JoinGroupResponseMember {
	list := make([]wire.JoinGroupResponseMember, len(g.order))
	for i, mb := range g.order {
		list[i] = wire.JoinGroupResponseMember{
			MemberID: mb.id, GroupInstanceID: mb.instanceID(), Metadata: mb.metadata(*g.protocol),
		}
	}
	return list
}

// addMember makes a member and parks its request.
func (d *decision) addMember(g *group, id string, j *Join) {
	mb := &member{
		id: id, isNew: true,
		clientID: strings.Clone(j.Client.ID), clientHost: strings.Clone(j.Client.Host),
	}
	if j.Request.GroupInstanceID != nil {
		mb.static, mb.instance = true, strings.Clone(*j.Request.GroupInstanceID)
	}
	mb.take(j)
	if g.state == statePreparing && g.prev == stateEmpty {
		g.grown = true
		d.arrived(g)
	}
	if len(g.members) == 0 {
		g.protocolType = strings.Clone(j.Request.ProtocolType)
	}
	g.add(mb)
	g.parkJoin(mb, j.Ticket, d.fx)
	d.m.timers.Set(&mb.timer, d.now.Mono+newMemberTimeoutMs)
	d.rebalanceOrComplete(g, "member "+id+" joins"+because(j.Request.Reason))
}

// updateMember takes over what a member's request says and parks it.
func (d *decision) updateMember(g *group, mb *member, j *Join, reason string) {
	g.count(mb, -1)
	mb.take(j)
	g.count(mb, 1)
	g.parkJoin(mb, j.Ticket, d.fx)
	d.rebalanceOrComplete(g, reason+because(j.Request.Reason))
}

// take copies timeouts and protocols from the request.
func (mb *member) take(j *Join) {
	mb.sessionMs, mb.rebalanceMs = j.Request.SessionTimeoutMs, j.Request.RebalanceTimeoutMs
	mb.protocols = make([]protocol, len(j.Request.Protocols))
	seen := make(map[string]bool, len(mb.protocols))
	for i := range mb.protocols {
		p := &j.Request.Protocols[i]
		mb.protocols[i] = protocol{strings.Clone(p.Name), append([]byte{}, p.Metadata...), seen[p.Name]}
		seen[mb.protocols[i].name] = true
	}
}

// because is a client's reason for people to read (KIP-800).
func because(reason *string) string {
	if reason == nil || *reason == "" {
		return ""
	}
	return ": " + *reason
}

// replacement is a static member that came back under a new member id while the group was stable: what to
// restore if that cannot be written.
type replacement struct {
	oldID        string
	old          member // timeouts and protocols before
	replaced     *member
	ticket       Ticket
	version      int16
	formerLeader string
}

// replaceStatic lets a static member that has lost its member id take its own place (KIP-345). While the group
// is stable and the protocol stays, nobody has to rebalance: the new id is written, then the member learns of
// the generation.
func (d *decision) replaceStatic(g *group, mb *member, newID string, j *Join) {
	rep := &replacement{oldID: mb.id, old: *mb, replaced: mb, ticket: j.Ticket, version: j.Version, formerLeader: g.leader}
	d.fx.join(g.takeJoin(mb), joinError(mb.id, wire.FencedInstanceID))
	d.fx.sync(mb.takeSync(), &wire.SyncGroupResponse{ErrorCode: wire.FencedInstanceID})
	g.rename(mb, newID)
	d.heard(mb)
	g.count(mb, -1)
	mb.take(j)
	g.count(mb, 1)
	g.parkJoin(mb, j.Ticket, d.fx)

	reason := "static member " + mb.instance + " returns as " + newID
	switch g.state {
	case stateStable:
		if g.vote() != *g.protocol {
			d.rebalanceOrComplete(g, reason+" with another protocol")
			return
		}
		w := &write{kind: writeStatic, group: g, generation: g.generation, static: rep}
		d.m.submit(w, []Record{groupRecord(g, nil)}, d.fx)
	case stateCompleting:
		// The leader may assign to the old id already, so that the new one would get nothing.
		d.prepareRebalance(g, reason)
	default:
		d.completeIfAllJoined(g)
	}
}

// rename gives a member another id. Its place among the others stays.
func (g *group) rename(mb *member, id string) {
	delete(g.members, mb.id)
	if g.leader == mb.id {
		g.leader = id
	}
	mb.id = id
	g.members[id] = mb
}

// settleStatic answers a static member once its new id is in the log, or undoes the change.
func (d *decision) settleStatic(w *write, code wire.Code) {
	g, rep := w.group, w.static
	mb := rep.replaced
	if code == wire.None {
		g.durable = true
	}
	if mb.join != rep.ticket || g.members[mb.id] != mb {
		return // a rebalance, a later return of the same member or its end has answered the request
	}
	if code != wire.None {
		r := joinError("", code)
		r.GenerationID, r.ProtocolType, r.ProtocolName, r.Leader = g.generation, g.typeOrNil(), g.protocol, rep.formerLeader
		d.fx.join(g.takeJoin(mb), r)
		g.count(mb, -1)
		mb.sessionMs, mb.rebalanceMs, mb.protocols = rep.old.sessionMs, rep.old.rebalanceMs, rep.old.protocols
		g.count(mb, 1)
		g.rename(mb, rep.oldID)
		d.heard(mb)
		return
	}
	if g.state != stateStable || g.generation != w.generation {
		return // the request waits for the rebalance that has begun
	}
	r := g.joined(mb, false)
	if rep.version >= skipAssignmentSince {
		// A leader is told that it leads, and that the assignment stands.
		if g.leader == mb.id {
			r.Members, r.SkipAssignment = g.listMembers(), true
		}
	} else {
		// An old client that hears it leads would assign, so it is told of the leader before it.
		r.Leader = rep.formerLeader
	}
	d.fx.join(g.takeJoin(mb), r)
	d.heard(mb) // its session may have run out while it waited for us, which did not count
}

const hexDigits = "0123456789abcdef"

// formatUUID writes u as in RFC 9562, which is how Kafka ends member ids.
func formatUUID(u wire.UUID) string {
	b := make([]byte, 0, 36)
	for i, c := range u {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			b = append(b, '-')
		}
		b = append(b, hexDigits[c>>4], hexDigits[c&15])
	}
	return string(b)
}
