package streams

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/moldau/moldau/internal/format/wire"
	base "github.com/moldau/moldau/internal/machine/group"
)

// app is a member of the application as it sees itself.
type app struct {
	id, process     string
	epoch           int32
	active, standby []wire.StreamsGroupHeartbeatRequestTaskIds
	joined          bool
}

func fromResponse(in []wire.StreamsGroupHeartbeatResponseTaskIds) []wire.StreamsGroupHeartbeatRequestTaskIds {
	out := []wire.StreamsGroupHeartbeatRequestTaskIds{}
	for _, t := range in {
		out = append(out, wire.StreamsGroupHeartbeatRequestTaskIds{SubtopologyID: t.SubtopologyID, Partitions: slices.Clone(t.Partitions)})
	}
	return out
}

// beat sends one heartbeat, whose answer may get lost.
func (a *app) beat(d *driver, lost, silent bool) wire.Code {
	req := &wire.StreamsGroupHeartbeatRequest{}
	req.SetDefaults()
	req.GroupID, req.MemberID, req.MemberEpoch = "g", a.id, a.epoch
	switch {
	case !a.joined:
		req.MemberEpoch, req.RebalanceTimeoutMs, req.Topology, req.ProcessID = 0, 60_000, d.topologies["t"], &a.process
		req.ActiveTasks, req.StandbyTasks, req.WarmupTasks = parseTasks(""), parseTasks(""), parseTasks("")
	case !silent:
		req.ActiveTasks, req.StandbyTasks, req.WarmupTasks = slices.Clone(a.active), slices.Clone(a.standby), parseTasks("")
	}
	var answer Answer
	d.tell(func(fx *base.Effects) { answer = d.groups.Heartbeat(d.now, req, 0, base.Client{ID: a.id}, fx) })
	r := answer.Response
	if lost {
		return wire.None
	}
	if r.ErrorCode != wire.None {
		a.joined, a.active, a.standby = false, nil, nil
		return r.ErrorCode
	}
	a.joined, a.epoch = true, r.MemberEpoch
	if r.ActiveTasks != nil {
		a.active, a.standby = fromResponse(r.ActiveTasks), fromResponse(r.StandbyTasks)
	}
	return wire.None
}

// checkGroup checks what must hold at any time.
func checkGroup(t *rapid.T, d *driver, apps []*app, epochs map[string]int32) {
	if diff := d.compareReplay(); diff != "" {
		t.Fatalf("replay differs from live:\n%s", diff)
	}
	g := d.groups.groups["g"]
	if g == nil {
		return
	}
	running := map[task]string{}
	for _, id := range g.sortedMembers() {
		m := g.members[id]
		for _, ts := range []tasks{m.assigned.active, m.revoking.active} {
			for k := range ts {
				if other, ok := running[k]; ok {
					t.Fatalf("task %v is with %s and %s", k, other, id)
				}
				running[k] = id
			}
		}
		for k := range m.assigned.standby {
			if d.groups.groups["g"].owners[active].in(k, m.process) {
				t.Fatalf("task %v is active and standby in process %s", k, m.process)
			}
		}
		if m.epoch < epochs[id] {
			t.Fatalf("epoch of %s went from %d to %d", id, epochs[id], m.epoch)
		}
		epochs[id] = m.epoch
	}
	for id := range epochs {
		if g.members[id] == nil {
			delete(epochs, id)
		}
	}
	if g.epoch < g.assignedEpoch {
		t.Fatalf("epoch %d is behind that of the assignment, %d", g.epoch, g.assignedEpoch)
	}
	// What a member runs, nobody else was given.
	held := map[task]string{}
	for _, a := range apps {
		if !a.joined || g.members[a.id] == nil {
			continue
		}
		for k := range requested(a.active) {
			if other, ok := held[k]; ok && running[k] != "" {
				t.Fatalf("%s and %s both run %v", other, a.id, k)
			}
			held[k] = a.id
		}
	}
}

// Members that come, go, are silent and lose answers, while topics and settings change: no task is with two members,
// replay equals live, and in the end the group is stable with every task in one place.
func TestMembers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := newDriver()
		d.line("subtopology t 0 sources=in sinks=rep")
		d.line("subtopology t 1 repartition=rep changelogs=store")
		want := map[string]int32{"in": 3, "rep": 3, "store": 3}
		must(t, d.topics(want))
		apps := make([]*app, 4)
		for i := range apps {
			apps[i] = &app{id: fmt.Sprintf("m%d", i), process: fmt.Sprintf("p%d", i/2)}
		}
		epochs := map[string]int32{}
		for range rapid.IntRange(5, 60).Draw(t, "steps") {
			a := apps[rapid.IntRange(0, 3).Draw(t, "member")]
			switch rapid.IntRange(0, 11).Draw(t, "step") {
			case 0:
				a.joined, a.active, a.standby = false, nil, nil // its process has died
			case 1:
				leave(d, a)
			case 2:
				d.settings.Standbys = int32(rapid.IntRange(0, 2).Draw(t, "standbys"))
				must(t, d.topics(d.present()))
			case 3:
				must(t, d.topics(map[string]int32{"in": 3, "rep": 3, "store": int32(rapid.IntRange(2, 3).Draw(t, "store"))}))
			case 4:
				must(t, d.line(fmt.Sprintf("after %d", rapid.IntRange(1, 50_000).Draw(t, "ms"))))
			case 5:
				must(t, d.line("restart"))
			case 6:
				d.settings.AssignmentMs = int32(rapid.SampledFrom([]int{0, 5_000}).Draw(t, "interval"))
				d.settings.InitialDelayMs = int32(rapid.SampledFrom([]int{0, 3_000}).Draw(t, "delay"))
				must(t, d.topics(d.present()))
			case 7:
				a.beat(d, true, false)
			case 8:
				a.beat(d, false, true)
			default:
				a.beat(d, false, false)
			}
			checkGroup(t, d, apps, epochs)
		}
		must(t, d.topics(want))
		settle(t, d, apps)
	})
}

func must(t *rapid.T, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

func leave(d *driver, a *app) {
	req := &wire.StreamsGroupHeartbeatRequest{}
	req.SetDefaults()
	req.GroupID, req.MemberID, req.MemberEpoch = "g", a.id, leaveEpoch
	d.tell(func(fx *base.Effects) { d.groups.Heartbeat(d.now, req, 0, base.Client{}, fx) })
	a.joined, a.active, a.standby = false, nil, nil
}

// settle lets all members beat until the group must be at rest.
func settle(t *rapid.T, d *driver, apps []*app) {
	for range 20 {
		for _, a := range apps {
			a.beat(d, false, false)
		}
		must(t, d.line("after 6000"))
	}
	if state := d.groups.State("g"); state != "Stable" {
		t.Fatalf("the group is %s:\n%s", state, durable(d.groups))
	}
	seen := map[task]int{}
	for _, a := range apps {
		for k := range requested(a.active) {
			seen[k]++
		}
	}
	for sub := range 2 {
		for p := range 3 {
			if k := (task{fmt.Sprint(sub), int32(p)}); seen[k] != 1 {
				t.Fatalf("task %v runs %d times", k, seen[k])
			}
		}
	}
}

// FuzzApply feeds what may lie in a log: broken records are errors, and nothing else.
func FuzzApply(f *testing.F) {
	d := newDriver()
	must := func(err error) {
		if err != nil {
			f.Fatal(err)
		}
	}
	must(d.line("subtopology t 0 sources=in changelogs=s copartition=0"))
	must(d.line("topics in=3 s=3"))
	must(d.line("beat a endpoint=h rack=r"))
	must(d.line("beat b"))
	must(d.line("beat b epoch=-1"))
	for _, r := range d.log {
		f.Add(r.Key, r.Value)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if len(value) == 0 {
			value = nil
		}
		d := newDriver()
		if known, err := d.groups.Apply(key, value); !known || err != nil {
			return
		}
		for _, id := range d.groups.IDs() {
			d.groups.State(id)
			d.groups.Describe(id)
			d.groups.Subscribed(id, "x")
		}
		var fx base.Effects
		d.groups.Loaded(d.now, &fx)
		d.now.Mono += 1 << 40
		d.groups.Expire(d.now, &fx)
	})
}

// A topology from a hostile client costs little and breaks nothing.
func TestHostileTopologies(t *testing.T) {
	d := newDriver()
	if err := d.line("topics in=100"); err != nil {
		t.Fatal(err)
	}
	join := func(topology *wire.StreamsGroupHeartbeatRequestTopology) string {
		d.topologies["t"] = topology
		req := d.beat([]string{"a"}, args{})
		var answer Answer
		d.tell(func(fx *base.Effects) { answer = d.groups.Heartbeat(d.now, req, 0, base.Client{}, fx) })
		if r := answer.Response; r.ErrorCode != wire.None {
			return name(r.ErrorCode) + " " + *r.ErrorMessage
		}
		return ""
	}
	chain := &wire.StreamsGroupHeartbeatRequestTopology{}
	for i := range subtopologyLimit + 1 {
		chain.Subtopologies = append(chain.Subtopologies, wire.StreamsGroupHeartbeatRequestSubtopology{
			SubtopologyID: fmt.Sprintf("%05d", 99_999-i), RepartitionSinkTopics: []string{fmt.Sprint("r", i)},
			RepartitionSourceTopics: infos([]string{fmt.Sprint("r", i-1)}),
		})
	}
	chain.Subtopologies[0].RepartitionSourceTopics, chain.Subtopologies[0].SourceTopics = nil, []string{"in"}
	if got := join(chain); !strings.Contains(got, "the limit is 1000") {
		t.Errorf("got %q", got)
	}
	chain.Subtopologies = chain.Subtopologies[:subtopologyLimit]
	if got := join(chain); !strings.Contains(got, "cannot be written") { // small parts make a record that swells
		t.Errorf("got %q", got)
	}
	chain.Subtopologies = chain.Subtopologies[:300]
	if got := join(chain); got != "" { // it needs a round for each subtopology
		t.Errorf("got %q", got)
	}
	wide := &wire.StreamsGroupHeartbeatRequestTopology{Subtopologies: []wire.StreamsGroupHeartbeatRequestSubtopology{{
		SubtopologyID: "0", SourceTopics: make([]string, topicLimit+1),
	}}}
	if got := join(wide); !strings.Contains(got, "the limit is 10000") {
		t.Errorf("got %q", got)
	}
	names := make([]string, topicLimit)
	for i := range names {
		names[i] = fmt.Sprintf("in%0200d", i)
	}
	long := &wire.StreamsGroupHeartbeatRequestTopology{Subtopologies: []wire.StreamsGroupHeartbeatRequestSubtopology{{
		SubtopologyID: "0", SourceTopics: names,
	}}}
	d = newDriver()
	if got := join(long); !strings.Contains(got, "bytes; the limit is") || len(d.log) > 0 {
		t.Errorf("got %q and %d records", got, len(d.log))
	}
	if d.groups.Has("g") {
		t.Error("a refused request has made a group")
	}
}
