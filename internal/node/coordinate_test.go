package node_test

import (
	"testing"
	"time"

	"github.com/moldau/moldau/internal/format/wire"
)

// coordinated waits until somebody coordinates the group.
func (r *rig) coordinated(group string) {
	r.t.Helper()
	r.until("the coordinator", time.Minute, func() bool {
		found, resp := &wire.FindCoordinatorResponse{}, &wire.HeartbeatResponse{}
		r.call(&wire.FindCoordinatorRequest{CoordinatorKeys: []string{group}}, 4, found)
		r.call(&wire.HeartbeatRequest{GroupID: group, MemberID: "nobody"}, 4, resp)
		return len(found.Coordinators) == 1 && found.Coordinators[0].ErrorCode == wire.None && resp.ErrorCode == wire.UnknownMemberID
	})
}

// TestTopicOfACoordinatorIsDeleted: its groups are gone, and a coordinator comes back with the topic, which may have
// another number of partitions then.
func TestTopicOfACoordinatorIsDeleted(t *testing.T) {
	r := newRig(t, "offsets.topic.num.partitions", "3")
	r.coordinated("g")
	for _, partitions := range []int32{3, 1, 5} {
		del := &wire.DeleteTopicsResponse{}
		r.call(&wire.DeleteTopicsRequest{TopicNames: []string{"__consumer_offsets"}, TimeoutMs: 1000}, 5, del)
		if len(del.Responses) != 1 || del.Responses[0].ErrorCode != wire.None {
			t.Fatalf("%+v", del)
		}
		resp := &wire.HeartbeatResponse{}
		r.call(&wire.HeartbeatRequest{GroupID: "g", MemberID: "nobody"}, 4, resp)
		if resp.ErrorCode != wire.NotCoordinator {
			t.Fatalf("without a topic: %v", resp.ErrorCode)
		}
		if partitions != 3 {
			r.create("__consumer_offsets", partitions)
		}
		for _, g := range []string{"g", "h", "i", "j", "k"} {
			r.coordinated(g)
		}
	}
}

// TestOffsetsOfAShareGroup: it commits none. As in Kafka 4.3.1 it is an error to delete them and none to ask for them.
func TestOffsetsOfAShareGroup(t *testing.T) {
	r := newRig(t)
	r.create("a", 1)
	r.coordinated("s")
	r.until("a share group", time.Minute, func() bool {
		resp := &wire.ShareGroupHeartbeatResponse{}
		r.call(&wire.ShareGroupHeartbeatRequest{GroupID: "s", MemberID: "AAAAAAAAAAAAAAAAAAAAAA", SubscribedTopicNames: []string{"a"}}, 1, resp)
		return resp.ErrorCode == wire.None
	})
	for _, member := range []*string{nil, new("m")} {
		resp := &wire.OffsetFetchResponse{}
		r.call(&wire.OffsetFetchRequest{Groups: []wire.OffsetFetchRequestGroup{{
			GroupID: "s", MemberID: member, MemberEpoch: -1, Topics: []wire.OffsetFetchRequestTopics{{Name: "a", PartitionIndexes: []int32{0}}},
		}}}, 9, resp)
		g := resp.Groups[0]
		if g.ErrorCode != wire.None || len(g.Topics) != 1 || g.Topics[0].Partitions[0].ErrorCode != wire.None || g.Topics[0].Partitions[0].CommittedOffset != -1 {
			t.Fatalf("%+v", g)
		}
	}
	resp := &wire.OffsetDeleteResponse{}
	r.call(&wire.OffsetDeleteRequest{GroupID: "s", Topics: []wire.OffsetDeleteRequestTopic{{Name: "a", Partitions: []wire.OffsetDeleteRequestPartition{{}}}}}, 0, resp)
	if resp.ErrorCode != wire.GroupIDNotFound {
		t.Fatalf("%+v", resp)
	}
}
