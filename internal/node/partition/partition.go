package partition

import (
	"sync/atomic"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/disk/commitlog"
	"github.com/moldau/moldau/internal/format/wire"
)

// Partition is one partition led by this node.
type Partition struct {
	Topic   string
	TopicID wire.UUID
	Index   int32
	// Log keeps its records.
	Log *commitlog.Log

	config      atomic.Pointer[config.TopicConfig]
	leaderEpoch atomic.Int32
	closed      atomic.Bool
	waiting     waitList
	// seenSize is the log's size when waiters were last told of it.
	seenSize atomic.Int64
}

func newPartition(topic string, id wire.UUID, index int32, l *commitlog.Log) *Partition {
	p := &Partition{Topic: topic, TopicID: id, Index: index, Log: l}
	l.OnStable(func(int64) { p.advanced() })
	return p
}

// Config is the topic's present configuration.
func (p *Partition) Config() *config.TopicConfig { return p.config.Load() }

// LeaderEpoch is the epoch in which this node leads the partition.
func (p *Partition) LeaderEpoch() int32 { return p.leaderEpoch.Load() }

// Closed reports that the partition was deleted; whoever remembered it must look it up again.
func (p *Partition) Closed() bool { return p.closed.Load() }

// HighWatermark is the offset below which consumers may read: with one
// replica, what its log holds as durably as the topic demands.
func (p *Partition) HighWatermark() int64 { return p.Log.Stable() }

// LastStable is the offset below which a read_committed consumer may read.
func (p *Partition) LastStable() int64 {
	return p.Log.LastStable()
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
	if !p.waiting.any.Load() {
		p.seenSize.Store(p.Log.Size())
	}
	p.waiting.add(w)
	if p.Closed() {
		w.Fire()
	}
}

// advanced tells the waiters that more is visible. How much is the growth of
// the log, and at least one byte: a log may shrink by retention in between.
func (p *Partition) advanced() {
	if !p.waiting.any.Load() {
		return
	}
	size := p.Log.Size()
	p.waiting.notify(max(size-p.seenSize.Swap(size), 1))
}

// Leave takes w out.
func (p *Partition) Leave(w *Waiter) { p.waiting.remove(w) }

// close marks the partition deleted and lets its waiters go.
func (p *Partition) close() {
	p.closed.Store(true)
	p.waiting.mu.Lock()
	due := append([]*Waiter(nil), p.waiting.waiters...)
	p.waiting.mu.Unlock()
	for _, w := range due {
		w.Fire()
	}
}
