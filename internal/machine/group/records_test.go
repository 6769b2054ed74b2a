package group

import (
	"fmt"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/format/wire"
)

// commitEntry is an offset commit as it stands in the log.
func commitEntry(at, producer int64, g string, partition int32, offset int64) *Entry {
	enc := encoder{}
	r := enc.offset(&change{offsetKey: offsetKey{&group{id: g}, "t", partition}, offset: Offset{Offset: offset, CommitMs: 1, ExpireMs: -1, LeaderEpoch: -1}})
	return &Entry{Offset: at, ProducerID: producer, Key: r.Key, Value: r.Value}
}

func mustApply(t *testing.T, m *Machine, e *Entry) {
	t.Helper()
	if known, err := m.Apply(e); err != nil || !known {
		t.Fatalf("record at %d: known %v, %v", e.Offset, known, err)
	}
}

// fetched is what a client reads of partitions 0 to 2.
func fetched(m *Machine, g string, stable bool) string {
	resp := m.FetchOffsets(&wire.OffsetFetchRequestGroup{GroupID: g, Topics: []wire.OffsetFetchRequestTopics{
		{Name: "t", PartitionIndexes: []int32{0, 1, 2}},
	}}, stable)
	var b strings.Builder
	for _, p := range resp.Topics[0].Partitions {
		if p.ErrorCode != wire.None {
			fmt.Fprintf(&b, "%s ", p.ErrorCode.String())
		} else {
			fmt.Fprintf(&b, "%d ", p.CommittedOffset)
		}
	}
	return strings.TrimSpace(b.String())
}

func TestTransactionalOffsets(t *testing.T) {
	m := New(DefaultConfig())
	mustApply(t, m, commitEntry(0, -1, "g", 0, 10))
	mustApply(t, m, commitEntry(1, 7, "g", 0, 20))
	mustApply(t, m, commitEntry(2, 7, "g", 1, 21))
	mustApply(t, m, commitEntry(3, 8, "g", 2, 32))
	mustApply(t, m, commitEntry(4, 9, "other", 0, 90))
	check := func(stable bool, want string) {
		t.Helper()
		if got := fetched(m, "g", stable); got != want {
			t.Fatalf("stable %v: %q, want %q", stable, got, want)
		}
	}
	check(false, "10 -1 -1")
	check(true, "UNSTABLE_OFFSET_COMMIT UNSTABLE_OFFSET_COMMIT UNSTABLE_OFFSET_COMMIT")

	// A plain commit behind the transaction's counts, wherever the marker comes.
	mustApply(t, m, commitEntry(5, -1, "g", 1, 50))
	m.EndTransaction(7, true, 1<<62)
	check(false, "20 50 -1")
	check(true, "20 50 UNSTABLE_OFFSET_COMMIT")
	m.EndTransaction(8, false, 1<<62)
	check(true, "20 50 -1")

	// An abort leaves nothing of a group that had only that.
	if m.Groups() != 2 {
		t.Fatalf("%d groups", m.Groups())
	}
	m.EndTransaction(9, false, 1<<62)
	m.EndTransaction(1234, true, 1<<62)
	if m.Groups() != 1 || len(m.producers) != 0 {
		t.Fatalf("%d groups, %d producers", m.Groups(), len(m.producers))
	}
}

func TestTransactionHoldsBackExpiryAndFallsWithDeletion(t *testing.T) {
	d := newDriver()
	mustApply(t, d.machine, commitEntry(0, -1, "g", 0, 10))
	mustApply(t, d.machine, commitEntry(1, 7, "g", 0, 20))
	d.advance(40 * 24 * 3600_000)
	if got := fetched(d.machine, "g", false); got != "10 -1 -1" {
		t.Fatalf("after retention: %q\n%s", got, d.out.String())
	}
	if got := fetched(d.machine, "g", true); got != "UNSTABLE_OFFSET_COMMIT -1 -1" {
		t.Fatalf("stable: %q", got)
	}
	d.deleteGroupsLine(args{"groups": "g"})
	d.flush()
	d.machine.EndTransaction(7, true, 1<<62)
	if d.machine.Groups() != 0 {
		t.Fatalf("the group is still there:\n%s", d.out.String())
	}
}

func TestGroupTombstoneKeepsOffsets(t *testing.T) {
	m := New(DefaultConfig())
	g := &group{id: "g", protocolType: "consumer", generation: 3}
	r := groupRecord(g, nil)
	mustApply(t, m, &Entry{Offset: 0, ProducerID: -1, Key: r.Key, Value: r.Value})
	mustApply(t, m, commitEntry(1, -1, "g", 0, 10))
	// Compaction has removed the offset's tombstone before the group's.
	mustApply(t, m, &Entry{Offset: 5, ProducerID: -1, Key: r.Key})
	if got := fetched(m, "g", false); got != "10 -1 -1" {
		t.Fatal(got)
	}
	if d := m.DescribeGroup("g", 6); d.GroupState != "Empty" || d.ProtocolType != "" {
		t.Fatalf("%+v", d)
	}
	// Tombstones of what is not known are nothing.
	e := commitEntry(6, -1, "unknown", 0, 0)
	e.Value = nil
	mustApply(t, m, e)
	mustApply(t, m, &Entry{Offset: 7, ProducerID: -1, Key: newGroupRecord(&group{id: "unknown"}).Key})
	if m.Groups() != 1 {
		t.Fatal(m.Groups())
	}
}

func TestUnknownRecordTypesAreSkipped(t *testing.T) {
	m := New(DefaultConfig())
	for _, kind := range []int16{-1, 9, 15, 17, 999} {
		known, err := m.Apply(&Entry{ProducerID: -1, Key: wire.AppendInt16(nil, kind), Value: []byte{1}})
		if known || err != nil {
			t.Errorf("type %d: known %v, %v", kind, known, err)
		}
	}
}

func TestBrokenRecordsAreErrors(t *testing.T) {
	m := New(DefaultConfig())
	good := commitEntry(0, -1, "g", 0, 1)
	for name, e := range map[string]*Entry{
		"no key":        {ProducerID: -1},
		"short key":     {ProducerID: -1, Key: good.Key[:4], Value: good.Value},
		"short value":   {ProducerID: -1, Key: good.Key, Value: good.Value[:9]},
		"late version":  {ProducerID: -1, Key: good.Key, Value: append([]byte{0, 9}, good.Value[2:]...)},
		"short group":   {ProducerID: -1, Key: wire.AppendInt16(nil, 2), Value: []byte{0, 3}},
		"empty group":   {ProducerID: -1, Key: wire.AppendKey(nil, &wire.GroupMetadataKey{Group: "g"}), Value: []byte{}},
		"group version": {ProducerID: -1, Key: wire.AppendKey(nil, &wire.GroupMetadataKey{Group: "g"}), Value: []byte{0, 7}},
	} {
		if _, err := m.Apply(e); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if m.Groups() != 0 {
		t.Fatalf("%d groups came of broken records", m.Groups())
	}
}

// TestLoadOddGroups loads what no coordinator should have written, and serves it.
func TestLoadOddGroups(t *testing.T) {
	twin := wire.GroupMetadataValueMemberMetadata{MemberID: "a", SessionTimeout: 10_000, RebalanceTimeout: -1, Subscription: []byte{9}}
	nobody := "nobody"
	d := newDriver()
	r := encodeGroup("g", &wire.GroupMetadataValue{
		ProtocolType: "consumer", Generation: 4, Leader: &nobody, Members: []wire.GroupMetadataValueMemberMetadata{twin, twin},
	})
	mustApply(t, d.machine, &Entry{ProducerID: -1, Key: r.Key, Value: r.Value})
	d.machine.Loaded(d.now, &d.fx)
	d.heartbeatLine(args{"member": "a", "g": "g", "generation": "4"})
	d.joinLine(args{"g": "g", "member": "a"})
	d.joinLine(args{"g": "g", "member": "a", "protocols": ":x"})
	d.flush()
	if !strings.Contains(d.out.String(), "join a -> ok generation=5") {
		t.Fatal(d.out.String())
	}
}

func TestPendingMembersAreBounded(t *testing.T) {
	d := newDriver()
	join := func() wire.Code {
		var fx Effects
		d.machine.JoinGroup(d.now, &Join{
			Request: &wire.JoinGroupRequest{GroupID: "g", SessionTimeoutMs: 10_000, ProtocolType: "consumer", Protocols: []wire.JoinGroupRequestProtocol{{Name: "x"}}},
			Version: 9, Ticket: 1, Fresh: d.uuid(),
		}, &fx)
		return fx.Joins[0].Response.ErrorCode
	}
	for range pendingLimit {
		if code := join(); code != wire.MemberIDRequired {
			t.Fatal(code)
		}
	}
	if code := join(); code != wire.GroupMaxSizeReached {
		t.Fatal(code)
	}
	d.advance(10_000)
	if code := join(); code != wire.MemberIDRequired {
		t.Fatal(code)
	}
}

func TestTombstonesComeInBoundedWrites(t *testing.T) {
	d := newDriver()
	const offsets = 2*tombstoneLimit + 5
	for i := range int32(offsets) {
		mustApply(t, d.machine, commitEntry(int64(i), -1, "g", i, 1))
	}
	d.hold = true
	d.machine.DeleteGroups([]string{"g"}, &d.fx)
	d.flush()
	n := 0
	for _, w := range d.queue {
		n += len(w.Records)
		if len(w.Records) > tombstoneLimit {
			t.Fatalf("a write of %d records", len(w.Records))
		}
	}
	if n != offsets+1 {
		t.Fatalf("%d tombstones", n)
	}
	// If the first does not come through, its offsets stay, as a group without members.
	d.settle(wire.NotCoordinator)
	d.settle(wire.None)
	d.settle(wire.None)
	if g := d.machine.groups["g"]; g == nil || len(g.offsets["t"].of) != tombstoneLimit || g.state != stateEmpty {
		t.Fatalf("%+v", g)
	}
}

func TestAppendCode(t *testing.T) {
	for in, want := range map[wire.Code]wire.Code{
		wire.None: wire.None, wire.NotEnoughReplicas: wire.CoordinatorNotAvailable, wire.RequestTimedOut: wire.CoordinatorNotAvailable,
		wire.NotLeaderOrFollower: wire.NotCoordinator, wire.KafkaStorageError: wire.NotCoordinator,
		wire.MessageTooLarge: wire.UnknownServerError, wire.InvalidTopic: wire.InvalidTopic,
	} {
		if got := AppendCode(in); got != want {
			t.Errorf("%v becomes %v, want %v", in, got, want)
		}
	}
}

func FuzzApply(f *testing.F) {
	e := commitEntry(0, -1, "g", 0, 1)
	f.Add(e.Key, e.Value, int64(-1))
	f.Add(e.Key, []byte(nil), int64(3))
	twin := wire.GroupMetadataValueMemberMetadata{MemberID: "a", SessionTimeout: 10_000, Subscription: subscription("topics/t")}
	r := encodeGroup("g", &wire.GroupMetadataValue{ProtocolType: "consumer", Members: []wire.GroupMetadataValueMemberMetadata{twin}})
	f.Add(r.Key, r.Value, int64(-1))
	f.Fuzz(func(t *testing.T, key, value []byte, producer int64) {
		d := newDriver()
		if len(value) == 0 {
			value = nil
		}
		for range 2 {
			if known, err := d.machine.Apply(&Entry{ProducerID: producer, Key: key, Value: value}); !known || err != nil {
				return
			}
		}
		d.machine.EndTransaction(producer, true, 1<<62)
		d.machine.Loaded(d.now, &d.fx)
		// Whatever was loaded must be able to live on.
		for _, id := range sortedKeys(d.machine.groups) {
			for _, mb := range d.machine.groups[id].order {
				d.joinLine(args{"g": id, "member": mb.id})
			}
		}
		d.flush()
		d.advance(100_000)
	})
}

func FuzzSubscription(f *testing.F) {
	f.Add(subscription("topics/t/u"))
	f.Add([]byte{0, 0, 0x7f, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		topics := map[string]bool{}
		readSubscription(b, topics)
		if len(topics) > len(b) {
			t.Fatalf("%d topics in %d bytes", len(topics), len(b))
		}
	})
}
