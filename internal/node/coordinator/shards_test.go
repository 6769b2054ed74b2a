package coordinator

import (
	"testing"

	"github.com/moldau/moldau/internal/format/wire"
)

// shrinkingLog loses its beginning while it is loaded.
type shrinkingLog struct{ *memoryLog }

func (l *shrinkingLog) Read(from int64, buf []byte) ([]byte, int64, error) {
	if from < l.start {
		return nil, from, wire.OffsetOutOfRange
	}
	batches, next, err := l.memoryLog.Read(from, buf)
	l.start = l.batches[2].BaseOffset()
	return batches, next, err
}

func TestBeginningDeletedDuringALoad(t *testing.T) {
	r := newRig(t, 1).elect(1)
	for _, g := range []string{"a", "b", "c", "d"} {
		await(t, r.groups.DeleteGroups, &wire.DeleteGroupsRequest{GroupsNames: []string{g}}, 2)
		r.stable(g)
	}
	if len(r.logs[0].batches) < 4 {
		t.Fatalf("%d batches", len(r.logs[0].batches))
	}
	r.groups.Resign(0)
	r.logs[0].max = 1
	r.groups.Elect(0, 2, &shrinkingLog{r.logs[0]})
	r.world.Run()
	if resp := await(t, r.groups.Heartbeat, &wire.HeartbeatRequest{GroupID: "z", MemberID: "m"}, 4); resp.ErrorCode != wire.UnknownMemberID {
		t.Fatalf("%+v", resp)
	}
	if list := await(t, r.groups.ListGroups, &wire.ListGroupsRequest{}, 5); len(list.Groups) == 0 {
		t.Fatal("no groups")
	}
}

// TestCountOfPartitions: the topic decides, whatever the settings say, also after it has been made anew.
func TestCountOfPartitions(t *testing.T) {
	r := newRig(t, 3)
	for _, n := range []int32{5, 2} {
		r.groups.SetPartitions(n)
		for _, g := range []string{"a", "b", "c", "d", "e", "f"} {
			if r.groups.PartitionFor(g) != PartitionFor(g, n) {
				t.Fatalf("group %s of %d partitions is in %d", g, n, r.groups.PartitionFor(g))
			}
		}
	}
	r.elect(7)
	r.groups.TopicDeleted()
	if resp := await(t, r.groups.Heartbeat, &wire.HeartbeatRequest{GroupID: "z", MemberID: "m"}, 4); resp.ErrorCode != wire.NotCoordinator {
		t.Fatalf("%+v", resp)
	}
	r.elect(0)
	if resp := await(t, r.groups.Heartbeat, &wire.HeartbeatRequest{GroupID: "z", MemberID: "m"}, 4); resp.ErrorCode != wire.UnknownMemberID {
		t.Fatalf("%+v", resp)
	}
}
