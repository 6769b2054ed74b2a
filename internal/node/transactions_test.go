package node_test

import (
	"testing"
	"time"

	"github.com/moldau/moldau/internal/format/wire"
)

// transactional is the attribute of a batch of a transaction.
const transactional = 1 << 4

// txnSettings are what a node of one needs to have a topic of transactions.
var txnSettings = []string{"transaction.state.log.replication.factor", "1", "transaction.state.log.min.isr", "1", "transaction.state.log.num.partitions", "2"}

// begins takes a transactional id over.
func (r *rig) begins(id string) producer {
	r.t.Helper()
	find := &wire.FindCoordinatorRequest{KeyType: 1, CoordinatorKeys: []string{id}}
	r.call(find, 4, &wire.FindCoordinatorResponse{})
	req := &wire.InitProducerIdRequest{TransactionalID: &id, TransactionTimeoutMs: 10_000, ProducerID: -1, ProducerEpoch: -1}
	for range 1_000 {
		resp := &wire.InitProducerIdResponse{}
		r.call(req, 5, resp)
		switch resp.ErrorCode {
		case wire.None:
			return producer{transactional, resp.ProducerID, resp.ProducerEpoch, 0}
		case wire.ConcurrentTransactions, wire.CoordinatorNotAvailable, wire.CoordinatorLoadInProgress, wire.NotCoordinator:
			r.hand.Advance(10 * time.Millisecond)
		default:
			r.t.Fatal(resp.ErrorCode)
		}
	}
	r.t.Fatal("no coordinator")
	return producer{}
}

func txnProduce(id string, index int32, p producer) *wire.ProduceRequest {
	m := produceRequest(-1, "t", index, batch(p, "x"))
	m.TransactionalID = &id
	return m
}

// TestPipelinedTransactionalProduces: the first produce to a partition waits for the transaction coordinator. Those
// behind it, of the same connection, must not overtake it.
func TestPipelinedTransactionalProduces(t *testing.T) {
	r := newRig(t, txnSettings...)
	r.create("t", 3)
	p := r.begins("a")
	const requests = 12
	answers := make([]wire.ProduceResponse, requests)
	waits := make([]*pending, requests)
	var sequence [3]int32
	for i := range waits {
		index := int32(i % 3 / 2) // 0, 0, 1: the later ones find their partition open
		q := p
		q.sequence = sequence[index]
		sequence[index]++
		waits[i] = r.send(txnProduce("a", index, q), 12, &answers[i])
		if i == requests/2 {
			r.until("an answer", time.Minute, func() bool { return waits[0].answered })
		}
	}
	var offsets [3]int64
	for i := range waits {
		r.until("answer", time.Minute, func() bool { return waits[i].answered })
		got := &answers[i].Responses[0].PartitionResponses[0]
		if got.ErrorCode != wire.None || got.BaseOffset != offsets[got.Index] {
			t.Fatalf("request %d: %v at %d, not at %d", i, got.ErrorCode, got.BaseOffset, offsets[got.Index])
		}
		offsets[got.Index]++
	}
}

// TestTransactionalProduceRefusals: Kafka's codes for what a correct client does not send, and a partition that is refused
// takes no other with it.
func TestTransactionalProduceRefusals(t *testing.T) {
	r := newRig(t, txnSettings...)
	r.create("t", 3)
	p := r.begins("a")
	codes := func(m *wire.ProduceRequest, version int16) (list []wire.Code) {
		resp := &wire.ProduceResponse{}
		r.call(m, version, resp)
		for _, p := range resp.Responses[0].PartitionResponses {
			list = append(list, p.ErrorCode)
		}
		return list
	}
	none := txnProduce("a", 0, p)
	none.TransactionalID = nil
	if got := codes(none, 12); got[0] != wire.TransactionalIDAuthorizationFailed {
		t.Error("no transactional id:", got)
	}
	other := p
	other.id += 1000
	two := txnProduce("a", 0, p)
	two.TopicData[0].PartitionData = append(two.TopicData[0].PartitionData, wire.ProduceRequestPartitionProduceData{Index: 1, Records: batch(other, "x")})
	if got := codes(two, 12); got[0] != wire.InvalidProducerIDMapping || got[1] != wire.InvalidProducerIDMapping {
		t.Error("two producers:", got)
	}
	if got := codes(txnProduce("a", 0, p), 10); got[0] != wire.InvalidTxnState {
		t.Error("a partition that was not added, version 10:", got)
	}
	if got := codes(txnProduce("a", 0, p), 11); got[0] != wire.TransactionAbortable {
		t.Error("a partition that was not added, version 11:", got)
	}
	some := txnProduce("a", 0, p)
	late := p
	late.sequence = 7 // a producer with epochs of its own begins at 0
	some.TopicData[0].PartitionData = append(some.TopicData[0].PartitionData,
		wire.ProduceRequestPartitionProduceData{Index: 1, Records: batch(late, "x")},
		wire.ProduceRequestPartitionProduceData{Index: 9, Records: batch(p, "x")},
		wire.ProduceRequestPartitionProduceData{Index: 2, Records: batch(p, "x")})
	got := codes(some, 12)
	if got[0] != wire.None || got[1] != wire.OutOfOrderSequenceNumber || got[2] != wire.UnknownTopicOrPartition || got[3] != wire.None {
		t.Error("some partitions:", got)
	}
	end := &wire.EndTxnRequest{TransactionalID: "a", ProducerID: p.id, ProducerEpoch: p.epoch, Committed: true}
	ended := &wire.EndTxnResponse{}
	if r.call(end, 5, ended); ended.ErrorCode != wire.None || ended.ProducerEpoch != p.epoch+1 {
		t.Errorf("end: %+v", ended)
	}
	if got := codes(txnProduce("a", 0, p), 12); got[0] != wire.InvalidProducerEpoch && got[0] != wire.ProducerFenced {
		t.Error("of the last epoch:", got)
	}
}

// TestTransactionsWithoutVerification: who turns the verification off gets what was before KIP-890, for old clients.
func TestTransactionsWithoutVerification(t *testing.T) {
	r := newRig(t, append([]string{"transaction.partition.verification.enable", "false"}, txnSettings...)...)
	r.create("t", 3)
	p := r.begins("a")
	for index, version := range []int16{10, 11, 12} {
		resp := &wire.ProduceResponse{}
		r.call(txnProduce("a", int32(index), p), version, resp)
		if code := resp.Responses[0].PartitionResponses[0].ErrorCode; code != wire.None {
			t.Errorf("version %d: %v", version, code)
		}
	}
	found := &wire.DescribeTransactionsResponse{}
	r.call(&wire.DescribeTransactionsRequest{TransactionalIDs: []string{"a"}}, 0, found)
	if s := &found.TransactionStates[0]; len(s.Topics) != 1 || len(s.Topics[0].Partitions) != 1 || s.Topics[0].Partitions[0] != 2 {
		t.Errorf("%+v", s)
	}
}

// TestDeletedTopicDoesNotHoldATransaction: markers of partitions that are gone are not needed.
func TestDeletedTopicDoesNotHoldATransaction(t *testing.T) {
	r := newRig(t, txnSettings...)
	r.create("t", 2)
	p := r.begins("a")
	produced := &wire.ProduceResponse{}
	if r.call(txnProduce("a", 0, p), 12, produced); produced.Responses[0].PartitionResponses[0].ErrorCode != wire.None {
		t.Fatalf("%+v", produced)
	}
	deleted := &wire.DeleteTopicsResponse{}
	r.call(&wire.DeleteTopicsRequest{TopicNames: []string{"t"}, TimeoutMs: 1000}, 5, deleted)
	end := &wire.EndTxnRequest{TransactionalID: "a", ProducerID: p.id, ProducerEpoch: p.epoch, Committed: true}
	ended := &wire.EndTxnResponse{}
	if r.call(end, 5, ended); ended.ErrorCode != wire.None {
		t.Fatalf("%+v", ended)
	}
	r.hand.Advance(time.Second)
	if again := r.begins("a"); again.id != p.id || again.epoch != p.epoch+2 {
		t.Fatalf("%+v after %+v", again, p)
	}
}
