package share

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/group"
)

// TestLiveEqualsReplay does random things and checks, now and then, that what the logs give is what lives.
func TestLiveEqualsReplay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := newDriver()
		d.states.UpdatesPerSnapshot = int32(rapid.IntRange(0, 5).Draw(t, "updates per snapshot"))
		d.config.MaxSize = rapid.SampledFrom([]int{2, 200}).Draw(t, "max size")
		seed := rapid.Uint64().Draw(t, "seed")
		rng := rand.New(rand.NewPCG(seed, 1))
		d.restart(t)
		n := rapid.IntRange(1, 150).Draw(t, "steps")
		for i := range n {
			d.out.Reset()
			d.randomStep(rng)
			d.randomState(rng)
			d.checkBooks(t)
			if i%10 != 0 && i != n-1 {
				continue
			}
			g, s := d.replayed(t, d.log, d.stateLog, 0)
			if got, want := g.dump(), d.groups.dump(); got != want {
				t.Fatalf("groups\nreplayed:\n%s\nlive:\n%s", got, want)
			}
			if got, want := s.dump(), d.state.dump(); got != want {
				t.Fatalf("states\nreplayed:\n%s\nlive:\n%s", got, want)
			}
			if rng.IntN(4) == 0 {
				d.restart(t)
			}
		}
	})
}

// TestEachPrefixIsAState replays every beginning of a log, as after a crash behind each record: the machine goes on
// from there, and a member that comes back gets its partitions.
func TestEachPrefixIsAState(t *testing.T) {
	d := newDriver()
	d.restart(t)
	d.topic("a", 3)
	d.topic("b", 2)
	e := d.beat("g", "m1", 0, []string{"a"}, "c").MemberEpoch
	d.answer(true)
	d.advance(1500)
	e = d.beat("g", "m1", e, nil, "c").MemberEpoch
	d.beat("g", "m2", 0, []string{"a", "b"}, "c")
	d.answer(true)
	d.advance(1500)
	d.beat("g", "m1", e, nil, "c")
	d.beat("g", "m2", -1, nil, "c")
	d.beat("g", "m1", -1, nil, "c")
	d.alter("g", "a", 5, false)
	d.answer(true)
	d.deleteOffsets("g", []string{"a"}, true)
	d.delete("g", true)
	for n := range d.log {
		c := newDriver()
		c.log, c.img = slices.Clone(d.log[:n]), d.img
		c.now = group.Time{Wall: d.now.Wall + 100_000, Mono: 1}
		c.restart(t)
		has := 0
		epoch := int32(0)
		for range 4 {
			resp := c.beat("g", "m9", epoch, []string{"a", "b"}, "c")
			if resp.ErrorCode != wire.None {
				t.Fatalf("%d records: %v", n, resp.ErrorCode)
			}
			epoch, has = resp.MemberEpoch, 0
			for _, tp := range resp.Assignment.TopicPartitions {
				has += len(tp.Partitions)
			}
			for len(c.asked) > 0 {
				c.answer(true)
			}
			c.advance(1500)
		}
		// Those who had members before have to share until their sessions end.
		if has == 0 {
			t.Fatalf("%d records: nothing to read\n%s\n%s", n, c.out.String(), c.groups.dump())
		}
		c.advance(50_000)
		c.beat("g", "m9", 0, []string{"a", "b"}, "c")
		c.advance(1500)
		resp := c.beat("g", "m9", 0, []string{"a", "b"}, "c")
		has = 0
		for _, tp := range resp.Assignment.TopicPartitions {
			has += len(tp.Partitions)
		}
		if has != 5 {
			t.Fatalf("%d records: %d partitions\n%s", n, has, c.groups.dump())
		}
	}
}

// TestCombine holds the merging of batches against a model that keeps each record by itself.
func TestCombine(t *testing.T) {
	const top = 40
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) []Batch {
			var out []Batch
			for range rapid.IntRange(0, 8).Draw(t, label) {
				first := rapid.Int64Range(0, top).Draw(t, "first")
				out = append(out, Batch{first, rapid.Int64Range(first, top).Draw(t, "last"), int8(rapid.IntRange(0, 4).Draw(t, "state")), int16(rapid.IntRange(0, 3).Draw(t, "count"))})
			}
			return out
		}
		old, fresh, start := sweep(draw("old"), -1), draw("fresh"), rapid.Int64Range(-1, top).Draw(t, "start")
		model := map[int64]Batch{}
		for _, b := range append(slices.Clone(old), fresh...) {
			for at := max(b.First, start); at <= b.Last; at++ {
				if had, ok := model[at]; !ok || rank(&b, &had) > 0 {
					model[at] = b
				}
			}
		}
		got := combine(old, sweep(slices.Clone(fresh), start), start)
		seen := 0
		for i, b := range got {
			if i > 0 && (b.First <= got[i-1].Last || b.First == got[i-1].Last+1 && b.alike(&got[i-1])) {
				t.Fatalf("not in order, or not merged: %v", got)
			}
			for at := b.First; at <= b.Last; at++ {
				if want, ok := model[at]; !ok || !want.alike(&b) {
					t.Fatalf("at %d: %v, want %v", at, b, want)
				}
				seen++
			}
		}
		if seen != len(model) {
			t.Fatalf("%v has %d records, not %d", got, seen, len(model))
		}
	})
}

// TestHostileWrites: what no honest share partition sends neither changes anything nor takes long.
func TestHostileWrites(t *testing.T) {
	d := newDriver()
	d.topic("a", 1)
	k := Key{"g", topicID("a"), 0}
	var fx StateEffects
	if bad := d.state.Initialize(d.now, k, &wire.InitializeShareGroupStateRequestPartitionData{StateEpoch: 3, StartOffset: 0}, &fx); bad.Code != wire.None {
		t.Fatal(bad)
	}
	before := d.state.dump()
	batch := func(first, last int64) []wire.WriteShareGroupStateRequestStateBatch {
		return []wire.WriteShareGroupStateRequestStateBatch{{FirstOffset: first, LastOffset: last, DeliveryState: 2, DeliveryCount: 1}}
	}
	for _, c := range []struct {
		key  Key
		req  wire.WriteShareGroupStateRequestPartitionData
		code wire.Code
	}{
		{Key{"g", topicID("a"), -1}, wire.WriteShareGroupStateRequestPartitionData{}, wire.InvalidRequest},
		{Key{"g", topicID("a"), 1}, wire.WriteShareGroupStateRequestPartitionData{}, wire.InvalidRequest},
		{Key{"other", topicID("a"), 0}, wire.WriteShareGroupStateRequestPartitionData{}, wire.InvalidRequest},
		{k, wire.WriteShareGroupStateRequestPartitionData{StateEpoch: 2, LeaderEpoch: -1}, wire.FencedStateEpoch},
		{k, wire.WriteShareGroupStateRequestPartitionData{StateEpoch: 3, LeaderEpoch: -2}, wire.FencedLeaderEpoch},
		{k, wire.WriteShareGroupStateRequestPartitionData{StateEpoch: 3, StateBatches: batch(5, 4)}, wire.InvalidRequest},
		{k, wire.WriteShareGroupStateRequestPartitionData{StateEpoch: 3, StateBatches: batch(-1, 4)}, wire.InvalidRequest},
		{k, wire.WriteShareGroupStateRequestPartitionData{StateEpoch: 3, StateBatches: batch(0, math.MaxInt64)}, wire.InvalidRequest},
	} {
		var fx StateEffects
		if bad := d.state.Write(d.now, c.key, &c.req, &fx); bad.Code != c.code || len(fx.Write.Records) > 0 || bad.Message() == nil {
			t.Fatalf("%+v: %+v", c, bad)
		}
	}
	if d.state.dump() != before {
		t.Fatal("changed")
	}
	// A hundred thousand batches that all overlap.
	req := &wire.WriteShareGroupStateRequestPartitionData{StateEpoch: 3, LeaderEpoch: 0}
	for i := range int64(100_000) {
		req.StateBatches = append(req.StateBatches, wire.WriteShareGroupStateRequestStateBatch{FirstOffset: i, LastOffset: 200_000 - i, DeliveryState: int8(i % 3), DeliveryCount: int16(i % 7)})
	}
	var sfx StateEffects
	if bad := d.state.Write(d.now, k, req, &sfx); bad.Code != wire.None {
		t.Fatal(bad)
	}
	d.checkBooks(t)
}

// TestHostileHeartbeats: lies about members and epochs get the right error and change nothing.
func TestHostileHeartbeats(t *testing.T) {
	d := newDriver()
	d.topic("a", 2)
	d.beat("g", "m", 0, []string{"a"}, "c")
	before, log := d.groups.dump(), len(d.log)
	for _, c := range []struct {
		id, member string
		epoch      int32
		topics     []string
		code       wire.Code
	}{
		{"g", "m", 3, nil, wire.FencedMemberEpoch},
		{"g", "m", 1, nil, wire.FencedMemberEpoch},
		{"g", "m", math.MaxInt32, nil, wire.FencedMemberEpoch},
		{"g", "m", -2, nil, wire.InvalidRequest},
		{"g", "m", math.MinInt32, nil, wire.InvalidRequest},
		{"g", "x", 1, nil, wire.UnknownMemberID},
		{"g", "x", -1, nil, wire.UnknownMemberID},
		{"none", "m", 1, nil, wire.GroupIDNotFound},
		{"none", "m", -1, nil, wire.GroupIDNotFound},
		{"classic", "m", 0, []string{"a"}, wire.GroupIDNotFound},
		{"classic", "m", -1, nil, wire.GroupIDNotFound},
		{"g", "", 0, []string{"a"}, wire.InvalidRequest},
		{"", "m", 0, []string{"a"}, wire.InvalidRequest},
		{" ", "m", 0, []string{"a"}, wire.InvalidRequest},
		{"g", "y", 0, nil, wire.InvalidRequest},
		{"g", "y", 0, []string{}, wire.InvalidRequest},
	} {
		if resp := d.beat(c.id, c.member, c.epoch, c.topics, "c"); resp.ErrorCode != c.code {
			t.Fatalf("%+v: %v", c, resp.ErrorCode)
		}
	}
	if d.groups.dump() != before || len(d.log) != log {
		t.Fatal("changed")
	}
	// A huge subscription with every name twice.
	var names []string
	for i := range 20_000 {
		names = append(names, strings.Repeat("x", 1+i%200), strings.Repeat("x", 1+i%200))
	}
	d.beat("g", "huge", 0, names, "c")
	if got := len(d.groups.groups["g"].members["huge"].topics); got != 200 {
		t.Fatal(got)
	}
	d.checkBooks(t)
}

// TestPrune: the log's beginning goes as far as no state needs it, and what is left gives the same state.
func TestPrune(t *testing.T) {
	d := newDriver()
	d.states.UpdatesPerSnapshot = 3
	d.restart(t)
	d.topic("a", 2)
	write := func(p int32, at int64) {
		var fx StateEffects
		d.state.Write(d.now, Key{"g", topicID("a"), p}, &wire.WriteShareGroupStateRequestPartitionData{StateEpoch: -1, LeaderEpoch: -1, StartOffset: at}, &fx)
		d.flushState(&fx)
	}
	for p := range int32(2) {
		var fx StateEffects
		d.state.Initialize(d.now, Key{"g", topicID("a"), p}, &wire.InitializeShareGroupStateRequestPartitionData{StartOffset: 0}, &fx)
		d.flushState(&fx)
	}
	for i := range int64(20) {
		write(0, i)
	}
	write(1, 7)
	// Partition 1 is quiet: its snapshot is written again, and then the beginning can go.
	d.advance(d.states.ColdSnapshotMs)
	d.out.Reset()
	d.advance(d.states.PruneMs)
	text, from := d.out.String(), int64(0)
	if i := strings.Index(text, "prune before "); i >= 0 {
		for _, c := range strings.TrimPrefix(text[i:], "prune before ") {
			if c < '0' || c > '9' {
				break
			}
			from = 10*from + int64(c-'0')
		}
	}
	if from < 15 {
		t.Fatalf("pruned before %d of %d: %s", from, len(d.stateLog), text)
	}
	_, s := d.replayed(t, nil, d.stateLog[from:], from)
	if got, want := s.dump(), d.state.dump(); got != want {
		t.Fatalf("pruned:\n%s\nwhole:\n%s", got, want)
	}
}

// TestManyMembers: 200 members over 100 partitions are stable after three heartbeats each.
func TestManyMembers(t *testing.T) {
	d := newDriver()
	d.topic("a", 100)
	epochs := make([]int32, 200)
	for round := range 3 {
		for i := range epochs {
			id := "m" + string(rune('a'+i/26)) + string(rune('a'+i%26))
			resp := d.beat("g", id, epochs[i], []string{"a"}, "c")
			if resp.ErrorCode != wire.None {
				t.Fatal(round, i, resp.ErrorCode)
			}
			epochs[i] = resp.MemberEpoch
			d.answer(true)
		}
		d.advance(1500)
	}
	sg := d.groups.groups["g"]
	owners := map[int32]int{}
	for _, m := range sg.members {
		if m.epoch != sg.epoch || m.assigned.Count() == 0 {
			t.Fatalf("%s: epoch %d of %d, %v", m.id, m.epoch, sg.epoch, m.assigned)
		}
		for _, p := range m.assigned[0].Partitions {
			owners[p]++
		}
	}
	if len(owners) != 100 {
		t.Fatal(len(owners))
	}
}

func FuzzApply(f *testing.F) {
	d := newDriver()
	d.restart(f)
	d.topic("a", 2)
	d.beat("g", "m", 0, []string{"a"}, "c")
	d.answer(true)
	var fx StateEffects
	d.state.Initialize(d.now, Key{"g", topicID("a"), 0}, &wire.InitializeShareGroupStateRequestPartitionData{}, &fx)
	d.state.Write(d.now, Key{"g", topicID("a"), 0}, writeRequest(args{"batches": "0..4:2:1,7..9:0:2"}), &fx)
	d.flushState(&fx)
	for _, r := range append(slices.Clone(d.log), d.stateLog...) {
		f.Add(r.Key, r.Value)
		f.Add(r.Key, []byte(nil))
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if len(value) == 0 {
			value = nil
		}
		g, s := NewGroups(DefaultGroupsConfig(), registry{}), NewState(DefaultStateConfig())
		for range 2 {
			_, _ = g.Apply(key, value)                                      // broken records are errors; that nothing else happens is the test
			_, _ = s.Apply(&group.Entry{Offset: 1, Key: key, Value: value}) // as above
		}
		g.SetImage(d.now, d.img, &group.Effects{})
		g.Loaded(d.now, &group.Effects{})
		c := &driver{now: d.now, img: d.img, groups: g, state: s, others: registry{}}
		c.beat("g", "m", 0, []string{"a"}, "c")
		c.advance(100_000)
		for k, p := range s.partitions {
			for i, b := range p.batches {
				if i > 0 && b.First <= p.batches[i-1].Last {
					t.Fatalf("%v: %v", k, p.batches)
				}
			}
		}
	})
}
