package txn

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/moldau/moldau/internal/format/wire"
)

// TestRandomLives has clients, some of them zombies, use a few transactional ids while coordinators come and go. It checks that
// what is live equals what a replay gives, that no producer id and epoch is given to two clients, and that an id is never stuck.
func TestRandomLives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := newDriver(int16(rapid.IntRange(0, 2).Draw(t, "level")))
		ids := []string{"a", "b"}
		held := map[string][]Producer{} // what clients were told, dead or alive
		given := map[string]bool{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			id := rapid.SampledFrom(ids).Draw(t, "id")
			p := Producer{noProducer, noEpoch}
			if len(held[id]) > 0 {
				p = rapid.SampledFrom(held[id]).Draw(t, "producer")
			}
			bump := int16(rapid.SampledFrom([]int{0, 2}).Draw(t, "client"))
			d.out.Reset()
			switch rapid.IntRange(0, 8).Draw(t, "what") {
			case 0:
				got, code := d.init(&Init{TransactionalID: id, TimeoutMs: 1000, Expected: Producer{noProducer, noEpoch}, Fresh: -1})
				if code == wire.None {
					key := fmt.Sprint(id, got)
					if given[key] {
						t.Fatalf("%s was given twice", key)
					}
					d.absorb()
					if d.settleUntil(id) {
						given[key] = true
						held[id] = append(held[id], got)
					}
				}
			case 1, 2:
				d.machine.AddPartitions(d.now, id, p, []Partition{{"t", int32(rapid.IntRange(0, 3).Draw(t, "partition"))}}, &d.fx)
			case 3, 4:
				got, code := d.end(&End{TransactionalID: id, Producer: p, Commit: rapid.Bool().Draw(t, "commit"), Version: bump, Fresh: -1})
				if code == wire.None && bump == VersionBump {
					held[id] = append(held[id], got)
				}
			case 5:
				d.settle()
			case 6:
				if x := d.machine.txns[id]; x != nil && len(x.unsent) > 0 && !x.pending {
					d.machine.MarkersWritten(d.now, id, Producer{x.producerID, x.epoch}, x.unsent[:1:1], &d.fx)
				}
			case 7:
				d.now.Wall, d.now.Mono = d.now.Wall+700, d.now.Mono+20_000
				d.machine.Expire(d.now, &d.fx)
			case 8:
				d.load()
			}
			d.absorb()
		}
		if diff := d.compareReplay(); diff != "" {
			t.Fatal(diff)
		}
		for _, id := range ids {
			d.finish(t, id)
		}
	})
}

// settleUntil settles all, and says whether the id was among it.
func (d *driver) settleUntil(id string) bool {
	for d.settle() {
	}
	return d.machine.txns[id] != nil
}

// finish brings an id to rest: a new client gets it, after a bounded number of tries.
func (d *driver) finish(t *rapid.T, id string) {
	for range 5 {
		for d.settle() {
		}
		if x := d.machine.txns[id]; x != nil && x.state.preparing() {
			d.machine.MarkersWritten(d.now, id, Producer{x.producerID, x.epoch}, append([]Partition(nil), x.unsent...), &d.fx)
			d.absorb()
			continue
		}
		_, code := d.init(&Init{TransactionalID: id, TimeoutMs: 1000, Expected: Producer{noProducer, noEpoch}, Fresh: -1})
		d.absorb()
		if code == wire.None {
			return
		}
	}
	t.Fatalf("%s is stuck: %s", id, d.machine.dump())
}

// FuzzApply reads hostile records.
func FuzzApply(f *testing.F) {
	d := newDriver(VersionBump)
	d.init(&Init{TransactionalID: "a", TimeoutMs: 1, Expected: Producer{noProducer, noEpoch}, Fresh: -1})
	for _, w := range d.fx.Writes {
		f.Add(w.Records[0].Key, w.Records[0].Value)
	}
	f.Fuzz(func(_ *testing.T, key, value []byte) {
		d := newDriver(VersionBump)
		d.log = append(d.log, entryOf(key, value))
		if _, err := d.machine.Apply(&d.log[0]); err == nil {
			d.load()
			d.now.Wall += 1 << 40
			d.now.Mono += 1 << 40
			d.machine.Expire(d.now, &d.fx)
			d.machine.dump()
		}
	})
}
