package streams

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
	base "github.com/moldau/moldau/internal/machine/group"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// Epochs that a heartbeat may have beside a member's own.
const (
	joinEpoch  = 0
	leaveEpoch = -1
	// awayEpoch is that of a static member that comes back, of which streams groups have none yet.
	awayEpoch = -2
)

// Answer is what a heartbeat leads to.
type Answer struct {
	Response *wire.StreamsGroupHeartbeatResponse
	// Create are internal topics that the group waits for. The shell has the controller create them.
	Create []wire.CreateTopicsRequestCreatableTopic
}

type (
	heartbeatRequest  = wire.StreamsGroupHeartbeatRequest
	heartbeatResponse = wire.StreamsGroupHeartbeatResponse
	requestTasks      = []wire.StreamsGroupHeartbeatRequestTaskIds
)

// Heartbeat serves one heartbeat: of a member that joins, is there, or leaves.
func (k *Groups) Heartbeat(now base.Time, req *heartbeatRequest, version int16, client base.Client, fx *base.Effects) Answer {
	f := checkFeatures(req, version)
	if f == nil {
		f = checkRequest(req)
	}
	if f == nil && (req.MemberEpoch == leaveEpoch || req.MemberEpoch == awayEpoch) {
		var resp *heartbeatResponse
		if resp, f = k.leave(req, fx); f == nil {
			return Answer{Response: resp}
		}
	}
	if f != nil {
		return Refuse(f.code, f.message)
	}
	b := &beat{groups: k, now: now, req: req, version: version, client: client}
	if f := b.decide(); f != nil {
		return Refuse(f.code, f.message)
	}
	b.commit(fx)
	return b.answer()
}

// Refuse is the answer to a request that is not served, with a message unless that is empty.
func Refuse(code wire.Code, message string) Answer {
	resp := &heartbeatResponse{}
	resp.SetDefaults()
	resp.ErrorCode = code
	if message != "" {
		resp.ErrorMessage = &message
	}
	return Answer{Response: resp}
}

// checkFeatures refuses what Apache Kafka 4.3.1 does not serve yet.
//
// Version 1 of the request belongs to Kafka 4.4, which takes offsets of tasks.
func checkFeatures(req *heartbeatRequest, version int16) *failure {
	switch {
	case req.InstanceID != nil:
		return failed(wire.InvalidRequest, "Static membership is not yet supported.")
	case version < 1 && req.TaskOffsets != nil:
		return failed(wire.InvalidRequest, "TaskOffsets are not supported yet.")
	case version < 1 && req.TaskEndOffsets != nil:
		return failed(wire.InvalidRequest, "TaskEndOffsets are not supported yet.")
	case len(req.WarmupTasks) > 0:
		return failed(wire.InvalidRequest, "WarmupTasks are not supported yet.")
	}
	if req.Topology != nil {
		for i := range req.Topology.Subtopologies {
			if len(req.Topology.Subtopologies[i].SourceTopicRegex) > 0 {
				return failed(wire.InvalidRequest, "Regular expressions for source topics are not supported yet.")
			}
		}
	}
	return nil
}

// checkRequest refuses requests that contradict themselves.
func checkRequest(req *heartbeatRequest) *failure {
	invalid := func(message string) *failure { return failed(wire.InvalidRequest, "%s", message) }
	switch {
	case blank(req.MemberID):
		return invalid("MemberId can't be empty.")
	case blank(req.GroupID):
		return invalid("GroupId can't be empty.")
	case req.RackID != nil && blank(*req.RackID):
		return invalid("RackId can't be empty.")
	case req.MemberEpoch == joinEpoch:
		if f := checkJoin(req); f != nil {
			return f
		}
	case req.MemberEpoch == awayEpoch:
		return invalid("InstanceId can't be null.")
	case req.MemberEpoch < awayEpoch:
		return failed(wire.InvalidRequest, "MemberEpoch is %d, but must be greater than or equal to -2.", req.MemberEpoch)
	}
	some := req.ActiveTasks != nil || req.StandbyTasks != nil || req.WarmupTasks != nil
	all := req.ActiveTasks != nil && req.StandbyTasks != nil && req.WarmupTasks != nil
	switch {
	case some && !all:
		return invalid("If one task-type is non-null, all must be non-null.")
	case req.MemberEpoch != joinEpoch && req.Topology != nil:
		return invalid("Topology can only be provided when (re-)joining.")
	}
	return nil
}

// blank is what Java's trim makes empty.
func blank(s string) bool { return strings.TrimFunc(s, func(r rune) bool { return r <= ' ' }) == "" }

func checkJoin(req *heartbeatRequest) *failure {
	switch {
	case req.RebalanceTimeoutMs == -1:
		return failed(wire.InvalidRequest, "RebalanceTimeoutMs must be provided in first request.")
	case req.ActiveTasks == nil || len(req.ActiveTasks) > 0:
		return failed(wire.InvalidRequest, "ActiveTasks must be empty when (re-)joining.")
	case req.StandbyTasks == nil || len(req.StandbyTasks) > 0:
		return failed(wire.InvalidRequest, "StandbyTasks must be empty when (re-)joining.")
	case req.WarmupTasks == nil:
		return failed(wire.InvalidRequest, "WarmupTasks must be empty when (re-)joining.")
	case req.Topology == nil:
		return failed(wire.InvalidRequest, "Topology must be non-null when (re-)joining.")
	}
	return checkTopology(req.Topology)
}

// find finds a group for a member that does not join.
func (k *Groups) find(id string) (*group, *failure) {
	if g := k.groups[id]; g != nil {
		return g, nil
	}
	if _, ok := k.registry.TypeOf(id); ok {
		return nil, failed(wire.GroupIDNotFound, "Group %s is not a streams group.", id)
	}
	return nil, failed(wire.GroupIDNotFound, "Streams group %s not found.", id)
}

func (g *group) find(id string) (*member, *failure) {
	if m := g.members[id]; m != nil {
		return m, nil
	}
	return nil, failed(wire.UnknownMemberID, "Member %s is not a member of group %s.", id, g.id)
}

// leave serves the heartbeat of a member that leaves.
func (k *Groups) leave(req *heartbeatRequest, fx *base.Effects) (*heartbeatResponse, *failure) {
	if _, ok := k.registry.TypeOf(req.GroupID); !ok && k.groups[req.GroupID] == nil {
		return nil, failed(wire.GroupIDNotFound, "Group %s not found.", req.GroupID)
	}
	g, f := k.find(req.GroupID)
	if f != nil {
		return nil, f
	}
	m, f := g.find(req.MemberID)
	if f != nil {
		return nil, f
	}
	if req.ShutdownApplication && g.shutdownBy == "" {
		g.shutdownBy = m.id
	}
	k.fence(g, m, m.id+" left", fx)
	resp := &heartbeatResponse{}
	resp.SetDefaults()
	resp.MemberID, resp.MemberEpoch, resp.Status = m.id, req.MemberEpoch, []wire.StreamsGroupHeartbeatResponseStatus{}
	return resp, nil
}

// beat is one heartbeat while it is decided: decide looks, commit changes, answer tells.
type beat struct {
	groups  *Groups
	now     base.Time
	req     *heartbeatRequest
	version int16
	client  base.Client

	settings Settings
	group    *group // in no table yet if it is new
	fresh    bool   // the group is new
	before   *member
	after    member // what becomes of the member
	was      progress
	owned    *holding
	vacate   bool          // an empty classic group has to make room
	vacated  []base.Record // its tombstones

	topology   *topologyValue
	configured *configured
	hash       int64
	epoch      int32
	reasons    []string // why the epoch grows
	configs    configs

	target      *target
	targetEpoch int32
	records     []base.Record
	entries     []entry // the records, read back
	statuses    []wire.StreamsGroupHeartbeatResponseStatus
	computed    bool // a new target assignment
	changed     bool // the member's tasks are others than before
	tell        bool // it has to be told its tasks anyway
	delay       bool // the initial delay begins
}

// decide works out what becomes of the group and its member, and changes nothing.
func (b *beat) decide() *failure {
	for _, step := range []func(*beat) *failure{
		(*beat).findGroup, (*beat).findMember, (*beat).updateTopology, (*beat).configure, (*beat).checkTasks, (*beat).raiseEpoch,
		(*beat).updateTarget, (*beat).reconcile, (*beat).checkRecords, (*beat).takeID,
	} {
		if f := step(b); f != nil {
			return f
		}
	}
	return nil
}

func (b *beat) joins() bool { return b.req.MemberEpoch == joinEpoch }

func (b *beat) findGroup() (f *failure) {
	k, id := b.groups, b.req.GroupID
	b.group = k.groups[id]
	if b.group == nil && b.joins() {
		typ, ok := k.registry.TypeOf(id)
		if ok && typ != "classic" {
			return failed(wire.GroupIDNotFound, "Group %s is not a streams group.", id)
		}
		b.vacate = ok
		b.group, b.fresh = newGroup(strings.Clone(id)), true
	}
	if b.group == nil {
		if b.group, f = k.find(id); f != nil {
			return f
		}
	}
	b.settings = k.settingsOf(b.group)
	if n := len(b.group.members); b.joins() && n >= int(b.settings.MaxSize) {
		return failed(wire.GroupMaxSizeReached, "The streams group has reached its maximum capacity of %d members.", b.settings.MaxSize)
	}
	return nil
}

// findMember finds the member, or makes one that joins, and takes what it says of itself.
func (b *beat) findMember() (f *failure) {
	req, g := b.req, b.group
	if b.before = g.members[req.MemberID]; b.before == nil {
		if !b.joins() {
			_, f := g.find(req.MemberID)
			return f
		}
		b.before = newMember(strings.Clone(req.MemberID))
	}
	if req.ActiveTasks != nil && req.StandbyTasks != nil && req.WarmupTasks != nil {
		b.owned = &holding{requested(req.ActiveTasks), requested(req.StandbyTasks), requested(req.WarmupTasks)}
	}
	if f := b.checkEpoch(); f != nil {
		return f
	}
	b.was = b.before.progress
	b.after = *b.before
	b.after.profile = b.profile()
	if !b.after.profile.equal(&b.before.profile) {
		b.records = append(b.records, profileRecord(g.id, b.after.id, &b.after.profile))
		if g.members[req.MemberID] == nil {
			b.reasons = append(b.reasons, b.after.id+" joined")
		} else {
			b.reasons = append(b.reasons, b.after.id+" has changed what it says of itself")
		}
	}
	return nil
}

func requested(in requestTasks) tasks {
	return tasksOf(in, func(s *wire.StreamsGroupHeartbeatRequestTaskIds) (string, []int32) {
		return s.SubtopologyID, s.Partitions
	})
}

// checkEpoch fences members that do not know where they are. One epoch back is right for a member that did not get
// the last answer, if it has nothing that it was not given.
func (b *beat) checkEpoch() *failure {
	got, m := b.req.MemberEpoch, b.before
	word := ""
	switch {
	case got == joinEpoch || got == m.epoch:
		return nil
	case got > m.epoch:
		word = "greater"
	case got != m.previous || b.owned == nil || !m.assigned.active.contains(b.owned.active) ||
		!m.assigned.standby.contains(b.owned.standby) || !m.assigned.warmup.contains(b.owned.warmup):
		word = "smaller"
	default:
		return nil
	}
	return failed(wire.FencedMemberEpoch, "The streams group member has a %s member epoch (%d) than the one known by the group "+
		"coordinator (%d). The member must abandon all its partitions and rejoin.", word, got, m.epoch)
}

// profile is what the member says of itself; what it leaves out stays.
func (b *beat) profile() profile {
	req, p := b.req, b.before.profile
	p.clientID, p.host = strings.Clone(b.client.ID), strings.Clone(b.client.Host)
	if req.RackID != nil {
		rack := strings.Clone(*req.RackID)
		p.rack = &rack
	}
	if req.RebalanceTimeoutMs != -1 {
		p.rebalanceMs = req.RebalanceTimeoutMs
	}
	if req.Topology != nil {
		p.topologyEpoch = req.Topology.Epoch
	}
	if req.ProcessID != nil {
		p.process = strings.Clone(*req.ProcessID)
	}
	if req.UserEndpoint != nil {
		p.endpoint = &endpoint{strings.Clone(req.UserEndpoint.Host), req.UserEndpoint.Port}
	}
	if req.ClientTags != nil {
		p.tags = make(map[string]string, len(req.ClientTags))
		for _, t := range req.ClientTags {
			p.tags[strings.Clone(t.Key)] = strings.Clone(t.Value)
		}
	}
	return p
}

// updateTopology takes the first topology that a group gets. Later ones must be the same.
func (b *beat) updateTopology() *failure {
	g := b.group
	b.topology = g.topology
	if b.req.Topology == nil {
		if g.topology == nil {
			return failed(wire.UnknownServerError, "The topology is null and the group topology is also null.")
		}
	} else if t := topologyOf(b.req.Topology); g.topology == nil {
		b.topology = t
		b.records = append(b.records, topologyRecord(g.id, t))
	} else if t.Epoch >= g.topology.Epoch && !sameTopology(t, g.topology) {
		return failed(wire.InvalidRequest, "Topology updates are not supported yet.")
	}
	if g.topology != nil && b.after.topologyEpoch < g.topology.Epoch {
		b.status(statusStaleTopology, "The member's topology epoch %d is behind the group's topology epoch %d.", b.after.topologyEpoch, g.topology.Epoch)
	}
	return nil
}

func (b *beat) status(code int8, format string, args ...any) {
	b.statuses = append(b.statuses, wire.StreamsGroupHeartbeatResponseStatus{StatusCode: code, StatusDetail: fmt.Sprintf(format, args...)})
}

// configure matches the topology with the topics when either has changed.
func (b *beat) configure() (f *failure) {
	g := b.group
	b.configured, b.hash = g.configured, g.hash
	if g.topology != nil && g.configured != nil && g.image == b.groups.image {
		return nil
	}
	b.hash = metadataHash(b.topology, b.groups.image)
	if g.topology == nil {
		b.reasons = append(b.reasons, "the topology is new")
	} else if b.hash != g.hash {
		b.reasons = append(b.reasons, "topics have changed")
	} else if g.configured != nil {
		return nil
	}
	b.configured, f = configure(b.topology, b.groups.image)
	return f
}

// checkTasks refuses tasks that the topology does not have.
func (b *beat) checkTasks() *failure {
	if !b.configured.ready() {
		return nil
	}
	for _, sets := range []requestTasks{b.req.ActiveTasks, b.req.StandbyTasks, b.req.WarmupTasks} {
		for i := range sets {
			s, ok := b.configured.subtopology(sets[i].SubtopologyID)
			if !ok {
				return failed(wire.InvalidRequest, "Subtopology %s does not exist in the topology.", sets[i].SubtopologyID)
			}
			for _, p := range sets[i].Partitions {
				if p < 0 || p >= s.Tasks {
					return failed(wire.InvalidRequest, "Task %d for subtopology %s is invalid. Number of tasks for this subtopology: %d", p, s.ID, s.Tasks)
				}
			}
		}
	}
	return nil
}

// raiseEpoch begins a new epoch of the group if anything that an assignment depends on has changed.
func (b *beat) raiseEpoch() *failure {
	g := b.group
	validated := int32(-1)
	if b.configured.ready() {
		validated = b.topology.Epoch
	}
	if validated != g.validated {
		if validated >= 0 {
			b.reasons = append(b.reasons, "the topology is ready")
		} else {
			b.reasons = append(b.reasons, "the topology is not ready: "+b.configured.status.StatusDetail)
		}
	}
	b.configs = configs{{Key: "num.standby.replicas", Value: strconv.Itoa(int(b.settings.Standbys))}}
	if !b.configs.equal(g.lastConfigs) && len(b.reasons) == 0 {
		b.reasons = append(b.reasons, "settings have changed")
	}
	b.epoch = g.epoch
	if len(b.reasons) > 0 {
		b.epoch++
		b.records = append(b.records, epochRecord(g.id, b.epoch, b.hash, validated, b.configs))
	}
	b.delay = len(g.members) == 0 && b.settings.InitialDelayMs > 0
	return nil
}

// updateTarget computes a new target assignment if the epoch has grown and it is time.
func (b *beat) updateTarget() *failure {
	g := b.group
	b.target, b.targetEpoch = g.targetOf(b.after.id), g.assignedEpoch
	switch {
	case b.delay || g.initial.Pending():
		b.target = &target{}
		b.status(statusAssignmentDelayed, "Assignment delayed due to the configured initial rebalance delay.")
	case g.assignedEpoch >= b.epoch:
	case g.assignedAt != 0 && b.now.Wall < g.assignedAt+int64(b.settings.AssignmentMs) && b.settings.AssignmentMs > 0:
		b.status(statusAssignmentDelayed, "Assignment delayed due to the configured assignment interval.")
	default:
		targets := g.assignTasks(b.configured, &b.after, int(b.settings.Standbys))
		b.records = append(b.records, g.targetRecords(targets, b.epoch, b.now.Wall)...)
		b.target, b.targetEpoch, b.computed = targets[b.after.id], b.epoch, true
	}
	return nil
}

// reconcile brings the member towards its target.
func (b *beat) reconcile() *failure {
	// Differs from Kafka: a member of a streams group that did not get an answer, which shows in an older epoch or in tasks
	// that are not those that it was given, is told its tasks again. In Kafka it would never learn of them.
	b.tell = b.joins() || b.req.MemberEpoch != b.was.epoch || b.owned != nil && !b.owned.same(&b.was.assigned)
	b.changed = b.joins()
	if b.after.reconciled(b.targetEpoch) {
		return nil
	}
	r := &reconciliation{group: b.group, member: &b.after, target: b.target, targetEpoch: b.targetEpoch, owned: b.owned}
	p, f := r.next()
	if f != nil {
		return f
	}
	if !p.equal(&b.after.progress) {
		b.after.progress = p
		b.changed = b.changed || !p.assigned.equal(&b.was.assigned)
		b.records = append(b.records, progressRecord(b.group.id, b.after.id, &p))
	}
	return nil
}

// checkRecords refuses what could not be written or read back.
func (b *beat) checkRecords() (f *failure) {
	b.entries, f = entries(b.group.id, b.records)
	return f
}

// takeID makes an empty classic group give up the id. It is the last step because it is a deed.
func (b *beat) takeID() *failure {
	if !b.vacate {
		return nil
	}
	records, ok := b.groups.registry.Vacate(b.group.id, nil)
	if !ok {
		return failed(wire.GroupIDNotFound, "Group %s is not a streams group.", b.group.id)
	}
	b.vacated = records
	return nil
}

// commit makes it so.
func (b *beat) commit(fx *base.Effects) {
	k, g := b.groups, b.group
	if k.groups[g.id] == nil {
		k.groups[g.id] = g
	}
	for _, e := range b.entries {
		k.take(e)
	}
	fx.Record(b.vacated...)
	fx.Record(b.records...)
	g.configured, g.image = b.configured, k.image
	m := g.member(b.after.id)
	k.timers.Set(&m.session, b.now.Mono+int64(b.settings.SessionMs))
	if !m.progress.equal(&b.was) {
		if m.state == stateUnrevoked {
			k.timers.Set(&m.rebalance, b.now.Mono+int64(m.rebalanceMs))
		} else {
			m.rebalance.Stop()
		}
	}
	if b.delay && !g.initial.Pending() {
		k.timers.Set(&g.initial, b.now.Mono+int64(b.settings.InitialDelayMs))
	}
	if b.req.ShutdownApplication && g.shutdownBy == "" {
		g.shutdownBy = m.id
		k.event(fx, g, "shutdown requested", m.id+" has asked the whole application to stop")
	}
	if b.req.TaskOffsets != nil {
		m.offsets, m.endOffsets = cloneOffsets(b.req.TaskOffsets), cloneOffsets(b.req.TaskEndOffsets)
	}
	if len(b.reasons) > 0 {
		k.event(fx, g, "rebalance begins", strings.Join(b.reasons, "; "))
	}
	if b.computed {
		k.event(fx, g, "assignment computed", fmt.Sprintf("for epoch %d", g.assignedEpoch))
	}
}

func cloneOffsets(in []wire.StreamsGroupHeartbeatRequestTaskOffset) []wire.StreamsGroupHeartbeatRequestTaskOffset {
	out := slices.Clone(in)
	for i := range out {
		out[i].SubtopologyID = strings.Clone(out[i].SubtopologyID)
	}
	return out
}

// answer tells the member its assignment if it is new, and what is amiss.
func (b *beat) answer() Answer {
	g := b.group
	resp := &heartbeatResponse{}
	resp.SetDefaults()
	resp.MemberID, resp.MemberEpoch, resp.HeartbeatIntervalMs = b.after.id, b.after.epoch, b.settings.HeartbeatMs
	if b.version >= 1 {
		resp.TaskOffsetIntervalMs, resp.AcceptableRecoveryLag = b.settings.TaskOffsetMs, b.settings.RecoveryLag
	}
	if b.changed || b.tell {
		resp.ActiveTasks = responseTasks(b.after.assigned.active)
		resp.StandbyTasks = responseTasks(b.after.assigned.standby)
		resp.WarmupTasks = responseTasks(b.after.assigned.warmup)
	}
	if b.changed && b.after.endpoint != nil {
		g.endpointEpoch++
	}
	if g.endpointEpoch != b.req.EndpointInformationEpoch {
		resp.PartitionsByUserEndpoint = g.endpoints(b.groups.image)
	}
	if b.fresh { // as in Kafka, the epochs of endpoints begin with the second heartbeat
		g.endpointEpoch = 0
	}
	resp.EndpointInformationEpoch = g.endpointEpoch
	out := Answer{Response: resp}
	if s := b.configured.status; s != nil {
		b.statuses = append(b.statuses, *s)
		out.Create = b.configured.missing
	}
	if g.shutdownBy != "" {
		b.status(statusShutdownApplication, "Streams group member %s encountered a fatal error and requested a shutdown for the entire application.", g.shutdownBy)
	}
	resp.Status = b.statuses
	if resp.Status == nil {
		resp.Status = []wire.StreamsGroupHeartbeatResponseStatus{}
	}
	return out
}

func responseTasks(t tasks) []wire.StreamsGroupHeartbeatResponseTaskIds {
	out := []wire.StreamsGroupHeartbeatResponseTaskIds{}
	for _, s := range t.sets() {
		out = append(out, wire.StreamsGroupHeartbeatResponseTaskIds{SubtopologyID: s.Subtopology, Partitions: s.Partitions})
	}
	return out
}

// endpoints tells where each member with an endpoint answers, and the partitions that its tasks read.
//
// Differs from Kafka: it fails with UNKNOWN_SERVER_ERROR when the first member of a streams group has an endpoint, or when
// one has while the topology's source topics do not fit. So it does with topology epochs below zero, and copartition groups of
// source topics that there are not.
func (g *group) endpoints(img *metadata.Image) []wire.StreamsGroupHeartbeatResponseEndpointToPartitions {
	out := []wire.StreamsGroupHeartbeatResponseEndpointToPartitions{}
	for _, id := range g.sortedMembers() {
		m := g.members[id]
		if m.endpoint == nil {
			continue
		}
		out = append(out, wire.StreamsGroupHeartbeatResponseEndpointToPartitions{
			UserEndpoint:      wire.StreamsGroupHeartbeatResponseEndpoint{Host: m.endpoint.host, Port: m.endpoint.port},
			ActivePartitions:  g.partitionsOf(m.assigned.active, img),
			StandbyPartitions: g.partitionsOf(m.assigned.standby, img),
		})
	}
	return out
}

// partitionsOf are the source partitions of tasks.
//
// Differs from Kafka: where StreamsGroupHeartbeat tells the partitions of an endpoint, a topic with fewer partitions than
// its subtopology has tasks is listed with the partitions that it has, not with the first so many tasks.
func (g *group) partitionsOf(t tasks, img *metadata.Image) []wire.StreamsGroupHeartbeatResponseTopicPartition {
	out := []wire.StreamsGroupHeartbeatResponseTopicPartition{}
	for _, s := range t.sets() {
		for _, name := range sortedKeys(g.sources) {
			topic, ok := img.Topic(name)
			if g.sources[name] != s.Subtopology || !ok {
				continue
			}
			tp := wire.StreamsGroupHeartbeatResponseTopicPartition{Topic: name}
			for _, p := range s.Partitions {
				if int(p) < len(topic.Partitions) {
					tp.Partitions = append(tp.Partitions, p)
				}
			}
			if len(tp.Partitions) > 0 {
				out = append(out, tp)
			}
		}
	}
	return out
}
