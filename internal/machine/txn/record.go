package txn

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/group"
)

func appendKey(id string) []byte {
	return wire.AppendKey(nil, &wire.TransactionLogKey{TransactionalID: id})
}

// appendValue writes a state in the version that the cluster's transaction.version allows.
func appendValue(v *wire.TransactionLogValue, level int16) []byte {
	version := int16(0)
	if level >= VersionFlexible {
		version = 1
	}
	return wire.AppendValue(nil, v, version)
}

// Apply replays one record. Keys of a kind that is not known are skipped, which known tells; an error means that
// the record is broken.
func (m *Machine) Apply(e *group.Entry) (known bool, err error) {
	r := wire.NewReader(e.Key)
	var key wire.TransactionLogKey
	if kind := r.Int16(); r.Err() == nil && kind != key.CoordinatorType() {
		return false, nil
	}
	if key.Decode(r, 0); r.Err() != nil {
		return true, fmt.Errorf("reading the key of the transaction at offset %d: %w", e.Offset, r.Err())
	}
	if e.Value == nil {
		delete(m.txns, key.TransactionalID)
		return true, nil
	}
	var value wire.TransactionLogValue
	if _, err := wire.DecodeValue(e.Value, &value); err != nil {
		return true, fmt.Errorf("reading the state of transactional id %q at offset %d: %w", key.TransactionalID, e.Offset, err)
	}
	if s := State(value.TransactionStatus); s < Empty || s > Dead {
		return true, fmt.Errorf("the state of transactional id %q at offset %d is %d, which is none", key.TransactionalID, e.Offset, s)
	}
	m.apply(key.TransactionalID, &value)
	return true, nil
}

// apply takes a recorded state over. It is the only way in which what is recorded changes.
func (m *Machine) apply(id string, v *wire.TransactionLogValue) {
	if State(v.TransactionStatus) == Dead {
		delete(m.txns, id)
		return
	}
	t := m.txns[id]
	if t == nil {
		t = &txn{id: strings.Clone(id), lastEpoch: noEpoch}
		m.txns[t.id] = t
	}
	t.producerID, t.previousID, t.nextID = v.ProducerID, v.PreviousProducerID, v.NextProducerID
	t.epoch, t.nextEpoch, t.timeoutMs = v.ProducerEpoch, v.NextProducerEpoch, v.TransactionTimeoutMs
	t.state, t.version = State(v.TransactionStatus), v.ClientTransactionVersion
	t.startMs, t.updateMs = v.TransactionStartTimestampMs, v.TransactionLastUpdateTimestampMs
	t.partitions = t.partitions[:0]
	for i := range v.TransactionPartitions {
		topic := strings.Clone(v.TransactionPartitions[i].Topic)
		for _, index := range v.TransactionPartitions[i].PartitionIDs {
			t.partitions = append(t.partitions, Partition{topic, index})
		}
	}
	slices.SortFunc(t.partitions, comparePartitions)
	t.unsent = t.unsent[:0]
	if t.state.preparing() {
		t.unsent = append(t.unsent, t.partitions...)
	}
}

// value is the state as a record has it.
func (t *txn) value() wire.TransactionLogValue {
	v := wire.TransactionLogValue{
		ProducerID: t.producerID, PreviousProducerID: t.previousID, NextProducerID: t.nextID,
		ProducerEpoch: t.epoch, NextProducerEpoch: t.nextEpoch, TransactionTimeoutMs: t.timeoutMs,
		TransactionStatus: int8(t.state), TransactionStartTimestampMs: t.startMs,
		TransactionLastUpdateTimestampMs: t.updateMs, ClientTransactionVersion: t.version,
	}
	v.TransactionPartitions = byTopic(t.partitions)
	return v
}

// byTopic gathers sorted partitions by topic; nil if there are none, as Kafka writes it.
func byTopic(list []Partition) []wire.TransactionLogValuePartitionsSchema {
	var out []wire.TransactionLogValuePartitionsSchema
	for _, p := range list {
		if n := len(out); n == 0 || out[n-1].Topic != p.Topic {
			out = append(out, wire.TransactionLogValuePartitionsSchema{Topic: p.Topic})
		}
		last := &out[len(out)-1]
		last.PartitionIDs = append(last.PartitionIDs, p.Index)
	}
	return out
}
