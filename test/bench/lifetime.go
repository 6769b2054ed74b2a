package main

import (
	"fmt"
	"time"

	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
)

const (
	idleConns          = 1000
	freshTime          = 5 * time.Second
	recoveryPartitions = 100
)

// probe is what a server is asked to find out whether it serves: one tiny batch to every partition of a topic.
type probe struct {
	topic *topic
	set   *requestSet
}

func newProbe(addr, name string, partitions int) (*probe, error) {
	t := &topic{addr: addr, name: name, partitions: partitions}
	batch, err := newBatch(1, 100)
	if err != nil {
		return nil, err
	}
	set, err := newRequestSet(t, partitions, batch)
	return &probe{topic: t, set: set}, err
}

// acknowledged tries until the batches are acknowledged; the topic is created on the way when it is missing.
func (p *probe) acknowledged(v *server) error {
	return eventually(10*setupTimeout, retryPause, func() error {
		if err := p.once(); err != nil {
			return v.explain(err)
		}
		return nil
	})
}

func (p *probe) once() error {
	c, err := dial(p.topic.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(callTimeout)); err != nil {
		return err
	}
	if err := p.topic.lead(c, true); err != nil {
		return err
	}
	if _, err := c.Write(newRing(p.set, 1, 0).buf); err != nil {
		return err
	}
	if _, err := c.response(); err != nil {
		return err
	}
	var resp wire.ProduceResponse
	if err := c.decode(&resp, produceVersion, 0); err != nil {
		return err
	}
	a := newAnswers(p.topic)
	a.resp = resp
	return a.check()
}

// start measures from the start of the process to the first acknowledged record, on an empty directory and again.
func start(b *bench, a arm, _ time.Duration) (sample, error) {
	v, err := b.fleet.prepare(a.side, "start-"+a.side.String())
	if err != nil {
		return nil, err
	}
	s := sample{}
	for _, name := range []string{"first", "again"} {
		p, err := newProbe(v.addr, "first", 1)
		if err != nil {
			return nil, err
		}
		begin := time.Now()
		if err := v.start(); err != nil {
			return nil, err
		}
		if err := p.acknowledged(v); err != nil {
			return nil, err
		}
		s[name+"_ms"] = time.Since(begin).Seconds() * 1e3
		cpu, err := cpuOf(v.pid)
		if err != nil {
			return nil, err
		}
		s[name+"_cpu_ms"] = cpu.Seconds() * 1e3
		begin = time.Now()
		if err := v.stop(); err != nil {
			return nil, err
		}
		s[name+"_stop_ms"] = time.Since(begin).Seconds() * 1e3
	}
	return s, v.discard()
}

// fresh measures a shape from the moment when the server answers, with a server of its own: what a node does after a
// start, a failover or in a test. A measurement is freshTime long, or as -seconds says if that is less.
func fresh(p shape) func(*bench, arm, time.Duration) (sample, error) {
	return func(b *bench, a arm, d time.Duration) (sample, error) {
		v, err := b.fleet.launch(a.side, "fresh-")
		if err != nil {
			return nil, err
		}
		t, err := createTopic(v.addr, "fresh", p.partitions, a.durability.configs())
		if err != nil {
			return nil, v.explain(err)
		}
		set, err := p.requests(t)
		if err != nil {
			return nil, err
		}
		s, err := b.produceTo(v, t, set, p.conns, 0, min(d, freshTime))
		if err != nil {
			return nil, v.explain(err)
		}
		return s, v.discard()
	}
}

// occupied measures memory: at rest after the start, with idle connections, under the load of produce1k.
func occupied(b *bench, a arm, d time.Duration) (sample, error) {
	v, err := b.fleet.launch(a.side, "memory-")
	if err != nil {
		return nil, err
	}
	s := sample{}
	<-time.After(b.flags.settle)
	idle, err := memoryOf(v.pid)
	if err != nil {
		return nil, err
	}
	s["idle_mb"], s["idle_anonymous_mb"] = idle.resident, idle.anonymous
	if s["connection_kb"], err = b.connections(v); err != nil {
		return nil, v.explain(err)
	}
	t, err := createTopic(v.addr, "load", 1, a.durability.configs())
	if err != nil {
		return nil, err
	}
	set, err := bulk(1).requests(t)
	if err != nil {
		return nil, err
	}
	if _, err := b.produceTo(v, t, set, 1, rampUp, b.warmTime(a.side)+d); err != nil {
		return nil, v.explain(err)
	}
	load, err := memoryOf(v.pid)
	if err != nil {
		return nil, err
	}
	s["load_mb"], s["load_anonymous_mb"], s["peak_mb"] = load.resident, load.anonymous, load.peak
	return s, v.discard()
}

// connections opens idle connections that have shaken hands, and gives what each adds in KB.
func (b *bench) connections(v *server) (float64, error) {
	before, err := memoryOf(v.pid)
	if err != nil {
		return 0, err
	}
	for range idleConns {
		c, err := dial(v.addr)
		if err != nil {
			return 0, err
		}
		defer c.Close()
		var resp wire.ApiVersionsResponse
		if err := c.call(&wire.ApiVersionsRequest{ClientSoftwareName: clientID, ClientSoftwareVersion: "1"}, &resp, 3); err != nil {
			return 0, err
		}
	}
	<-time.After(b.flags.settle)
	after, err := memoryOf(v.pid)
	return (after.resident - before.resident) * 1e3 / idleConns, err
}

// recovery kills a server behind the last of many acknowledged bytes and measures how long after its start every
// partition takes records again and gives its last one.
func recovery(b *bench, a arm, _ time.Duration) (sample, error) {
	v, err := b.fleet.launch(a.side, "recovery-")
	if err != nil {
		return nil, err
	}
	t, err := createTopic(v.addr, "log", recoveryPartitions, a.durability.configs())
	if err != nil {
		return nil, err
	}
	if err := b.fill(t, b.flags.recovery, 1); err != nil {
		return nil, v.explain(err)
	}
	ends, err := t.ends()
	if err != nil {
		return nil, err
	}
	if err := v.kill(); err != nil {
		return nil, err
	}
	p, err := newProbe(v.addr, t.name, t.partitions)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := v.start(); err != nil {
		return nil, err
	}
	if err := p.acknowledged(v); err != nil {
		return nil, err
	}
	s := sample{"acknowledged_ms": time.Since(begin).Seconds() * 1e3, "gb": float64(b.flags.recovery) / gigabyte}
	if err := readLast(t, ends); err != nil {
		return nil, v.explain(err)
	}
	s["serving_ms"] = time.Since(begin).Seconds() * 1e3
	cpu, err := cpuOf(v.pid)
	if err != nil {
		return nil, err
	}
	s["cpu_s"] = cpu.Seconds()
	return s, v.discard()
}

// readLast fetches the record before each of the ends, and checks the batch that holds it.
func readLast(t *topic, ends []int64) error {
	c, err := dial(t.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	var resp wire.FetchResponse
	for partition, end := range ends {
		if err := c.SetDeadline(time.Now().Add(callTimeout)); err != nil {
			return err
		}
		if err := c.call(fetchOne(t, int32(partition), end-1), &resp, fetchVersion); err != nil {
			return err
		}
		if err := holds(&resp, end-1); err != nil {
			return fmt.Errorf("after recovery, %s-%d: %w", t.name, partition, err)
		}
	}
	return nil
}

// holds checks that a response's first batch is whole and holds the offset.
func holds(resp *wire.FetchResponse, offset int64) error {
	if len(resp.Responses) != 1 || len(resp.Responses[0].Partitions) != 1 {
		return fmt.Errorf("no answer for the partition: %v", resp.ErrorCode)
	}
	p := resp.Responses[0].Partitions[0]
	if p.ErrorCode != 0 {
		return p.ErrorCode
	}
	batch, _, err := record.Next(p.Records)
	if err != nil {
		return err
	}
	if batch == nil || batch.BaseOffset() > offset || batch.LastOffset() < offset {
		return fmt.Errorf("acknowledged offset %d is not there, the high watermark is %d", offset, p.HighWatermark)
	}
	return batch.CheckCRC()
}
