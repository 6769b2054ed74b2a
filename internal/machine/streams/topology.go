package streams

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/assign"
	base "github.com/moldau/moldau/internal/machine/group"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// What a topology may have at most. Each is far beyond what an application has; they bound the work that one request
// can cause.
const (
	subtopologyLimit = 1_000
	topicLimit       = 10_000
	taskLimit        = 100_000 // what fits the record of one member
)

// StatusMissingInternalTopics is the code of the status that internal topics are missing, to which the shell adds why
// they could not be created.
const StatusMissingInternalTopics = 3

// Codes of the other statuses of a heartbeat's answer.
const (
	statusStaleTopology          = 0
	statusMissingSourceTopics    = 1
	statusIncorrectlyPartitioned = 2
	statusShutdownApplication    = 4
	statusAssignmentDelayed      = 5
)

type (
	topologyValue = wire.StreamsGroupTopologyValue
	subtopology   = wire.StreamsGroupTopologyValueSubtopology
	topicInfo     = wire.StreamsGroupTopologyValueTopicInfo
)

// topologyOf copies a topology of a request into the form of the record.
func topologyOf(in *wire.StreamsGroupHeartbeatRequestTopology) *topologyValue {
	out := &topologyValue{Epoch: in.Epoch, Subtopologies: make([]subtopology, len(in.Subtopologies))}
	for i := range in.Subtopologies {
		s := &in.Subtopologies[i]
		o := subtopology{
			SubtopologyID: strings.Clone(s.SubtopologyID), SourceTopics: cloneStrings(s.SourceTopics),
			SourceTopicRegex: cloneStrings(s.SourceTopicRegex), StateChangelogTopics: topicInfos(s.StateChangelogTopics),
			RepartitionSinkTopics: cloneStrings(s.RepartitionSinkTopics), RepartitionSourceTopics: topicInfos(s.RepartitionSourceTopics),
		}
		for _, c := range s.CopartitionGroups {
			o.CopartitionGroups = append(o.CopartitionGroups, wire.StreamsGroupTopologyValueCopartitionGroup{
				SourceTopics: slices.Clone(c.SourceTopics), SourceTopicRegex: slices.Clone(c.SourceTopicRegex),
				RepartitionSourceTopics: slices.Clone(c.RepartitionSourceTopics),
			})
		}
		out.Subtopologies[i] = o
	}
	return out
}

func cloneStrings(in []string) []string {
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = strings.Clone(s)
	}
	return out
}

func topicInfos(in []wire.StreamsGroupHeartbeatRequestTopicInfo) []topicInfo {
	out := make([]topicInfo, len(in))
	for i := range in {
		out[i] = topicInfo{Name: strings.Clone(in[i].Name), Partitions: in[i].Partitions, ReplicationFactor: in[i].ReplicationFactor}
		for _, c := range in[i].TopicConfigs {
			out[i].TopicConfigs = append(out[i].TopicConfigs, wire.StreamsGroupTopologyValueTopicConfig{
				Key: strings.Clone(c.Key), Value: strings.Clone(c.Value),
			})
		}
	}
	return out
}

// sameTopology says whether two topologies are the same but for the order of their subtopologies.
func sameTopology(a, b *topologyValue) bool {
	return bytes.Equal(wire.AppendValue(nil, ordered(a), 0), wire.AppendValue(nil, ordered(b), 0))
}

func ordered(t *topologyValue) *topologyValue {
	out := *t
	out.Subtopologies = slices.Clone(t.Subtopologies)
	slices.SortFunc(out.Subtopologies, func(a, b subtopology) int { return cmp.Compare(a.SubtopologyID, b.SubtopologyID) })
	return &out
}

// checkTopology refuses what cannot be a topology.
func checkTopology(t *wire.StreamsGroupHeartbeatRequestTopology) *failure {
	if t.Epoch < 0 {
		return failed(wire.StreamsInvalidTopology, "Topology epoch must be non-negative.")
	}
	if n := len(t.Subtopologies); n > subtopologyLimit {
		return failed(wire.StreamsInvalidTopology, "The topology has %d subtopologies; the limit is %d.", n, subtopologyLimit)
	}
	seen, topics := map[string]bool{}, 0
	for i := range t.Subtopologies {
		s := &t.Subtopologies[i]
		if seen[s.SubtopologyID] {
			return failed(wire.StreamsInvalidTopology, "The topology has subtopology %s twice.", s.SubtopologyID)
		}
		seen[s.SubtopologyID] = true
		topics += len(s.SourceTopics) + len(s.RepartitionSinkTopics) + len(s.RepartitionSourceTopics) + len(s.StateChangelogTopics)
		if f := checkSubtopology(s); f != nil {
			return f
		}
	}
	if topics > topicLimit {
		return failed(wire.StreamsInvalidTopology, "The topology names %d topics; the limit is %d.", topics, topicLimit)
	}
	return nil
}

func checkSubtopology(s *wire.StreamsGroupHeartbeatRequestSubtopology) *failure {
	for _, t := range s.StateChangelogTopics {
		if t.Partitions != 0 {
			return failed(wire.StreamsInvalidTopology,
				"Changelog topic %s must have an undefined partition count, but it is set to %d.", t.Name, t.Partitions)
		}
	}
	for _, t := range s.RepartitionSourceTopics {
		if t.Partitions < 0 || t.Partitions > metadata.MaxTopicPartitions {
			return failed(wire.StreamsInvalidTopology, "Repartition topic %s cannot have %d partitions.", t.Name, t.Partitions)
		}
	}
	// Differs from Kafka: StreamsGroupHeartbeat answers STREAMS_INVALID_TOPOLOGY to a copartition group that names topics the
	// subtopology does not have. Kafka fails with UNKNOWN_SERVER_ERROR.
	for _, c := range s.CopartitionGroups {
		for _, i := range c.SourceTopics {
			if i < 0 || int(i) >= len(s.SourceTopics) {
				return failed(wire.StreamsInvalidTopology, "A copartition group of subtopology %s names source topic %d of %d.", s.SubtopologyID, i, len(s.SourceTopics))
			}
		}
		for _, i := range c.RepartitionSourceTopics {
			if i < 0 || int(i) >= len(s.RepartitionSourceTopics) {
				return failed(wire.StreamsInvalidTopology, "A copartition group of subtopology %s names repartition topic %d of %d.", s.SubtopologyID, i, len(s.RepartitionSourceTopics))
			}
		}
	}
	return nil
}

// eachRequired calls f for the topics that the topology needs: sources and internal ones.
func eachRequired(t *topologyValue, f func(name string)) {
	for i := range t.Subtopologies {
		s := &t.Subtopologies[i]
		for _, name := range s.SourceTopics {
			f(name)
		}
		for _, topics := range [][]topicInfo{s.RepartitionSourceTopics, s.StateChangelogTopics} {
			for j := range topics {
				f(topics[j].Name)
			}
		}
	}
}

// required are the names of the topics that the topology needs, in order.
func required(t *topologyValue) []string {
	names := map[string]bool{}
	eachRequired(t, func(name string) { names[name] = true })
	return slices.Sorted(maps.Keys(names))
}

// metadataHash tells in one number which of the topics there are, and what they are like.
func metadataHash(t *topologyValue, img *metadata.Image) int64 {
	var hashes []int64
	for _, name := range required(t) {
		if topic, ok := img.Topic(name); ok {
			hashes = append(hashes, base.TopicHash(topic, img))
		}
	}
	return base.GroupHash(hashes)
}

// configured is a topology matched with the topics that there are.
type configured struct {
	epoch int32
	// counts are the numbers of partitions of internal topics.
	counts map[string]int32
	// tasks are the subtopologies with their numbers of tasks, ascending; nil while that is not known.
	tasks []assign.Subtopology
	// missing are the internal topics to create, by name.
	missing []wire.CreateTopicsRequestCreatableTopic
	// status says what is wrong, nil when nothing is.
	status *wire.StreamsGroupHeartbeatResponseStatus
}

func (c *configured) ready() bool { return c.status == nil }

// subtopology finds the number of tasks of a subtopology.
func (c *configured) subtopology(id string) (*assign.Subtopology, bool) {
	i, ok := slices.BinarySearchFunc(c.tasks, id, func(s assign.Subtopology, id string) int { return cmp.Compare(s.ID, id) })
	if !ok {
		return nil, false
	}
	return &c.tasks[i], true
}

// configuration is the matching while it goes on.
type configuration struct {
	topology *topologyValue // in the order of its ids
	image    *metadata.Image
	counts   map[string]int32 // decided numbers of partitions of internal topics
}

// configure matches a topology with the topics. A failure means that no topics could make it right; what topics could
// is told in the status.
func configure(t *topologyValue, img *metadata.Image) (*configured, *failure) {
	c := &configuration{topology: ordered(t), image: img, counts: map[string]int32{}}
	out := &configured{epoch: t.Epoch}
	if missing := c.missingSources(); len(missing) > 0 {
		out.status = status(statusMissingSourceTopics, "Source topics "+summary(missing)+" are missing.")
		return out, nil
	}
	if f := c.repartition(); f != nil {
		return nil, f
	}
	wrong, f := c.copartition()
	if f != nil {
		return nil, f
	}
	if wrong != "" {
		out.status = status(statusIncorrectlyPartitioned, wrong)
		return out, nil
	}
	if f := c.size(out); f != nil {
		return nil, f
	}
	out.counts = c.counts
	if wrong := c.create(out); wrong != "" {
		*out = configured{epoch: t.Epoch, status: status(statusIncorrectlyPartitioned, wrong)}
		return out, nil
	}
	if len(out.missing) > 0 {
		names := make([]string, len(out.missing))
		for i := range out.missing {
			names[i] = out.missing[i].Name
		}
		out.status = status(StatusMissingInternalTopics, "Internal topics are missing: "+summary(names))
	}
	return out, nil
}

func status(code int8, detail string) *wire.StreamsGroupHeartbeatResponseStatus {
	return &wire.StreamsGroupHeartbeatResponseStatus{StatusCode: code, StatusDetail: detail}
}

// summary names the first three of some topics.
func summary(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d additional topics", strings.Join(names[:most], ", "), len(names)-most)
}

func (c *configuration) missingSources() []string {
	missing := map[string]bool{}
	for i := range c.topology.Subtopologies {
		for _, name := range c.topology.Subtopologies[i].SourceTopics {
			if _, ok := c.image.Topic(name); !ok {
				missing[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(missing))
}

// partitions is the number of partitions of a topic that there is or that will be created; 0 when that is not known.
func (c *configuration) partitions(name string) int32 {
	if t, ok := c.image.Topic(name); ok {
		return int32(len(t.Partitions))
	}
	return c.counts[name]
}

// repartition decides the numbers of partitions of repartition topics: what the application says, else as many as the
// largest source of the subtopology that writes to it.
func (c *configuration) repartition() *failure {
	sources := map[string]bool{}
	decided := map[string]int32{}
	for i := range c.topology.Subtopologies {
		for _, t := range c.topology.Subtopologies[i].RepartitionSourceTopics {
			sources[t.Name] = true
			if t.Partitions != 0 {
				decided[t.Name] = t.Partitions
			}
		}
	}
	open := make([]*subtopology, 0, len(c.topology.Subtopologies))
	for i := range c.topology.Subtopologies {
		open = append(open, &c.topology.Subtopologies[i])
	}
	for len(open) > 0 {
		before := len(open)
		open = slices.DeleteFunc(open, func(s *subtopology) bool { return c.decideSinks(s, decided) })
		if len(open) == before {
			return failed(wire.StreamsInvalidTopology, "Failed to compute number of partitions for all repartition topics. "+
				"There may be loops in the topology that cannot be resolved.")
		}
	}
	for name := range sources { //unordered: one message for all
		if _, ok := decided[name]; !ok {
			return failed(wire.StreamsInvalidTopology, "Failed to compute number of partitions for all repartition topics, "+
				"because a repartition source topic is never used as a sink topic.")
		}
	}
	maps.Copy(c.counts, decided)
	return nil
}

// decideSinks gives the subtopology's sinks their numbers of partitions and says whether all have one.
func (c *configuration) decideSinks(s *subtopology, decided map[string]int32) bool {
	if !slices.ContainsFunc(s.RepartitionSinkTopics, func(name string) bool { return decided[name] == 0 }) {
		return true
	}
	most := int32(0)
	for _, t := range s.RepartitionSourceTopics {
		most = max(most, decided[t.Name])
	}
	for _, name := range s.SourceTopics {
		if t, ok := c.image.Topic(name); ok {
			most = max(most, int32(len(t.Partitions)))
		}
	}
	if most == 0 {
		return false
	}
	for _, name := range s.RepartitionSinkTopics {
		if decided[name] == 0 {
			decided[name] = most
		}
	}
	return true
}

// copartition makes the topics of each copartition group have the same number of partitions, or tells which cannot.
func (c *configuration) copartition() (wrong string, f *failure) {
	fixed, internal := map[string]int32{}, map[string]bool{}
	for i := range c.topology.Subtopologies {
		for _, t := range c.topology.Subtopologies[i].RepartitionSourceTopics {
			internal[t.Name] = true
			if t.Partitions != 0 {
				fixed[t.Name] = t.Partitions
			}
		}
	}
	for i := range c.topology.Subtopologies {
		s := &c.topology.Subtopologies[i]
		for j := range s.CopartitionGroups {
			names := copartitioned(s, &s.CopartitionGroups[j])
			if len(names) == 0 {
				continue
			}
			if wrong, f = c.level(names, fixed, internal); wrong != "" || f != nil {
				return wrong, f
			}
		}
	}
	return "", nil
}

// copartitioned are the topics of a copartition group, in order. Indexes come from the log too, so they are checked.
func copartitioned(s *subtopology, g *wire.StreamsGroupTopologyValueCopartitionGroup) []string {
	names := map[string]bool{}
	for _, i := range g.SourceTopics {
		if i >= 0 && int(i) < len(s.SourceTopics) {
			names[s.SourceTopics[i]] = true
		}
	}
	for _, i := range g.RepartitionSourceTopics {
		if i >= 0 && int(i) < len(s.RepartitionSourceTopics) {
			names[s.RepartitionSourceTopics[i].Name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// level makes repartition topics of a copartition group as wide as the sources; if there are none, as the fixed ones,
// and if there are none of these, as the widest.
func (c *configuration) level(names []string, fixed map[string]int32, internal map[string]bool) (wrong string, f *failure) {
	external := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return internal[name] })
	width := int32(0)
	switch {
	case len(external) > 0:
		width = c.partitions(external[0])
		if slices.ContainsFunc(external, func(name string) bool { return c.partitions(name) != width }) {
			return c.uneven(external), nil
		}
	case len(fixed) > 0:
		// As in Kafka, the fixed topics of all groups must agree here.
		all := slices.Sorted(maps.Keys(fixed))
		width = c.partitions(all[0])
		if slices.ContainsFunc(all, func(name string) bool { return c.partitions(name) != width }) {
			return c.uneven(names), nil
		}
	default:
		for _, name := range names {
			width = max(width, c.partitions(name))
		}
		if width == 0 {
			return "", failed(wire.StreamsInvalidTopology, "All topics in the copartition group had undefined partition number: [%s]", strings.Join(names, ", "))
		}
	}
	for _, name := range names {
		if !internal[name] {
			continue
		}
		if n := c.partitions(name); fixed[name] != 0 && n != width {
			return fmt.Sprintf("Number of partitions [%d] of repartition topic [%s] doesn't match number of partitions [%d] of the source topic.", n, name, width), nil
		}
		c.counts[name] = width
	}
	return "", nil
}

func (c *configuration) uneven(names []string) string {
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = fmt.Sprintf("%s=%d", name, c.partitions(name))
	}
	return "Following topics do not have the same number of partitions: [{" + strings.Join(parts, ", ") + "}]"
}

// size counts the tasks of each subtopology, as many as its widest source has partitions, and gives changelogs as
// many partitions.
func (c *configuration) size(out *configured) *failure {
	total := int64(0)
	for i := range c.topology.Subtopologies {
		s := &c.topology.Subtopologies[i]
		width := int32(0)
		for _, name := range s.SourceTopics {
			width = max(width, c.partitions(name))
		}
		for _, t := range s.RepartitionSourceTopics {
			width = max(width, c.partitions(t.Name))
		}
		if width == 0 {
			return failed(wire.StreamsInvalidTopology, "No source topics found for subtopology %s", s.SubtopologyID)
		}
		for _, t := range s.StateChangelogTopics {
			c.counts[t.Name] = width
		}
		if total += int64(width); total > taskLimit {
			return failed(wire.StreamsInvalidTopology, "The topology has more than %d tasks.", taskLimit)
		}
		out.tasks = append(out.tasks, assign.Subtopology{ID: s.SubtopologyID, Tasks: width, Stateful: len(s.StateChangelogTopics) > 0})
	}
	return nil
}

// create lists the internal topics that there are not, or tells which has the wrong number of partitions.
func (c *configuration) create(out *configured) (wrong string) {
	internal := map[string]*topicInfo{}
	for i := range c.topology.Subtopologies {
		s := &c.topology.Subtopologies[i]
		for _, topics := range [][]topicInfo{s.RepartitionSourceTopics, s.StateChangelogTopics} {
			for j := range topics {
				internal[topics[j].Name] = &topics[j]
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(internal)) {
		info := internal[name]
		want := c.counts[name]
		if info.Partitions != 0 {
			want = info.Partitions
		}
		if t, ok := c.image.Topic(name); ok {
			if n := len(t.Partitions); n != int(want) {
				return fmt.Sprintf("Existing topic %s has different number of partitions: expected %d, found %d", name, want, n)
			}
			continue
		}
		out.missing = append(out.missing, creatable(info, want))
	}
	return ""
}

func creatable(info *topicInfo, partitions int32) wire.CreateTopicsRequestCreatableTopic {
	var t wire.CreateTopicsRequestCreatableTopic
	t.SetDefaults()
	t.Name, t.NumPartitions, t.ReplicationFactor = info.Name, partitions, -1
	if info.ReplicationFactor != 0 {
		t.ReplicationFactor = info.ReplicationFactor
	}
	for _, c := range info.TopicConfigs {
		t.Configs = append(t.Configs, wire.CreateTopicsRequestCreatableTopicConfig{Name: c.Key, Value: &c.Value})
	}
	return t
}
