package coordinator

import (
	"strings"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// withTopic gives the rig's coordinator an image with topic t.
func (r *rig) withTopic(partitions int32) *rig {
	d := metadata.Empty().Edit()
	id := wire.UUID{15: 1}
	if err := d.Apply(&wire.TopicRecord{Name: "t", TopicID: id}); err != nil {
		r.t.Fatal(err)
	}
	for p := range partitions {
		if err := d.Apply(&wire.PartitionRecord{TopicID: id, PartitionID: p, Replicas: []int32{1}, ISR: []int32{1}, Leader: 1}); err != nil {
			r.t.Fatal(err)
		}
	}
	img, err := d.Finish(1, 1)
	if err != nil {
		r.t.Fatal(err)
	}
	r.groups.SetImage(img)
	return r
}

func consumerJoin(member string) *wire.ConsumerGroupHeartbeatRequest {
	return &wire.ConsumerGroupHeartbeatRequest{
		GroupID: "g", MemberID: member, RebalanceTimeoutMs: 60_000, SubscribedTopicNames: []string{"t"},
		TopicPartitions: []wire.ConsumerGroupHeartbeatRequestTopicPartitions{},
	}
}

func (r *rig) describeConsumers() string {
	resp := await(r.t, r.groups.ConsumerGroupDescribe, &wire.ConsumerGroupDescribeRequest{GroupIDs: []string{"g"}}, 1)
	g := resp.Groups[0]
	s := g.ErrorCode.String() + " " + g.GroupState
	for _, m := range g.Members {
		s += " " + m.MemberID
	}
	return s
}

// TestFailedChangeIsRolledBack fails the write of a change that the machine has applied: who waits hears why, what was
// decided on top of it is refused, and the partition is loaded anew, so that it is what the log says.
func TestFailedChangeIsRolledBack(t *testing.T) {
	r := newRig(t, 1).withTopic(4).elect(1)
	if resp := await(t, r.groups.ConsumerGroupHeartbeat, consumerJoin("a"), 1); resp.ErrorCode != wire.None || len(resp.Assignment.TopicPartitions[0].Partitions) != 4 {
		t.Fatalf("%+v", resp)
	}
	log := r.logs[0]
	log.auto = false
	joins := later(r.groups.ConsumerGroupHeartbeat, consumerJoin("b"), 1)
	next := later(r.groups.ConsumerGroupHeartbeat, consumerJoin("c"), 1)
	commit := later(r.commit, commitRequest("other", 5), 9)
	if s := r.describeConsumers(); !strings.HasSuffix(s, " a b c") {
		t.Fatal(s)
	}
	log.settle(wire.NotEnoughReplicas)
	if len(*joins) != 1 || (*joins)[0].ErrorCode != wire.CoordinatorNotAvailable {
		t.Fatalf("%+v", *joins)
	}
	if len(*next) != 1 || (*next)[0].ErrorCode != wire.CoordinatorLoadInProgress || (*commit)[0].Topics[0].Partitions[0].ErrorCode != wire.CoordinatorLoadInProgress {
		t.Fatalf("%+v %+v", *next, *commit)
	}
	// The log has not told yet what has become of the others, so that it cannot be read to its end.
	r.world.Run()
	if s := r.describeConsumers(); !strings.HasPrefix(s, wire.CoordinatorLoadInProgress.String()) {
		t.Fatal(s)
	}
	log.settle(nil) // c's join is in the log, after all
	log.settle(wire.NotEnoughReplicas)
	log.auto = true
	r.world.Run()
	if s := r.describeConsumers(); !strings.HasSuffix(s, " a c") {
		t.Fatal(s)
	}
	if r.fetch("other") != -1 {
		t.Fatal("an offset that is not in the log")
	}
	if resp := await(t, r.groups.ConsumerGroupHeartbeat, consumerJoin("b"), 1); resp.ErrorCode != wire.None {
		t.Fatalf("%+v", resp)
	}
	if n := r.groups.members.Load(); n != 3 {
		t.Fatalf("%d members are counted", n)
	}
	if list, code := r.groups.History("g"); code != wire.None || len(list) == 0 {
		t.Fatal(list, code)
	}
	// It resigns while a failed change is waited for.
	log.auto = false
	leave := consumerJoin("b")
	leave.MemberEpoch = -1
	left := later(r.groups.ConsumerGroupHeartbeat, leave, 1)
	later(r.groups.ConsumerGroupHeartbeat, consumerJoin("d"), 1)
	log.settle(wire.NotEnoughReplicas)
	r.groups.Resign(0)
	log.settle(nil)
	r.world.Advance(time.Second)
	if (*left)[0].ErrorCode != wire.CoordinatorNotAvailable || !strings.HasPrefix(r.describeConsumers(), wire.NotCoordinator.String()) {
		t.Fatalf("%+v %s", *left, r.describeConsumers())
	}
	if n := r.groups.members.Load(); n != 0 {
		t.Fatalf("%d members are counted", n)
	}
}
