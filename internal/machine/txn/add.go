package txn

import (
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
)

// AddPartitions decides on partitions that are to take part in the transaction of a producer; the first ones begin it.
// The code is for all of them. The answer is to be sent when the write in fx, if any, is settled. The caller has
// looked whether the partitions exist.
func (m *Machine) AddPartitions(now Time, id string, p Producer, list []Partition, fx *Effects) wire.Code {
	t, code := m.producers(id, p)
	switch {
	case code != wire.None:
		return code
	case t.pending || t.state.preparing():
		return wire.ConcurrentTransactions
	case t.state == Ongoing && !slices.ContainsFunc(list, func(p Partition) bool { return !t.has(p) }):
		return wire.None
	}
	v := t.next(now, Ongoing)
	if t.state != Ongoing {
		v.TransactionStartTimestampMs = now.Wall
	}
	v.PreviousProducerID, v.NextProducerID, v.ClientTransactionVersion = t.producerID, noProducer, 0
	all := slices.Clone(t.partitions)
	for _, p := range list {
		all = append(all, Partition{strings.Clone(p.Topic), p.Index})
	}
	slices.SortFunc(all, comparePartitions)
	v.TransactionPartitions = byTopic(slices.Compact(all))
	m.record(t, &v, fx)
	return wire.None
}

// VerifyPartitions tells a partition's leader whether the partitions take part in the transaction of a producer that is
// about to write (KIP-890): each gets None or TRANSACTION_ABORTABLE, or all of them the second result.
func (m *Machine) VerifyPartitions(id string, p Producer, list []Partition) ([]wire.Code, wire.Code) {
	t, code := m.producers(id, p)
	switch {
	case code != wire.None:
		return nil, code
	case t.state.preparing():
		return nil, wire.ConcurrentTransactions
	}
	codes := make([]wire.Code, len(list))
	for i, p := range list {
		if !t.has(p) {
			codes[i] = wire.TransactionAbortable
		}
	}
	return codes, wire.None
}

// producers finds the transactional id that a producer says it has.
func (m *Machine) producers(id string, p Producer) (*txn, wire.Code) {
	if id == "" {
		return nil, wire.InvalidRequest
	}
	t := m.txns[id]
	if t != nil && t.going(p) {
		return nil, wire.ConcurrentTransactions
	}
	switch {
	case t == nil || t.retired || t.producerID != p.ID:
		return nil, wire.InvalidProducerIDMapping
	case t.epoch != p.Epoch:
		return nil, wire.ProducerFenced
	}
	return t, wire.None
}
