package main

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/internal/format/wire"
)

// produceLoad sends requests over several connections, each with a fixed number in flight (closed loop), and checks
// every answer.
type produceLoad struct {
	topic *topic
	set   *requestSet
	acked atomic.Int64 // requests

	stopping atomic.Bool
	wg       sync.WaitGroup
	mu       sync.Mutex // guards err
	err      error
}

// startProduce opens the connections and starts sending. Whoever starts a load must finish it.
func startProduce(t *topic, set *requestSet, conns, inflight int) (*produceLoad, error) {
	l := &produceLoad{topic: t, set: set}
	for i := range conns {
		c, err := dial(t.addr)
		if err != nil {
			return nil, errors.Join(err, l.finish())
		}
		r := newRing(set, inflight, i*len(set.frames)/conns)
		l.wg.Go(func() {
			defer c.Close()
			if err := l.run(c, r, inflight); err != nil {
				l.fail(err)
			}
		})
	}
	return l, nil
}

func (l *produceLoad) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = fmt.Errorf("produce to %s: %w", l.topic.name, err)
	}
	l.stopping.Store(true)
}

// finish lets the requests under way end and gives the first error.
func (l *produceLoad) finish() error {
	l.stopping.Store(true)
	l.wg.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// run keeps inflight requests under way on one connection. What has been answered together is replaced together.
func (l *produceLoad) run(c *conn, r *ring, inflight int) error {
	answers := newAnswers(l.topic)
	outstanding := 0
	for {
		for !l.stopping.Load() && outstanding < inflight {
			piece, n := r.take(inflight-outstanding, answers.sent)
			if _, err := c.Write(piece); err != nil {
				return err
			}
			answers.sent += int32(n)
			outstanding += n
		}
		if outstanding == 0 {
			return nil
		}
		if err := c.SetReadDeadline(time.Now().Add(callTimeout)); err != nil {
			return err
		}
		for more := true; more; more = outstanding > 0 && c.waiting() {
			if err := answers.read(c); err != nil {
				return err
			}
			outstanding--
			l.acked.Add(1)
		}
	}
}

// answers checks the responses of one connection: the right numbers, no error, offsets that only grow.
type answers struct {
	sent, got int32
	last      []int64 // by partition: the greatest base offset yet
	resp      wire.ProduceResponse
}

func newAnswers(t *topic) *answers {
	a := &answers{last: make([]int64, t.partitions)}
	for i := range a.last {
		a.last[i] = -1
	}
	return a
}

func (a *answers) read(c *conn) error {
	if _, err := c.response(); err != nil {
		return err
	}
	if err := c.decode(&a.resp, produceVersion, a.got); err != nil {
		return err
	}
	a.got++
	return a.check()
}

func (a *answers) check() error {
	for i := range a.resp.Responses {
		for j := range a.resp.Responses[i].PartitionResponses {
			p := &a.resp.Responses[i].PartitionResponses[j]
			if p.ErrorCode != 0 {
				return fmt.Errorf("partition %d: %v: %s", p.Index, p.ErrorCode, text(p.ErrorMessage))
			}
			if int(p.Index) >= len(a.last) || p.BaseOffset <= a.last[p.Index] {
				return fmt.Errorf("partition %d: acknowledged at offset %d, which is not behind the last", p.Index, p.BaseOffset)
			}
			a.last[p.Index] = p.BaseOffset
		}
	}
	return nil
}

// paced sends one request after the other at fixed times, whatever the answers take (open loop).
type paced struct {
	conn     *conn
	ring     *ring
	interval time.Duration
	start    time.Time
	count    int             // requests to send
	acked    []time.Duration // by request: from the time it was due to its acknowledgement
}

// due is when request i is to be sent.
func (p *paced) due(i int) time.Time { return p.start.Add(time.Duration(i) * p.interval) }

// run sends all the requests and reads their answers.
func (p *paced) run(t *topic) error {
	if err := p.conn.SetDeadline(p.due(p.count).Add(callTimeout)); err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- p.write() }()
	answers := newAnswers(t)
	for i := range p.count {
		if err := answers.read(p.conn); err != nil {
			p.conn.Close()
			return errors.Join(err, <-failed)
		}
		p.acked = append(p.acked, time.Since(p.due(i)))
	}
	return <-failed
}

func (p *paced) write() error {
	wait, release := newPace()
	defer release()
	for i := range p.count {
		wait(p.due(i))
		piece, _ := p.ring.take(1, int32(i))
		if _, err := p.conn.Write(piece); err != nil {
			return err
		}
	}
	return nil
}
