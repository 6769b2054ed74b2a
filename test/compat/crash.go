package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The load of the crash test: two topics, one written by an idempotent producer.
const (
	crashPartitions = 4
	crashIdempotent = "crash-idempotent"
	crashPlain      = "crash-plain"
	shortestLife    = 150 * time.Millisecond
	longestLife     = 1200 * time.Millisecond
)

// track is what is known of one partition: what was acknowledged, and what was found.
type track struct {
	mu    sync.Mutex
	acked []int64 // offset by turn of the record in this partition, or unacknowledged
	end   int64   // behind the last that is acknowledged
	next  int64   // where the next round of reading begins
	last  uint64  // the newest number seen
	dups  int     // records found again
}

const unacknowledged = -1

// ack notes that a record has its offset.
func (t *track) ack(number uint64, offset int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	turn := int(number / crashPartitions)
	for len(t.acked) <= turn {
		t.acked = append(t.acked, unacknowledged)
	}
	t.acked[turn], t.end = offset, max(t.end, offset+1)
}

// offset is where the record was acknowledged to be.
func (t *track) offset(number uint64) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if turn := int(number / crashPartitions); turn < len(t.acked) {
		return t.acked[turn]
	}
	return unacknowledged
}

// crash is one run of the crash test.
type crash struct {
	b      *broker
	tracks map[string][]*track
	acked  atomic.Int64
}

// crashPart kills Moldau under load, many times, and looks after each start for what was
// acknowledged.
func (s *suite) crashPart(ctx context.Context) {
	n, acked, dups, err := s.crashes(ctx)
	name := fmt.Sprintf("every acknowledged record is there in order after %d kills (%d records, %d doubles of the producer without idempotence)", n, acked, dups)
	s.report.check(name, err)
}

func (s *suite) crashes(ctx context.Context) (kills int, acked int64, dups int, err error) {
	b, err := s.broker(moldauName, "crash")
	if err != nil {
		return 0, 0, 0, err
	}
	if err := b.start(ctx); err != nil {
		return 0, 0, 0, err
	}
	defer b.kill()
	c := &crash{b: b, tracks: map[string][]*track{}}
	if err := c.create(ctx); err != nil {
		return 0, 0, 0, err
	}
	stop, errs := make(chan struct{}), make(chan error, 2)
	for topic := range c.tracks {
		go func() { errs <- c.produce(ctx, topic, stop) }()
	}
	random := rand.New(rand.NewSource(time.Now().UnixNano()))
	for kills < s.kills && err == nil {
		life := time.NewTimer(shortestLife + time.Duration(random.Int63n(int64(longestLife-shortestLife))))
		select {
		case <-life.C:
		case err = <-b.done:
			b.cmd = nil
			return kills, c.acked.Load(), c.dups(), fmt.Errorf("the broker ended by itself: %v", err)
		case <-ctx.Done():
			return kills, c.acked.Load(), c.dups(), ctx.Err()
		}
		b.kill()
		kills++
		known := c.known()
		if err = b.start(ctx); err == nil {
			err = c.look(ctx, known)
		}
	}
	close(stop)
	err = errors.Join(err, <-errs, <-errs)
	if err == nil {
		err = c.lookAtAll(ctx)
	}
	if err == nil && c.acked.Load() == 0 {
		err = errors.New("nothing was acknowledged, so nothing is shown")
	}
	if err == nil {
		err = b.stop()
	}
	return kills, c.acked.Load(), c.dups(), err
}

func (c *crash) create(ctx context.Context) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.b.addr))
	if err != nil {
		return err
	}
	defer cl.Close()
	for _, topic := range []string{crashIdempotent, crashPlain} {
		if _, err := kadm.NewClient(cl).CreateTopic(ctx, crashPartitions, 1, nil, topic); err != nil {
			return err
		}
		for range crashPartitions {
			c.tracks[topic] = append(c.tracks[topic], &track{})
		}
	}
	return nil
}

// produce writes numbered records to all partitions until it is stopped; the client tries again
// for as long as it takes.
func (c *crash) produce(ctx context.Context, topic string, stop chan struct{}) error {
	opts := []kgo.Opt{kgo.SeedBrokers(c.b.addr), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(100),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }), kgo.MetadataMinAge(20 * time.Millisecond),
		kgo.RecordRetries(1 << 30), kgo.RequestRetries(1 << 30), kgo.UnknownTopicRetries(-1), kgo.ProducerBatchCompression(kgo.NoCompression())}
	if topic == crashPlain {
		opts = append(opts, kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(1))
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	var failed atomic.Pointer[error]
	for number := uint64(1); ; number++ {
		select {
		case <-stop:
			err := cl.Flush(ctx)
			if first := failed.Load(); first != nil {
				err = errors.Join(*first, err)
			}
			return err
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
		value := make([]byte, 100+number%300)
		binary.BigEndian.PutUint64(value, number)
		t := c.tracks[topic][number%crashPartitions]
		cl.Produce(ctx, &kgo.Record{Topic: topic, Partition: int32(number % crashPartitions), Value: value}, func(r *kgo.Record, err error) {
			if err != nil {
				err = fmt.Errorf("%s: record %d is refused: %w", topic, number, err)
				failed.CompareAndSwap(nil, &err)
				return
			}
			t.ack(number, r.Offset)
			c.acked.Add(1)
		})
	}
}

// known is the end that each partition must have at least: behind all that is acknowledged.
func (c *crash) known() map[string][]int64 {
	out := map[string][]int64{}
	for topic, tracks := range c.tracks {
		for _, t := range tracks {
			t.mu.Lock()
			out[topic] = append(out[topic], t.end)
			t.mu.Unlock()
		}
	}
	return out
}

// look reads what is new since the last look, up to what was acknowledged before the crash.
func (c *crash) look(ctx context.Context, known map[string][]int64) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for topic, tracks := range c.tracks {
		for p, t := range tracks {
			if err := c.read(ctx, topic, int32(p), t, known[topic][p]); err != nil {
				return err
			}
		}
	}
	return nil
}

// lookAtAll reads everything again from the start.
func (c *crash) lookAtAll(ctx context.Context) error {
	for _, tracks := range c.tracks {
		for _, t := range tracks {
			t.next, t.last, t.dups = 0, 0, 0
		}
	}
	return c.look(ctx, c.known())
}

// read checks one partition: every acknowledged record is at its offset, numbers only grow, and
// only the producer without idempotence may have written one twice.
func (c *crash) read(ctx context.Context, topic string, partition int32, t *track, end int64) error {
	var wrong error
	found := map[int64]bool{}
	first := t.next
	err := readPartition(ctx, c.b.addr, span{topic, partition, t.next, end}, func(r *kgo.Record) {
		if r.Offset >= end || wrong != nil {
			return
		}
		number := binary.BigEndian.Uint64(r.Value)
		if t.offset(number) == r.Offset {
			found[r.Offset] = true
		}
		switch {
		case r.Offset != t.next:
			wrong = fmt.Errorf("offset %d follows %d", r.Offset, t.next-1)
		case number > t.last && t.last > 0 && number != t.last+crashPartitions:
			wrong = fmt.Errorf("offset %d: record %d follows %d", r.Offset, number, t.last)
		case number <= t.last && topic == crashIdempotent:
			wrong = fmt.Errorf("offset %d: record %d is there again, after %d", r.Offset, number, t.last)
		case number <= t.last:
			t.dups++
		}
		t.next, t.last = r.Offset+1, max(t.last, number)
	})
	if err == nil {
		err = wrong
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for turn, offset := range t.acked {
		if err == nil && offset >= first && offset < end && !found[offset] {
			err = fmt.Errorf("offset %d was acknowledged for record %d of this partition and does not have it", offset, turn)
		}
	}
	if err != nil {
		err = fmt.Errorf("%s/%d: %w", topic, partition, err)
	}
	return err
}

func (c *crash) dups() (n int) {
	for _, tracks := range c.tracks {
		for _, t := range tracks {
			n += t.dups
		}
	}
	return n
}
