package sim

import (
	"log/slog"
	"testing"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/format/compress"
	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
)

// TestProduceRightBehindTheEnd has a producer begin its next transaction at once, while the markers of the last one are being
// written: its records wait for those, and are taken.
func TestProduceRightBehindTheEnd(t *testing.T) {
	for _, tc := range []struct {
		name                       string
		produce, end, offsets, add int16
	}{
		{"transaction.version 2", 12, 5, 5, -1},
		{"transaction.version 1", 11, 4, 4, 3},
	} {
		for steps := range 12 { // of background work between the end and what follows
			rig := NewRig(7, slog.New(slog.DiscardHandler))
			check(t, rig.Boot())
			check(t, rig.CreateTopic("t", 1))
			for _, kind := range []int8{0, 1} {
				check(t, rig.findCoordinator(kind, "any"))
			}
			id := "producer"
			init := &wire.InitProducerIdResponse{}
			for init.ErrorCode = wire.CoordinatorLoadInProgress; init.ErrorCode != wire.None; rig.Step() {
				check(t, rig.Call(&wire.InitProducerIdRequest{TransactionalID: &id, TransactionTimeoutMs: 10_000, ProducerID: -1, ProducerEpoch: -1}, 5, init))
			}
			p := record.Options{Codec: compress.None, Level: compress.DefaultLevel, Idempotent: true, Transactional: true, ProducerID: init.ProducerID, ProducerEpoch: init.ProducerEpoch}
			for n := range 5 {
				if tc.add >= 0 {
					resp := &wire.AddPartitionsToTxnResponse{}
					check(t, rig.Call(&wire.AddPartitionsToTxnRequest{
						V3AndBelowTransactionalID: id, V3AndBelowProducerID: p.ProducerID, V3AndBelowProducerEpoch: p.ProducerEpoch,
						V3AndBelowTopics: []wire.AddPartitionsToTxnRequestAddPartitionsToTxnTopic{{Name: "t", Partitions: []int32{0}}},
					}, tc.add, resp))
					if code := resp.ResultsByTopicV3AndBelow[0].ResultsByPartition[0].PartitionErrorCode; code != wire.None {
						t.Fatalf("%s, %d steps: transaction %d: adding the partition: %v", tc.name, steps, n, code)
					}
				}
				if code := produceOne(t, rig, id, &p, tc.produce); code != wire.None {
					t.Fatalf("%s, %d steps: transaction %d: producing: %v", tc.name, steps, n, code)
				}
				if code := commitOne(t, rig, id, &p, tc.offsets, tc.add); code != wire.None {
					t.Fatalf("%s, %d steps: transaction %d: committing an offset: %v", tc.name, steps, n, code)
				}
				end := &wire.EndTxnResponse{}
				check(t, rig.Call(&wire.EndTxnRequest{TransactionalID: id, ProducerID: p.ProducerID, ProducerEpoch: p.ProducerEpoch, Committed: true}, tc.end, end))
				if end.ErrorCode != wire.None {
					t.Fatalf("%s, %d steps: transaction %d: ending: %v", tc.name, steps, n, end.ErrorCode)
				}
				if tc.end >= 5 {
					p.ProducerID, p.ProducerEpoch, p.BaseSequence = end.ProducerID, end.ProducerEpoch, 0
				}
				for range steps {
					rig.hand.RunOne()
				}
			}
			check(t, rig.Stop())
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// produceOne writes one record.
func produceOne(t *testing.T, rig *Rig, id string, p *record.Options, version int16) wire.Code {
	t.Helper()
	b := record.NewBuilder(nil, *p)
	b.Append(clock.Millis(rig.hand.Now()), nil, []byte("v"))
	batch, err := b.Finish()
	check(t, err)
	p.BaseSequence++
	req, resp := &wire.ProduceRequest{}, &wire.ProduceResponse{}
	req.SetDefaults()
	req.TransactionalID, req.Acks, req.TimeoutMs = &id, -1, 10_000
	req.TopicData = []wire.ProduceRequestTopicProduceData{{Name: "t", PartitionData: []wire.ProduceRequestPartitionProduceData{{Records: batch}}}}
	check(t, rig.Call(req, version, resp))
	return resp.Responses[0].PartitionResponses[0].ErrorCode
}

// commitOne commits an offset in the transaction.
func commitOne(t *testing.T, rig *Rig, id string, p *record.Options, version, add int16) wire.Code {
	t.Helper()
	if add >= 0 {
		resp := &wire.AddOffsetsToTxnResponse{}
		check(t, rig.Call(&wire.AddOffsetsToTxnRequest{TransactionalID: id, ProducerID: p.ProducerID, ProducerEpoch: p.ProducerEpoch, GroupID: "g"}, 3, resp))
		if resp.ErrorCode != wire.None {
			return resp.ErrorCode
		}
	}
	resp := &wire.TxnOffsetCommitResponse{}
	check(t, rig.Call(&wire.TxnOffsetCommitRequest{
		TransactionalID: id, ProducerID: p.ProducerID, ProducerEpoch: p.ProducerEpoch, GroupID: "g", GenerationIDOrMemberEpoch: -1,
		Topics: []wire.TxnOffsetCommitRequestTopic{{Name: "t", Partitions: []wire.TxnOffsetCommitRequestPartition{{CommittedOffset: 1, CommittedLeaderEpoch: -1}}}},
	}, version, resp))
	return resp.Topics[0].Partitions[0].ErrorCode
}
