package share

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/group"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// StateConfig is what an administrator may set for the share coordinator. Times are in milliseconds.
type StateConfig struct {
	// UpdatesPerSnapshot is share.coordinator.snapshot.update.records.per.snapshot.
	UpdatesPerSnapshot int32
	// ColdSnapshotMs is share.coordinator.cold.partition.snapshot.interval.ms.
	ColdSnapshotMs int64
	// PruneMs is share.coordinator.state.topic.prune.interval.ms.
	PruneMs int64
}

// DefaultStateConfig is Kafka's.
func DefaultStateConfig() StateConfig {
	return StateConfig{UpdatesPerSnapshot: 500, ColdSnapshotMs: 300_000, PruneMs: 300_000}
}

// Key names a share partition.
type Key struct {
	Group     string
	Topic     wire.UUID
	Partition int32
}

func compareKeys(a, b Key) int {
	return cmp.Or(strings.Compare(a.Group, b.Group), slices.Compare(a.Topic[:], b.Topic[:]), cmp.Compare(a.Partition, b.Partition))
}

// noOffset is the start offset of a share partition that nobody has read yet, and "as it was" in a write.
const noOffset = -1

// noEpoch in a request means that the epoch is not to be checked.
const noEpoch = -1

// kept is the state of one share partition.
type kept struct {
	snapshotEpoch, stateEpoch, leaderEpoch int32
	// maxStateEpoch and maxLeaderEpoch are the highest epochs heard of: those fence.
	maxStateEpoch, maxLeaderEpoch int32
	start                         int64
	complete                      int32 // records behind start that need no more delivery, -1 when not known
	created, written              int64
	batches                       []Batch
	updates                       int32 // since the last snapshot
	offset                        int64 // of the last snapshot in the log, or a lower one
}

// State is the state of the share partitions of one partition of __share_group_state.
type State struct {
	config     StateConfig
	partitions map[Key]*kept
	image      *metadata.Image
	coldAt     int64 // Mono of the next look for quiet partitions, 0 before Loaded
	pruneAt    int64
	pruned     int64 // up to where the log was asked to forget
	inflight   []stateWrite
	lastWrite  group.WriteID
}

// stateWrite is a write whose offset is not known yet.
type stateWrite struct {
	id        group.WriteID
	snapshots []snapshotAt
}

// snapshotAt is a snapshot, or a tombstone, and its place in its write.
type snapshotAt struct {
	key   Key
	index int64
}

// StateEffects collect what the shell has to do after calls of a State.
type StateEffects struct {
	Write group.Write // to append, if it has records
	// Prune is the offset before which the log holds nothing that matters, 0 for nothing new.
	Prune     int64
	snapshots []snapshotAt
}

// NewState makes an empty machine. Feed the log to Apply, then call Loaded.
func NewState(config StateConfig) *State {
	return &State{config: config, partitions: map[Key]*kept{}}
}

// SetImage tells which topics there are.
func (s *State) SetImage(img *metadata.Image) { s.image = img }

// Loaded ends loading. States of topics that are no more are taken away.
func (s *State) Loaded(now group.Time, fx *StateEffects) {
	s.coldAt, s.pruneAt = now.Mono+s.config.ColdSnapshotMs, now.Mono+s.config.PruneMs
	for _, k := range s.keys() {
		if _, ok := s.image.TopicByID(k.Topic); !ok {
			s.tombstone(k, fx)
		}
	}
}

// keys are the share partitions in order.
func (s *State) keys() []Key { return slices.SortedFunc(maps.Keys(s.partitions), compareKeys) }

// Submit makes one write of the records of all calls so far. The shell appends it and tells Settle.
func (s *State) Submit(fx *StateEffects) {
	if len(fx.Write.Records) == 0 {
		return
	}
	s.lastWrite++
	fx.Write.ID, fx.Write.Applied = s.lastWrite, true
	if len(fx.snapshots) > 0 {
		s.inflight = append(s.inflight, stateWrite{s.lastWrite, fx.snapshots})
		fx.snapshots = nil
	}
}

// Settle tells where a write is in the log: base is the offset of its first record. If a write was split, the first
// part counts: its offset is a lower bound for the rest.
func (s *State) Settle(id group.WriteID, base int64) {
	for len(s.inflight) > 0 && s.inflight[0].id <= id {
		w := s.inflight[0]
		s.inflight = s.inflight[1:]
		if w.id != id {
			continue
		}
		for _, at := range w.snapshots {
			if p := s.partitions[at.key]; p != nil {
				p.offset = base + at.index
			}
		}
	}
}

// Next tells when Expire has something to do, in terms of Time.Mono.
func (s *State) Next() (mono int64, ok bool) { return min(s.coldAt, s.pruneAt), s.coldAt > 0 }

// Expire writes snapshots of partitions that have none of late, so that the log's beginning can go, and finds out up
// to where it can.
func (s *State) Expire(now group.Time, fx *StateEffects) {
	if s.coldAt <= now.Mono {
		s.coldAt = now.Mono + s.config.ColdSnapshotMs
		s.snapshotCold(now.Wall, fx)
	}
	if s.pruneAt <= now.Mono {
		s.pruneAt = now.Mono + s.config.PruneMs
		s.prune(fx)
	}
}

// snapshotCold writes snapshots of quiet partitions, unless the last of all partitions were such already: then nothing
// is left to gain.
func (s *State) snapshotCold(wall int64, fx *StateEffects) {
	warm := false
	for _, p := range s.partitions { //unordered: one is enough
		warm = warm || p.created == p.written
	}
	if !warm {
		return
	}
	for _, k := range s.keys() {
		p := s.partitions[k]
		if wall-p.written < s.config.ColdSnapshotMs {
			continue
		}
		v := p.snapshot()
		v.SnapshotEpoch++
		v.WriteTimestamp = wall
		s.putSnapshot(k, v, fx)
	}
}

// prune finds the first offset that a state depends on: that of the oldest of the last snapshots.
func (s *State) prune(fx *StateEffects) {
	first := int64(math.MaxInt64)
	for _, p := range s.partitions { //unordered: a minimum
		first = min(first, p.offset)
	}
	if len(s.partitions) > 0 && first > s.pruned {
		s.pruned, fx.Prune = first, first
	}
}

// DeleteTopic takes away the states of a topic that is no more.
func (s *State) DeleteTopic(id wire.UUID, fx *StateEffects) {
	for _, k := range s.keys() {
		if k.Topic == id {
			s.tombstone(k, fx)
		}
	}
}

// Problem is why a request is refused; the zero value is that it is not.
type Problem struct {
	Code wire.Code
	Text string
}

func problem(code wire.Code) Problem { return Problem{code, Text(code)} }

// kafkaTexts are the words that Kafka's tools print for codes of share groups.
var kafkaTexts = map[wire.Code]string{
	wire.UnknownTopicOrPartition:   "This server does not host this topic-partition.",
	wire.NonEmptyGroup:             "The group is not empty.",
	wire.FencedStateEpoch:          "The share coordinator rejected the request because the share-group state epoch did not match.",
	wire.FencedLeaderEpoch:         "The leader epoch in the request is older than the epoch on the broker.",
	wire.InvalidGroupID:            "The group id is invalid.",
	wire.CoordinatorNotAvailable:   "The coordinator is not available.",
	wire.NotCoordinator:            "This is not the correct coordinator.",
	wire.CoordinatorLoadInProgress: "The coordinator is loading and hence can't process requests.",
}

// Text is what Kafka says to a code; it reaches people through Kafka's own tools.
func Text(code wire.Code) string {
	if text, ok := kafkaTexts[code]; ok {
		return text
	}
	return code.Message()
}

// Message is the text for a response, nil when there is none.
func (p *Problem) Message() *string {
	if p.Text == "" {
		return nil
	}
	return &p.Text
}

var (
	negativePartition = Problem{wire.InvalidRequest, "The partition id cannot be a negative number."}
	writeBeforeInit   = Problem{wire.InvalidRequest, "Write operation on uninitialized share partition not allowed."}
	readBeforeInit    = Problem{wire.InvalidRequest, "Read operation on uninitialized share partition not allowed."}
	impossibleBatch   = Problem{wire.InvalidRequest, "A state batch must have a first offset that is not negative and not behind its last offset."}
)

// exists checks that the topic has the partition.
func (s *State) exists(k Key) Problem {
	if k.Partition < 0 {
		return negativePartition
	}
	if s.image == nil {
		return problem(wire.UnknownTopicOrPartition)
	}
	if t, ok := s.image.TopicByID(k.Topic); !ok || int(k.Partition) >= len(t.Partitions) {
		return problem(wire.UnknownTopicOrPartition)
	}
	return Problem{}
}

// Initialize begins a share partition's state, or begins it anew in a higher state epoch.
func (s *State) Initialize(now group.Time, k Key, req *wire.InitializeShareGroupStateRequestPartitionData, fx *StateEffects) Problem {
	if k.Partition < 0 {
		return negativePartition
	}
	p := s.partitions[k]
	if p != nil && req.StateEpoch != noEpoch && p.maxStateEpoch > req.StateEpoch {
		return problem(wire.FencedStateEpoch)
	}
	if bad := s.exists(k); bad.Code != wire.None {
		return bad
	}
	v := &wire.ShareSnapshotValue{StateEpoch: req.StateEpoch, StartOffset: req.StartOffset, CreateTimestamp: now.Wall, WriteTimestamp: now.Wall}
	if req.StartOffset == noOffset {
		v.DeliveryCompleteCount = -1
	}
	if p != nil {
		v.SnapshotEpoch = p.snapshotEpoch + 1
	}
	k.Group = strings.Clone(k.Group)
	s.putSnapshot(k, v, fx)
	return Problem{}
}

// Write changes a share partition's state.
func (s *State) Write(now group.Time, k Key, req *wire.WriteShareGroupStateRequestPartitionData, fx *StateEffects) Problem {
	if k.Partition < 0 {
		return negativePartition
	}
	p := s.partitions[k]
	switch {
	case p == nil:
		return writeBeforeInit
	case req.LeaderEpoch != noEpoch && p.maxLeaderEpoch > req.LeaderEpoch:
		return problem(wire.FencedLeaderEpoch)
	case req.StateEpoch != noEpoch && p.maxStateEpoch > req.StateEpoch:
		return problem(wire.FencedStateEpoch)
	}
	if bad := s.exists(k); bad.Code != wire.None {
		return bad
	}
	fresh := make([]Batch, len(req.StateBatches))
	for i := range req.StateBatches {
		b := &req.StateBatches[i]
		fresh[i] = Batch{b.FirstOffset, b.LastOffset, b.DeliveryState, b.DeliveryCount}
		if !fresh[i].valid() {
			return impossibleBatch
		}
	}
	s.put(now.Wall, k, p, change{p.leaderEpoch, req.StartOffset, req.DeliveryCompleteCount, fresh}, fx)
	return Problem{}
}

// Read gives a share partition's state to its leader and remembers the leader's epoch, so that an older leader cannot
// write any more.
func (s *State) Read(now group.Time, k Key, leaderEpoch int32, out *wire.ReadShareGroupStateResponsePartitionResult, fx *StateEffects) Problem {
	if k.Partition < 0 {
		return negativePartition
	}
	p := s.partitions[k]
	switch {
	case p == nil:
		return readBeforeInit
	case leaderEpoch != noEpoch && p.maxLeaderEpoch > leaderEpoch:
		return problem(wire.FencedLeaderEpoch)
	}
	if bad := s.exists(k); bad.Code != wire.None {
		return bad
	}
	out.StateEpoch, out.StartOffset = p.stateEpoch, p.start
	out.StateBatches = make([]wire.ReadShareGroupStateResponseStateBatch, len(p.batches))
	for i, b := range p.batches {
		out.StateBatches[i] = wire.ReadShareGroupStateResponseStateBatch{FirstOffset: b.First, LastOffset: b.Last, DeliveryState: b.State, DeliveryCount: b.Count}
	}
	if leaderEpoch != noEpoch && p.maxLeaderEpoch != leaderEpoch {
		s.put(now.Wall, k, p, change{leaderEpoch, p.start, p.complete, nil}, fx)
	}
	return Problem{}
}

// Summary gives a share partition's start offset and epochs; those of one that has no state are -1 and 0.
func (s *State) Summary(k Key, out *wire.ReadShareGroupStateSummaryResponsePartitionResult) Problem {
	if bad := s.exists(k); bad.Code != wire.None {
		return bad
	}
	out.StartOffset, out.DeliveryCompleteCount = noOffset, -1
	if p := s.partitions[k]; p != nil {
		out.StartOffset, out.DeliveryCompleteCount, out.LeaderEpoch, out.StateEpoch = p.start, p.complete, p.leaderEpoch, p.stateEpoch
	}
	return Problem{}
}

// Delete takes a share partition's state away. To delete what there is not is no error.
func (s *State) Delete(k Key, fx *StateEffects) Problem {
	if bad := s.exists(k); bad.Code != wire.None {
		return bad
	}
	if s.partitions[k] != nil {
		s.tombstone(k, fx)
	}
	return Problem{}
}

// change is what a write changes.
type change struct {
	leaderEpoch int32
	start       int64
	complete    int32
	fresh       []Batch
}

// put writes a change: as an update, or as a snapshot when there were enough updates.
func (s *State) put(wall int64, k Key, p *kept, c change, fx *StateEffects) {
	if p.updates < s.config.UpdatesPerSnapshot {
		fresh := sweep(c.fresh, c.start)
		s.putUpdate(k, &wire.ShareUpdateValue{
			SnapshotEpoch: p.snapshotEpoch, LeaderEpoch: c.leaderEpoch, StartOffset: c.start,
			DeliveryCompleteCount: c.complete, StateBatches: updateBatches(fresh),
		}, fresh, fx)
		return
	}
	start := c.start
	if start == noOffset {
		start = p.start
	}
	// The state itself changes only when the record is applied.
	after := kept{
		snapshotEpoch: p.snapshotEpoch + 1, stateEpoch: p.stateEpoch, leaderEpoch: c.leaderEpoch, start: start,
		complete: c.complete, created: wall, written: wall, batches: combine(slices.Clone(p.batches), sweep(c.fresh, start), start),
	}
	s.putSnapshot(k, after.snapshot(), fx)
}

// snapshot is the value of a record with all of the state.
func (p *kept) snapshot() *wire.ShareSnapshotValue {
	v := &wire.ShareSnapshotValue{
		SnapshotEpoch: p.snapshotEpoch, StateEpoch: p.stateEpoch, LeaderEpoch: p.leaderEpoch, StartOffset: p.start,
		DeliveryCompleteCount: p.complete, CreateTimestamp: p.created, WriteTimestamp: p.written,
		StateBatches: make([]wire.ShareSnapshotValueStateBatch, len(p.batches)),
	}
	for i, b := range p.batches {
		v.StateBatches[i] = wire.ShareSnapshotValueStateBatch{FirstOffset: b.First, LastOffset: b.Last, DeliveryState: b.State, DeliveryCount: b.Count}
	}
	return v
}

func updateBatches(batches []Batch) []wire.ShareUpdateValueStateBatch {
	out := make([]wire.ShareUpdateValueStateBatch, len(batches))
	for i, b := range batches {
		out[i] = wire.ShareUpdateValueStateBatch{FirstOffset: b.First, LastOffset: b.Last, DeliveryState: b.State, DeliveryCount: b.Count}
	}
	return out
}

// stateVersion is the version of values, as Apache Kafka 4.3.1 writes them.
const stateVersion = 0

func (s *State) putSnapshot(k Key, v *wire.ShareSnapshotValue, fx *StateEffects) {
	key := wire.ShareSnapshotKey{GroupID: k.Group, TopicID: k.Topic, Partition: k.Partition}
	fx.snapshots = append(fx.snapshots, snapshotAt{k, int64(len(fx.Write.Records))})
	fx.Write.Records = append(fx.Write.Records, group.Record{Key: wire.AppendKey(nil, &key), Value: wire.AppendValue(nil, v, stateVersion)})
	s.applySnapshot(k, v)
}

func (s *State) putUpdate(k Key, v *wire.ShareUpdateValue, fresh []Batch, fx *StateEffects) {
	key := wire.ShareUpdateKey{GroupID: k.Group, TopicID: k.Topic, Partition: k.Partition}
	fx.Write.Records = append(fx.Write.Records, group.Record{Key: wire.AppendKey(nil, &key), Value: wire.AppendValue(nil, v, stateVersion)})
	s.applyUpdate(k, v, fresh)
}

func (s *State) tombstone(k Key, fx *StateEffects) {
	key := wire.ShareSnapshotKey{GroupID: k.Group, TopicID: k.Topic, Partition: k.Partition}
	fx.Write.Records = append(fx.Write.Records, group.Record{Key: wire.AppendKey(nil, &key)})
	delete(s.partitions, k)
}

// Apply replays one record while loading. known is false for records of types that are not kept here.
func (s *State) Apply(e *group.Entry) (known bool, err error) {
	r := wire.NewReader(e.Key)
	switch kind := r.Int16(); {
	case r.Err() != nil:
		return false, fmt.Errorf("reading the key of the record at offset %d: %w", e.Offset, r.Err())
	case kind == (*wire.ShareSnapshotKey)(nil).CoordinatorType():
		return true, s.replaySnapshot(r, e)
	case kind == (*wire.ShareUpdateKey)(nil).CoordinatorType():
		return true, s.replayUpdate(r, e)
	default:
		return false, nil
	}
}

func (s *State) replaySnapshot(r *wire.Reader, e *group.Entry) error {
	var key wire.ShareSnapshotKey
	if key.Decode(r, 0); r.Err() != nil {
		return fmt.Errorf("reading the key of the share snapshot at offset %d: %w", e.Offset, r.Err())
	}
	k := Key{key.GroupID, key.TopicID, key.Partition}
	if e.Value == nil {
		delete(s.partitions, k)
		return nil
	}
	var v wire.ShareSnapshotValue
	if _, err := wire.DecodeValue(e.Value, &v); err != nil {
		return fmt.Errorf("reading the share snapshot at offset %d: %w", e.Offset, err)
	}
	s.applySnapshot(k, &v)
	s.partitions[k].offset = e.Offset
	return nil
}

func (s *State) replayUpdate(r *wire.Reader, e *group.Entry) error {
	var key wire.ShareUpdateKey
	if key.Decode(r, 0); r.Err() != nil {
		return fmt.Errorf("reading the key of the share update at offset %d: %w", e.Offset, r.Err())
	}
	if e.Value == nil {
		return nil // nobody writes such
	}
	var v wire.ShareUpdateValue
	if _, err := wire.DecodeValue(e.Value, &v); err != nil {
		return fmt.Errorf("reading the share update at offset %d: %w", e.Offset, err)
	}
	fresh := make([]Batch, len(v.StateBatches))
	for i, b := range v.StateBatches {
		fresh[i] = Batch{b.FirstOffset, b.LastOffset, b.DeliveryState, b.DeliveryCount}
	}
	k := Key{key.GroupID, key.TopicID, key.Partition}
	s.applyUpdate(k, &v, sweep(fresh, v.StartOffset))
	return nil
}

// applySnapshot takes the state of a record that has all of it.
func (s *State) applySnapshot(k Key, v *wire.ShareSnapshotValue) {
	p := s.partitions[k]
	if p == nil {
		p = &kept{maxStateEpoch: v.StateEpoch, maxLeaderEpoch: v.LeaderEpoch}
		s.partitions[k] = p
	}
	p.snapshotEpoch, p.stateEpoch, p.leaderEpoch = v.SnapshotEpoch, v.StateEpoch, v.LeaderEpoch
	p.maxStateEpoch, p.maxLeaderEpoch = max(p.maxStateEpoch, v.StateEpoch), max(p.maxLeaderEpoch, v.LeaderEpoch)
	p.start, p.complete = v.StartOffset, v.DeliveryCompleteCount
	p.created, p.written, p.updates = v.CreateTimestamp, v.WriteTimestamp, 0
	batches := make([]Batch, len(v.StateBatches))
	for i, b := range v.StateBatches {
		batches[i] = Batch{b.FirstOffset, b.LastOffset, b.DeliveryState, b.DeliveryCount}
	}
	p.batches = sweep(batches, v.StartOffset)
}

// applyUpdate works the changes of a record into the state. fresh are its batches, in order.
func (s *State) applyUpdate(k Key, v *wire.ShareUpdateValue, fresh []Batch) {
	p := s.partitions[k]
	if p == nil {
		// Its snapshot is missing from the log; what the update says is all that is known.
		p = &kept{snapshotEpoch: v.SnapshotEpoch, start: v.StartOffset, leaderEpoch: v.LeaderEpoch, maxLeaderEpoch: v.LeaderEpoch}
		s.partitions[k] = p
	}
	if v.StartOffset != noOffset {
		p.start = v.StartOffset
	}
	if v.LeaderEpoch != noEpoch {
		p.leaderEpoch = v.LeaderEpoch
	}
	p.maxLeaderEpoch = max(p.maxLeaderEpoch, v.LeaderEpoch)
	p.complete = v.DeliveryCompleteCount
	p.batches = combine(p.batches, fresh, p.start)
	p.updates++
}
