package group

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// topicUUID is the id that scripts give a topic: its name.
func topicUUID(name string) (id wire.UUID) {
	copy(id[:], name)
	return id
}

// setTopic makes a topic, gives it more partitions, or removes it.
func (d *driver) setTopic(name string, partitions int32) {
	d.setTopicID(name, topicUUID(name), partitions)
}

func (d *driver) setTopicID(name string, id wire.UUID, partitions int32) {
	if d.image == nil {
		d.image = metadata.Empty()
	}
	delta := d.image.Edit()
	old, ok := d.image.Topic(name)
	apply := func(rec wire.MetadataRecord) {
		if err := delta.Apply(rec); err != nil {
			panic(err)
		}
	}
	switch {
	case partitions == 0 && ok:
		apply(&wire.RemoveTopicRecord{TopicID: id})
	case !ok && partitions > 0:
		apply(&wire.TopicRecord{Name: name, TopicID: id})
	}
	from := int32(0)
	if ok {
		from = int32(len(old.Partitions))
	}
	for p := from; p < partitions; p++ {
		apply(&wire.PartitionRecord{PartitionID: p, TopicID: id, Replicas: []int32{1}, ISR: []int32{1}, Leader: 1})
	}
	img, err := delta.Finish(d.image.Offset()+1, 1)
	if err != nil {
		panic(err)
	}
	d.image = img
	d.machine.SetImage(d.now, img, &d.fx)
}

func (d *driver) topicLine(a args) { d.setTopic(a["name"], int32(a.int("partitions", 0))) }

// parseOwned reads t:0/1,u:2.
func parseOwned(text string) []wire.ConsumerGroupHeartbeatRequestTopicPartitions {
	list := []wire.ConsumerGroupHeartbeatRequestTopicPartitions{}
	for _, e := range strings.Split(text, ",") {
		name, partitions, ok := strings.Cut(e, ":")
		if !ok {
			continue
		}
		tp := wire.ConsumerGroupHeartbeatRequestTopicPartitions{TopicID: topicUUID(name)}
		for _, p := range strings.Split(partitions, "/") {
			n := int32(0)
			_, _ = fmt.Sscan(p, &n) // what is not a number is 0
			tp.Partitions = append(tp.Partitions, n)
		}
		list = append(list, tp)
	}
	return list
}

// consumeLine is a ConsumerGroupHeartbeat: with names, regex or epoch 0 a full one, else what is given.
func (d *driver) consumeLine(a args) {
	req := &wire.ConsumerGroupHeartbeatRequest{
		GroupID: a["g"], MemberID: a["member"], MemberEpoch: int32(a.int("epoch", 0)), InstanceID: a.opt("instance"), RackID: a.opt("rack"),
		RebalanceTimeoutMs: int32(a.int("rebalance", -1)), SubscribedTopicRegex: a.opt("regex"), ServerAssignor: a.opt("assignor"),
	}
	if _, ok := a["names"]; ok {
		req.SubscribedTopicNames = append([]string{}, a.list("names")...)
	}
	if owned, ok := a["owned"]; ok {
		req.TopicPartitions = parseOwned(owned)
	}
	if _, bare := a["bare"]; req.MemberEpoch == 0 && !bare {
		req.RebalanceTimeoutMs, req.TopicPartitions = int32(a.int("rebalance", 60_000)), parseOwned("")
	}
	h := &ConsumerHeartbeat{Request: req, Version: int16(a.int("v", 1)), Client: Client{ID: "c", Host: "/h"}}
	if req.MemberID == "" {
		h.Fresh = d.uuid()
	}
	r := d.machine.Consumers.Heartbeat(d.now, h, &d.fx)
	if r.ErrorCode != wire.None {
		d.printf("%s -> %s %s", a["member"], codeText(r.ErrorCode), deref(r.ErrorMessage))
		return
	}
	s := fmt.Sprintf("%s -> epoch %d", deref(r.MemberID), r.MemberEpoch)
	if r.Assignment != nil {
		s += " has"
		for _, tp := range r.Assignment.TopicPartitions {
			s += fmt.Sprintf(" %s:%v", topicName(tp.TopicID), tp.Partitions)
		}
		if len(r.Assignment.TopicPartitions) == 0 {
			s += " nothing"
		}
	}
	d.printf("%s", s)
}

func topicName(id wire.UUID) string { return strings.TrimRight(string(id[:]), "\x00") }

func (d *driver) describeConsumersLine(a args) {
	g := d.machine.Consumers.DescribeGroup(a["g"])
	if g.ErrorCode != wire.None {
		d.printf("%s %s %s", g.GroupID, codeText(g.ErrorCode), deref(g.ErrorMessage))
		return
	}
	d.printf("%s %s epoch=%d target=%d assignor=%s", g.GroupID, g.GroupState, g.GroupEpoch, g.AssignmentEpoch, g.AssignorName)
	for _, m := range g.Members {
		s := fmt.Sprintf("  %s epoch=%d type=%d", m.MemberID, m.MemberEpoch, m.MemberType)
		for _, tp := range m.Assignment.TopicPartitions {
			s += fmt.Sprintf(" %s:%v", tp.TopicName, tp.Partitions)
		}
		s += " ->"
		for _, tp := range m.TargetAssignment.TopicPartitions {
			s += fmt.Sprintf(" %s:%v", tp.TopicName, tp.Partitions)
		}
		d.printf("%s", s)
	}
}

func (d *driver) historyLine(a args) {
	list, code := d.machine.History(a["g"])
	if code != wire.None {
		d.printf("%s", codeText(code))
	}
	for _, e := range list {
		d.printf("%s (%s) %d, %d members", e.What, e.Reason, e.Generation, e.Members)
	}
}

// consumerRecordText is a record of a consumer group for people.
func consumerRecordText(k wire.CoordinatorRecord) string {
	switch k := k.(type) {
	case *wire.ConsumerGroupMetadataKey:
		return "consumers " + k.GroupID
	case *wire.ConsumerGroupMemberMetadataKey:
		return "member " + k.GroupID + "/" + k.MemberID
	case *wire.ConsumerGroupTargetAssignmentMetadataKey:
		return "target " + k.GroupID
	case *wire.ConsumerGroupTargetAssignmentMemberKey:
		return "target " + k.GroupID + "/" + k.MemberID
	case *wire.ConsumerGroupCurrentMemberAssignmentKey:
		return "current " + k.GroupID + "/" + k.MemberID
	case *wire.ConsumerGroupRegularExpressionKey:
		return "regex " + k.GroupID + "/" + k.RegularExpression
	}
	return ""
}

func consumerValueText(v wire.Record) string {
	switch v := v.(type) {
	case *wire.ConsumerGroupMetadataValue:
		return fmt.Sprintf(": epoch=%d", v.Epoch)
	case *wire.ConsumerGroupMemberMetadataValue:
		s := fmt.Sprintf(": names=%v regex=%s instance=%s rebalance=%d", v.SubscribedTopicNames, deref(v.SubscribedTopicRegex), deref(v.InstanceID), v.RebalanceTimeoutMs)
		if v.ClassicMemberMetadata != nil {
			s += fmt.Sprintf(" classic session=%d", v.ClassicMemberMetadata.SessionTimeoutMs)
		}
		return s
	case *wire.ConsumerGroupTargetAssignmentMetadataValue:
		return fmt.Sprintf(": epoch=%d", v.AssignmentEpoch)
	case *wire.ConsumerGroupTargetAssignmentMemberValue:
		s := ":"
		for _, tp := range v.TopicPartitions {
			s += fmt.Sprintf(" %s:%v", topicName(tp.TopicID), tp.Partitions)
		}
		return s
	case *wire.ConsumerGroupCurrentMemberAssignmentValue:
		s := fmt.Sprintf(": epoch=%d previous=%d state=%d", v.MemberEpoch, v.PreviousMemberEpoch, v.State)
		for _, tp := range v.AssignedPartitions {
			s += fmt.Sprintf(" %s:%v since %v", topicName(tp.TopicID), tp.Partitions, tp.AssignmentEpochs)
		}
		for _, tp := range v.PartitionsPendingRevocation {
			s += fmt.Sprintf(" gives up %s:%v", topicName(tp.TopicID), tp.Partitions)
		}
		return s
	case *wire.ConsumerGroupRegularExpressionValue:
		return fmt.Sprintf(": %v", v.Topics)
	}
	return ""
}

// consumersText is all of the consumer groups that a replay must give back.
func consumersText(m *Machine) string {
	var b strings.Builder
	c := m.Consumers
	for _, id := range c.IDs() {
		g := c.groups[id]
		fmt.Fprintf(&b, "%s epoch=%d hash=%x target=%d at %d classic=%d supported=%v assignors=%v regexes=%v reads=%v\n", id, g.epoch, g.metadataHash,
			g.targetEpoch, g.targetMs, g.classic, g.supported, g.assignors, g.regexes, g.reads)
		for _, memberID := range sortedKeys(g.members) {
			mb := g.members[memberID]
			fmt.Fprintf(&b, "  %s%s%s\n", memberID, consumerValueText(&mb.meta), consumerValueText(&mb.current))
			if mb.meta.InstanceID != nil && g.statics[*mb.meta.InstanceID] != mb {
				fmt.Fprintf(&b, "  %s is not known as %s\n", memberID, *mb.meta.InstanceID)
			}
		}
		for _, memberID := range sortedKeys(g.targets) {
			fmt.Fprintf(&b, "  target %s %v\n", memberID, g.targets[memberID])
		}
		for _, regex := range sortedKeys(g.resolved) {
			fmt.Fprintf(&b, "  regex %s %v\n", regex, g.resolved[regex].topics)
		}
		var owners []string
		for p, mb := range g.owners {
			owners = append(owners, fmt.Sprintf("%s-%d %s", topicName(p.topic), p.partition, mb.id))
		}
		slices.Sort(owners)
		fmt.Fprintf(&b, "  %v\n", owners)
	}
	fmt.Fprintf(&b, "%d members\n", c.members)
	return b.String()
}

// checkOwners sees that no two members have a partition.
func (d *driver) checkOwners() string {
	for id, g := range d.machine.Consumers.groups {
		seen := map[partitionID]string{}
		for _, memberID := range sortedKeys(g.members) {
			mb := g.members[memberID]
			for _, list := range [][]holding{mb.current.AssignedPartitions, mb.current.PartitionsPendingRevocation} {
				for _, h := range list {
					for _, p := range h.Partitions {
						at := partitionID{h.TopicID, p}
						if other, ok := seen[at]; ok {
							return fmt.Sprintf("group %s: %s-%d is %s's and %s's", id, topicName(h.TopicID), p, other, memberID)
						}
						seen[at] = memberID
					}
				}
			}
		}
	}
	return ""
}

// reloadFailed is what the shell does when a write has failed that was applied already.
func (d *driver) reloadFailed() {
	d.printf("the partition is loaded anew")
	d.machine.Unload(wire.CoordinatorLoadInProgress, &d.fx)
	d.fx.Writes = nil
	d.flushAnswers()
	d.queue = nil
	d.machine = d.replayed()
	if d.image != nil {
		d.machine.SetImage(d.now, d.image, &d.fx)
	}
	d.machine.Loaded(d.now, &d.fx)
}

func (d *driver) flushAnswers() {
	for _, j := range d.fx.Joins {
		d.printf("%s -> %s", d.answered(j.Ticket), joinText(j.Response))
	}
	for _, s := range d.fx.Syncs {
		d.printf("%s -> %s", d.answered(s.Ticket), syncText(s.Response))
	}
	d.fx.Reset()
}
