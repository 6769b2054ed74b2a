package sim

import (
	"log/slog"
	"testing"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
)

// TestMarkersShareASync: however many partitions a transaction has, its end is three synced writes, one behind the other: that it is
// to end, all markers, and that it has.
func TestMarkersShareASync(t *testing.T) {
	for _, partitions := range []int32{1, 100} {
		rig := NewRig(9, slog.New(slog.DiscardHandler))
		check(t, rig.Boot())
		check(t, rig.CreateTopic("t", partitions))
		p := takeOver(t, rig, "a")
		req, resp := &wire.ProduceRequest{}, &wire.ProduceResponse{}
		req.SetDefaults()
		id := "a"
		req.TransactionalID, req.Acks, req.TimeoutMs = &id, -1, 10_000
		req.TopicData = []wire.ProduceRequestTopicProduceData{{Name: "t"}}
		for i := range partitions {
			b := record.NewBuilder(nil, p)
			b.Append(clock.Millis(rig.hand.Now()), nil, []byte("v"))
			batch, err := b.Finish()
			check(t, err)
			req.TopicData[0].PartitionData = append(req.TopicData[0].PartitionData, wire.ProduceRequestPartitionProduceData{Index: i, Records: batch})
		}
		check(t, rig.Call(req, 12, resp))
		for i := range resp.Responses[0].PartitionResponses {
			if code := resp.Responses[0].PartitionResponses[i].ErrorCode; code != wire.None {
				t.Fatalf("partition %d: %v", i, code)
			}
		}
		syncs := 0
		rig.disk.SetTrace(func(op vfs.Op) {
			if op.Kind == vfs.OpSync {
				syncs++
			}
		})
		if code := endOne(t, rig, "a", &p); code != wire.None {
			t.Fatal(code)
		}
		rig.until(func() bool { return !rig.hand.RunOne() })
		rig.disk.SetTrace(nil)
		if stable, end := stableEnd(t, rig, "t"); stable != 2 || end != 2 || syncs != 3 {
			t.Errorf("%d partitions: %d syncs, stable up to %d of %d", partitions, syncs, stable, end)
		}
		check(t, rig.Stop())
	}
}
