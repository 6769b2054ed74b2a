package main

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
)

const (
	costInFlight   = 5 // requests, the most that an idempotent producer has
	txnInterval    = 100 * time.Millisecond
	offsetSequence = 53 // of a batch's base sequence
)

// What a producer adds to its records, as another kind of acknowledgement: the servers and topics are those of synced.
const (
	plain        durability = "synced, plain"
	idempotent   durability = "synced, idempotent"
	in100ms      durability = "synced, in transactions of 100 ms"
	costRowTopic            = "1 KB records in 100 KB batches, 5 in flight"
)

// idempotenceRow compares our own rate and CPU with idempotence and without.
func idempotenceRow() *row {
	return costRow("idempotence", "idempotent over plain", idempotent, plain, goal{ratioLeast, 0.97})
}

// txn100Row compares them in transactions of 100 ms and without.
func txn100Row() *row {
	return costRow("txn100", "in transactions of 100 ms over idempotent", in100ms, idempotent, goal{ratioLeast, 0.95})
}

func costRow(name, what string, with, without durability, g goal) *row {
	return &row{
		name: name, arms: []arm{{ours, with}, {ours, without}}, measure: produceCost, warm: warmBy(produceCost),
		lines: []line{
			{what: costRowTopic + ", " + what + ": rate", metric: "mb_per_s", unit: "MB/s", ours: 0, theirs: 1, goal: g},
			{what: costRowTopic + ", " + what + ": server CPU", metric: "cpu_s_per_gb", unit: "s/GB", ours: 0, theirs: 1},
		},
	}
}

// costLoad is one producer that keeps some requests in flight; each has its own sequence number and checksum, also where the
// server does not look at the former.
type costLoad struct {
	*transactor
	req         *wire.ProduceRequest
	batch       record.Batch
	outstanding int
	acked       int64
	sinceBegin  bool // something was produced in the transaction
}

// produceCost measures one of the kinds.
func produceCost(b *bench, a arm, d time.Duration) (sample, error) {
	v, err := b.server(a.side)
	if err != nil {
		return nil, err
	}
	t, err := b.topic(a, 1, false)
	if err != nil {
		return nil, err
	}
	l, err := newCostLoad(t, a.durability)
	if err != nil {
		return nil, v.explain(err)
	}
	defer l.Close()
	i, err := beginInterval(v.pid)
	if err != nil {
		return nil, err
	}
	most := b.flags.bytes/int64(len(l.batch)) + 1
	for begin, commit := time.Now(), time.Now().Add(txnInterval); time.Since(begin) < d && l.acked < most; {
		if err := l.fill(); err != nil {
			return nil, v.explain(err)
		}
		if a.durability != in100ms || time.Now().Before(commit) {
			continue
		}
		if err := l.end(); err != nil {
			return nil, v.explain(err)
		}
		commit = time.Now().Add(txnInterval)
	}
	if err := l.end(); err != nil {
		return nil, v.explain(err)
	}
	u, err := i.end()
	if err != nil {
		return nil, err
	}
	bytes := float64(l.acked) * float64(len(l.batch))
	s := sample{"cpu_s_per_gb": u.server.Seconds() / (bytes / gigabyte), "mb_per_s": bytes / 1e6 / u.wall.Seconds(), "gb": bytes / gigabyte}
	s.account(u)
	return s, t.remove()
}

func newCostLoad(t *topic, kind durability) (*costLoad, error) {
	l := &costLoad{req: &wire.ProduceRequest{Acks: -1, TimeoutMs: 30_000}}
	var err error
	switch kind {
	case in100ms:
		l.transactor, err = newTransactor(t, "bench-"+t.name)
		if err == nil {
			l.req.TransactionalID = &l.id
		}
	default:
		l.transactor = &transactor{topic: t, producer: record.NoProducerID, epoch: record.NoProducerEpoch}
		l.conn, err = dial(t.addr)
	}
	if err == nil && kind == idempotent {
		var resp wire.InitProducerIdResponse
		if err = l.call(&wire.InitProducerIdRequest{ProducerID: -1, ProducerEpoch: -1}, &resp, 5); err == nil && resp.ErrorCode != wire.None {
			err = resp.ErrorCode
		}
		l.producer, l.epoch = resp.ProducerID, resp.ProducerEpoch
	}
	if err != nil {
		return nil, fmt.Errorf("beginning to produce to %s: %w", t.name, err)
	}
	return l, l.renew(kind)
}

// renew makes the batch for the producer's epoch.
func (l *costLoad) renew(kind durability) error {
	w := record.NewBuilder(nil, record.Options{
		LeaderEpoch: record.NoLeaderEpoch, Idempotent: kind != plain, Transactional: kind == in100ms,
		ProducerID: l.producer, ProducerEpoch: l.epoch,
	})
	now, value := time.Now().UnixMilli(), make([]byte, 1000)
	for range 100 {
		w.Append(now, nil, value)
	}
	var err error
	l.batch, err = w.Finish()
	l.req.TopicData = []wire.ProduceRequestTopicProduceData{{
		Name: l.topic.name, PartitionData: []wire.ProduceRequestPartitionProduceData{{Records: l.batch}},
	}}
	return err
}

// fill sends until enough is in flight, and takes one answer.
func (l *costLoad) fill() error {
	for ; l.outstanding < costInFlight; l.outstanding++ {
		if l.producer >= 0 {
			binary.BigEndian.PutUint32(l.batch[offsetSequence:], uint32(l.sequence))
		}
		l.batch.SetCRC()
		if err := l.send(l.req, produceVersion); err != nil {
			return err
		}
		l.sequence = record.AddSequence(l.sequence, int32(l.batch.Count()))
		l.sinceBegin = true
	}
	return l.take()
}

// take takes one answer.
func (l *costLoad) take() error {
	if _, err := l.response(); err != nil {
		return err
	}
	var resp wire.ProduceResponse
	if err := l.decode(&resp, produceVersion, l.correlation-int32(l.outstanding)+1); err != nil {
		return err
	}
	l.outstanding--
	if p := &resp.Responses[0].PartitionResponses[0]; p.ErrorCode != wire.None {
		return fmt.Errorf("produce to %s: %v: %s", l.topic.name, p.ErrorCode, text(p.ErrorMessage))
	}
	l.acked++
	return nil
}

// end waits for what is in flight, and ends the transaction if there is one.
func (l *costLoad) end() error {
	for l.outstanding > 0 {
		if err := l.take(); err != nil {
			return err
		}
	}
	if l.req.TransactionalID == nil || !l.sinceBegin {
		return nil
	}
	if err := l.commit(); err != nil {
		return err
	}
	l.sinceBegin = false
	return l.renew(in100ms)
}
