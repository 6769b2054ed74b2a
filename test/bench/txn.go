package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/moldau/moldau/internal/format/compress"
	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
)

const (
	txnPartitions = 3
	txnRecords    = 10 // of 1 KB, to each partition
	endTxnVersion = 5  // with which each transaction gets an epoch of its own (KIP-890)
	txnTimeoutMs  = 60_000
)

// txnRow compares how long a commit takes: one producer, one transaction after the other.
func txnRow() *row {
	measure := commits(false)
	r := &row{name: "txn", arms: twoArms(), measure: measure, warm: warmBy(measure)}
	for _, p := range []struct {
		what, metric string
		goal         goal
	}{
		{"EndTxn to its answer, p50", "commit_p50_ms", goal{ratioMost, 0.3}},
		{"EndTxn to its answer, p99", "commit_p99_ms", goal{ratioMost, 0.3}},
		{"whole transaction, p50", "whole_p50_ms", goal{}},
		{"whole transaction, p99", "whole_p99_ms", goal{}},
	} {
		r.lines = append(r.lines, line{what: "transactions of 30 KB over 3 partitions: " + p.what, metric: p.metric, unit: "ms", ours: 0, theirs: 1, goal: p.goal})
	}
	r.lines = append(r.lines, line{what: "transactions of 30 KB over 3 partitions: server CPU", metric: "cpu_us_per_txn", unit: "us", ours: 0, theirs: 1})
	return r
}

// visibleRow compares how long it takes until a reader that waits for committed records has those of a transaction; the next
// one begins then.
func visibleRow() *row {
	measure := commits(true)
	r := &row{name: "txnvisible", arms: twoArms(), measure: measure, warm: warmBy(measure)}
	for _, p := range []struct{ what, metric string }{{"p50", "visible_p50_ms"}, {"p99", "visible_p99_ms"}} {
		r.lines = append(r.lines, line{
			what: "transactions of 30 KB over 3 partitions: EndTxn until a reader of committed data has the records, " + p.what, metric: p.metric, unit: "ms", ours: 0, theirs: 1,
		})
	}
	return r
}

// transactor is a transactional producer.
type transactor struct {
	*conn
	id       string
	topic    *topic
	producer int64
	epoch    int16
	sequence int32 // the same in all partitions
}

// newTransactor finds the coordinator, which is the only node, and takes the id over.
func newTransactor(t *topic, id string) (*transactor, error) {
	c, err := dial(t.addr)
	if err != nil {
		return nil, err
	}
	x := &transactor{conn: c, id: id, topic: t}
	err = eventually(setupTimeout, retryPause, func() error {
		var found wire.FindCoordinatorResponse
		if err := c.call(&wire.FindCoordinatorRequest{KeyType: 1, CoordinatorKeys: []string{id}}, &found, 4); err != nil {
			return err
		}
		if len(found.Coordinators) != 1 || found.Coordinators[0].ErrorCode != wire.None {
			return fmt.Errorf("no transaction coordinator yet: %+v", found.Coordinators)
		}
		req := &wire.InitProducerIdRequest{TransactionalID: &id, TransactionTimeoutMs: txnTimeoutMs, ProducerID: -1, ProducerEpoch: -1}
		var resp wire.InitProducerIdResponse
		if err := c.call(req, &resp, 5); err != nil {
			return err
		}
		x.producer, x.epoch = resp.ProducerID, resp.ProducerEpoch
		if resp.ErrorCode != wire.None {
			return resp.ErrorCode
		}
		return nil
	})
	return x, err
}

// produce writes one batch to each partition.
func (x *transactor) produce(value []byte) error {
	b := record.NewBuilder(nil, record.Options{
		LeaderEpoch: record.NoLeaderEpoch, Codec: compress.None, Level: compress.DefaultLevel, Idempotent: true, Transactional: true,
		ProducerID: x.producer, ProducerEpoch: x.epoch, BaseSequence: x.sequence,
	})
	now := time.Now().UnixMilli()
	for range txnRecords {
		b.Append(now, nil, value)
	}
	batch, err := b.Finish()
	if err != nil {
		return err
	}
	req := &wire.ProduceRequest{TransactionalID: &x.id, Acks: -1, TimeoutMs: 30_000, TopicData: []wire.ProduceRequestTopicProduceData{{Name: x.topic.name}}}
	for i := range int32(x.topic.partitions) {
		req.TopicData[0].PartitionData = append(req.TopicData[0].PartitionData, wire.ProduceRequestPartitionProduceData{Index: i, Records: batch})
	}
	// The transaction before may still be ending: a client tries again, and its time counts.
	return eventually(callTimeout, retryPause, func() error {
		var resp wire.ProduceResponse
		if err := x.call(req, &resp, produceVersion); err != nil {
			return err
		}
		for i := range resp.Responses[0].PartitionResponses {
			if code := resp.Responses[0].PartitionResponses[i].ErrorCode; code != wire.None {
				return code
			}
		}
		x.sequence += txnRecords
		return nil
	})
}

// commit ends the transaction.
func (x *transactor) commit() error {
	var resp wire.EndTxnResponse
	req := &wire.EndTxnRequest{TransactionalID: x.id, ProducerID: x.producer, ProducerEpoch: x.epoch, Committed: true}
	if err := x.call(req, &resp, endTxnVersion); err != nil {
		return err
	}
	if resp.ErrorCode != wire.None {
		return resp.ErrorCode
	}
	x.producer, x.epoch, x.sequence = resp.ProducerID, resp.ProducerEpoch, 0
	return nil
}

// commits measures transactions, one after the other; with watched each is waited for by a reader.
func commits(watched bool) func(*bench, arm, time.Duration) (sample, error) {
	return func(b *bench, a arm, d time.Duration) (sample, error) {
		v, err := b.server(a.side)
		if err != nil {
			return nil, err
		}
		t, err := b.topic(a, txnPartitions, true)
		if err != nil {
			return nil, err
		}
		x, err := newTransactor(t, "bench")
		if err != nil {
			return nil, v.explain(err)
		}
		defer x.Close()
		var reader *awaiter
		if watched {
			if reader, err = newAwaiter(t); err != nil {
				return nil, v.explain(err)
			}
			defer reader.Close()
		}
		i, err := beginInterval(v.pid)
		if err != nil {
			return nil, err
		}
		var took txnTimes
		for begin := time.Now(); time.Since(begin) < d || len(took.ends) == 0; {
			if err := took.one(x, reader); err != nil {
				return nil, v.explain(err)
			}
		}
		u, err := i.end()
		if err != nil {
			return nil, err
		}
		return took.sample(u), nil
	}
}

// txnTimes is how long transactions took.
type txnTimes struct{ ends, seen, wholes []time.Duration }

// one runs a transaction; the reader may be nil.
func (s *txnTimes) one(x *transactor, reader *awaiter) error {
	start := time.Now()
	if err := x.produce(make([]byte, 1000)); err != nil {
		return err
	}
	var visible chan error
	var at time.Time
	if reader != nil {
		visible = make(chan error, 1)
		asked := make(chan struct{})
		go func() { visible <- reader.await(asked, &at) }()
		<-asked
	}
	middle := time.Now()
	if err := x.commit(); err != nil {
		return err
	}
	s.ends = append(s.ends, time.Since(middle))
	s.wholes = append(s.wholes, time.Since(start))
	if reader != nil {
		if err := <-visible; err != nil {
			return err
		}
		s.seen = append(s.seen, at.Sub(middle))
	}
	return nil
}

func (s *txnTimes) sample(u usage) sample {
	out := sample{"txns_per_s": float64(len(s.ends)) / u.wall.Seconds(), "cpu_us_per_txn": u.server.Seconds() * 1e6 / float64(len(s.ends))}
	for name, list := range map[string][]time.Duration{"commit": s.ends, "visible": s.seen, "whole": s.wholes} {
		if len(list) == 0 {
			continue
		}
		slices.Sort(list)
		out[name+"_p50_ms"], out[name+"_p99_ms"] = percentile(list, 50).Seconds()*1e3, percentile(list, 99).Seconds()*1e3
	}
	out.account(u)
	return out
}

// awaiter reads a topic's first partition as far as it is committed.
type awaiter struct {
	*conn
	topic    *topic
	position int64
}

// newAwaiter begins at the end.
func newAwaiter(t *topic) (*awaiter, error) {
	ends, err := t.ends()
	if err != nil {
		return nil, err
	}
	c, err := dial(t.addr)
	return &awaiter{c, t, ends[0]}, err
}

// await asks for records, closes asked, and waits until there are some; at is when.
func (a *awaiter) await(asked chan<- struct{}, at *time.Time) error {
	for first := true; ; first = false {
		req := fetchOne(a.topic, 0, a.position)
		req.MaxWaitMs, req.IsolationLevel = 10_000, 1
		err := a.send(req, fetchVersion)
		if first {
			close(asked)
		}
		if err != nil {
			return err
		}
		if _, err := a.response(); err != nil {
			return err
		}
		*at = time.Now()
		var resp wire.FetchResponse
		if err := a.decode(&resp, fetchVersion, a.correlation); err != nil {
			return err
		}
		p := &resp.Responses[0].Partitions[0]
		if p.ErrorCode != wire.None {
			return p.ErrorCode
		}
		if len(p.Records) > 0 {
			a.position = p.LastStableOffset
			return nil
		}
	}
}
