package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/moldau/moldau/internal/format/record"
)

const latencyRate = 1000 // records a second

// latency measures how long a record is under way from the moment it was due to be sent to the moment a waiting
// consumer has it: one producer, one consumer, one partition, no lingering, and no waiting for earlier answers.
func latency(b *bench, a arm, d time.Duration) (sample, error) {
	v, err := b.server(a.side)
	if err != nil {
		return nil, err
	}
	t, err := b.topic(a, 1, true)
	if err != nil {
		return nil, err
	}
	set, err := shape{perRequest: 1, records: 1, valueSize: 1000}.requests(t)
	if err != nil {
		return nil, err
	}
	base, err := t.total()
	if err != nil {
		return nil, err
	}
	count := int(2 * d.Seconds() * latencyRate)
	arrived := make([]time.Time, count)
	audience, err := gather(t, 1, func(_ int32, batch record.Batch, at time.Time) {
		if i := batch.BaseOffset() - base; i < int64(count) {
			arrived[i] = at
		}
	})
	if err != nil {
		return nil, v.explain(err)
	}
	c, err := dial(t.addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	p := &paced{conn: c, ring: newRing(set, 1, 0), interval: time.Second / latencyRate, start: time.Now().Add(rampUp), count: count}
	i, err := beginInterval(v.pid)
	if err != nil {
		return nil, err
	}
	if err := p.run(t); err != nil {
		return nil, v.explain(err)
	}
	u, err := i.end()
	if err != nil {
		return nil, err
	}
	if err := audience.leave(int64(count)); err != nil {
		return nil, v.explain(err)
	}
	whole := make([]time.Duration, count)
	for i, at := range arrived {
		whole[i] = at.Sub(p.due(i))
	}
	s := sample{}
	s.percentiles("", whole)
	s.percentiles("ack_", p.acked)
	s.account(u)
	return s, nil
}

// percentiles adds those of the durations, in milliseconds.
func (s sample) percentiles(prefix string, d []time.Duration) {
	slices.Sort(d)
	for _, p := range []float64{50, 99, 99.9, 100} {
		s[fmt.Sprintf("%sp%g_ms", prefix, p)] = float64(percentile(d, p)) / float64(time.Millisecond)
	}
}

// warmLatency runs the same kind of request as fast as it goes, so that the JVM has compiled what it will run, and
// then the measured load for a while.
func warmLatency(b *bench, a arm, d time.Duration) error {
	if _, err := produce(shape{partitions: 1, perRequest: 1, records: 1, valueSize: 1000, conns: 1})(b, a, d/2); err != nil {
		return err
	}
	_, err := latency(b, a, d/4)
	return err
}
