package group

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/moldau/moldau/internal/format/wire"
)

// TestConsumersLiveEqualReplay does random things to groups of both protocols, honest ones and lies, with writes that
// fail, and checks after each that what the log gives is what lives and that no partition has two owners; at the end
// each beginning of the log must give a group that goes on.
func TestConsumersLiveEqualReplay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := newDriver()
		d.config.OffsetsRetentionMs = 2_000_000
		d.config.Consumer.MaxSize = int32(rapid.SampledFrom([]int{4, 1000}).Draw(t, "max size"))
		d.machine.config = d.config
		d.setTopic("t", 4)
		d.setTopic("u", 3)
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 2))
		n := rapid.IntRange(1, 100).Draw(t, "steps")
		d.hold = rng.IntN(2) == 0
		for range n {
			d.randomConsumerStep(rng)
			d.flush()
			if diff := d.compareReplay(); diff != "" {
				t.Fatalf("replay differs:\n%s\nhistory:\n%s", diff, d.out.String())
			}
		}
		for len(d.queue) > 0 {
			d.settle(wire.None)
			d.flush()
		}
		want := consumersText(d.replayed())
		whole := d.log
		d.log = compact(whole, rng)
		if got := consumersText(d.replayed()); got != want {
			t.Fatalf("after compaction:\n%s\nbefore:\n%s\nhistory:\n%s", got, want, d.out.String())
		}
		d.log = whole[:rng.IntN(len(whole)+1)]
		d.goesOn(t)
	})
}

// goesOn loads what is in the log and lets a new member in: whatever a crash has left, the group must come to rest.
func (d *driver) goesOn(t *rapid.T) {
	d.queue, d.hold = nil, false
	d.machine = d.replayed()
	d.machine.SetImage(d.now, d.image, &d.fx)
	d.machine.Loaded(d.now, &d.fx)
	d.flush()
	if text := d.checkOwners(); text != "" {
		t.Fatal(text)
	}
	for _, id := range d.machine.Consumers.IDs() {
		d.now.Mono++
		d.now.Wall++
		g := d.machine.Consumers.groups[id]
		for _, memberID := range sortedKeys(g.members) {
			mb := g.members[memberID]
			if mb.meta.ClassicMemberMetadata != nil || mb.meta.InstanceID != nil {
				continue // they expire
			}
			d.consumeLine(args{"g": id, "member": memberID, "epoch": "0", "names": "t"})
			d.flush()
		}
	}
	d.advance(200_000)
	d.consumeLine(args{"g": "g0", "member": "last", "names": "t"})
	d.flush()
	g := d.machine.Consumers.groups["g0"]
	if g == nil {
		return // a classic group in the way that does not speak the consumers' protocol
	}
	mb := g.members["last"]
	if mb != nil && len(g.members) == 1 && !mb.reconciled(g.epoch) {
		t.Fatalf("the group does not settle:\n%s\n%s", consumersText(d.machine), d.out.String())
	}
}

func (d *driver) randomConsumerStep(rng *rand.Rand) {
	id := fmt.Sprintf("g%d", rng.IntN(2))
	mb := d.someConsumer(rng, id)
	a := args{"g": id, "member": mb.id, "epoch": fmt.Sprint(mb.current.MemberEpoch)}
	if mb.meta.InstanceID != nil {
		a["instance"] = *mb.meta.InstanceID
	}
	if rng.IntN(20) == 0 {
		a["epoch"] = fmt.Sprint(rng.IntN(12) - 2)
	}
	switch rng.IntN(20) {
	case 0, 1:
		n := args{"g": id, "member": fmt.Sprintf("m%d", rng.IntN(6)), "names": []string{"t", "u", "t,u"}[rng.IntN(3)]}
		if rng.IntN(4) == 0 {
			n["regex"] = []string{"t.*", ".*", "u|x"}[rng.IntN(3)]
		}
		if rng.IntN(3) == 0 {
			n["instance"] = fmt.Sprintf("i%d", rng.IntN(2))
		}
		if rng.IntN(4) == 0 {
			n["assignor"] = "range"
		}
		d.consumeLine(n)
	case 2, 3, 4, 5, 6, 7:
		if mb.meta.ClassicMemberMetadata != nil {
			d.joinLine(args{"g": id, "member": mb.id, "protocols": "range:topics0/t", "rebalance": "9000"})
			return
		}
		switch rng.IntN(4) {
		case 0:
		case 1:
			a["owned"] = ownedText(mb.current.AssignedPartitions)
		case 2:
			a["owned"] = ""
		default:
			a["owned"] = ownedText(append(mb.current.AssignedPartitions[:len(mb.current.AssignedPartitions):len(mb.current.AssignedPartitions)], mb.current.PartitionsPendingRevocation...))
		}
		d.consumeLine(a)
	case 8:
		a["names"] = []string{"t", "u", "t,u", ""}[rng.IntN(4)]
		d.consumeLine(a)
	case 9:
		a["epoch"] = []string{"-1", "-2"}[rng.IntN(2)]
		d.consumeLine(a)
	case 10:
		j := args{"g": id, "v": fmt.Sprint(rng.IntN(10)), "protocols": "range:topics0/t", "rebalance": "9000"}
		if rng.IntN(2) == 0 {
			j["instance"] = fmt.Sprintf("i%d", rng.IntN(3))
		}
		d.joinLine(j)
	case 11:
		d.syncLine(args{"g": id, "member": mb.id, "generation": a["epoch"]})
	case 12:
		d.heartbeatLine(args{"g": id, "member": mb.id, "generation": a["epoch"]})
	case 13:
		d.leaveLine(args{"g": id, "members": mb.id})
	case 14:
		d.advance([]int64{100, 3_000, 10_000, 50_000, 1_000_000}[rng.IntN(5)])
	case 15:
		d.commitLine(args{"g": id, "member": mb.id, "generation": a["epoch"], "offsets": "t-0:5,u-1:7", "ids": ""})
	case 16:
		switch rng.IntN(5) {
		case 0:
			d.setTopic("u", int32(rng.IntN(2)*3))
		case 1:
			d.setTopic("t", 4+int32(rng.IntN(3)))
		case 2:
			d.deleteGroupsLine(args{"groups": id + ",g1"})
		case 3:
			d.reloadLine(nil)
		}
	case 17:
		d.classicStep(rng, id)
	default:
		if len(d.queue) > 0 {
			d.settle([]wire.Code{0, 0, 0, 0, 0, wire.NotCoordinator, wire.CoordinatorNotAvailable}[rng.IntN(7)])
		}
	}
}

// classicStep moves a classic group on.
func (d *driver) classicStep(rng *rand.Rand, id string) {
	mb, generation := d.someMember(rng, id)
	a := args{"g": id, "member": mb.id, "generation": fmt.Sprint(generation), "protocols": "range:topics0/t"}
	if mb.static {
		a["instance"] = mb.instance
	}
	if rng.IntN(2) == 0 {
		d.joinLine(a)
		return
	}
	if g := d.machine.groups[id]; g != nil {
		for i, other := range g.order {
			a["assign"] += fmt.Sprintf("%s:@t/%d,", other.id, i)
		}
	}
	d.syncLine(a)
}

// ownedText is what parseOwned reads.
func ownedText(list []holding) (s string) {
	for _, h := range list {
		s += topicName(h.TopicID) + ":"
		for i, p := range h.Partitions {
			if i > 0 {
				s += "/"
			}
			s += fmt.Sprint(p)
		}
		s += ","
	}
	return s
}

// someConsumer picks a member, or a ghost.
func (d *driver) someConsumer(rng *rand.Rand, id string) *consumerMember {
	g := d.machine.Consumers.groups[id]
	if g == nil || len(g.members) == 0 || rng.IntN(20) == 0 {
		return &consumerMember{id: "ghost"}
	}
	ids := sortedKeys(g.members)
	return g.members[ids[rng.IntN(len(ids))]]
}
