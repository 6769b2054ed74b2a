package group

import (
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/assign"
)

// A group moves between the classic and the consumer protocol while it runs (KIP-848): up when a member of the consumer
// protocol joins a classic group of consumers, down when the last such member is gone. What members own goes along, so
// that nobody has to stop.

// fromClassic turns a classic group with members into a consumer group: each member has what its last assignment said.
func (c *Consumers) fromClassic(now Time, old *group, fx *Effects) (*consumerTurn, *refusal) {
	g := newConsumerGroup(c, old.id)
	t := c.turn(g, now, fx)
	metas := make([]wire.ConsumerGroupMemberMetadataValue, len(old.order))
	currents := make([]wire.ConsumerGroupCurrentMemberAssignmentValue, len(old.order))
	for i, mb := range old.order {
		if !c.convert(old, mb, &metas[i], &currents[i]) {
			return nil, refuse(wire.GroupIDNotFound, "Cannot upgrade classic group %s to consumer group because the embedded consumer protocol is malformed.", old.id)
		}
	}
	ids := make([]string, len(old.order))
	for i, mb := range old.order {
		ids[i] = mb.id
		fx.join(old.takeJoin(mb), joinError(mb.id, wire.RebalanceInProgress))
		fx.sync(mb.takeSync(), &wire.SyncGroupResponse{ErrorCode: wire.RebalanceInProgress})
	}
	generation := old.generation
	t.records = append(t.records, new(encoder).groupTombstone(old.id))
	c.machine.yield(old)
	c.groups[g.id] = g
	for i, id := range ids {
		t.putMember(id, &metas[i])
	}
	t.putEpoch(generation, 0)
	for i, id := range ids {
		t.putTarget(id, targetFrom(currents[i].AssignedPartitions), false)
	}
	t.putTargetEpoch(generation, 0)
	for i, id := range ids {
		t.putCurrent(id, &currents[i])
		g.heard(g.members[id], now)
	}
	t.event("group moves to the consumer protocol", "a member of that protocol joins")
	return t, nil
}

func (c *Consumers) checkUpgrade(old *group) *refusal {
	switch {
	case !c.config.Upgrade:
		return refuse(wire.GroupIDNotFound, "Cannot upgrade classic group %s to consumer group because online upgrade is disabled.", old.id)
	case !old.usesConsumerProtocol():
		return refuse(wire.GroupIDNotFound, "Cannot upgrade classic group %s to consumer group because the group does not use the consumer embedded protocol.", old.id)
	case len(old.members) > int(c.config.MaxSize):
		return refuse(wire.GroupIDNotFound, "Cannot upgrade classic group %s to consumer group because the group size exceeds the consumer group maximum size.", old.id)
	}
	return c.config.full(len(old.members), false)
}

// convert makes a classic member one of a consumer group.
func (c *Consumers) convert(old *group, mb *member, meta *wire.ConsumerGroupMemberMetadataValue, current *wire.ConsumerGroupCurrentMemberAssignmentValue) bool {
	protocols := mb.protocols
	metadata := protocols[0].metadata
	if old.protocol != nil && mb.metadata(*old.protocol) != nil {
		metadata = mb.metadata(*old.protocol)
	}
	var s wire.ConsumerProtocolSubscription
	if _, err := wire.DecodeConsumerProtocol(metadata, &s); err != nil {
		return false
	}
	var a wire.ConsumerProtocolAssignment
	if len(mb.assignment) > 0 {
		if _, err := wire.DecodeConsumerProtocol(mb.assignment, &a); err != nil {
			return false
		}
	}
	*meta = blankMember()
	meta.InstanceID, meta.RackID = cloneOpt(mb.instanceID()), cloneOpt(s.RackID)
	meta.ClientID, meta.ClientHost, meta.RebalanceTimeoutMs = mb.clientID, mb.clientHost, mb.rebalanceMs
	meta.SubscribedTopicNames = slices.Compact(slices.Sorted(slices.Values(s.Topics)))
	meta.ClassicMemberMetadata = &classicMetadata{SessionTimeoutMs: mb.sessionMs}
	for i := range protocols {
		meta.ClassicMemberMetadata.SupportedProtocols = append(meta.ClassicMemberMetadata.SupportedProtocols,
			wire.ConsumerGroupMemberMetadataValueClassicProtocol{Name: protocols[i].name, Metadata: protocols[i].metadata})
	}
	current.MemberEpoch, current.PreviousMemberEpoch = old.generation, old.generation
	for i := range a.AssignedPartitions {
		if c.image == nil {
			break
		}
		if topic, ok := c.image.Topic(a.AssignedPartitions[i].Topic); ok {
			current.AssignedPartitions = addHolding(current.AssignedPartitions, holding{TopicID: topic.ID, Partitions: a.AssignedPartitions[i].Partitions})
		}
	}
	current.AssignedPartitions = normal(current.AssignedPartitions, old.generation)
	return true
}

func targetFrom(list []holding) assign.Assignment {
	a := make(assign.Assignment, len(list))
	for i := range list {
		a[i] = assign.TopicPartitions{Topic: list[i].TopicID, Partitions: list[i].Partitions}
	}
	return a
}

// downgrades says whether only members of the classic protocol are left without these.
func (g *consumerGroup) downgrades(gone []*consumerMember) bool {
	classic := g.classic
	for _, mb := range gone {
		if mb.meta.ClassicMemberMetadata != nil {
			classic--
		}
	}
	left := len(g.members) - len(gone)
	return left > 0 && classic == left && g.c.config.Downgrade && left <= int(g.c.machine.config.MaxSize)
}

// downgradesFor says the same of a static member that comes back with the classic protocol.
func (g *consumerGroup) downgradesFor(old *consumerMember) bool {
	return old.meta.ClassicMemberMetadata == nil && g.classic == len(g.members)-1 && g.c.config.Downgrade && len(g.members) <= int(g.c.machine.config.MaxSize)
}

// toClassic turns a consumer group into a classic one without the members that are gone. Its members keep what they
// have, and rejoin, unless that is the work of a member that has just taken another's place.
func (t *consumerTurn) toClassic(gone []*consumerMember, joined *consumerMember) {
	g := t.g
	var members []*member
	for _, id := range sortedKeys(g.members) {
		mb := g.members[id]
		if slices.Contains(gone, mb) {
			continue
		}
		cm := mb.meta.ClassicMemberMetadata
		m := &member{
			id: mb.id, clientID: mb.meta.ClientID, clientHost: mb.meta.ClientHost, rebalanceMs: mb.meta.RebalanceTimeoutMs,
			sessionMs: cm.SessionTimeoutMs,
		}
		if mb.meta.InstanceID != nil {
			m.static, m.instance = true, *mb.meta.InstanceID
		}
		for i := range cm.SupportedProtocols {
			again := slices.ContainsFunc(m.protocols, func(p protocol) bool { return p.name == cm.SupportedProtocols[i].Name })
			m.protocols = append(m.protocols, protocol{cm.SupportedProtocols[i].Name, cm.SupportedProtocols[i].Metadata, again})
		}
		var has []holding
		for _, tp := range g.targets[mb.id] {
			has = append(has, holding{TopicID: tp.Topic, Partitions: tp.Partitions})
		}
		m.assignment = classicAssignment(t.c.image, has, m.protocols[0].metadata)
		members = append(members, m)
	}
	epoch := g.epoch
	t.bury()
	t.fx.Record(t.records...)
	t.records = nil

	old := t.c.machine.groups[g.id]
	if old == nil {
		old = t.c.machine.create(g.id, t.now.Wall)
	}
	old.durable, old.generation, old.protocolType, old.since = true, epoch, consumerProtocol, t.now.Wall
	old.state = stateStable
	d := &decision{t.c.machine, t.now, t.fx}
	for _, m := range members {
		old.add(m)
		d.heard(m)
	}
	name := old.vote()
	old.protocol = &name
	old.subscribe()
	t.records = append(t.records, groupRecord(old, nil))
	t.fx.event(old, "group moves to the classic protocol", "no member of the consumer protocol is left")
	t.g = &consumerGroup{c: t.c, id: g.id, epoch: epoch}
	t.fx.Record(t.records...)
	t.records = nil
	if joined == nil {
		d.prepareRebalance(old, "the group has moved from the consumer to the classic protocol")
	}
}
