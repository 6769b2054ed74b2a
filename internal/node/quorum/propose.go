package quorum

import (
	"errors"
	"fmt"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/disk/commitlog"
	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/invariant"
	"github.com/moldau/moldau/internal/machine/controller"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// proposal is a decided request that waits to be committed.
type proposal struct {
	values [][]byte // the records
	bytes  int
	split  bool
	reply  any
	delta  *metadata.Delta // nil when there are no records
	image  *metadata.Image
	done   func(reply any, err error)
}

// Propose decides a request, one of wire's request messages that a controller
// answers, and calls done with the response message when all that it
// depends on is committed and the subscribers have been told, or with an error when
// nothing was done. done is called once, by this goroutine or another, and must not block.
func (q *Quorum) Propose(request any, done func(reply any, err error)) {
	q.propose(func(c *controller.Context) (controller.Decision, error) { return q.machine.Decide(c, request) }, done)
}

// propose decides under the lock and puts the result in line. A decision
// without records waits too: it looked at others that are not committed yet.
func (q *Quorum) propose(decide func(*controller.Context) (controller.Decision, error), done func(any, error)) {
	q.mu.Lock()
	p, err := q.decide(decide, done)
	if err != nil {
		q.mu.Unlock()
		done(nil, err)
		return
	}
	q.queue = append(q.queue, p)
	q.queuedBytes += p.bytes
	pump := !q.busy
	q.busy = true
	q.mu.Unlock()
	if pump {
		q.pump()
	}
}

// decide makes a proposal and applies it to the machine. The caller holds mu.
func (q *Quorum) decide(decide func(*controller.Context) (controller.Decision, error), done func(any, error)) (*proposal, error) {
	switch {
	case q.err != nil:
		return nil, q.err
	case !q.running:
		return nil, ErrClosed
	case len(q.queue) >= maxQueuedRequests || q.queuedBytes >= maxQueuedBytes:
		return nil, ErrBusy
	}
	decision, err := decide(&controller.Context{
		ClusterID: q.o.Identity.ClusterID, NodeID: q.o.Identity.NodeID, Broker: q.o.Identity.NodeID,
		NowMs:  clock.Millis(q.o.World.Now()),
		Offset: q.next, KRaftVersion: q.loaded.kraftVersion, Config: q.o.Config, Rand: q.o.World,
	})
	if err != nil {
		return nil, err
	}
	p := &proposal{reply: decision.Reply, split: decision.Splittable, done: done}
	if len(decision.Records) == 0 {
		return p, nil
	}
	version := q.machine.Image().MetadataVersion()
	for _, rec := range decision.Records {
		v := metadata.AppendRecord(nil, rec, version)
		p.values = append(p.values, v)
		p.bytes += len(v)
	}
	if !p.split && p.bytes > maxBatchBytes*3/4 {
		return nil, ErrTooLarge
	}
	last := q.next + int64(len(p.values)) - 1
	p.delta, err = q.machine.Apply(decision.Records, last, q.raft.Epoch())
	invariant.Check(err == nil, "quorum: a decision cannot be applied: %v", err)
	p.image = q.machine.Image()
	q.next = last + 1
	return p, nil
}

// pump answers what waits for nothing and begins the next append. The caller
// has set busy; pump hands it on to the append's Done, or clears it.
func (q *Quorum) pump() {
	for {
		q.mu.Lock()
		n := 0
		for n < len(q.queue) && q.queue[n].delta == nil {
			n++
		}
		if n == 0 && len(q.queue) == 0 {
			q.busy = false
			q.mu.Unlock()
			return
		}
		if n == 0 {
			q.fill()
			q.mu.Unlock()
			q.log.Append(&q.append)
			return
		}
		ready := q.queue[:n]
		q.queue = q.queue[n:]
		q.mu.Unlock()
		for _, p := range ready {
			p.done(p.reply, nil)
		}
	}
}

// fill makes the next append of as many waiting proposals as fit one batch, or of a
// single large one in several. The caller holds mu.
func (q *Quorum) fill() {
	now := clock.Millis(q.o.World.Now())
	buf := q.lead
	q.lead = nil
	w := record.NewBuilder(buf, record.Options{})
	flush := func() {
		batch, err := w.Finish()
		invariant.Check(err == nil, "quorum: a batch cannot be built: %v", err)
		buf = append(buf, batch...)
		w = record.NewBuilder(buf, record.Options{})
	}
	q.inFlight = 0
	bytes := 0
	for _, p := range q.queue {
		if q.inFlight > 0 && bytes+p.bytes > maxBatchBytes/2 {
			break
		}
		for _, v := range p.values {
			if p.split && w.Size()+len(v) > maxBatchBytes/2 && w.Count() > 0 {
				flush()
			}
			w.Append(now, nil, v)
		}
		bytes += p.bytes
		q.inFlight++
	}
	if w.Count() > 0 {
		flush()
	}
	q.append.Records, q.append.LeaderEpoch = buf, q.raft.Epoch()
	q.retention.bytes += int64(len(buf))
	q.loaded.timestampMs = now
}

// appended is called by the log when an append is stable or was refused.
func (q *Quorum) appended(a *commitlog.Append) {
	if a.Err != nil {
		q.refused(a.Err)
		return
	}
	q.mu.Lock()
	done := q.queue[:q.inFlight]
	q.raft.Stable(a.LastOffset + 1)
	q.highWater.Store(q.raft.HighWatermark())
	q.mu.Unlock()
	for i, p := range done {
		if p.delta == nil {
			continue
		}
		invariant.Check(i+1 < len(done) || p.image.Offset() == a.LastOffset,
			"quorum: the log ends at %d, the image at %d", a.LastOffset, p.image.Offset())
		q.publish(p.image, p.delta)
	}
	for _, p := range done {
		p.done(p.reply, nil)
	}
	q.mu.Lock()
	for _, p := range done {
		q.queuedBytes -= p.bytes
	}
	q.queue = append([]*proposal(nil), q.queue[q.inFlight:]...)
	q.inFlight = 0
	q.mu.Unlock()
	q.maybeSnapshot()
	q.pump()
}

func (q *Quorum) publish(image *metadata.Image, delta *metadata.Delta) {
	q.image.Store(image)
	for _, f := range q.subscribers {
		f(image, delta)
	}
}

// refused takes back everything that is not committed. A full disk passes; any
// other failure is final, since what is on disk is not known any more.
func (q *Quorum) refused(err error) {
	err = fmt.Errorf("writing the metadata log: %w", err)
	q.mu.Lock()
	// Without the record that begins the epoch nothing may follow in it.
	began := q.raft.HighWatermark() > 0
	final := !errors.Is(err, commitlog.ErrNoSpace) || !began
	all := q.queue
	q.queue, q.queuedBytes, q.inFlight = nil, 0, 0
	q.machine = controller.New(q.image.Load())
	q.next = q.log.End()
	first := final && q.err == nil
	if final {
		q.err = err
	}
	q.mu.Unlock()
	for _, p := range all {
		p.done(nil, err)
	}
	if first {
		q.o.Logger.Error("the metadata log failed; this node cannot go on", "error", err)
		q.o.OnFail(err)
	}
	q.pump()
}
