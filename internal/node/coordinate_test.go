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
