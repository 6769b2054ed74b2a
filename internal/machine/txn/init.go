package txn

import (
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
)

// Producer is a producer id with its epoch.
type Producer struct {
	ID    int64
	Epoch int16
}

// Init is an InitProducerId request with a transactional id.
type Init struct {
	TransactionalID string
	TimeoutMs       int32
	// Expected is what the client has, which wants to go on with the next epoch (KIP-360); ID -1 if it is new.
	Expected Producer
	// Fresh is a producer id that was never used, -1 for none at hand: if one is needed the answer is
	// NeedsProducerID, and nothing has changed.
	Fresh int64
}

// NeedsProducerID asks the shell to call again with a fresh producer id. It is never sent.
const NeedsProducerID = wire.Code(-2)

// InitProducerID decides on who has a transactional id from now on. The answer is to be sent when the write in fx, if any, is
// settled: the epoch of an open transaction is fenced first, and the client comes again.
func (m *Machine) InitProducerID(now Time, in *Init, fx *Effects) (Producer, wire.Code) {
	none := Producer{noProducer, noEpoch}
	if in.TransactionalID == "" {
		return none, wire.InvalidRequest
	}
	if in.TimeoutMs <= 0 || in.TimeoutMs > m.config.MaxTimeoutMs {
		return none, wire.InvalidTransactionTimeout
	}
	t := m.txns[in.TransactionalID]
	if t == nil {
		if in.Fresh < 0 {
			return none, NeedsProducerID
		}
		t = &txn{
			id: in.TransactionalID, producerID: in.Fresh, previousID: noProducer, nextID: noProducer,
			epoch: noEpoch, nextEpoch: noEpoch, lastEpoch: noEpoch, startMs: -1,
		}
	}
	if t.pending {
		return none, wire.ConcurrentTransactions
	}
	if in.Expected.ID != noProducer && !t.knows(in.Expected) {
		return none, wire.ProducerFenced
	}
	switch t.state {
	case PrepareCommit, PrepareAbort:
		return none, wire.ConcurrentTransactions
	case Ongoing:
		m.fence(now, t, fx)
		return none, wire.ConcurrentTransactions
	default:
		return m.begin(now, t, in, fx)
	}
}

// knows says whether a client that has the producer id may be the present one.
func (t *txn) knows(p Producer) bool {
	return t.epoch == noEpoch || p.ID == t.producerID || p.ID == t.previousID && p.Epoch >= lastEpoch
}

// begin gives the client the next epoch, or a fresh producer id when none is left.
func (m *Machine) begin(now Time, t *txn, in *Init, fx *Effects) (Producer, wire.Code) {
	v := t.next(now, Empty)
	v.TransactionPartitions, v.TransactionStartTimestampMs, v.TransactionTimeoutMs = nil, -1, in.TimeoutMs
	v.PreviousProducerID, v.NextProducerID, v.ClientTransactionVersion = t.producerID, noProducer, 0
	expects, last := in.Expected.ID != noProducer, int16(noEpoch)
	switch {
	case t.exhausted() && (!expects || in.Expected.Epoch == t.epoch || t.epoch > lastEpoch && in.Expected.Epoch == t.lastEpoch):
		if in.Fresh < 0 {
			return Producer{noProducer, noEpoch}, NeedsProducerID
		}
		v.ProducerID, v.ProducerEpoch = in.Fresh, 0
		if expects {
			last = t.epoch
		}
	case !expects:
		v.ProducerEpoch = t.epoch + 1
	case t.epoch == noEpoch, in.Expected.Epoch == t.epoch:
		v.ProducerEpoch, last = t.epoch+1, t.epoch
	case in.Expected.Epoch == t.lastEpoch:
		last = t.lastEpoch // it asks again, having missed the answer
	default:
		return Producer{noProducer, noEpoch}, wire.ProducerFenced
	}
	m.record(m.own(t), &v, fx)
	m.txns[t.id].lastEpoch = last
	return Producer{v.ProducerID, v.ProducerEpoch}, wire.None
}

// own puts a transactional id that is new among the others. Its name is the machine's own from then on.
func (m *Machine) own(t *txn) *txn {
	if had := m.txns[t.id]; had != nil {
		return had
	}
	t.id = string(slices.Clone([]byte(t.id)))
	m.txns[t.id] = t
	return t
}

// fence ends an open transaction whose producer must not go on: the epoch behind the producer's own aborts it. With
// VersionBump that is the end which the producer itself could have asked for: it may ask for it again, or for the epoch, as long as nobody
// else has taken the id. Before, no answer of ours could have had that epoch, so the producer is fenced at once.
func (m *Machine) fence(now Time, t *txn, fx *Effects) {
	v := t.next(now, PrepareAbort)
	v.ProducerEpoch = t.epoch + 1
	v.PreviousProducerID, v.NextProducerID, v.ClientTransactionVersion = t.producerID, noProducer, 0
	last := int16(noEpoch)
	if m.version >= VersionBump {
		v.ClientTransactionVersion, last = VersionBump, t.epoch
	}
	m.record(t, &v, fx)
	t.lastEpoch = last
}
