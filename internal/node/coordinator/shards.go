package coordinator

import (
	"sync/atomic"
)

// shardSet is the partitions of a coordinator's topic, each with its machine.
type shardSet[M machine] struct {
	opts *options
	// initial is how many partitions the topic has once it is made.
	initial int32
	// create makes the machine of a shard.
	create func(s *shard[M]) M
	shards atomic.Pointer[[]*shard[M]]
}

// open makes the shards, which lead nothing yet.
func (c *shardSet[M]) open(opts *options, partitions int32, create func(s *shard[M]) M) {
	c.opts, c.initial, c.create = opts, partitions, create
	c.shards.Store(new([]*shard[M]))
	c.SetPartitions(partitions)
}

// SetPartitions tells how many partitions the topic has, once it is known: more or fewer than the settings say. It must
// not be called at the same time as itself or TopicDeleted, and not with fewer than are led.
func (c *shardSet[M]) SetPartitions(n int32) {
	old := *c.shards.Load()
	shards := append(make([]*shard[M], 0, n), old[:min(int(n), len(old))]...)
	for p := int32(len(shards)); p < n; p++ {
		var s *shard[M]
		s = newShard(c.opts, p, func() M { return c.create(s) })
		shards = append(shards, s)
	}
	c.shards.Store(&shards)
}

// PartitionFor is the partition of the topic that holds a group or transactional id: FindCoordinator's answer is its
// leader.
func (c *shardSet[M]) PartitionFor(key string) int32 {
	return PartitionFor(key, int32(len(*c.shards.Load())))
}

func (c *shardSet[M]) shardFor(key string) *shard[M] {
	shards := *c.shards.Load()
	return shards[PartitionFor(key, int32(len(shards)))]
}

// elect says that this broker leads a partition of the topic in the given leader epoch. Loading goes on in the
// background; until it ends requests are answered with COORDINATOR_LOAD_IN_PROGRESS.
func (c *shardSet[M]) elect(partition, epoch int32, log Log) {
	if shards := *c.shards.Load(); int(partition) < len(shards) {
		shards[partition].elect(epoch, log)
	}
}

// Resign says that this broker does not lead the partition any more. Requests that wait are answered with
// NOT_COORDINATOR.
func (c *shardSet[M]) Resign(partition int32) {
	if shards := *c.shards.Load(); int(partition) < len(shards) {
		shards[partition].resign()
	}
}

// Close resigns from all partitions.
func (c *shardSet[M]) Close() {
	for _, s := range *c.shards.Load() {
		s.resign()
	}
}

// TopicDeleted says that the topic is gone, and all that was in it: requests that wait are answered with
// NOT_COORDINATOR. A topic that is made later begins anew, with leader epochs as low as they come.
func (c *shardSet[M]) TopicDeleted() {
	c.Close()
	c.shards.Store(new([]*shard[M]))
	c.SetPartitions(c.initial)
}
