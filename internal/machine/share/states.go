package share

import (
	"maps"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/group"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// stateTopics are the share partitions of a group that have a state with the share coordinator, are about to get one,
// or are about to lose it. A topic may be in several: one that had four partitions and has eight has four of each.
type stateTopics struct {
	initializing map[wire.UUID]*stateTopic
	initialized  map[wire.UUID]*stateTopic
	deleting     map[wire.UUID]string // by name
}

// stateTopic is some of a topic's partitions.
type stateTopic struct {
	name       string
	partitions []int32 // ascending
	since      int64   // wall time of the request that is under way, 0 if another coordinator made it
}

func newStateTopics() *stateTopics {
	return &stateTopics{initializing: map[wire.UUID]*stateTopic{}, initialized: map[wire.UUID]*stateTopic{}, deleting: map[wire.UUID]string{}}
}

// clone copies the maps; topics are never changed but replaced.
func (s *stateTopics) clone() *stateTopics {
	if s == nil {
		return newStateTopics()
	}
	return &stateTopics{initializing: maps.Clone(s.initializing), initialized: maps.Clone(s.initialized), deleting: maps.Clone(s.deleting)}
}

// add puts partitions of a topic into a map. A topic without partitions is never in one.
func add(to map[wire.UUID]*stateTopic, id wire.UUID, name string, partitions []int32, since int64) {
	if len(partitions) == 0 {
		return
	}
	all := slices.Clone(partitions)
	if had := to[id]; had != nil {
		all = append(all, had.partitions...)
	}
	slices.Sort(all)
	to[id] = &stateTopic{name: name, partitions: slices.Compact(all), since: since}
}

// remove takes partitions of a topic out of a map.
func remove(from map[wire.UUID]*stateTopic, id wire.UUID, partitions []int32) {
	had := from[id]
	if had == nil {
		return
	}
	left := slices.DeleteFunc(slices.Clone(had.partitions), func(p int32) bool { return slices.Contains(partitions, p) })
	if len(left) == 0 {
		delete(from, id)
		return
	}
	from[id] = &stateTopic{name: had.name, partitions: left, since: had.since}
}

func sortedIDs[V any](m map[wire.UUID]V) []wire.UUID {
	return slices.SortedFunc(maps.Keys(m), func(a, b wire.UUID) int { return slices.Compare(a[:], b[:]) })
}

// record is the value of the record that says all of it.
func (s *stateTopics) record() *wire.ShareGroupStatePartitionMetadataValue {
	infos := func(of map[wire.UUID]*stateTopic) []wire.ShareGroupStatePartitionMetadataValueTopicPartitionsInfo {
		out := make([]wire.ShareGroupStatePartitionMetadataValueTopicPartitionsInfo, 0, len(of))
		for _, id := range sortedIDs(of) {
			out = append(out, wire.ShareGroupStatePartitionMetadataValueTopicPartitionsInfo{TopicID: id, TopicName: of[id].name, Partitions: of[id].partitions})
		}
		return out
	}
	v := &wire.ShareGroupStatePartitionMetadataValue{InitializingTopics: infos(s.initializing), InitializedTopics: infos(s.initialized)}
	for _, id := range sortedIDs(s.deleting) {
		v.DeletingTopics = append(v.DeletingTopics, wire.ShareGroupStatePartitionMetadataValueTopicInfo{TopicID: id, TopicName: s.deleting[id]})
	}
	return v
}

// setStates takes what a record says. since is when the requests for what is initializing were made.
func (sg *shareGroup) setStates(v *wire.ShareGroupStatePartitionMetadataValue, since int64) {
	s := newStateTopics()
	for _, t := range v.InitializingTopics {
		add(s.initializing, t.TopicID, t.TopicName, t.Partitions, since)
	}
	for _, t := range v.InitializedTopics {
		add(s.initialized, t.TopicID, t.TopicName, t.Partitions, 0)
	}
	for _, t := range v.DeletingTopics {
		s.deleting[t.TopicID] = t.TopicName
	}
	sg.states = s
}

// putStates writes the states that a group has.
func (t *step) putStates(s *stateTopics) {
	t.put(&wire.ShareGroupStatePartitionMetadataKey{GroupID: t.sg.id}, s.record())
	t.sg.states = s
	t.g.groups[t.sg.id] = t.sg
}

// initialize finds share partitions that members read and that have no state, and what to ask the share coordinator
// for, nil for nothing.
func (t *step) initialize() *wire.InitializeShareGroupStateRequest {
	var req *wire.InitializeShareGroupStateRequest
	var next *stateTopics
	for _, name := range slices.Sorted(maps.Keys(t.sg.reads)) {
		topic, ok := t.g.image.Topic(name)
		if !ok {
			continue
		}
		missing := t.withoutState(topic)
		if len(missing) == 0 {
			continue
		}
		if next == nil {
			next, req = t.sg.states.clone(), &wire.InitializeShareGroupStateRequest{GroupID: t.sg.id}
		}
		add(next.initializing, topic.ID, topic.Name, missing, t.now.Wall)
		delete(next.deleting, topic.ID)
		data := wire.InitializeShareGroupStateRequestInitializeStateData{TopicID: topic.ID}
		for _, p := range missing {
			data.Partitions = append(data.Partitions, wire.InitializeShareGroupStateRequestPartitionData{Partition: p, StateEpoch: t.sg.epoch, StartOffset: noOffset})
		}
		req.Topics = append(req.Topics, data)
	}
	if next != nil {
		t.putStates(next)
	}
	return req
}

// withoutState is the partitions of a topic that have no state and for which none was asked of late.
func (t *step) withoutState(topic *metadata.Topic) []int32 {
	has := make([]bool, len(topic.Partitions))
	mark := func(st *stateTopic) {
		for _, p := range st.partitions {
			if p >= 0 && int(p) < len(has) {
				has[p] = true
			}
		}
	}
	if s := t.sg.states; s != nil {
		if st := s.initialized[topic.ID]; st != nil {
			mark(st)
		}
		if st := s.initializing[topic.ID]; st != nil && t.now.Wall-st.since < t.g.config.InitializeRetryMs {
			mark(st)
		}
	}
	var missing []int32
	for p := range has {
		if !has[p] {
			missing = append(missing, int32(p))
		}
	}
	return missing
}

// Initialized takes the news that share partitions have got their states. From now on they can be assigned.
func (g *Groups) Initialized(now group.Time, req *wire.InitializeShareGroupStateRequest, fx *group.Effects) {
	g.settleStates(now, req, true, fx)
}

// NotInitialized takes the news that share partitions could not get their states; the next heartbeat tries again.
func (g *Groups) NotInitialized(now group.Time, req *wire.InitializeShareGroupStateRequest, fx *group.Effects) {
	g.settleStates(now, req, false, fx)
}

func (g *Groups) settleStates(now group.Time, req *wire.InitializeShareGroupStateRequest, done bool, fx *group.Effects) {
	sg := g.groups[req.GroupID]
	if sg == nil || sg.states == nil {
		return // it was deleted meanwhile
	}
	next := sg.states.clone()
	for i := range req.Topics {
		data := &req.Topics[i]
		st := next.initializing[data.TopicID]
		if st == nil {
			continue // the topic was deleted meanwhile, or the state is about to be
		}
		var partitions []int32
		for _, p := range data.Partitions {
			if slices.Contains(st.partitions, p.Partition) {
				partitions = append(partitions, p.Partition)
			}
		}
		name := st.name
		remove(next.initializing, data.TopicID, partitions)
		if done {
			add(next.initialized, data.TopicID, name, partitions, 0)
		}
	}
	t := &step{g: g, sg: sg, now: now, fx: fx}
	t.putStates(next)
	t.done()
}

// dropDeletedTopics forgets states of topics that are no more.
func (t *step) dropDeletedTopics() {
	lost := func(id wire.UUID) bool { _, ok := t.g.image.TopicByID(id); return !ok }
	s, any := t.sg.states, false
	for _, ids := range [][]wire.UUID{sortedIDs(s.initializing), sortedIDs(s.initialized), sortedIDs(s.deleting)} {
		any = any || slices.ContainsFunc(ids, lost)
	}
	if !any {
		return
	}
	next := s.clone()
	maps.DeleteFunc(next.initializing, func(id wire.UUID, _ *stateTopic) bool { return lost(id) })
	maps.DeleteFunc(next.initialized, func(id wire.UUID, _ *stateTopic) bool { return lost(id) })
	maps.DeleteFunc(next.deleting, func(id wire.UUID, _ string) bool { return lost(id) })
	t.putStates(next)
}

// StartDelete begins to delete a group: all its states are marked, and what to ask the share coordinator for is given,
// nil for nothing. ok is false when it is not a share group; the group's own deletion follows once the states are
// gone (Delete).
func (g *Groups) StartDelete(now group.Time, id string, fx *group.Effects) (req *wire.DeleteShareGroupStateRequest, code wire.Code, ok bool) {
	sg := g.groups[id]
	if sg == nil {
		return nil, wire.None, false
	}
	if len(sg.members) > 0 {
		return nil, wire.NonEmptyGroup, true
	}
	if sg.states == nil {
		return nil, wire.None, true
	}
	doomed := maps.Clone(sg.states.initialized)
	for _, topic := range sortedIDs(sg.states.initializing) {
		add(doomed, topic, sg.states.initializing[topic].name, sg.states.initializing[topic].partitions, 0)
	}
	for _, topic := range sortedIDs(sg.states.deleting) {
		if known, ok := g.image.TopicByID(topic); ok {
			add(doomed, topic, known.Name, allPartitions(known), 0) // an earlier try has failed
		}
	}
	next := newStateTopics()
	for topic, st := range doomed { //unordered: into a map
		next.deleting[topic] = st.name
	}
	t := &step{g: g, sg: sg, now: now, fx: fx}
	t.putStates(next)
	t.done()
	return deleteRequest(sg.id, doomed), wire.None, true
}

func allPartitions(t *metadata.Topic) []int32 {
	all := make([]int32, len(t.Partitions))
	for p := range all {
		all[p] = int32(p)
	}
	return all
}

// deleteRequest asks the share coordinator to delete states, nil for none.
func deleteRequest(id string, doomed map[wire.UUID]*stateTopic) *wire.DeleteShareGroupStateRequest {
	if len(doomed) == 0 {
		return nil
	}
	req := &wire.DeleteShareGroupStateRequest{GroupID: id}
	for _, topic := range sortedIDs(doomed) {
		data := wire.DeleteShareGroupStateRequestDeleteStateData{TopicID: topic}
		for _, p := range doomed[topic].partitions {
			data.Partitions = append(data.Partitions, wire.DeleteShareGroupStateRequestPartitionData{Partition: p})
		}
		req.Topics = append(req.Topics, data)
	}
	return req
}

// Readable is the share partitions of a group that have a state, in order of topic ids; nil when there is no such
// group.
func (g *Groups) Readable(id string) []wire.ReadShareGroupStateSummaryRequestReadStateSummaryData {
	sg := g.groups[id]
	if sg == nil || sg.states == nil {
		return nil
	}
	var out []wire.ReadShareGroupStateSummaryRequestReadStateSummaryData
	for _, topic := range sortedIDs(sg.states.initialized) {
		data := wire.ReadShareGroupStateSummaryRequestReadStateSummaryData{TopicID: topic}
		for _, p := range sg.states.initialized[topic].partitions {
			data.Partitions = append(data.Partitions, wire.ReadShareGroupStateSummaryRequestPartitionData{Partition: p, LeaderEpoch: noEpoch})
		}
		out = append(out, data)
	}
	return out
}

// AlterOffsets begins to set where an empty group goes on reading. If initialize is not nil the share coordinator must
// be asked so, and its answer goes to Initialized or NotInitialized; resp is the answer if that succeeds.
func (g *Groups) AlterOffsets(now group.Time, req *wire.AlterShareGroupOffsetsRequest, fx *group.Effects) (
	resp *wire.AlterShareGroupOffsetsResponse, initialize *wire.InitializeShareGroupStateRequest,
) {
	resp = &wire.AlterShareGroupOffsetsResponse{}
	sg, bad := g.find(req.GroupID, groupMissing)
	if sg == nil {
		if _, taken := g.registry.TypeOf(req.GroupID); taken {
			resp.ErrorCode, resp.ErrorMessage = bad.Code, bad.Message()
			return resp, nil
		}
		sg = newShareGroup(strings.Clone(req.GroupID))
	}
	if len(sg.members) > 0 {
		bad := problem(wire.NonEmptyGroup)
		resp.ErrorCode, resp.ErrorMessage = bad.Code, bad.Message()
		return resp, nil
	}
	next, known := sg.states.clone(), false
	initialize = &wire.InitializeShareGroupStateRequest{GroupID: sg.id}
	topics := mergeTopics(req.Topics)
	for i := range topics {
		topic, out, data := g.alterTopic(&topics[i], sg.epoch)
		resp.Responses = append(resp.Responses, out)
		known = known || topic != nil
		if len(data.Partitions) == 0 {
			continue
		}
		var partitions []int32
		for _, p := range data.Partitions {
			partitions = append(partitions, p.Partition)
		}
		add(next.initializing, topic.ID, topic.Name, partitions, now.Wall)
		delete(next.deleting, topic.ID)
		initialize.Topics = append(initialize.Topics, data)
	}
	if known { // as in Kafka a topic that there is makes the group, even if none of its partitions is right
		t := &step{g: g, sg: sg, now: now, fx: fx}
		t.putStates(next)
		t.done()
	}
	if len(initialize.Topics) == 0 {
		return resp, nil
	}
	return resp, initialize
}

// mergeTopics gives each topic that is named more than once the partitions of all its places.
func mergeTopics(topics []wire.AlterShareGroupOffsetsRequestTopic) []wire.AlterShareGroupOffsetsRequestTopic {
	merged := make([]wire.AlterShareGroupOffsetsRequestTopic, 0, len(topics))
	at := make(map[string]int, len(topics))
	for i := range topics {
		k, ok := at[topics[i].TopicName]
		if !ok {
			at[topics[i].TopicName] = len(merged)
			merged = append(merged, topics[i])
			continue
		}
		merged[k].Partitions = slices.Concat(merged[k].Partitions, topics[i].Partitions)
	}
	return merged
}

// alterTopic sorts the partitions of one topic into those that there are and the others. Of a partition that is there
// twice the last offset holds.
//
// Differs from Kafka: a partition below zero in AlterShareGroupOffsets is one that there is not; Kafka fails with
// UNKNOWN_SERVER_ERROR.
func (g *Groups) alterTopic(in *wire.AlterShareGroupOffsetsRequestTopic, epoch int32) (
	topic *metadata.Topic, out wire.AlterShareGroupOffsetsResponseTopic, data wire.InitializeShareGroupStateRequestInitializeStateData,
) {
	out.TopicName = strings.Clone(in.TopicName)
	topic, ok := g.image.Topic(in.TopicName)
	if ok {
		out.TopicID, data.TopicID = topic.ID, topic.ID
	}
	at := make(map[int32]int, len(in.Partitions))
	for _, p := range in.Partitions {
		result := wire.AlterShareGroupOffsetsResponsePartition{PartitionIndex: p.PartitionIndex}
		if !ok || p.PartitionIndex < 0 || int(p.PartitionIndex) >= len(topic.Partitions) {
			bad := problem(wire.UnknownTopicOrPartition)
			result.ErrorCode, result.ErrorMessage = bad.Code, bad.Message()
		} else if k, ok := at[p.PartitionIndex]; ok {
			data.Partitions[k].StartOffset = p.StartOffset
		} else {
			at[p.PartitionIndex] = len(data.Partitions)
			data.Partitions = append(data.Partitions, wire.InitializeShareGroupStateRequestPartitionData{
				Partition: p.PartitionIndex, StateEpoch: epoch, StartOffset: p.StartOffset,
			})
		}
		out.Partitions = append(out.Partitions, result)
	}
	return topic, out, data
}

// noOffsets is the text for a topic that a group has no states of.
const noOffsets = "There is no offset information to delete."

// StartDeleteOffsets begins to delete an empty group's states of some topics. If req is not nil the share coordinator
// must be asked so, and those topics for which it succeeds go to FinishDeleteOffsets; resp has the topics that fail,
// or why all do.
func (g *Groups) StartDeleteOffsets(now group.Time, in *wire.DeleteShareGroupOffsetsRequest, fx *group.Effects) (
	resp *wire.DeleteShareGroupOffsetsResponse, req *wire.DeleteShareGroupStateRequest,
) {
	resp = &wire.DeleteShareGroupOffsetsResponse{}
	sg, bad := g.find(in.GroupID, groupMissing)
	if sg != nil && len(sg.members) > 0 {
		bad = problem(wire.NonEmptyGroup)
	}
	if bad.Code != wire.None {
		resp.ErrorCode, resp.ErrorMessage = bad.Code, bad.Message()
		return resp, nil
	}
	if sg.states == nil {
		return resp, nil
	}
	next, doomed := sg.states.clone(), map[wire.UUID]*stateTopic{}
	for i := range in.Topics {
		name := strings.Clone(in.Topics[i].TopicName)
		topic, ok := g.image.Topic(name)
		failed := wire.DeleteShareGroupOffsetsResponseTopic{TopicName: name, ErrorCode: wire.UnknownTopicOrPartition}
		text := noOffsets
		switch {
		case !ok:
			text = Text(wire.UnknownTopicOrPartition)
		case next.initialized[topic.ID] != nil:
			doomed[topic.ID] = next.initialized[topic.ID]
			delete(next.initialized, topic.ID)
			next.deleting[topic.ID] = topic.Name
			continue
		case doomed[topic.ID] != nil:
			continue // named twice
		case next.deleting[topic.ID] != "":
			doomed[topic.ID] = &stateTopic{name: topic.Name, partitions: allPartitions(topic)} // an earlier try has failed
			continue
		}
		failed.ErrorMessage = &text
		resp.Responses = append(resp.Responses, failed)
	}
	t := &step{g: g, sg: sg, now: now, fx: fx}
	t.putStates(next)
	t.done()
	return resp, deleteRequest(sg.id, doomed)
}

// FinishDeleteOffsets takes the news that the states of some topics are gone.
func (g *Groups) FinishDeleteOffsets(now group.Time, id string, topics []wire.UUID, fx *group.Effects) {
	sg := g.groups[id]
	if sg == nil || sg.states == nil {
		return
	}
	next := sg.states.clone()
	for _, topic := range topics {
		delete(next.deleting, topic)
	}
	t := &step{g: g, sg: sg, now: now, fx: fx}
	t.putStates(next)
	t.done()
}
