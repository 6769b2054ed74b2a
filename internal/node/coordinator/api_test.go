package coordinator

import (
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/format/wire"
)

func TestLeaveGroupOfOldVersions(t *testing.T) {
	r := newRig(t, 1).elect(1)
	id := r.stable("g")
	if resp := await(t, r.groups.LeaveGroup, &wire.LeaveGroupRequest{GroupID: "g", MemberID: "ghost"}, 2); resp.ErrorCode != wire.UnknownMemberID || resp.Members != nil {
		t.Fatalf("%+v", resp)
	}
	if resp := await(t, r.groups.LeaveGroup, &wire.LeaveGroupRequest{GroupID: "g", MemberID: id}, 0); resp.ErrorCode != wire.None {
		t.Fatalf("%+v", resp)
	}
	if resp := await(t, r.groups.LeaveGroup, &wire.LeaveGroupRequest{GroupID: ""}, 5); resp.ErrorCode != wire.InvalidGroupID {
		t.Fatalf("%+v", resp)
	}
	resp := await(t, r.groups.LeaveGroup, &wire.LeaveGroupRequest{GroupID: "none", Members: []wire.LeaveGroupRequestMemberIdentity{{MemberID: "x"}}}, 5)
	if resp.ErrorCode != wire.None || resp.Members[0].ErrorCode != wire.UnknownMemberID {
		t.Fatalf("%+v", resp)
	}
}

func TestFailedLeaveTellsWhy(t *testing.T) {
	r := newRig(t, 1).elect(1)
	id := r.stable("g")
	r.logs[0].auto = false
	left := later(r.groups.LeaveGroup, &wire.LeaveGroupRequest{GroupID: "g", Members: []wire.LeaveGroupRequestMemberIdentity{{MemberID: id}}}, 5)
	if len(*left) != 0 {
		t.Fatal("the empty group is not written yet")
	}
	r.logs[0].settle(wire.NotEnoughReplicas)
	if (*left)[0].ErrorCode != wire.CoordinatorNotAvailable {
		t.Fatalf("%+v", (*left)[0])
	}
}

func TestSyncGroupNamesItsProtocol(t *testing.T) {
	r := newRig(t, 1).elect(1)
	id := r.stable("g")
	req := &wire.SyncGroupRequest{GroupID: "g", MemberID: id, GenerationID: 1}
	if resp := await(t, r.groups.SyncGroup, req, 5); resp.ErrorCode != wire.InconsistentGroupProtocol {
		t.Fatalf("%+v", resp)
	}
	kind, name := "consumer", "range"
	req.ProtocolType, req.ProtocolName = &kind, &name
	if resp := await(t, r.groups.SyncGroup, req, 5); resp.ErrorCode != wire.None || *resp.ProtocolName != name {
		t.Fatalf("%+v", resp)
	}
}

func TestJoinGroupBelowVersion7HasAProtocolName(t *testing.T) {
	r := newRig(t, 1).elect(1)
	if resp := await(t, r.groups.JoinGroup, joinRequest("g", "ghost"), 6); resp.ErrorCode != wire.UnknownMemberID || resp.ProtocolName == nil {
		t.Fatalf("%+v", resp)
	}
	if resp := await(t, r.groups.JoinGroup, joinRequest("g", "ghost"), 7); resp.ProtocolName != nil {
		t.Fatalf("%+v", resp)
	}
}

func TestOffsetFetchOfOldVersions(t *testing.T) {
	r := newRig(t, 1).elect(1)
	await(t, r.commit, commitRequest("g", 5), 8)
	req := &wire.OffsetFetchRequest{GroupID: "g", Topics: []wire.OffsetFetchRequestTopic{{Name: "t", PartitionIndexes: []int32{0, 1}}}}
	resp := await(t, r.groups.OffsetFetch, req, 7)
	if p := resp.Topics[0].Partitions; resp.ErrorCode != wire.None || p[0].CommittedOffset != 5 || p[1].CommittedOffset != -1 {
		t.Fatalf("%+v", resp)
	}
	if resp := await(t, r.groups.OffsetFetch, &wire.OffsetFetchRequest{GroupID: "g"}, 2); len(resp.Topics) != 1 || resp.Topics[0].Partitions[0].CommittedOffset != 5 {
		t.Fatalf("all: %+v", resp)
	}
	r.groups.Resign(0)
	if resp := await(t, r.groups.OffsetFetch, req, 2); resp.ErrorCode != wire.NotCoordinator || len(resp.Topics) != 0 {
		t.Fatalf("%+v", resp)
	}
	// Version 1 has no place for the error but the partitions.
	if resp := await(t, r.groups.OffsetFetch, req, 1); resp.Topics[0].Partitions[1].ErrorCode != wire.NotCoordinator {
		t.Fatalf("%+v", resp)
	}
}

func TestSeveralShardsGiveOneAnswer(t *testing.T) {
	const n = 20
	r := newRig(t, 7).elect(1)
	var ids []string
	for i := range n {
		ids = append(ids, fmt.Sprintf("g%d", i))
		await(t, r.commit, commitRequest(ids[i], int64(i)), 9)
	}
	if list := await(t, r.groups.ListGroups, &wire.ListGroupsRequest{}, 5); len(list.Groups) != n {
		t.Fatalf("%d groups", len(list.Groups))
	}
	fetch := &wire.OffsetFetchRequest{}
	for _, id := range ids {
		fetch.Groups = append(fetch.Groups, fetchRequest(id, false).Groups[0])
	}
	for i, g := range await(t, r.groups.OffsetFetch, fetch, 8).Groups {
		if g.GroupID != ids[i] || g.Topics[0].Partitions[0].CommittedOffset != int64(i) {
			t.Fatalf("%d: %+v", i, g)
		}
	}
	for i, g := range await(t, r.groups.DescribeGroups, &wire.DescribeGroupsRequest{Groups: ids}, 6).Groups {
		if g.GroupID != ids[i] || g.GroupState != "Empty" {
			t.Fatalf("%d: %+v", i, g)
		}
	}
	// One partition is led elsewhere, one cannot write.
	away, broken := r.groups.PartitionFor("g0"), int32(-1)
	for _, id := range ids {
		if p := r.groups.PartitionFor(id); p != away {
			broken = p
		}
	}
	r.groups.Resign(away)
	r.logs[broken].auto = false
	deleted := later(r.groups.DeleteGroups, &wire.DeleteGroupsRequest{GroupsNames: append(ids, "unknown", "unknown")}, 2)
	if len(*deleted) != 0 {
		t.Fatal("answered in part")
	}
	r.logs[broken].settle(errStorage)
	for i, res := range (*deleted)[0].Results[:n] {
		want := wire.None
		if p := r.groups.PartitionFor(ids[i]); p == away || p == broken {
			want = wire.NotCoordinator
		}
		if res.GroupID != ids[i] || res.ErrorCode != want {
			t.Fatalf("%d: %+v, want %v", i, res, want)
		}
	}
	described := await(t, r.groups.DescribeGroups, &wire.DescribeGroupsRequest{Groups: []string{"g0"}}, 6).Groups[0]
	if described.ErrorCode != wire.NotCoordinator || described.GroupID != "g0" {
		t.Fatalf("%+v", described)
	}
	if empty := await(t, r.groups.OffsetFetch, &wire.OffsetFetchRequest{}, 8); len(empty.Groups) != 0 {
		t.Fatal(empty)
	}
	if empty := await(t, r.groups.DeleteGroups, &wire.DeleteGroupsRequest{}, 2); len(empty.Results) != 0 {
		t.Fatal(empty)
	}
}

func TestOffsetDeleteAndDeletedTopics(t *testing.T) {
	r := newRig(t, 2).elect(1)
	await(t, r.commit, commitRequest("g", 5), 9)
	await(t, r.commit, commitRequest("h", 6), 9)
	del := &wire.OffsetDeleteRequest{GroupID: "g", Topics: []wire.OffsetDeleteRequestTopic{{Name: "t", Partitions: []wire.OffsetDeleteRequestPartition{{PartitionIndex: 0}}}}}
	if resp := await(t, r.groups.OffsetDelete, del, 0); resp.ErrorCode != wire.None || r.fetch("g") != -1 {
		t.Fatalf("%+v", resp)
	}
	if resp := await(t, r.groups.OffsetDelete, &wire.OffsetDeleteRequest{GroupID: "nobody"}, 0); resp.ErrorCode != wire.GroupIDNotFound {
		t.Fatalf("%+v", resp)
	}
	if resp := await(t, r.groups.OffsetDelete, &wire.OffsetDeleteRequest{}, 0); resp.ErrorCode != wire.InvalidGroupID {
		t.Fatalf("%+v", resp)
	}
	if r.groups.DeleteTopic("t", wire.UUID{}); r.fetch("h") != -1 {
		t.Fatal("offsets of a deleted topic")
	}
}

func TestMorePartitionsOnceTheTopicIsKnown(t *testing.T) {
	r := newRig(t, 1)
	r.groups.SetPartitions(50)
	if got := r.groups.PartitionFor("group"); got != 47 {
		t.Fatal(got)
	}
	r.groups.Elect(47, 1, r.logs[0])
	r.world.Run()
	r.stable("group")
}

// TestTenThousandGroupsOverFiftyShards keeps 10,000 members alive with one timer per shard.
func TestTenThousandGroupsOverFiftyShards(t *testing.T) {
	const n = 10_000
	r := newRig(t, 50).elect(1)
	ids := make([]string, n)
	for i := range ids {
		ids[i] = r.stable(fmt.Sprintf("g%d", i))
	}
	for range 4 {
		r.world.Advance(5 * time.Second)
		for i, id := range ids {
			if code := r.heartbeat(fmt.Sprintf("g%d", i), id); code != wire.None {
				t.Fatal(i, code)
			}
		}
	}
	for _, s := range *r.groups.shards.Load() {
		if s.timer == nil || len(s.pendings) != 0 || len(s.machine.joins)+len(s.machine.syncs) != 0 {
			t.Fatalf("partition %d: %d pending, %d joins, %d syncs", s.partition, len(s.pendings), len(s.machine.joins), len(s.machine.syncs))
		}
	}
	// All fail over at once, and nobody notices.
	for p := range r.logs {
		r.groups.Resign(int32(p))
	}
	r.elect(2)
	for i, id := range ids {
		if code := r.heartbeat(fmt.Sprintf("g%d", i), id); code != wire.None {
			t.Fatal(i, code)
		}
	}
}

// TestManyCallersAtOnce runs on real goroutines, for the race detector, with elections in between.
func TestManyCallersAtOnce(t *testing.T) {
	world := new(clock.Real)
	config := DefaultGroupConfig()
	config.Partitions = 2
	groups := NewGroups(world, slog.New(slog.DiscardHandler), config)
	logs := []*lockedLog{{}, {}}
	for p, l := range logs {
		l.log.auto = true
		groups.Elect(int32(p), 0, l)
	}
	var callers, answers sync.WaitGroup
	for c := range 8 {
		callers.Go(func() {
			for i := range 200 {
				g := fmt.Sprintf("g%d", (c+i)%5)
				answers.Add(4)
				commitTo(groups)(commitRequest(g, int64(i)), Client{}, 9, func(*wire.OffsetCommitResponse) { answers.Done() })
				groups.OffsetFetch(fetchRequest(g, true), Client{}, 9, func(*wire.OffsetFetchResponse) { answers.Done() })
				groups.JoinGroup(joinRequest(g+"m", ""), Client{}, 9, func(*wire.JoinGroupResponse) { answers.Done() })
				groups.ListGroups(&wire.ListGroupsRequest{}, Client{}, 5, func(*wire.ListGroupsResponse) { answers.Done() })
				if c == 0 && i%50 == 49 {
					groups.Resign(int32(i / 50 % 2))
					groups.Elect(int32(i/50%2), int32(i), logs[i/50%2])
				}
			}
		})
	}
	callers.Wait()
	groups.Close()
	answers.Wait()
	world.Wait()
}

// lockedLog is a memoryLog for several goroutines.
type lockedLog struct {
	mu  sync.Mutex
	log memoryLog
}

func (l *lockedLog) Append(batch []byte, done func(int64, error)) {
	l.mu.Lock()
	base, failed := int64(0), error(nil)
	l.log.Append(batch, func(b int64, err error) { base, failed = b, err })
	l.mu.Unlock()
	done(base, failed)
}

func (l *lockedLog) Read(from int64, buf []byte) ([]byte, int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.Read(from, buf)
}

func (l *lockedLog) Start() int64         { return 0 }
func (l *lockedLog) HighWatermark() int64 { return l.End() }
func (l *lockedLog) End() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.end
}

func BenchmarkHeartbeat(b *testing.B) {
	r := newRig(&testing.T{}, 50).elect(1)
	id := r.stable("g")
	req := &wire.HeartbeatRequest{GroupID: "g", MemberID: id, GenerationID: 1}
	done := func(*wire.HeartbeatResponse) {}
	b.ReportAllocs()
	for b.Loop() {
		r.groups.Heartbeat(req, Client{}, 4, done)
	}
}

func BenchmarkOffsetCommit(b *testing.B) {
	r := newRig(&testing.T{}, 50).elect(1)
	req := commitRequest("g", 1)
	done := func(*wire.OffsetCommitResponse) {}
	b.ReportAllocs()
	for b.Loop() {
		r.commit(req, Client{}, 9, done)
	}
}
