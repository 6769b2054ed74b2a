package coordinator

import (
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/group"
)

// TxnOffsetCommit serves one TxnOffsetCommit request of a producer whose transaction has the group's partition of
// __consumer_offsets; guard is what the verification of that gave.
func (c *Groups) TxnOffsetCommit(req *wire.TxnOffsetCommitRequest, guard uint64, done func(*wire.TxnOffsetCommitResponse)) {
	refused := func(code wire.Code) { done(group.TxnCommitError(req, code)) }
	if req.GroupID == "" {
		refused(wire.InvalidGroupID)
		return
	}
	producer := &group.Producer{ID: req.ProducerID, Epoch: req.ProducerEpoch, Guard: guard}
	c.shardFor(req.GroupID).do(func(m *groupMachine, t *turn) func(*turn, wire.Code) {
		resp := m.machine.CommitTxnOffsets(t.now, req, producer, &m.fx)
		m.absorb(t)
		return func(t *turn, code wire.Code) {
			if code != wire.None {
				for i := range resp.Topics {
					for k := range resp.Topics[i].Partitions {
						resp.Topics[i].Partitions[k].ErrorCode = code
					}
				}
			}
			t.calls = append(t.calls, func() { done(resp) })
		}
	}, refused)
}

// EndTransaction tells that the marker of a producer's transaction is in a partition of __consumer_offsets, at an offset.
// A partition that loads is told again later: the marker may lie behind what it reads.
func (c *Groups) EndTransaction(partition int32, producerID int64, commit bool, at int64) {
	shards := *c.shards.Load()
	if int(partition) >= len(shards) {
		return
	}
	shards[partition].do(func(m *groupMachine, _ *turn) func(*turn, wire.Code) {
		m.machine.EndTransaction(producerID, commit, at)
		return nil
	}, func(code wire.Code) {
		if code != wire.NotCoordinator {
			c.opts.world.AfterFunc(loadRetry, func() { c.EndTransaction(partition, producerID, commit, at) })
		}
	})
}
