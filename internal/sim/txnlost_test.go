package sim

import (
	"log/slog"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/format/compress"
	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
)

// takeOver initialises a transactional id.
func takeOver(t *testing.T, rig *Rig, id string) record.Options {
	t.Helper()
	resp := &wire.InitProducerIdResponse{ErrorCode: wire.CoordinatorLoadInProgress}
	for range 1000 {
		check(t, rig.Call(&wire.InitProducerIdRequest{TransactionalID: &id, TransactionTimeoutMs: 10_000, ProducerID: -1, ProducerEpoch: -1}, 5, resp))
		if resp.ErrorCode == wire.None {
			break
		}
		if resp.ErrorCode == wire.NotCoordinator {
			check(t, rig.findCoordinator(1, id)) // which makes its topic
		}
		rig.Step()
	}
	if resp.ErrorCode != wire.None {
		t.Fatalf("taking %s over: %v", id, resp.ErrorCode)
	}
	return record.Options{Codec: compress.None, Level: compress.DefaultLevel, Idempotent: true, Transactional: true, ProducerID: resp.ProducerID, ProducerEpoch: resp.ProducerEpoch}
}

func endOne(t *testing.T, rig *Rig, id string, p *record.Options) wire.Code {
	t.Helper()
	resp := &wire.EndTxnResponse{}
	check(t, rig.Call(&wire.EndTxnRequest{TransactionalID: id, ProducerID: p.ProducerID, ProducerEpoch: p.ProducerEpoch, Committed: true}, 5, resp))
	return resp.ErrorCode
}

// stableEnd is the last stable offset of t-0, and where the partition ends.
func stableEnd(t *testing.T, rig *Rig, topic string) (stable, end int64) {
	t.Helper()
	part, err := rig.fetch(topic, 0, 0)
	check(t, err)
	return part.LastStableOffset, part.HighWatermark
}

func deleteTopic(t *testing.T, rig *Rig, name string) {
	t.Helper()
	resp := &wire.DeleteTopicsResponse{}
	check(t, rig.Call(&wire.DeleteTopicsRequest{TopicNames: []string{name}, TimeoutMs: 10_000}, 5, resp))
	if code := resp.Responses[0].ErrorCode; code != wire.None {
		t.Fatalf("deleting %s: %v", name, code)
	}
}

// TestCoordinatorLosesTransaction: __transaction_state is deleted while a transaction is open. It hangs in its partition, where an
// administrator finds and ends it; its transactional id goes on with another producer id.
func TestCoordinatorLosesTransaction(t *testing.T) {
	rig := NewRig(5, slog.New(slog.DiscardHandler))
	check(t, rig.Boot())
	check(t, rig.CreateTopic("t", 1))
	p := takeOver(t, rig, "a")
	if code := produceOne(t, rig, "a", &p, 12); code != wire.None {
		t.Fatal(code)
	}
	deleteTopic(t, rig, "__transaction_state")
	rig.Pass()
	if code := endOne(t, rig, "a", &p); code == wire.None {
		t.Fatal("a transaction that nobody knows was committed")
	}
	next := takeOver(t, rig, "a")
	if next.ProducerID == p.ProducerID {
		t.Fatalf("producer id %d was given again", p.ProducerID)
	}
	if stable, end := stableEnd(t, rig, "t"); stable != 0 || end != 1 {
		t.Fatalf("stable up to %d of %d", stable, end)
	}
	d := &wire.DescribeProducersResponse{}
	check(t, rig.Call(&wire.DescribeProducersRequest{Topics: []wire.DescribeProducersRequestTopicRequest{{Name: "t", PartitionIndexes: []int32{0}}}}, 0, d))
	active := d.Topics[0].Partitions[0].ActiveProducers
	if len(active) != 1 || active[0].ProducerID != p.ProducerID || active[0].CurrentTxnStartOffset != 0 {
		t.Fatalf("producers: %+v", active)
	}
	m := &wire.WriteTxnMarkersResponse{}
	check(t, rig.Call(&wire.WriteTxnMarkersRequest{Markers: []wire.WriteTxnMarkersRequestWritableTxnMarker{{
		ProducerID: active[0].ProducerID, ProducerEpoch: int16(active[0].ProducerEpoch), CoordinatorEpoch: max(active[0].CoordinatorEpoch, 0),
		Topics: []wire.WriteTxnMarkersRequestWritableTxnMarkerTopic{{Name: "t", PartitionIndexes: []int32{0}}},
	}}}, 1, m))
	if code := m.Markers[0].Topics[0].Partitions[0].ErrorCode; code != wire.None {
		t.Fatalf("ending it: %v", code)
	}
	if code := produceOne(t, rig, "a", &next, 12); code != wire.None {
		t.Fatalf("producing anew: %v", code)
	}
	if code := endOne(t, rig, "a", &next); code != wire.None {
		t.Fatalf("committing anew: %v", code)
	}
	rig.Pass()
	if stable, end := stableEnd(t, rig, "t"); stable != 4 || end != 4 {
		t.Fatalf("stable up to %d of %d", stable, end)
	}
	check(t, rig.Stop())
}

// TestMarkersForDeletedPartitions: a transaction whose partitions are deleted, also while the node is down, ends; one that was
// made anew under the same name gets a marker that ends nothing.
func TestMarkersForDeletedPartitions(t *testing.T) {
	for _, anew := range []bool{false, true} {
		rig := NewRig(5, slog.New(slog.DiscardHandler))
		check(t, rig.Boot())
		check(t, rig.CreateTopic("t", 1))
		check(t, rig.findCoordinator(0, "g"))
		p := takeOver(t, rig, "a")
		if code := produceOne(t, rig, "a", &p, 12); code != wire.None {
			t.Fatal(code)
		}
		if code := commitOne(t, rig, "a", &p, 5, -1); code != wire.None {
			t.Fatal(code)
		}
		deleteTopic(t, rig, "t")
		if anew {
			check(t, rig.CreateTopic("t", 1))
		}
		if code := endOne(t, rig, "a", &p); code != wire.None {
			t.Fatal(code)
		}
		for range 20 {
			rig.hand.Advance(100 * time.Millisecond)
		}
		d := &wire.DescribeTransactionsResponse{}
		check(t, rig.Call(&wire.DescribeTransactionsRequest{TransactionalIDs: []string{"a"}}, 0, d))
		if got := d.TransactionStates[0].TransactionState; got != "CompleteCommit" {
			t.Errorf("made anew: %v: the transaction is %s, its partitions are %v", anew, got, d.TransactionStates[0].Topics)
		}
		check(t, rig.Stop())
	}
}
