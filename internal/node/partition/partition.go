package partition

import (
	"fmt"
	"sync/atomic"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/disk/commitlog"
	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/idempotence"
)

// Partition is one partition led by this node.
type Partition struct {
	Topic   string
	TopicID wire.UUID
	Index   int32
	// log keeps its records; a move to another directory replaces it.
	log atomic.Pointer[commitlog.Log]

	config      atomic.Pointer[config.TopicConfig]
	leaderEpoch atomic.Int32
	closed      atomic.Bool
	waiting     waitList
	// Counts are for whoever serves the partition to clients.
	Counts Counts
}

func newPartition(topic string, id wire.UUID, index int32, l *commitlog.Log) *Partition {
	p := &Partition{Topic: topic, TopicID: id, Index: index}
	p.log.Store(l)
	l.OnStable(p.waiting.notify)
	return p
}

// Log keeps the partition's records. It is asked for anew for each use: a move
// to another directory replaces it, and the former one sends its callers on.
func (p *Partition) Log() *commitlog.Log { return p.log.Load() }

// Config is the topic's present configuration.
func (p *Partition) Config() *config.TopicConfig { return p.config.Load() }

// LeaderEpoch is the epoch in which this node leads the partition.
func (p *Partition) LeaderEpoch() int32 { return p.leaderEpoch.Load() }

// Closed reports that the partition was deleted; whoever remembered it must look it up again.
func (p *Partition) Closed() bool { return p.closed.Load() }

// HighWatermark is the offset below which consumers may read: with one
// replica, what its log holds as durably as the topic demands.
func (p *Partition) HighWatermark() int64 { return p.Log().Stable() }

// Offsets are those of the partition's log, of which Stable is the high watermark.
func (p *Partition) Offsets() commitlog.Offsets { return p.Log().Offsets() }

// LastStable is the offset below which a read_committed consumer may read.
func (p *Partition) LastStable() int64 {
	return p.Log().LastStableOffset()
}

// CheckEpoch compares the leader epoch a client believes in with ours: -1
// means that the client does not say (KIP-320).
func (p *Partition) CheckEpoch(epoch int32) wire.Code {
	switch current := p.LeaderEpoch(); {
	case epoch < 0 || epoch == current:
		return wire.None
	case epoch < current:
		return wire.FencedLeaderEpoch
	default:
		return wire.UnknownLeaderEpoch
	}
}

// Wait registers w: it is told of every byte that becomes visible until Leave.
func (p *Partition) Wait(w *Waiter) {
	p.waiting.add(w)
	if p.Closed() {
		w.Fire()
	}
}

// Leave takes w out.
func (p *Partition) Leave(w *Waiter) { p.waiting.remove(w) }

// Watch has n told, by w, of all that becomes visible and of the partition's end, until Unwatch.
func (p *Partition) Watch(w *Watch, n *News) {
	p.waiting.watch(w, n)
	if p.Closed() {
		w.Note(1)
	}
}

// Unwatch takes w out, if it is in.
func (p *Partition) Unwatch(w *Watch) { p.waiting.unwatch(w) }

// close marks the partition deleted and lets its waiters go.
func (p *Partition) close() {
	p.closed.Store(true)
	p.waiting.release()
}

// CoordinatorLog is the partition as a coordinator's log (node/coordinator.Log).
type CoordinatorLog struct{ *Partition }

// Append adds one batch in the node's own name; done is called when it is stable.
func (c CoordinatorLog) Append(batch []byte, done func(baseOffset int64, err error)) {
	c.AppendGuarded(batch, uint64(idempotence.NoGuard), done)
}

// AppendGuarded is Append for a batch of a transaction, with the guard of its verification.
func (c CoordinatorLog) AppendGuarded(batch []byte, guard uint64, done func(baseOffset int64, err error)) {
	c.Log().Append(&commitlog.Append{
		Records: batch, LeaderEpoch: c.LeaderEpoch(), Origin: commitlog.Coordinator, Guard: idempotence.Guard(guard),
		Done: func(a *commitlog.Append) {
			if a.Err != nil {
				done(-1, fmt.Errorf("%w: %w", Code(a.Err), a.Err))
				return
			}
			done(a.BaseOffset, nil)
		},
	})
}

// AppendMarker ends a producer's transaction in the partition; version is what WriteTxnMarkers says of the
// transaction's. done gets the marker's offset.
func (p *Partition) AppendMarker(m *record.EndTxnMarker, version int16, done func(offset int64, err error)) {
	batch, err := record.AppendEndTxnMarker(nil, m)
	if err != nil {
		done(-1, err)
		return
	}
	if p.Config().TimestampType == config.LogAppendTime {
		batch.SetTimestamps(record.LogAppendTime, m.Timestamp)
	}
	p.Log().Append(&commitlog.Append{
		Records: batch, LeaderEpoch: p.LeaderEpoch(), Origin: commitlog.Coordinator, TransactionVersion: version,
		Done: func(a *commitlog.Append) { done(a.BaseOffset, a.Err) },
	})
}

// Start is the first offset there is.
func (c CoordinatorLog) Start() int64 { return c.Log().Start() }

// DeleteBefore makes the log forget what is before an offset.
func (c CoordinatorLog) DeleteBefore(offset int64) error { return c.Log().DeleteRecords(offset) }

// End is the offset behind the last record, stable or not.
func (c CoordinatorLog) End() int64 { return c.Log().End() }

// Read gives whole batches from an offset on, in memory that may be buf; next is where to go on.
func (c CoordinatorLog) Read(from int64, buf []byte) (batches []byte, next int64, err error) {
	view, err := c.Log().Read(from, c.HighWatermark(), cap(buf), true)
	if err != nil {
		return nil, from, err
	}
	defer view.Release()
	all, err := view.Bytes(buf[:0])
	if err != nil {
		return nil, from, err
	}
	end := 0
	next = from
	for end < len(all) {
		info, err := record.PeekHeader(all[end:])
		if end == 0 && err != nil {
			return nil, from, fmt.Errorf("reading the batch at offset %d: %w", from, err)
		}
		if err != nil || end+info.Size > len(all) {
			break // cut by the size limit: the next read begins with it
		}
		end += info.Size
		next = info.LastOffset + 1
	}
	return all[:end], next, nil
}
