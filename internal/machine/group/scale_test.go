package group

import (
	"fmt"
	"testing"

	"github.com/moldau/moldau/internal/format/wire"
)

// manyGroups has n stable groups of one member.
func manyGroups(n int) *driver {
	d := newDriver()
	for i := range n {
		g := fmt.Sprintf("g%d", i)
		d.joinLine(args{"g": g, "v": "3", "session": "10000"})
		d.flush()
		d.syncLine(args{"g": g, "member": long(fmt.Sprintf("c-#%x", d.fresh))})
		d.flush()
	}
	return d
}

func TestTenThousandGroups(t *testing.T) {
	const n = 10_000
	d := manyGroups(n)
	d.out.Reset()
	beat := func() {
		for i := range n {
			code := d.machine.Heartbeat(d.now, &wire.HeartbeatRequest{GroupID: fmt.Sprintf("g%d", i), MemberID: long(fmt.Sprintf("c-#%x", i+1)), GenerationID: 1})
			if code != wire.None {
				t.Fatal(i, code)
			}
		}
	}
	// Heartbeats must not grow the queue of timers.
	queued := d.machine.timers.Len()
	for range 20 {
		d.advance(3_000)
		beat()
	}
	if got := d.machine.timers.Len(); got > queued {
		t.Fatalf("%d timers are queued, %d at the start", got, queued)
	}
	d.advance(10_000)
	if d.out.Len() == 0 || d.machine.Groups() != n {
		t.Fatal("sessions must end")
	}
	for _, g := range d.machine.groups {
		if g.state != stateEmpty {
			t.Fatalf("%s is %v", g.id, g.state)
		}
	}
	if diff := d.compareReplay(); diff != "" {
		t.Fatal(diff)
	}
}

func TestHeartbeatAllocatesNothing(t *testing.T) {
	d := manyGroups(100)
	req := &wire.HeartbeatRequest{GroupID: "g7", MemberID: long("c-#8"), GenerationID: 1}
	allocs := testing.AllocsPerRun(1000, func() {
		d.now.Mono++
		if code := d.machine.Heartbeat(d.now, req); code != wire.None {
			t.Fatal(code)
		}
	})
	if allocs != 0 {
		t.Fatalf("%v allocations", allocs)
	}
}

// TestThousandMembers brings a group of 1,000 members to a generation.
func TestThousandMembers(t *testing.T) {
	d := newDriver()
	d.config.InitialRebalanceDelayMs = 3_000
	d.machine.config = d.config
	for range 1_000 {
		d.joinLine(args{"g": "g", "v": "3"})
	}
	d.advance(6_000)
	g := d.machine.groups["g"]
	if g.state != stateCompleting || len(g.members) != 1_000 || len(d.names) != 0 {
		t.Fatalf("%v, %d members, %d parked", g.state, len(g.members), len(d.names))
	}
}

func BenchmarkHeartbeat(b *testing.B) {
	d := manyGroups(10_000)
	req := &wire.HeartbeatRequest{GroupID: "g7", MemberID: long("c-#8"), GenerationID: 1}
	b.ReportAllocs()
	for b.Loop() {
		d.now.Mono++
		d.machine.Heartbeat(d.now, req)
	}
}

func BenchmarkCommit(b *testing.B) {
	d := manyGroups(10_000)
	req := &wire.OffsetCommitRequest{
		GroupID: "g7", MemberID: long("c-#8"), GenerationIDOrMemberEpoch: 1, RetentionTimeMs: -1,
		Topics: []wire.OffsetCommitRequestTopic{{Name: "t", Partitions: []wire.OffsetCommitRequestPartition{{CommittedOffset: 5}}}},
	}
	var resp wire.OffsetCommitResponse
	b.ReportAllocs()
	for b.Loop() {
		d.machine.CommitOffsets(d.now, 9, req, &resp, &d.fx)
		d.machine.Settle(d.now, d.fx.Writes[0].ID, 1, wire.None, &d.fx)
		d.fx.Reset()
	}
}
