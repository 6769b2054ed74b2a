package coordinator

import (
	"testing"
	"time"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
	"github.com/moldau/moldau/internal/machine/streams"
)

// streamsTopic tells the coordinator of a topic with two partitions.
func (r *rig) streamsTopic(name string) {
	r.t.Helper()
	e := metadata.Empty().Edit()
	id := wire.UUID{15: 9}
	records := []wire.MetadataRecord{&wire.TopicRecord{Name: name, TopicID: id}}
	for p := range int32(2) {
		rec := &wire.PartitionRecord{}
		rec.SetDefaults()
		rec.PartitionID, rec.TopicID, rec.Replicas, rec.ISR, rec.Leader = p, id, []int32{1}, []int32{1}, 1
		records = append(records, rec)
	}
	for _, rec := range records {
		if err := e.Apply(rec); err != nil {
			r.t.Fatal(err)
		}
	}
	img, err := e.Finish(1, 1)
	if err != nil {
		r.t.Fatal(err)
	}
	r.groups.SetImage(img)
}

// streamsBeat is a heartbeat of a member of group s that reads topic t; epoch 0 joins.
func streamsBeat(member string, epoch int32) *wire.StreamsGroupHeartbeatRequest {
	m := &wire.StreamsGroupHeartbeatRequest{}
	m.SetDefaults()
	m.GroupID, m.MemberID, m.MemberEpoch = "s", member, epoch
	if epoch == 0 {
		m.RebalanceTimeoutMs, m.ProcessID = 60_000, &member
		none := []wire.StreamsGroupHeartbeatRequestTaskIds{}
		m.ActiveTasks, m.StandbyTasks, m.WarmupTasks = none, none, none
		m.Topology = &wire.StreamsGroupHeartbeatRequestTopology{
			Subtopologies: []wire.StreamsGroupHeartbeatRequestSubtopology{{SubtopologyID: "0", SourceTopics: []string{"t"}}},
		}
	}
	return m
}

func (r *rig) streamsBeat(member string, epoch int32) *wire.StreamsGroupHeartbeatResponse {
	r.t.Helper()
	return await(r.t, r.groups.StreamsGroupHeartbeat, streamsBeat(member, epoch), 0).Response
}

func (r *rig) describeStreams(ids ...string) []wire.StreamsGroupDescribeResponseDescribedGroup {
	r.t.Helper()
	return await(r.t, r.groups.StreamsGroupDescribe, &wire.StreamsGroupDescribeRequest{GroupIDs: ids}, 0).Groups
}

// newStreamsRig is a rig whose streams groups assign at once.
func newStreamsRig(t *testing.T) *rig {
	r := newRig(t, 1)
	r.groups.streamsSettings = func(*metadata.Image, string) streams.Settings {
		s := streams.DefaultSettings()
		s.InitialDelayMs, s.AssignmentMs = 0, 0
		return s
	}
	r.elect(1)
	r.streamsTopic("t")
	return r
}

func TestStreamsGroup(t *testing.T) {
	r := newStreamsRig(t)
	resp := r.streamsBeat("m", 0)
	if resp.ErrorCode != wire.None || resp.MemberEpoch != 2 || len(resp.ActiveTasks) != 1 {
		t.Fatalf("%+v", resp)
	}
	groups := r.describeStreams("s", "none", "")
	if groups[0].GroupState != "Stable" || len(groups[0].Members) != 1 || groups[1].ErrorCode != wire.GroupIDNotFound ||
		groups[2].ErrorCode != wire.InvalidGroupID {
		t.Fatalf("%+v", groups)
	}
	list := await(t, r.groups.ListGroups, &wire.ListGroupsRequest{TypesFilter: []string{"streams"}}, 5).Groups
	if len(list) != 1 || list[0].GroupType != "streams" || list[0].GroupState != "Stable" {
		t.Fatalf("%+v", list)
	}

	// Offsets belong to who is a member in its epoch.
	for epoch, want := range map[int32]wire.Code{2: wire.None, 1: wire.StaleMemberEpoch, 3: wire.StaleMemberEpoch} {
		commit := commitRequest("s", 5)
		commit.MemberID, commit.GenerationIDOrMemberEpoch = "m", epoch
		got := await(t, r.commit, commit, 9).Topics[0].Partitions[0].ErrorCode
		if got != want {
			t.Errorf("commit in epoch %d: %v, want %v", epoch, got, want)
		}
	}
	if got := r.fetch("s"); got != 5 {
		t.Fatalf("offset %d", got)
	}
	if code := r.deleteGroup("s"); code != wire.NonEmptyGroup {
		t.Fatal(code)
	}

	// What has happened is told in words.
	history, code := r.groups.History("s")
	if code != wire.None || len(history) != 2 || history[0].What != "rebalance begins" || history[0].Reason != "m joined; the topology is new" {
		t.Fatalf("%v: %+v", code, history)
	}

	// A new leader knows the member, whose session begins anew.
	r.groups.Resign(0)
	if resp := r.streamsBeat("m", 2); resp.ErrorCode != wire.NotCoordinator {
		t.Fatalf("%+v", resp)
	}
	r.elect(2)
	if resp := r.streamsBeat("m", 2); resp.ErrorCode != wire.None || resp.MemberEpoch != 2 {
		t.Fatalf("%+v", resp)
	}
	r.world.Advance(46 * time.Second)
	if groups := r.describeStreams("s"); groups[0].GroupState != "Empty" {
		t.Fatalf("%+v", groups)
	}

	// Empty, it makes room for a classic group, which keeps its offsets; and the other way round.
	id := r.stable("s")
	if got := r.fetch("s"); got != 5 {
		t.Fatalf("offset %d", got)
	}
	if resp := r.streamsBeat("m", 0); resp.ErrorCode != wire.GroupIDNotFound {
		t.Fatalf("%+v", resp)
	}
	leave := &wire.LeaveGroupRequest{GroupID: "s", Members: []wire.LeaveGroupRequestMemberIdentity{{MemberID: id}}}
	if resp := await(t, r.groups.LeaveGroup, leave, 5); resp.ErrorCode != wire.None {
		t.Fatalf("%+v", resp)
	}
	if resp := r.streamsBeat("m", 0); resp.ErrorCode != wire.None {
		t.Fatalf("%+v", resp)
	}
	if resp := r.streamsBeat("m", -1); resp.ErrorCode != wire.None || resp.MemberEpoch != -1 {
		t.Fatalf("%+v", resp)
	}
	if code := r.deleteGroup("s"); code != wire.None {
		t.Fatal(code)
	}
	if groups := r.describeStreams("s"); groups[0].ErrorCode != wire.GroupIDNotFound {
		t.Fatalf("%+v", groups)
	}
}

func (r *rig) deleteGroup(id string) wire.Code {
	r.t.Helper()
	return await(r.t, r.groups.DeleteGroups, &wire.DeleteGroupsRequest{GroupsNames: []string{id}}, 2).Results[0].ErrorCode
}

// What could not be written has not happened: the member joins again.
func TestStreamsGroupThatCannotBeWritten(t *testing.T) {
	r := newStreamsRig(t)
	r.streamsBeat("m", 0)
	r.logs[0].auto = false
	joins := later(r.groups.StreamsGroupHeartbeat, streamsBeat("n", 0), 0)
	describes := later(r.groups.StreamsGroupDescribe, &wire.StreamsGroupDescribeRequest{GroupIDs: []string{"s"}}, 0)
	if len(*joins)+len(*describes) > 0 {
		t.Fatal("answered before it is written")
	}
	r.logs[0].settle(errStorage)
	if len(*joins) != 1 || (*joins)[0].Response.ErrorCode != wire.NotCoordinator {
		t.Fatalf("%+v", *joins)
	}
	if len(*describes) != 1 || (*describes)[0].Groups[0].ErrorCode == wire.None {
		t.Fatalf("%+v", *describes)
	}
	r.logs[0].auto = true
	r.world.Run()
	groups := r.describeStreams("s")
	if groups[0].ErrorCode != wire.None || len(groups[0].Members) != 1 || groups[0].Members[0].MemberID != "m" {
		t.Fatalf("%+v", groups)
	}
	if resp := r.streamsBeat("n", 0); resp.ErrorCode != wire.None {
		t.Fatalf("%+v", resp)
	}
}
