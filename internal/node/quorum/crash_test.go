package quorum

import (
	"fmt"
	"testing"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/wire"
)

// TestPowerCutAtAnyOperation cuts the power at each operation of the disk in
// turn, from the format on, with every fate of what was not synced. The next
// start must always succeed, with every topic that was acknowledged.
func TestPowerCutAtAnyOperation(t *testing.T) {
	total, whole := lifeWithCut(t, 0, vfs.Keep, 1)
	cut := 0
	step := int64(1)
	if testing.Short() {
		step = 7
	}
	for at := int64(1); at <= total; at += step {
		for seed, fate := range []vfs.Fate{vfs.Lose, vfs.Keep, vfs.Mix, vfs.Mix, vfs.Mix} {
			if _, acked := lifeWithCut(t, at, fate, uint64(seed)+1); acked > 0 && acked < whole {
				cut++
			}
		}
	}
	if cut == 0 {
		t.Errorf("none of %d operations came between two topics", total)
	}
}

// lifeWithCut runs format, start, three topics, a clean stop and a second start; the power goes at one operation, and
// then a third life checks. It gives the number of operations that there were, and of topics acknowledged.
func lifeWithCut(t *testing.T, at int64, fate vfs.Fate, seed uint64) (operations int64, topics int) {
	t.Helper()
	sim := vfs.NewSim(vfs.SimConfig{Seed: seed})
	sim.CutAt(at)
	c := brokerConfig(t)
	acked := map[string]wire.UUID{}
	hand := clock.NewHand(seed)
	begin := sim.OpCount()
	for life := range 2 {
		p, err := start(t, sim.Mount(), hand, c)
		if err != nil {
			break
		}
		for i := range 3 {
			name := fmt.Sprintf("t%d-%d", life, i)
			reply, err := p.try(create(name, 2))
			if err != nil {
				break
			}
			acked[name] = reply.(*wire.CreateTopicsResponse).Topics[0].TopicID
		}
		p.q.Close(func(error) {})
		hand.Run()
		_ = p.store.CloseClean(p.q.BrokerEpoch())
	}
	operations = sim.OpCount() - begin
	hand.Kill()
	sim.PowerCut(fate)
	hand = clock.NewHand(seed + 100)
	p, err := start(t, sim.Mount(), hand, c)
	if err != nil {
		t.Fatalf("cut at %d, fate %d, seed %d: the next start fails: %v", at, fate, seed, err)
	}
	for name, id := range acked {
		if topic, ok := p.q.Image().Topic(name); !ok || topic.ID != id || len(topic.Partitions) != 2 {
			t.Fatalf("cut at %d, fate %d, seed %d: topic %s was acknowledged and is %+v", at, fate, seed, name, topic)
		}
	}
	if p.q.Image().MetadataVersion() != 30 || !p.q.Image().Broker(1).Active() {
		t.Fatalf("cut at %d, fate %d, seed %d: the cluster is not whole", at, fate, seed)
	}
	if _, err := p.try(create("last", 1)); err != nil {
		t.Fatalf("cut at %d, fate %d, seed %d: %v", at, fate, seed, err)
	}
	return operations, len(acked)
}
