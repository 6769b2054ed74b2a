package coordinator

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/format/compress"
	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
)

// rig is a coordinator under a hand-driven clock, with logs in memory.
type rig struct {
	t      *testing.T
	world  *clock.Hand
	groups *Groups
	logs   []*memoryLog
}

func newRig(t *testing.T, partitions int32) *rig {
	config := DefaultGroupConfig()
	config.Partitions = partitions
	config.InitialRebalanceDelayMs = 0
	r := &rig{t: t, world: clock.NewHand(1)}
	r.groups = NewGroups(r.world, slog.New(slog.DiscardHandler), config)
	r.world.Advance(time.Second) // no machine starts at zero
	for range partitions {
		r.logs = append(r.logs, &memoryLog{auto: true})
	}
	return r
}

// elect has all partitions led and loaded.
func (r *rig) elect(epoch int32) *rig {
	for p, l := range r.logs {
		r.groups.Elect(int32(p), epoch, l)
	}
	r.world.Run()
	return r
}

// commitTo is OffsetCommit in the form of the other methods.
func commitTo(c *Groups) func(*wire.OffsetCommitRequest, Client, int16, func(*wire.OffsetCommitResponse)) {
	return func(req *wire.OffsetCommitRequest, _ Client, version int16, done func(*wire.OffsetCommitResponse)) {
		var op *OffsetCommit
		op = NewOffsetCommit(func() { done(&op.Response) })
		op.Request, op.Version = *req, version
		c.OffsetCommit(op)
	}
}

func (r *rig) commit(req *wire.OffsetCommitRequest, client Client, version int16, done func(*wire.OffsetCommitResponse)) {
	commitTo(r.groups)(req, client, version, done)
}

// await calls a method and returns its answer, which must have come; at most once.
func await[Req, Resp any](t *testing.T, call func(Req, Client, int16, func(Resp)), req Req, version int16) Resp {
	t.Helper()
	var got *Resp
	call(req, Client{ID: "c", Host: "/h"}, version, func(r Resp) {
		if got != nil {
			t.Fatal("answered twice")
		}
		got = &r
	})
	if got == nil {
		t.Fatalf("no answer to %T", req)
	}
	return *got
}

// later calls a method whose answer comes later.
func later[Req, Resp any](call func(Req, Client, int16, func(Resp)), req Req, version int16) *[]Resp {
	got := new([]Resp)
	call(req, Client{ID: "c", Host: "/h"}, version, func(r Resp) { *got = append(*got, r) })
	return got
}

func joinRequest(g, member string) *wire.JoinGroupRequest {
	return &wire.JoinGroupRequest{
		GroupID: g, MemberID: member, SessionTimeoutMs: 10_000, RebalanceTimeoutMs: 30_000, ProtocolType: "consumer",
		Protocols: []wire.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte{0, 0, 0, 0, 0, 1, 0, 1, 't'}}},
	}
}

// stable makes a group of one member, and returns its id.
func (r *rig) stable(g string) string {
	r.t.Helper()
	joined := later(r.groups.JoinGroup, joinRequest(g, ""), 3)
	r.world.Advance(0)
	if len(*joined) != 1 || (*joined)[0].ErrorCode != wire.None {
		r.t.Fatalf("join: %+v", *joined)
	}
	id := (*joined)[0].MemberID
	sync := await(r.t, r.groups.SyncGroup, &wire.SyncGroupRequest{GroupID: g, MemberID: id, GenerationID: 1,
		Assignments: []wire.SyncGroupRequestAssignment{{MemberID: id, Assignment: []byte("all")}}}, 4)
	if sync.ErrorCode != wire.None || string(sync.Assignment) != "all" {
		r.t.Fatalf("sync: %+v", sync)
	}
	return id
}

func (r *rig) heartbeat(g, member string) wire.Code {
	r.t.Helper()
	return await(r.t, r.groups.Heartbeat, &wire.HeartbeatRequest{GroupID: g, MemberID: member, GenerationID: 1}, 4).ErrorCode
}

func commitRequest(g string, offset int64) *wire.OffsetCommitRequest {
	return &wire.OffsetCommitRequest{GroupID: g, GenerationIDOrMemberEpoch: -1, RetentionTimeMs: -1, Topics: []wire.OffsetCommitRequestTopic{
		{Name: "t", Partitions: []wire.OffsetCommitRequestPartition{{CommittedOffset: offset}}},
	}}
}

func fetchRequest(g string, stable bool) *wire.OffsetFetchRequest {
	return &wire.OffsetFetchRequest{RequireStable: stable, Groups: []wire.OffsetFetchRequestGroup{
		{GroupID: g, MemberEpoch: -1, Topics: []wire.OffsetFetchRequestTopics{{Name: "t", PartitionIndexes: []int32{0}}}},
	}}
}

func (r *rig) fetch(g string) int64 {
	r.t.Helper()
	resp := await(r.t, r.groups.OffsetFetch, fetchRequest(g, false), 9)
	if code := resp.Groups[0].ErrorCode; code != wire.None {
		r.t.Fatalf("fetch: %v", code)
	}
	return resp.Groups[0].Topics[0].Partitions[0].CommittedOffset
}

// TestPartitionForIsKafkas compares with what Java's String.hashCode and Kafka's modulo give.
func TestPartitionForIsKafkas(t *testing.T) {
	for key, want := range map[string]int32{
		"": 0, "a": 47, "group": 47, "console-consumer-12345": 6, "polygenelubricants": 0, "\U0001f642": 15, "ä": 28,
	} {
		if got := PartitionFor(key, 50); got != want {
			t.Errorf("%q: %d, want %d", key, got, want)
		}
	}
}

func TestServesOnceElectedAndLoaded(t *testing.T) {
	r := newRig(t, 3)
	if code := r.heartbeat("g", "m"); code != wire.NotCoordinator {
		t.Fatalf("before election: %v", code)
	}
	for p, l := range r.logs {
		r.groups.Elect(int32(p), 1, l)
	}
	// Loading goes on in the background.
	if code := r.heartbeat("g", "m"); code != wire.None {
		t.Fatalf("heartbeat while loading: %v", code)
	}
	if resp := await(t, r.groups.JoinGroup, joinRequest("g", ""), 9); resp.ErrorCode != wire.CoordinatorLoadInProgress {
		t.Fatalf("join while loading: %+v", resp)
	}
	if resp := await(t, r.groups.ListGroups, &wire.ListGroupsRequest{}, 5); resp.ErrorCode != wire.CoordinatorLoadInProgress {
		t.Fatalf("list while loading: %+v", resp)
	}
	if resp := await(t, r.groups.OffsetFetch, fetchRequest("g", true), 9); resp.Groups[0].ErrorCode != wire.CoordinatorLoadInProgress {
		t.Fatalf("fetch while loading: %+v", resp)
	}
	r.world.Run()
	id := r.stable("g")
	if code := r.heartbeat("g", id); code != wire.None {
		t.Fatal(code)
	}
	for p := range r.logs {
		r.groups.Resign(int32(p))
	}
	if code := r.heartbeat("g", id); code != wire.NotCoordinator {
		t.Fatalf("after resignation: %v", code)
	}
	r.elect(2)
	if code := r.heartbeat("g", id); code != wire.None {
		t.Fatalf("after another election: %v", code)
	}
	if resp := await(t, r.groups.JoinGroup, joinRequest("", ""), 9); resp.ErrorCode != wire.InvalidGroupID {
		t.Fatal(resp)
	}
}

func TestAnswersWaitForTheCommit(t *testing.T) {
	r := newRig(t, 1).elect(1)
	r.logs[0].auto = false
	first := later(r.commit, commitRequest("g", 1), 9)
	second := later(r.commit, commitRequest("g", 2), 9)
	stable := later(r.groups.OffsetFetch, fetchRequest("g", true), 9)
	if len(*first)+len(*second)+len(*stable) != 0 || r.fetch("g") != -1 {
		t.Fatal("answered before the commit")
	}
	r.logs[0].settle(nil)
	if len(*first) != 1 || len(*second)+len(*stable) != 0 || r.fetch("g") != 1 {
		t.Fatal("the first commit is done, no more")
	}
	third := later(r.commit, commitRequest("g", 3), 9)
	r.logs[0].settle(nil)
	if len(*second) != 1 || len(*stable) != 1 || len(*third) != 0 {
		t.Fatal("the fetch waits for what was before it, not for what came after")
	}
	if got := (*stable)[0].Groups[0].Topics[0].Partitions[0].CommittedOffset; got != 2 {
		t.Fatal(got)
	}
	r.logs[0].settle(errStorage)
	if code := (*third)[0].Topics[0].Partitions[0].ErrorCode; code != wire.NotCoordinator || r.fetch("g") != 2 {
		t.Fatal(code)
	}
}

func TestOutcomesAreTakenInOrder(t *testing.T) {
	r := newRig(t, 1).elect(1)
	r.logs[0].auto = false
	first := later(r.commit, commitRequest("g", 1), 9)
	second := later(r.commit, commitRequest("g", 2), 9)
	// The log tells of the second first: it was refused at once, say.
	w := r.logs[0].waiting
	w[1](wire.MessageTooLarge)
	if len(*first)+len(*second) != 0 {
		t.Fatal("out of order")
	}
	w[0](nil)
	if len(*first) != 1 || len(*second) != 1 || r.fetch("g") != 1 {
		t.Fatal("both are done")
	}
	if code := (*second)[0].Topics[0].Partitions[0].ErrorCode; code != wire.UnknownServerError {
		t.Fatal(code)
	}
}

func TestSlowCommitTimesOut(t *testing.T) {
	r := newRig(t, 1).elect(1)
	r.logs[0].auto = false
	slow := later(r.commit, commitRequest("g", 1), 9)
	stable := later(r.groups.OffsetFetch, fetchRequest("g", true), 9)
	r.world.Advance(4_999 * time.Millisecond)
	if len(*slow) != 0 {
		t.Fatal("too early")
	}
	r.world.Advance(time.Millisecond)
	if len(*slow) != 1 || (*slow)[0].Topics[0].Partitions[0].ErrorCode != wire.CoordinatorNotAvailable {
		t.Fatalf("%+v", *slow)
	}
	if len(*stable) != 1 || (*stable)[0].Groups[0].ErrorCode != wire.NotCoordinator {
		t.Fatalf("%+v", *stable)
	}
	// It gets there after all.
	r.logs[0].settle(nil)
	if len(*slow) != 1 || r.fetch("g") != 1 {
		t.Fatal("a late commit counts, without another answer")
	}
}

func TestLogThatHangsIsBounded(t *testing.T) {
	r := newRig(t, 1).elect(1)
	r.logs[0].auto = false
	var answers []wire.Code
	for range pendingLimit + 1 {
		r.commit(commitRequest("g", 1), Client{}, 9, func(resp *wire.OffsetCommitResponse) {
			answers = append(answers, resp.Topics[0].Partitions[0].ErrorCode)
		})
	}
	if len(answers) != 1 || answers[0] != wire.CoordinatorNotAvailable {
		t.Fatal(answers)
	}
	for len(r.logs[0].waiting) > 0 {
		r.logs[0].settle(nil)
	}
	if len(answers) != pendingLimit+1 || answers[pendingLimit] != wire.None {
		t.Fatalf("%d answers", len(answers))
	}
}

func TestResignationAnswersEverybody(t *testing.T) {
	r := newRig(t, 1).elect(1)
	r.stable("parked")
	r.logs[0].auto = false
	join := later(r.groups.JoinGroup, joinRequest("parked", ""), 3)
	commit := later(r.commit, commitRequest("g", 1), 9)
	stable := later(r.groups.OffsetFetch, fetchRequest("g", true), 9)
	del := later(r.groups.DeleteGroups, &wire.DeleteGroupsRequest{GroupsNames: []string{"g"}}, 2)
	r.groups.Resign(0)
	if len(*join) != 1 || (*join)[0].ErrorCode != wire.NotCoordinator {
		t.Fatalf("join: %+v", *join)
	}
	if len(*commit) != 1 || (*commit)[0].Topics[0].Partitions[0].ErrorCode != wire.NotCoordinator {
		t.Fatalf("commit: %+v", *commit)
	}
	if len(*stable) != 1 || (*stable)[0].Groups[0].ErrorCode != wire.NotCoordinator {
		t.Fatalf("fetch: %+v", *stable)
	}
	if len(*del) != 1 || (*del)[0].Results[0].ErrorCode != wire.NotCoordinator {
		t.Fatalf("delete: %+v", *del)
	}
	// The log tells late; the new term is not disturbed.
	r.logs[0].auto = true
	waiting := r.logs[0].waiting
	r.logs[0].waiting = nil
	r.elect(2)
	for _, settle := range waiting {
		settle(nil)
	}
	r.groups.Resign(0)
	r.elect(3)
	if r.groups.Close(); r.heartbeat("g", "m") != wire.NotCoordinator {
		t.Fatal("closed")
	}
}

// TestElectionInAnotherEpochKeepsState is KAFKA-15468: a leader that is elected again must not lose what is not
// in the log.
func TestElectionInAnotherEpochKeepsState(t *testing.T) {
	r := newRig(t, 1).elect(5)
	r.stable("g")
	join := later(r.groups.JoinGroup, joinRequest("g", ""), 3)
	r.elect(5)
	r.elect(4)
	r.elect(6)
	if len(*join) != 0 {
		t.Fatalf("%+v", *join)
	}
	if resp := await(t, r.groups.DescribeGroups, &wire.DescribeGroupsRequest{Groups: []string{"g"}}, 6); resp.Groups[0].GroupState != "PreparingRebalance" {
		t.Fatalf("%+v", resp.Groups[0])
	}
	if r.groups.Elect(99, 1, r.logs[0]); r.groups.PartitionFor("g") != 0 {
		t.Fatal("a partition that does not exist is nobody's")
	}
	r.groups.Resign(99)
}

func TestSessionsEndByTheShardsTimer(t *testing.T) {
	r := newRig(t, 1).elect(1)
	id := r.stable("g")
	for range 5 {
		r.world.Advance(9 * time.Second)
		if code := r.heartbeat("g", id); code != wire.None {
			t.Fatal(code)
		}
	}
	r.world.Advance(10 * time.Second)
	if code := r.heartbeat("g", id); code != wire.UnknownMemberID {
		t.Fatal(code)
	}
	if resp := await(t, r.groups.DescribeGroups, &wire.DescribeGroupsRequest{Groups: []string{"g"}}, 6); resp.Groups[0].GroupState != "Empty" {
		t.Fatalf("%+v", resp.Groups[0])
	}
}

// TestLoadWaitsForTheHighWatermark: what a former leader left behind the high watermark is loaded too.
func TestLoadWaitsForTheHighWatermark(t *testing.T) {
	r := newRig(t, 1).elect(1)
	await(t, r.commit, commitRequest("g", 1), 9)
	await(t, r.commit, commitRequest("g", 2), 9)
	r.groups.Resign(0)
	r.logs[0].high--
	r.elect(2)
	r.world.Advance(time.Second)
	if resp := await(t, r.groups.OffsetFetch, fetchRequest("g", false), 9); resp.Groups[0].ErrorCode != wire.CoordinatorLoadInProgress {
		t.Fatalf("%+v", resp)
	}
	r.logs[0].high++
	r.world.Advance(time.Second)
	if got := r.fetch("g"); got != 2 {
		t.Fatal(got)
	}
}

func TestLoadInSmallReads(t *testing.T) {
	r := newRig(t, 1).elect(1)
	for i := range int64(50) {
		await(t, r.commit, commitRequest("g", i), 9)
	}
	r.groups.Resign(0)
	r.logs[0].max = 3
	// The log begins within a batch: what is before counts no more.
	r.logs[0].start = 10
	if r.elect(2); r.fetch("g") != 49 {
		t.Fatal(r.fetch("g"))
	}
	// A load that is overtaken by a resignation does nothing.
	r.groups.Resign(0)
	r.groups.Elect(0, 3, r.logs[0])
	r.groups.Resign(0)
	reads := r.logs[0].reads
	if r.world.Run(); r.logs[0].reads != reads || r.heartbeat("g", "m") != wire.NotCoordinator {
		t.Fatal("loaded for nobody")
	}
}

func TestFailedLoadServesNobody(t *testing.T) {
	r := newRig(t, 1).elect(1)
	await(t, r.commit, commitRequest("g", 1), 9)
	r.groups.Resign(0)
	r.logs[0].readErr = errors.New("disk is gone")
	if r.elect(2); r.heartbeat("g", "m") != wire.NotCoordinator {
		t.Fatal("unreadable")
	}
	r.logs[0].readErr = nil
	good := r.logs[0].batches[0]
	bad := append(record.Batch{}, good...)
	bad[len(bad)-1] ^= 1
	r.logs[0].batches[0] = bad
	r.groups.Resign(0)
	if r.elect(3); r.heartbeat("g", "m") != wire.NotCoordinator {
		t.Fatal("damaged")
	}
	// The same leader, elected anew, tries again.
	r.logs[0].batches[0] = good
	if r.elect(4); r.fetch("g") != 1 {
		t.Fatal("repaired")
	}
}

func TestCompressedBatches(t *testing.T) {
	config := DefaultGroupConfig()
	config.Partitions, config.Codec = 1, compress.Zstd
	world, log := clock.NewHand(1), &memoryLog{auto: true}
	r := &rig{t: t, world: world, groups: NewGroups(world, slog.New(slog.DiscardHandler), config), logs: []*memoryLog{log}}
	r.elect(1)
	await(t, r.commit, commitRequest("g", 7), 9)
	if log.batches[0].Codec() != compress.Zstd {
		t.Fatal(log.batches[0].Codec())
	}
	r.groups.Resign(0)
	if r.elect(2); r.fetch("g") != 7 {
		t.Fatal(r.fetch("g"))
	}
}

// TestLoadsWhatKafkaWrote loads a partition that Apache Kafka 4.3.1 has written: dynamic and static members, simple
// groups, deletions, an old client's own retention, transactions committed, aborted and open, and a group of the
// consumer protocol. The text is what Kafka answered to DescribeGroups and OffsetFetch then.
func TestLoadsWhatKafkaWrote(t *testing.T) {
	segment, err := os.ReadFile("testdata/consumer_offsets-4.3.1.log")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/consumer_offsets-4.3.1.txt")
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, 1)
	if err := r.logs[0].load(segment); err != nil {
		t.Fatal(err)
	}
	r.elect(1)
	var b strings.Builder
	for _, id := range []string{"dyn", "static", "simple", "gone", "old", "left", "txn"} {
		g := await(t, r.groups.DescribeGroups, &wire.DescribeGroupsRequest{Groups: []string{id}}, 6).Groups[0]
		fmt.Fprintf(&b, "group %s error=%d state=%s type=%q protocol=%q\n", g.GroupID, g.ErrorCode, g.GroupState, g.ProtocolType, g.ProtocolData)
		for _, m := range g.Members {
			instance := ""
			if m.GroupInstanceID != nil {
				instance = *m.GroupInstanceID
			}
			fmt.Fprintf(&b, "  member %s instance=%q client=%s host=%s metadata=%x assignment=%x\n",
				m.MemberID, instance, m.ClientID, m.ClientHost, m.MemberMetadata, m.MemberAssignment)
		}
		all := await(t, r.groups.OffsetFetch, &wire.OffsetFetchRequest{Groups: []wire.OffsetFetchRequestGroup{{GroupID: id, MemberEpoch: -1}}}, 9)
		for _, topic := range all.Groups[0].Topics {
			for _, p := range topic.Partitions {
				fmt.Fprintf(&b, "  offset %d=%d epoch=%d metadata=%q error=%d\n", p.PartitionIndex, p.CommittedOffset, p.CommittedLeaderEpoch, *p.Metadata, p.ErrorCode)
			}
		}
	}
	if got := b.String(); sortLines(got) != sortLines(string(want)) {
		t.Fatalf("got:\n%s\nwant:\n%s", got, want)
	}
	stable := &wire.OffsetFetchRequest{RequireStable: true, Groups: []wire.OffsetFetchRequestGroup{
		{GroupID: "txn", MemberEpoch: -1, Topics: []wire.OffsetFetchRequestTopics{{Name: "t1", PartitionIndexes: []int32{0, 1, 2}}}},
	}}
	var codes []wire.Code
	for _, p := range await(t, r.groups.OffsetFetch, stable, 9).Groups[0].Topics[0].Partitions {
		codes = append(codes, p.ErrorCode)
	}
	if codes[0] != wire.None || codes[1] != wire.None || codes[2] != wire.UnstableOffsetCommit {
		t.Fatal(codes)
	}
}

// sortLines makes the order of offsets within a group, which Kafka leaves to chance, comparable.
func sortLines(s string) string {
	var out []string
	for _, block := range strings.Split(s, "group ") {
		lines := strings.Split(strings.TrimSpace(block), "\n")
		for i := range lines {
			for k := i + 1; k < len(lines); k++ {
				if i > 0 && lines[k] < lines[i] {
					lines[i], lines[k] = lines[k], lines[i]
				}
			}
		}
		out = append(out, lines...)
	}
	return strings.Join(out, "\n")
}
