package cli

import (
	"context"
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// latencyHead is what a record of a latency run begins with: the run, and when it was sent, both 8 bytes.
	latencyHead = 16
	// latencyPatience is how long the last records may take to come.
	latencyPatience = 10 * time.Second
)

// latency writes records at a steady rate and reads them at the same time.
func (p *perf) latency(ctx context.Context) (*perfResult, error) {
	if p.rate == 0 {
		return nil, usagef("--rate 0: latency is measured at a steady rate; `moldau perf produce` writes as fast as it goes")
	}
	p.size = max(p.size, latencyHead)
	value, err := payloads(p.size)
	if err != nil {
		return nil, err
	}
	w, err := p.writer(ctx)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	r, err := p.tail(ctx, kadm.NewClient(w))
	if err != nil {
		return nil, err
	}
	defer r.Close()

	var acked, came latencies
	var sent, arrived atomic.Int64
	var failed atomic.Pointer[error]
	run := p.clock.Uint64()
	writing, cancelWriting := context.WithCancel(ctx)
	defer cancelWriting()
	reading, cancelReading := context.WithCancel(context.Background())
	over := make(chan struct{})
	stop := p.report(&came)
	p.clock.Go("read", func() {
		defer close(over)
		p.read(reading, r, run, &came, &arrived)
	})
	p.each(writing, func(i int64) {
		v := append([]byte(nil), value(i)...)
		at := p.clock.Mono()
		binary.BigEndian.PutUint64(v, run)
		binary.BigEndian.PutUint64(v[8:], uint64(at))
		sent.Add(1)
		w.Produce(context.Background(), &kgo.Record{Value: v}, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.CompareAndSwap(nil, &err)
				cancelWriting()
				return
			}
			acked.add(p.clock.Mono() - at)
		})
	})
	err = w.Flush(context.Background())
	patience, cancelPatience := context.WithTimeout(ctx, latencyPatience)
	defer cancelPatience()
	for arrived.Load() < sent.Load() && failed.Load() == nil && p.wait(patience, time.Millisecond) {
	}
	cancelReading()
	<-over
	stop()
	if f := failed.Load(); f != nil {
		return nil, ofTopic(p.topic, *f, "")
	}
	result, ackTable, cameTable := p.result(), acked.table(), came.table()
	result.Acknowledged, result.EndToEnd = &ackTable, &cameTable
	return result, err
}

// tail makes a client that reads the topic from its present end.
func (p *perf) tail(ctx context.Context, a *kadm.Client) (*kgo.Client, error) {
	ends, err := a.ListEndOffsets(ctx, p.topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, ofTopic(p.topic, err, "")
	}
	at := map[int32]kgo.Offset{}
	ends.Each(func(o kadm.ListedOffset) { at[o.Partition] = kgo.NewOffset().At(o.Offset) })
	return p.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{p.topic: at}))
}

// read takes the time of this run's records until ctx ends.
func (p *perf) read(ctx context.Context, cl *kgo.Client, run uint64, came *latencies, arrived *atomic.Int64) {
	for ctx.Err() == nil {
		fetches := cl.PollFetches(ctx)
		now := p.clock.Mono()
		fetches.EachRecord(func(r *kgo.Record) {
			if len(r.Value) < latencyHead || binary.BigEndian.Uint64(r.Value) != run {
				return // somebody else's
			}
			came.add(now - time.Duration(binary.BigEndian.Uint64(r.Value[8:])))
			p.done.Add(1)
			p.bytes.Add(int64(len(r.Value)))
			arrived.Add(1)
		})
	}
}
