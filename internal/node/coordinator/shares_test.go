package coordinator

import (
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// shareMemoryLog is a memoryLog of share partitions' states.
type shareMemoryLog struct{ *memoryLog }

func (l shareMemoryLog) DeleteBefore(offset int64) error {
	l.start = max(l.start, offset)
	return nil
}

// shareRig is a group coordinator and a share coordinator with one partition each.
type shareRig struct {
	*rig
	shares *Shares
	states *memoryLog
	epoch  int32
}

var shareTopicID = wire.UUID{1, 2, 3}

// imageOf has topics with their partitions.
func imageOf(t *testing.T, topics map[string]wire.UUID, partitions int) *metadata.Image {
	t.Helper()
	d := metadata.Empty().Edit()
	for name, id := range topics {
		if err := d.Apply(&wire.TopicRecord{Name: name, TopicID: id}); err != nil {
			t.Fatal(err)
		}
		for p := range partitions {
			if err := d.Apply(&wire.PartitionRecord{TopicID: id, PartitionID: int32(p), Replicas: []int32{1}, ISR: []int32{1}, Leader: 1}); err != nil {
				t.Fatal(err)
			}
		}
	}
	img, err := d.Finish(1, 1)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func newShareRig(t *testing.T) *shareRig {
	r := &shareRig{rig: newRig(t, 1), states: &memoryLog{auto: true}}
	config := DefaultShareConfig()
	config.Partitions = 1
	r.shares = NewShares(r.world, slog.New(slog.DiscardHandler), config)
	img := imageOf(t, map[string]wire.UUID{"t": shareTopicID, ShareTopic: {9}}, 3)
	r.groups.ServeShareGroups(ShareParts{
		Shares: r.shares, CreateTopic: func(done func()) { done() },
		End: func(string, int32) (int64, wire.Code) { return 100, wire.None },
	})
	r.groups.SetImage(img)
	r.shares.SetImage(img)
	return r.lead()
}

// lead has both coordinators led and loaded anew.
func (r *shareRig) lead() *shareRig {
	r.epoch++
	r.groups.Resign(0)
	r.shares.Resign(0)
	r.shares.Elect(0, r.epoch, shareMemoryLog{r.states})
	r.elect(r.epoch)
	return r
}

func (r *shareRig) beat(epoch int32) *wire.ShareGroupHeartbeatResponse {
	r.t.Helper()
	req := &wire.ShareGroupHeartbeatRequest{GroupID: "g", MemberID: "m", MemberEpoch: epoch}
	if epoch == 0 {
		req.SubscribedTopicNames = []string{"t"}
	}
	return await(r.t, r.groups.ShareGroupHeartbeat, req, 1)
}

// joined makes a member that has all partitions, and returns its epoch.
func (r *shareRig) joined() int32 {
	r.t.Helper()
	first := r.beat(0)
	if first.ErrorCode != wire.None {
		r.t.Fatal(first.ErrorCode)
	}
	r.world.Advance(2 * time.Second)
	second := r.beat(first.MemberEpoch)
	if second.Assignment == nil || len(second.Assignment.TopicPartitions) != 1 || len(second.Assignment.TopicPartitions[0].Partitions) != 3 {
		r.t.Fatalf("%+v", second)
	}
	return second.MemberEpoch
}

func (r *shareRig) write(leader int32, first, last int64) wire.Code {
	r.t.Helper()
	return await(r.t, r.shares.WriteShareGroupState, writeState(leader, first, last), 1).Results[0].Partitions[0].ErrorCode
}

func writeState(leader int32, first, last int64) *wire.WriteShareGroupStateRequest {
	return &wire.WriteShareGroupStateRequest{GroupID: "g", Topics: []wire.WriteShareGroupStateRequestWriteStateData{{TopicID: shareTopicID,
		Partitions: []wire.WriteShareGroupStateRequestPartitionData{{StateEpoch: -1, LeaderEpoch: leader, StartOffset: 0, DeliveryCompleteCount: int32(last - first + 1),
			StateBatches: []wire.WriteShareGroupStateRequestStateBatch{{FirstOffset: first, LastOffset: last, DeliveryState: 2, DeliveryCount: 1}}}}}}}
}

func (r *shareRig) read(leader int32) wire.ReadShareGroupStateResponsePartitionResult {
	r.t.Helper()
	req := &wire.ReadShareGroupStateRequest{GroupID: "g", Topics: []wire.ReadShareGroupStateRequestReadStateData{{TopicID: shareTopicID,
		Partitions: []wire.ReadShareGroupStateRequestPartitionData{{LeaderEpoch: leader}}}}}
	return await(r.t, r.shares.ReadShareGroupState, req, 0).Results[0].Partitions[0]
}

func (r *shareRig) offsets() []wire.DescribeShareGroupOffsetsResponseTopic {
	r.t.Helper()
	resp := await(r.t, r.groups.DescribeShareGroupOffsets, &wire.DescribeShareGroupOffsetsRequest{Groups: []wire.DescribeShareGroupOffsetsRequestGroup{{GroupID: "g"}}}, 1)
	if resp.Groups[0].ErrorCode != wire.None {
		r.t.Fatal(resp.Groups[0].ErrorCode)
	}
	return resp.Groups[0].Topics
}

func TestSharePartitionForIsKafkas(t *testing.T) {
	for _, g := range []string{"g", "group with ä and \U0001f642", "a:b"} {
		for p := range int32(12) {
			key := fmt.Sprintf("%s:%s:%d", g, shareTopicID, p)
			if got, want := SharePartitionFor(g, shareTopicID, p, 50), PartitionFor(key, 50); got != want {
				t.Errorf("%s: %d, want %d", key, got, want)
			}
		}
	}
}

// TestShareGroupsLife takes a group from its first member to its deletion.
func TestShareGroupsLife(t *testing.T) {
	r := newShareRig(t)
	epoch := r.joined()
	if got := r.read(4); got.ErrorCode != wire.None || got.StartOffset != -1 || got.StateEpoch != 2 {
		t.Fatalf("%+v", got)
	}
	if r.write(3, 0, 4) != wire.FencedLeaderEpoch || r.write(4, 0, 4) != wire.None {
		t.Fatal("leader epochs")
	}
	if got := r.offsets(); got[0].TopicName != "t" || got[0].Partitions[0].Lag != 95 || got[0].Partitions[1].Lag != -1 || got[0].Partitions[1].StartOffset != -1 {
		t.Fatalf("%+v", got)
	}
	alter := &wire.AlterShareGroupOffsetsRequest{GroupID: "g", Topics: []wire.AlterShareGroupOffsetsRequestTopic{
		{TopicName: "t", Partitions: []wire.AlterShareGroupOffsetsRequestPartition{{PartitionIndex: 1, StartOffset: 40}}}}}
	if got := await(t, r.groups.AlterShareGroupOffsets, alter, 0); got.ErrorCode != wire.NonEmptyGroup {
		t.Fatalf("%+v", got)
	}
	drop := &wire.DeleteShareGroupOffsetsRequest{GroupID: "g", Topics: []wire.DeleteShareGroupOffsetsRequestTopic{{TopicName: "t"}, {TopicName: "u"}}}
	if got := await(t, r.groups.DeleteShareGroupOffsets, drop, 0); got.ErrorCode != wire.NonEmptyGroup {
		t.Fatalf("%+v", got)
	}
	if got := await(t, r.groups.DeleteGroups, &wire.DeleteGroupsRequest{GroupsNames: []string{"g"}}, 2); got.Results[0].ErrorCode != wire.NonEmptyGroup {
		t.Fatalf("%+v", got)
	}
	if got := r.beat(-1); got.ErrorCode != wire.None || got.MemberEpoch != -1 || epoch != 3 {
		t.Fatalf("%+v", got)
	}
	if got := await(t, r.groups.AlterShareGroupOffsets, alter, 0); got.ErrorCode != wire.None || got.Responses[0].Partitions[0].ErrorCode != wire.None {
		t.Fatalf("%+v", got)
	}
	if got := r.offsets(); got[0].Partitions[1].Lag != 60 || got[0].Partitions[1].StartOffset != 40 {
		t.Fatalf("%+v", got)
	}
	list := await(t, r.groups.ListGroups, &wire.ListGroupsRequest{TypesFilter: []string{"share"}}, 5)
	if len(list.Groups) != 1 || list.Groups[0].GroupType != "share" || list.Groups[0].GroupState != "Empty" {
		t.Fatalf("%+v", list)
	}
	described := await(t, r.groups.ShareGroupDescribe, &wire.ShareGroupDescribeRequest{GroupIDs: []string{"g", "none", ""}}, 1)
	if described.Groups[0].GroupEpoch != 4 || described.Groups[1].ErrorCode != wire.GroupIDNotFound || described.Groups[2].ErrorCode != wire.InvalidGroupID {
		t.Fatalf("%+v", described)
	}
	if got := await(t, r.groups.DeleteShareGroupOffsets, drop, 0); got.ErrorCode != wire.None || got.Responses[0].ErrorCode != wire.None || got.Responses[1].ErrorCode != wire.UnknownTopicOrPartition {
		t.Fatalf("%+v", got)
	}
	if got := r.offsets(); len(got) != 0 || r.read(-1).ErrorCode != wire.InvalidRequest {
		t.Fatalf("%+v", got)
	}
	await(t, r.groups.AlterShareGroupOffsets, alter, 0)
	if got := await(t, r.groups.DeleteGroups, &wire.DeleteGroupsRequest{GroupsNames: []string{"g", "none"}}, 2); got.Results[0].ErrorCode != wire.None || got.Results[1].ErrorCode != wire.GroupIDNotFound {
		t.Fatalf("%+v", got)
	}
	if r.lead(); len(await(t, r.groups.ListGroups, &wire.ListGroupsRequest{}, 5).Groups) != 0 {
		t.Fatal("not deleted")
	}
}

// TestShareStateOutlivesFailedWrites: what could not be written is rolled back, and nobody was told of it.
func TestShareStateOutlivesFailedWrites(t *testing.T) {
	r := newShareRig(t)
	r.joined()
	if r.write(1, 0, 4) != wire.None {
		t.Fatal("write")
	}
	before := r.read(1)
	r.states.auto = false
	failed := later(r.shares.WriteShareGroupState, writeState(1, 5, 9), 1)
	reading := &wire.ReadShareGroupStateRequest{GroupID: "g", Topics: []wire.ReadShareGroupStateRequestReadStateData{{TopicID: shareTopicID,
		Partitions: []wire.ReadShareGroupStateRequestPartitionData{{LeaderEpoch: 1}}}}}
	reader := later(r.shares.ReadShareGroupState, reading, 0)
	if len(*failed)+len(*reader) != 0 {
		t.Fatal("told before it was written")
	}
	r.states.settle(wire.NotEnoughReplicas)
	if got := (*failed)[0].Results[0].Partitions[0]; got.ErrorCode != wire.CoordinatorNotAvailable || got.ErrorMessage == nil {
		t.Fatalf("%+v", got)
	}
	if got := (*reader)[0].Results[0].Partitions[0]; got.ErrorCode != wire.CoordinatorLoadInProgress || got.StateBatches != nil {
		t.Fatalf("%+v", got)
	}
	r.states.auto = true
	r.world.Run()
	if after := r.read(1); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Fatalf("%+v, not %+v", after, before)
	}
	if r.write(1, 5, 9) != wire.None || len(r.read(1).StateBatches) != 1 {
		t.Fatal("write again")
	}
}

// TestShareGroupsGoOnFromAnyCrash cuts both logs behind each batch, as a crash would, and lets the member go on.
func TestShareGroupsGoOnFromAnyCrash(t *testing.T) {
	full := newShareRig(t)
	full.joined()
	full.write(1, 0, 4)
	full.beat(-1)
	for g := range len(full.logs[0].batches) + 1 {
		for s := range len(full.states.batches) + 1 {
			r := newShareRig(t)
			cut(r.logs[0], full.logs[0].batches[:g])
			cut(r.states, full.states.batches[:s])
			r.lead()
			resp := r.beat(0)
			for range 3 {
				r.world.Advance(2 * time.Second)
				resp = r.beat(resp.MemberEpoch)
			}
			again := r.beat(0)
			if resp.ErrorCode != wire.None || len(again.Assignment.TopicPartitions) != 1 || len(again.Assignment.TopicPartitions[0].Partitions) != 3 {
				t.Fatalf("%d and %d batches: %+v %+v", g, s, resp, again)
			}
			_ = r.read(5) // a state that one log says there is and the other has lost is an error, and no more
		}
	}
}

func cut(l *memoryLog, batches []record.Batch) {
	l.batches, l.end, l.high = nil, 0, 0
	for _, b := range batches {
		l.batches = append(l.batches, append(record.Batch{}, b...))
		l.end = b.LastOffset() + 1
	}
	l.high = l.end
}

// TestShareCoordinatorComesLate: a group whose share coordinator loads, or has no topic yet, gets its states all the same.
func TestShareCoordinatorComesLate(t *testing.T) {
	r := newShareRig(t)
	r.shares.Resign(0)
	first := r.beat(0)
	r.world.Advance(100 * time.Millisecond)
	if resp := r.beat(first.MemberEpoch); resp.Assignment != nil || resp.HeartbeatIntervalMs >= 5000 {
		t.Fatalf("%+v", resp)
	}
	r.epoch++
	r.shares.Elect(0, r.epoch, shareMemoryLog{r.states})
	r.world.Advance(5 * time.Second)
	if resp := r.beat(first.MemberEpoch); resp.Assignment == nil {
		t.Fatalf("%+v", resp)
	}
	// Without any hope the group asks again with later heartbeats.
	q := newShareRig(t)
	q.shares.Resign(0)
	first = q.beat(0)
	q.world.Advance(30 * time.Second)
	q.epoch++
	q.shares.Elect(0, q.epoch, shareMemoryLog{q.states})
	q.beat(first.MemberEpoch)
	q.world.Advance(time.Second)
	if resp := q.beat(first.MemberEpoch); resp.Assignment == nil {
		t.Fatalf("%+v", resp)
	}
}

// TestOddShareStateRequests are answered with nothing, as by Kafka.
func TestOddShareStateRequests(t *testing.T) {
	r := newShareRig(t)
	for _, req := range []*wire.WriteShareGroupStateRequest{
		{}, {GroupID: "g"}, {GroupID: "g", Topics: []wire.WriteShareGroupStateRequestWriteStateData{{}}},
		{Topics: writeState(0, 0, 0).Topics},
	} {
		if got := await(t, r.shares.WriteShareGroupState, req, 1); len(got.Results) != 0 {
			t.Fatalf("%+v", got)
		}
	}
	r.shares.Close()
	if got := r.read(0); got.ErrorCode != wire.NotCoordinator || *got.ErrorMessage != "Unable to read share group state: This is not the correct coordinator." {
		t.Fatalf("%+v", got)
	}
}

// TestOddShareGroupRequests are refused without words, or answered once for what they name twice.
func TestOddShareGroupRequests(t *testing.T) {
	r := newShareRig(t)
	alter := &wire.AlterShareGroupOffsetsRequest{GroupID: "g"}
	describe := &wire.DescribeShareGroupOffsetsRequest{Groups: []wire.DescribeShareGroupOffsetsRequestGroup{{GroupID: "g"}, {}}}
	for i := range int64(2) {
		alter.Topics = append(alter.Topics, wire.AlterShareGroupOffsetsRequestTopic{TopicName: "t", Partitions: []wire.AlterShareGroupOffsetsRequestPartition{{StartOffset: 4 + i}}})
		for k := range describe.Groups {
			describe.Groups[k].Topics = append(describe.Groups[k].Topics, wire.DescribeShareGroupOffsetsRequestTopic{TopicName: "t", Partitions: []int32{0, 0}})
		}
	}
	if got := await(t, r.groups.AlterShareGroupOffsets, alter, 0); got.ErrorCode != wire.None || len(got.Responses) != 1 || len(got.Responses[0].Partitions) != 2 {
		t.Errorf("altered twice: %+v", got)
	}
	got := await(t, r.groups.DescribeShareGroupOffsets, describe, 1).Groups
	if topics := got[0].Topics; len(topics) != 1 || len(topics[0].Partitions) != 1 || topics[0].Partitions[0].StartOffset != 5 {
		t.Errorf("described twice: %+v", topics)
	}
	if got[1].ErrorCode != wire.InvalidGroupID || len(got[1].Topics) != 0 {
		t.Errorf("of no name: %+v", got[1])
	}
	none := &wire.DescribeShareGroupOffsetsRequest{Groups: []wire.DescribeShareGroupOffsetsRequestGroup{{GroupID: "nobody's"}}}
	if got := await(t, r.groups.DescribeShareGroupOffsets, none, 1).Groups[0]; got.ErrorCode != wire.None || len(got.Topics) != 0 {
		t.Errorf("of nobody: %+v", got)
	}
	r.groups.Resign(0)
	if got := r.beat(0); got.ErrorCode != wire.NotCoordinator || got.ErrorMessage != nil {
		t.Errorf("elsewhere: %+v", got)
	}
}

// TestShareStateIsPruned: the beginning of the log goes once nothing depends on it.
func TestShareStateIsPruned(t *testing.T) {
	r := newShareRig(t)
	r.joined()
	for i := range int64(1200) {
		if code := r.write(1, i, i); code != wire.None {
			t.Fatal(code)
		}
	}
	before := r.read(1)
	r.world.Advance(11 * time.Minute)
	r.world.Run()
	if r.states.start < 1000 {
		t.Fatalf("begins at %d of %d", r.states.start, r.states.end)
	}
	if r.lead(); fmt.Sprint(r.read(1)) != fmt.Sprint(before) {
		t.Fatalf("%+v, not %+v", r.read(1), before)
	}
}

// TestLoadsWhatKafkaWroteOfShareGroups loads what Apache Kafka 4.3.1 has written: a group that has read a topic, then
// has left and was reset to the beginning, and one that was made by its offsets and deleted.
func TestLoadsWhatKafkaWroteOfShareGroups(t *testing.T) {
	id, err := wire.ParseUUID("a1TV_XJjS6-Fy-cjKwnwTQ")
	if err != nil {
		t.Fatal(err)
	}
	load := func(name string) *memoryLog {
		segment, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		l := &memoryLog{auto: true}
		if err := l.load(segment); err != nil {
			t.Fatal(err)
		}
		return l
	}
	r := newShareRig(t)
	img := imageOf(t, map[string]wire.UUID{"t1": id, ShareTopic: {9}}, 3)
	r.groups.SetImage(img)
	r.shares.SetImage(img)
	r.groups.Resign(0)
	r.logs[0], r.states = load("share_groups-4.3.1.log"), load("share_group_state-4.3.1.log")
	whole := r.states.batches
	// Until before the reset.
	cut(r.states, whole[:2])
	r.lead()
	index := int32(-1)
	for p := range int32(3) {
		req := &wire.ReadShareGroupStateRequest{GroupID: "sg", Topics: []wire.ReadShareGroupStateRequestReadStateData{{TopicID: id,
			Partitions: []wire.ReadShareGroupStateRequestPartitionData{{Partition: p, LeaderEpoch: -1}}}}}
		if got := await(t, r.shares.ReadShareGroupState, req, 0).Results[0].Partitions[0]; got.ErrorCode == wire.None {
			index = p
			want := []wire.ReadShareGroupStateResponseStateBatch{{FirstOffset: 0, LastOffset: 158, DeliveryState: 2, DeliveryCount: 1}}
			if got.StartOffset != 0 || got.StateEpoch != 2 || fmt.Sprint(got.StateBatches) != fmt.Sprint(want) {
				t.Fatalf("%+v", got)
			}
		}
	}
	cut(r.states, whole)
	r.lead()
	described := await(t, r.groups.ShareGroupDescribe, &wire.ShareGroupDescribeRequest{GroupIDs: []string{"sg", "newg"}}, 1).Groups
	if g := described[0]; g.ErrorCode != wire.None || g.GroupState != "Empty" || g.GroupEpoch != 4 || g.AssignmentEpoch != 3 {
		t.Fatalf("%+v", g)
	}
	if described[1].ErrorCode != wire.GroupIDNotFound {
		t.Fatalf("%+v", described[1])
	}
	resp := await(t, r.groups.DescribeShareGroupOffsets, &wire.DescribeShareGroupOffsetsRequest{Groups: []wire.DescribeShareGroupOffsetsRequestGroup{{GroupID: "sg"}}}, 1)
	topics := resp.Groups[0].Topics
	if len(topics) != 1 || topics[0].TopicName != "t1" || len(topics[0].Partitions) != 3 {
		t.Fatalf("%+v", topics)
	}
	for _, p := range topics[0].Partitions {
		if (p.PartitionIndex == index) != (p.StartOffset == 0 && p.Lag == 100) {
			t.Fatalf("%d: %+v", index, p)
		}
	}
}

// TestShareTopicIsMade: while there is no __share_group_state it is made for the first states.
func TestShareTopicIsMade(t *testing.T) {
	r := newShareRig(t)
	r.groups.SetImage(imageOf(t, map[string]wire.UUID{"t": shareTopicID}, 3))
	made := 0
	r.groups.shareParts.CreateTopic = func(done func()) {
		made++
		done()
	}
	if len(r.offsets()) != 0 || made != 0 {
		t.Fatal("made for nothing")
	}
	if r.joined(); made != 1 {
		t.Fatal(made)
	}
}

func BenchmarkWriteShareState(b *testing.B) {
	r := newShareRig(&testing.T{})
	r.joined()
	req := writeState(1, 0, 0)
	done := func(*wire.WriteShareGroupStateResponse) {}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p := &req.Topics[0].Partitions[0]
		p.StateBatches[0].FirstOffset, p.StateBatches[0].LastOffset = int64(10*i), int64(10*i+9)
		p.StartOffset = int64(10 * i)
		r.shares.WriteShareGroupState(req, Client{}, 1, done)
		r.states.batches = r.states.batches[:0]
	}
}
