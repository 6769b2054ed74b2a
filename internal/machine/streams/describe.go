package streams

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/assign"
)

type describedGroup = wire.StreamsGroupDescribeResponseDescribedGroup

// Describe describes one group, or tells that there is none.
func (k *Groups) Describe(id string) describedGroup {
	var d describedGroup
	d.SetDefaults()
	d.GroupID = strings.Clone(id)
	g := k.groups[id]
	if g == nil {
		message := fmt.Sprintf("Group %s not found.", id)
		if _, ok := k.registry.TypeOf(id); ok {
			message = fmt.Sprintf("Group %s is not a streams group.", id)
		}
		d.ErrorCode, d.ErrorMessage, d.GroupState = wire.GroupIDNotFound, &message, ""
		return d
	}
	d.GroupState, d.GroupEpoch, d.AssignmentEpoch = g.state(), g.epoch, g.assignedEpoch
	d.Topology = g.describeTopology()
	name := assignorName
	d.AssignorName = &name
	d.Members = make([]wire.StreamsGroupDescribeResponseMember, 0, len(g.members))
	for _, id := range g.sortedMembers() {
		d.Members = append(d.Members, g.describeMember(g.members[id]))
	}
	return d
}

// assignorName is the name of the one assignor.
const assignorName = "sticky"

// describeTopology is the topology, with the numbers of partitions of its internal topics once these are known.
func (g *group) describeTopology() *wire.StreamsGroupDescribeResponseTopology {
	if g.topology == nil {
		return nil
	}
	counts := map[string]int32{}
	if g.configured != nil && g.configured.ready() {
		counts = g.configured.counts
	}
	out := &wire.StreamsGroupDescribeResponseTopology{Epoch: g.topology.Epoch, Subtopologies: []wire.StreamsGroupDescribeResponseSubtopology{}}
	sorted := ordered(g.topology)
	for i := range sorted.Subtopologies {
		s := &sorted.Subtopologies[i]
		out.Subtopologies = append(out.Subtopologies, wire.StreamsGroupDescribeResponseSubtopology{
			SubtopologyID: s.SubtopologyID, SourceTopics: slices.Sorted(slices.Values(s.SourceTopics)),
			RepartitionSinkTopics:   slices.Sorted(slices.Values(s.RepartitionSinkTopics)),
			StateChangelogTopics:    describeTopics(s.StateChangelogTopics, counts),
			RepartitionSourceTopics: describeTopics(s.RepartitionSourceTopics, counts),
		})
	}
	return out
}

func describeTopics(topics []topicInfo, counts map[string]int32) []wire.StreamsGroupDescribeResponseTopicInfo {
	out := make([]wire.StreamsGroupDescribeResponseTopicInfo, len(topics))
	for i := range topics {
		t := &topics[i]
		out[i] = wire.StreamsGroupDescribeResponseTopicInfo{Name: t.Name, Partitions: t.Partitions, ReplicationFactor: t.ReplicationFactor}
		if t.Partitions == 0 {
			out[i].Partitions = counts[t.Name]
		}
		for _, c := range t.TopicConfigs {
			out[i].TopicConfigs = append(out[i].TopicConfigs, wire.StreamsGroupDescribeResponseKeyValue{Key: c.Key, Value: c.Value})
		}
	}
	slices.SortFunc(out, func(a, b wire.StreamsGroupDescribeResponseTopicInfo) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func (g *group) describeMember(m *member) wire.StreamsGroupDescribeResponseMember {
	t := g.targetOf(m.id)
	var d wire.StreamsGroupDescribeResponseMember
	d.SetDefaults()
	d.MemberID, d.MemberEpoch, d.RackID, d.ClientID, d.ClientHost = m.id, m.epoch, m.rack, m.clientID, m.host
	d.TopologyEpoch, d.ProcessID = m.topologyEpoch, m.process
	if m.endpoint != nil {
		d.UserEndpoint = &wire.StreamsGroupDescribeResponseEndpoint{Host: m.endpoint.host, Port: m.endpoint.port}
	}
	for _, k := range sortedKeys(m.tags) {
		d.ClientTags = append(d.ClientTags, wire.StreamsGroupDescribeResponseKeyValue{Key: k, Value: m.tags[k]})
	}
	d.TaskOffsets, d.TaskEndOffsets = describeOffsets(m.offsets), describeOffsets(m.endOffsets)
	d.Assignment = wire.StreamsGroupDescribeResponseAssignment{
		ActiveTasks: describeTasks(m.assigned.active.sets()), StandbyTasks: describeTasks(m.assigned.standby.sets()),
		WarmupTasks: describeTasks(m.assigned.warmup.sets()),
	}
	d.TargetAssignment = wire.StreamsGroupDescribeResponseAssignment{
		ActiveTasks: describeTasks(t.active), StandbyTasks: describeTasks(t.standby), WarmupTasks: describeTasks(t.warmup),
	}
	return d
}

func describeOffsets(in []wire.StreamsGroupHeartbeatRequestTaskOffset) []wire.StreamsGroupDescribeResponseTaskOffset {
	out := make([]wire.StreamsGroupDescribeResponseTaskOffset, len(in))
	for i, o := range in {
		out[i] = wire.StreamsGroupDescribeResponseTaskOffset{SubtopologyID: o.SubtopologyID, Partition: o.Partition, Offset: o.Offset}
	}
	return out
}

func describeTasks(in assign.Tasks) []wire.StreamsGroupDescribeResponseTaskIds {
	out := make([]wire.StreamsGroupDescribeResponseTaskIds, len(in))
	for i, s := range in {
		out[i] = wire.StreamsGroupDescribeResponseTaskIds{SubtopologyID: s.Subtopology, Partitions: s.Partitions}
	}
	return out
}
