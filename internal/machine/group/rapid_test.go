package group

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/moldau/moldau/internal/format/wire"
)

// TestLiveEqualsReplay does random things to a few groups, honest ones and lies, with writes that fail, and checks
// after each that what the log gives is what lives, whichever way it was compacted, and that the books are in order.
func TestLiveEqualsReplay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := newDriver()
		d.config.InitialRebalanceDelayMs = int32(rapid.SampledFrom([]int{0, 3000}).Draw(t, "delay"))
		d.config.MaxSize = int32(rapid.SampledFrom([]int{2, 1000}).Draw(t, "max size"))
		d.config.OffsetsRetentionMs = 2_000_000
		d.machine.config = d.config
		d.hold = true
		chaos := rapid.Uint64().Draw(t, "seed")
		rng := rand.New(rand.NewPCG(chaos, 1))
		n := rapid.IntRange(1, 120).Draw(t, "steps")
		for i := range n {
			d.randomStep(rng)
			d.flush()
			d.checkBooks(t)
			if i%8 == 0 || i == n-1 {
				d.checkReplay(t, rng)
			}
		}
		for len(d.queue) > 0 {
			d.settle(wire.None)
			d.flush()
		}
		d.checkReplay(t, rng)
		d.machine.Unload(wire.NotCoordinator, &d.fx)
		d.flush()
		if len(d.names) != 0 {
			t.Fatalf("never answered: %v", d.names)
		}
	})
}

// randomStep calls the machine with something that often makes sense.
func (d *driver) randomStep(rng *rand.Rand) {
	g := fmt.Sprintf("g%d", rng.IntN(3))
	mb, generation := d.someMember(rng, g)
	a := args{"g": g, "member": mb.id, "generation": fmt.Sprint(generation)}
	if mb.static {
		a["instance"] = mb.instance
	}
	switch rng.IntN(16) {
	case 0, 1:
		new := args{"g": g, "v": fmt.Sprint(rng.IntN(10)), "protocols": randomProtocols(rng)}
		if rng.IntN(3) == 0 {
			new["instance"] = fmt.Sprintf("i%d", rng.IntN(2))
		}
		d.joinLine(new)
	case 2, 3, 4:
		a["protocols"] = randomProtocols(rng)
		d.joinLine(a)
	case 5, 6, 7:
		for id := range d.machineMembers(g) {
			a["assign"] += fmt.Sprintf("%s:%d,", id, rng.IntN(100))
		}
		d.syncLine(a)
	case 8:
		d.heartbeatLine(a)
	case 9:
		d.leaveLine(args{"g": g, "members": mb.id})
	case 10:
		a["offsets"] = fmt.Sprintf("t-%d:%d,u-0:%d", rng.IntN(3), rng.IntN(1000), rng.IntN(1000))
		if rng.IntN(3) == 0 {
			delete(a, "generation")
			delete(a, "member")
			delete(a, "instance")
		}
		if rng.IntN(8) == 0 {
			a["retention"] = "100000"
		}
		d.commitLine(a)
	case 11:
		d.advance([]int64{100, 3_000, 10_000, 100_000, 1_000_000}[rng.IntN(5)])
	case 12:
		switch rng.IntN(6) {
		case 0:
			d.deleteGroupsLine(args{"groups": g + ",g1"})
		case 1:
			d.deleteOffsetsLine(args{"g": g, "offsets": "t-0,t-1,u-0"})
		case 2:
			d.deleteTopicLine(args{"topic": "u"})
		case 3:
			d.reloadLine(nil)
		}
	default:
		if len(d.queue) > 0 {
			d.settle([]wire.Code{0, 0, 0, 0, wire.NotCoordinator, wire.CoordinatorNotAvailable}[rng.IntN(6)])
		}
	}
}

func randomProtocols(rng *rand.Rand) string {
	return []string{"a:topics/t,b:2", "b:2,a:topics/t", "a:topics/t", "b:topics/t/u", "a:broken,b:1"}[rng.IntN(5)]
}

func (d *driver) machineMembers(g string) map[string]*member {
	if g := d.machine.groups[g]; g != nil {
		return g.members
	}
	return nil
}

// someMember picks a member, a pending one, or a ghost, and a generation that is mostly right.
func (d *driver) someMember(rng *rand.Rand, id string) (member, int32) {
	g := d.machine.groups[id]
	if g == nil || rng.IntN(20) == 0 {
		return member{id: "ghost"}, 1
	}
	generation := g.generation
	if rng.IntN(15) == 0 {
		generation--
	}
	if len(g.pending) > 0 && rng.IntN(3) == 0 {
		return member{id: sortedKeys(g.pending)[0]}, generation
	}
	if len(g.order) == 0 {
		return member{id: "ghost"}, generation
	}
	return *g.order[rng.IntN(len(g.order))], generation
}

func (d *driver) checkReplay(t *rapid.T, rng *rand.Rand) {
	if diff := d.compareReplay(); diff != "" {
		t.Fatalf("replay differs:\n%s\nhistory:\n%s", diff, d.out.String())
	}
	all := func(*group) bool { return true }
	want := durable(d.replayed(), all)
	whole := d.log
	d.log = compact(whole, rng)
	got := durable(d.replayed(), all)
	if d.log = whole; got != want {
		t.Fatalf("after compaction:\n%s\nbefore:\n%s", got, want)
	}
}

// compact drops records that later ones replace, and tombstones, as a cleaner may: some now, some later.
func compact(log []Entry, rng *rand.Rand) []Entry {
	last := map[string]int{}
	for i := range log {
		last[string(log[i].Key)] = i
	}
	upTo := rng.IntN(len(log) + 1)
	var kept []Entry
	for i, e := range log {
		latest := last[string(e.Key)] == i
		if i < upTo && (!latest || e.Value == nil) {
			continue
		}
		kept = append(kept, e)
	}
	return kept
}

// checkBooks sees that all that is counted counts right.
func (d *driver) checkBooks(t *rapid.T) {
	m := d.machine
	parked, held := 0, 0
	for id, g := range m.groups {
		awaiting, unsynced, statics := 0, 0, 0
		supported := map[string]int{}
		for _, mb := range g.order {
			if g.members[mb.id] != mb {
				t.Fatalf("member %s is in the order only", mb.id)
			}
			if mb.join != 0 {
				awaiting++
			}
			if mb.sync != 0 {
				parked++
			}
			if mb.pendingSync {
				unsynced++
			}
			if mb.static {
				statics++
				if g.statics[mb.instance] != mb {
					t.Fatalf("static member %s is not known as %s", mb.id, mb.instance)
				}
			}
			mb.names(func(name string) { supported[name]++ })
			if !mb.timer.Pending() && !mb.satisfied() && g.state != stateDead {
				t.Fatalf("nobody watches member %s of %s in %v", mb.id, id, g.state)
			}
		}
		parked += awaiting
		held += g.unsettled
		for name, n := range supported {
			if g.supported[name] != n {
				t.Fatalf("protocol %s is supported by %d, counted %d", name, n, g.supported[name])
			}
		}
		switch {
		case awaiting != g.awaiting || unsynced != g.unsynced || statics != len(g.statics) || len(g.order) != len(g.members):
			t.Fatalf("group %s miscounts: %d %d, %d %d, %d %d, %d %d", id, awaiting, g.awaiting, unsynced, g.unsynced,
				statics, len(g.statics), len(g.order), len(g.members))
		case g.hollow():
			t.Fatalf("group %s is hollow", id)
		case len(g.members) > 0 && g.members[g.leader] == nil:
			t.Fatalf("group %s has no leader", id)
		case len(g.members) > 0 && (g.state == stateEmpty || g.state == stateDead), len(g.members) == 0 && (g.state == stateStable || g.state == stateCompleting):
			t.Fatalf("group %s has %d members in %v", id, len(g.members), g.state)
		case g.state == statePreparing && !g.joinTimer.Pending():
			t.Fatalf("group %s prepares for ever", id)
		case g.state == stateCompleting && g.unsynced > 0 && !g.syncTimer.Pending():
			t.Fatalf("group %s completes for ever", id)
		}
	}
	if parked != len(d.names) {
		t.Fatalf("%d requests are parked, %d wait: %v\n%s", parked, len(d.names), d.names, d.out.String())
	}
	if len(m.inflight) != len(d.queue) || len(d.queue) == 0 && held != 0 {
		t.Fatalf("%d writes in flight, %d queued, %d held", len(m.inflight), len(d.queue), held)
	}
	if !slices.IsSortedFunc(m.inflight, func(a, b *write) int { return int(a.id) - int(b.id) }) {
		t.Fatal("writes are out of order")
	}
}
