package main

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
)

const (
	compactionValue   = 100
	compactionBatch   = 500 // records
	compactionSegment = 16  // segments at least that the log has: the last is not cleaned
	compactionLimit   = 30 * time.Minute
	configOfTopic     = 2
)

// compaction writes every key twice, in another order the second time, and measures the CPU that it takes to clean the log: from when
// the topic is declared compacted until its size rests.
func compaction(b *bench, a arm, _ time.Duration) (sample, error) {
	v, err := b.fleet.launch(a.side, "compaction-")
	if err != nil {
		return nil, err
	}
	keys := b.flags.keys
	size := keys * 2 * (compactionValue + 24)
	segment := max(1<<20, size/compactionSegment)
	t, err := createTopic(v.addr, "keys", 1, map[string]string{"segment.bytes": fmt.Sprint(segment), "retention.ms": "-1", "min.cleanable.dirty.ratio": "0.01"})
	if err != nil {
		return nil, err
	}
	if err := writeKeys(t, keys); err != nil {
		return nil, v.explain(err)
	}
	before, err := logSize(t)
	if err != nil {
		return nil, err
	}
	i, err := beginInterval(v.pid)
	if err != nil {
		return nil, err
	}
	if err := setConfig(v.addr, configOfTopic, t.name, "cleanup.policy", "compact"); err != nil {
		return nil, err
	}
	after, err := rests(t, before)
	if err != nil {
		return nil, v.explain(err)
	}
	u, err := i.end()
	if err != nil {
		return nil, err
	}
	if err := keysLeft(t, keys); err != nil {
		return nil, v.explain(err)
	}
	s := sample{"cpu_s_per_gb": u.server.Seconds() / (float64(before) / gigabyte), "gb": float64(before) / gigabyte, "gb_after": float64(after) / gigabyte}
	s.account(u)
	return s, v.discard()
}

// writeKeys produces all keys in order, and then all in another order.
func writeKeys(t *topic, keys int64) error {
	c, err := dial(t.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	value := make([]byte, compactionValue)
	var key [16]byte
	flying, sent := 0, int32(0)
	answer := func() error {
		if _, err := c.response(); err != nil {
			return err
		}
		var resp wire.ProduceResponse
		if err := c.decode(&resp, produceVersion, c.correlation-int32(flying)+1); err != nil {
			return err
		}
		flying--
		return newAnswersOf(t, resp).check()
	}
	for n := int64(0); n < 2*keys; n += compactionBatch {
		w := record.NewBuilder(nil, record.Options{LeaderEpoch: record.NoLeaderEpoch})
		now := time.Now().UnixMilli()
		for k := n; k < min(n+compactionBatch, 2*keys); k++ {
			at := k
			if k >= keys {
				at = (k - keys) * 7919 % keys // 7919 is prime: each key once, as long as it does not divide their number
			}
			binary.BigEndian.PutUint64(key[8:], uint64(at))
			binary.BigEndian.PutUint64(value, uint64(k))
			w.Append(now, key[:], value)
		}
		batch, err := w.Finish()
		if err != nil {
			return err
		}
		req := &wire.ProduceRequest{Acks: 1, TimeoutMs: 30_000, TopicData: []wire.ProduceRequestTopicProduceData{{Name: t.name,
			PartitionData: []wire.ProduceRequestPartitionProduceData{{Records: batch}}}}}
		if err := c.send(req, produceVersion); err != nil {
			return err
		}
		sent++
		if flying++; flying >= inflight {
			if err := answer(); err != nil {
				return err
			}
		}
	}
	for flying > 0 {
		if err := answer(); err != nil {
			return err
		}
	}
	return nil
}

// newAnswersOf checks one response.
func newAnswersOf(t *topic, resp wire.ProduceResponse) *answers {
	a := newAnswers(t)
	a.resp = resp
	return a
}

// logSize asks for the bytes of the topic's log.
func logSize(t *topic) (int64, error) {
	var resp wire.DescribeLogDirsResponse
	if err := ask(t.addr, &wire.DescribeLogDirsRequest{Topics: []wire.DescribeLogDirsRequestDescribableLogDirTopic{{Topic: t.name, Partitions: []int32{0}}}}, &resp, 4); err != nil {
		return 0, err
	}
	for _, r := range resp.Results {
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				return p.PartitionSize, nil
			}
		}
	}
	return 0, fmt.Errorf("no directory has %s", t.name)
}

// rests waits until the log is at most two thirds of what it was and has not changed for a while.
func rests(t *topic, before int64) (int64, error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	last, since := before, time.Now()
	for begin := time.Now(); time.Since(begin) < compactionLimit; {
		<-tick.C
		size, err := logSize(t)
		if err != nil {
			return 0, err
		}
		if size != last {
			last, since = size, time.Now()
		}
		if last <= before*2/3 && time.Since(since) > 3*time.Second {
			return last, nil
		}
	}
	return 0, fmt.Errorf("the log is not clean after %v: it has %d bytes, and had %d", compactionLimit, last, before)
}

// keysLeft reads the log and counts its records: every key must be there, and those that are there twice must be in what is not cleaned.
func keysLeft(t *topic, keys int64) error {
	c, err := dial(t.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	ends, err := t.ends()
	if err != nil {
		return err
	}
	var records int64
	var resp wire.FetchResponse
	for offset := int64(0); offset < ends[0]; {
		req := fetchOne(t, 0, offset)
		req.MaxBytes, req.Topics[0].Partitions[0].PartitionMaxBytes = 8<<20, 8<<20
		if err := c.call(req, &resp, fetchVersion); err != nil {
			return err
		}
		rest := resp.Responses[0].Partitions[0].Records
		if code := resp.Responses[0].Partitions[0].ErrorCode; code != 0 || len(rest) == 0 {
			return fmt.Errorf("reading the cleaned log at offset %d of %d: %v, %d bytes", offset, ends[0], code, len(rest))
		}
		for {
			batch, next, err := record.Next(rest)
			if err != nil || batch == nil {
				break // the last one may be cut
			}
			records, offset, rest = records+int64(batch.Count()), batch.LastOffset()+1, next
		}
	}
	if records < keys || records > keys*3/2 {
		return fmt.Errorf("the cleaned log has %d records of %d keys", records, keys)
	}
	return nil
}
