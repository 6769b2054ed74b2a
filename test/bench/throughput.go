package main

import (
	"fmt"
	"time"
)

const (
	inflight   = 10
	rampUp     = 200 * time.Millisecond // before counting begins, except in the rows that are about the beginning
	pollPause  = 2 * time.Millisecond
	gigabyte   = 1e9
	tailRate   = 500 // records a second that the consumers of tailfetch wait for
	tailReader = 8   // consumers
)

// shape is a produce workload.
type shape struct {
	partitions, perRequest int // of the topic, and of one request
	records, valueSize     int // of one batch
	conns                  int
	keep                   bool // one topic for all rounds: the row writes little
}

// produce measures a shape: CPU for each GB of record batches, and the rate with the requests in flight.
func produce(p shape) func(*bench, arm, time.Duration) (sample, error) {
	return func(b *bench, a arm, d time.Duration) (sample, error) {
		v, err := b.server(a.side)
		if err != nil {
			return nil, err
		}
		t, err := b.topic(a, p.partitions, p.keep)
		if err != nil {
			return nil, err
		}
		set, err := p.requests(t)
		if err != nil {
			return nil, err
		}
		s, err := b.produceTo(v, t, set, p.conns, rampUp, d)
		if err != nil {
			return nil, v.explain(err)
		}
		if !p.keep {
			err = t.remove()
		}
		return s, err
	}
}

func (p shape) requests(t *topic) (*requestSet, error) {
	batch, err := newBatch(p.records, p.valueSize)
	if err != nil {
		return nil, err
	}
	return newRequestSet(t, p.perRequest, batch)
}

// produceTo loads the topic until the time or the bytes are up, and counts the records afterwards. What happens before
// ramp has passed is not measured.
func (b *bench) produceTo(v *server, t *topic, set *requestSet, conns int, ramp, d time.Duration) (sample, error) {
	before, err := t.total()
	if err != nil {
		return nil, err
	}
	load, err := startProduce(t, set, conns, inflight)
	if err != nil {
		return nil, err
	}
	s, err := b.watch(v, load, ramp, d)
	if failed := load.finish(); failed != nil {
		err = failed
	}
	if err != nil {
		return nil, err
	}
	after, err := t.total()
	if err != nil {
		return nil, err
	}
	if want := load.acked.Load() * int64(set.records); after-before != want {
		return nil, fmt.Errorf("%s: %d records were acknowledged, %d are there", t.name, want, after-before)
	}
	return s, nil
}

// watch measures a running load, after ramp.
func (b *bench) watch(v *server, load *produceLoad, ramp, d time.Duration) (sample, error) {
	tick := time.NewTicker(pollPause)
	defer tick.Stop()
	for begin := time.Now(); ramp > 0 && (time.Since(begin) < ramp || load.acked.Load() == 0 && time.Since(begin) < callTimeout); {
		<-tick.C
		if load.stopping.Load() {
			return nil, nil // failed: finish tells why
		}
	}
	i, err := beginInterval(v.pid)
	if err != nil {
		return nil, err
	}
	first := load.acked.Load()
	most := first + b.flags.bytes/int64(load.set.bytes) + 1
	for time.Since(i.begin) < d && load.acked.Load() < most && !load.stopping.Load() {
		<-tick.C
	}
	requests := load.acked.Load() - first
	u, err := i.end()
	if err != nil {
		return nil, err
	}
	bytes := float64(requests) * float64(load.set.bytes)
	s := sample{
		"cpu_s_per_gb": u.server.Seconds() / (bytes / gigabyte), "mb_per_s": bytes / 1e6 / u.wall.Seconds(), "gb": bytes / gigabyte,
		"requests_per_s": float64(requests) / u.wall.Seconds(), "cpu_us_per_request": u.server.Seconds() * 1e6 / float64(requests),
	}
	s.account(u)
	return s, nil
}

// total is the number of records in a topic that nothing has been deleted from.
func (t *topic) total() (int64, error) {
	ends, err := t.ends()
	var sum int64
	for _, end := range ends {
		sum += end
	}
	return sum, err
}

// bulk is the shape of large loads: 1 KB records in batches of 100 KB.
func bulk(partitions int) shape {
	return shape{partitions: partitions, perRequest: 1, records: 100, valueSize: 1000, conns: 1}
}

// fill produces n bytes of bulk batches.
func (b *bench) fill(t *topic, n int64, conns int) error {
	set, err := bulk(t.partitions).requests(t)
	if err != nil {
		return err
	}
	return b.fillWith(t, set, n, conns)
}

// fillWith produces n bytes of the requests' batches.
func (b *bench) fillWith(t *topic, set *requestSet, n int64, conns int) error {
	load, err := startProduce(t, set, conns, inflight)
	if err != nil {
		return err
	}
	tick := time.NewTicker(pollPause)
	defer tick.Stop()
	for load.acked.Load()*int64(set.bytes) < n && !load.stopping.Load() {
		<-tick.C
	}
	return load.finish()
}

// fetchLarge measures reading what lies in the page cache, a megabyte at a time.
func fetchLarge(b *bench, a arm, d time.Duration) (sample, error) {
	const conns = 2
	v, err := b.server(a.side)
	if err != nil {
		return nil, err
	}
	fresh := b.kept[a] == nil
	t, err := b.topic(a, conns, true)
	if err != nil {
		return nil, err
	}
	if fresh {
		if err := b.fill(t, b.flags.bytes/2, 1); err != nil {
			return nil, v.explain(err)
		}
		syncDisks()
	}
	f, err := startBulkFetch(t, conns)
	if err != nil {
		return nil, err
	}
	<-time.After(rampUp)
	i, err := beginInterval(v.pid)
	if err != nil {
		return nil, err
	}
	bytes, requests := f.bytes.Load(), f.requests.Load()
	<-time.After(d)
	bytes, requests = f.bytes.Load()-bytes, f.requests.Load()-requests
	u, err := i.end()
	if failed := f.finish(); failed != nil {
		return nil, v.explain(failed)
	}
	s := sample{
		"cpu_s_per_gb": u.server.Seconds() / (float64(bytes) / gigabyte), "mb_per_s": float64(bytes) / 1e6 / u.wall.Seconds(),
		"kb_per_request": float64(bytes) / 1e3 / float64(requests),
	}
	s.account(u)
	return s, err
}

// fetchTail measures consumers that wait at the end of 100 partitions for single records: what the server needs with
// them beyond what it needs for the same records without.
func fetchTail(b *bench, a arm, d time.Duration) (sample, error) {
	v, err := b.server(a.side)
	if err != nil {
		return nil, err
	}
	t, err := b.topic(a, 100, true)
	if err != nil {
		return nil, err
	}
	alone, _, err := b.trickle(v, t, 0, d)
	if err != nil {
		return nil, v.explain(err)
	}
	read, tails, err := b.trickle(v, t, tailReader, d)
	if err != nil {
		return nil, v.explain(err)
	}
	var bytes, requests int64
	for _, f := range tails {
		bytes += f.bytes.Load()
		requests += f.requests.Load()
	}
	cost := (read.server - alone.server).Seconds()
	s := sample{
		"cpu_s_per_gb": cost / (float64(bytes) / gigabyte), "cpu_us_per_request": cost * 1e6 / float64(requests),
		"produce_cpu_s": alone.server.Seconds(), "kb_per_request": float64(bytes) / 1e3 / float64(requests),
		"requests_per_s": float64(requests) / read.wall.Seconds(),
	}
	s.account(read)
	return s, nil
}

// trickle produces single records at a fixed rate while consumers wait for them, all of which must get all.
func (b *bench) trickle(v *server, t *topic, readers int, d time.Duration) (usage, []*tail, error) {
	set, err := shape{perRequest: 1, records: 1, valueSize: 1000}.requests(t)
	if err != nil {
		return usage{}, nil, err
	}
	audience, err := gather(t, readers, nil)
	if err != nil {
		return usage{}, nil, err
	}
	c, err := dial(t.addr)
	if err != nil {
		return usage{}, nil, err
	}
	defer c.Close()
	count := int(d.Seconds() * tailRate)
	p := &paced{conn: c, ring: newRing(set, 1, 0), interval: time.Second / tailRate, start: time.Now(), count: count}
	i, err := beginInterval(v.pid)
	if err != nil {
		return usage{}, nil, err
	}
	if err := p.run(t); err != nil {
		return usage{}, nil, err
	}
	u, err := i.end()
	if err != nil {
		return usage{}, nil, err
	}
	return u, audience.tails, audience.leave(int64(count))
}
