package txn

import (
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
)

// End is an EndTxn request.
type End struct {
	TransactionalID string
	Producer        Producer
	Commit          bool
	// Version is the transaction version that the request's version stands for: VersionBump from EndTxn 5 on.
	Version int16
	// Fresh is a producer id that was never used, -1 for none at hand: see Init.
	Fresh int64
}

// EndTxn decides on the end of a transaction. The answer is to be sent when the write in fx, if any, is settled. With
// VersionBump it has the epoch, and perhaps the producer id, with which the client goes on.
func (m *Machine) EndTxn(now Time, in *End, fx *Effects) (Producer, wire.Code) {
	none := Producer{noProducer, noEpoch}
	if in.TransactionalID == "" {
		return none, wire.InvalidRequest
	}
	t := m.txns[in.TransactionalID]
	if t == nil || t.retired {
		return none, wire.InvalidProducerIDMapping
	}
	if min(in.Version, m.version) < VersionBump {
		return m.endClassic(now, t, in, fx)
	}
	return m.endBump(now, t, in, fx)
}

// endClassic is EndTxn of a client that keeps its epoch from transaction to transaction.
func (m *Machine) endClassic(now Time, t *txn, in *End, fx *Effects) (Producer, wire.Code) {
	none := Producer{noProducer, noEpoch}
	switch {
	case t.producerID != in.Producer.ID:
		return none, wire.InvalidProducerIDMapping
	case t.epoch != in.Producer.Epoch:
		return none, wire.ProducerFenced
	case t.pending:
		return none, wire.ConcurrentTransactions
	case t.state == Ongoing:
		v := t.ending(now, in)
		v.ClientTransactionVersion = in.Version
		m.record(t, &v, fx)
		return in.Producer, wire.None
	case t.ended(in.Commit):
		return in.Producer, wire.None // it asks again
	case t.state == preparingFor(in.Commit):
		return none, wire.ConcurrentTransactions
	}
	return none, wire.InvalidTxnState
}

// endBump is EndTxn of a client that goes on with another epoch (KIP-890).
//
// Differs from Kafka: a client with the epoch before is taken for one that missed its answer only where such a client's transaction was ended.
func (m *Machine) endBump(now Time, t *txn, in *End, fx *Effects) (Producer, wire.Code) {
	none := Producer{noProducer, noEpoch}
	bumped := t.version >= VersionBump
	// The client has missed the answer that gave it the next epoch, or the next producer id.
	again := bumped && t.epoch <= lastEpoch && t.producerID == in.Producer.ID && t.epoch == in.Producer.Epoch+1
	rotated := bumped && t.previousID == in.Producer.ID && in.Producer.Epoch == lastEpoch && t.epoch == 0
	present := t.producerID == in.Producer.ID && t.epoch == in.Producer.Epoch
	retry := again && t.state != Ongoing && t.state != Empty || rotated && !t.state.preparing()
	switch {
	case t.going(in.Producer), bumped && present && t.state.preparing():
		return none, wire.ConcurrentTransactions // the end of the next transaction, which must wait for this one
	case t.producerID != in.Producer.ID && !rotated:
		return none, wire.InvalidProducerIDMapping
	case !present && !retry:
		return none, wire.ProducerFenced
	case t.pending:
		return none, wire.ConcurrentTransactions
	case t.state.preparing():
		if t.state == preparingFor(in.Commit) {
			return none, wire.ConcurrentTransactions
		}
		return none, wire.InvalidTxnState
	case retry:
		if t.ended(in.Commit) {
			return Producer{t.producerID, t.epoch}, wire.None
		}
		return none, wire.InvalidTxnState
	case t.state != Ongoing && in.Commit:
		return none, wire.InvalidTxnState // nothing was begun
	}
	// An abort without a beginning is possible: the client cannot know whether its first produce was heard.
	v := t.ending(now, in)
	next := Producer{t.producerID, t.epoch + 1}
	v.ProducerEpoch = next.Epoch
	if t.exhausted() {
		if in.Fresh < 0 {
			return none, NeedsProducerID
		}
		v.NextProducerID = in.Fresh
		next = Producer{in.Fresh, 0}
	}
	if t.state != Ongoing {
		v.TransactionStartTimestampMs, v.TransactionPartitions = now.Wall, []wire.TransactionLogValuePartitionsSchema{}
	}
	last := t.epoch
	m.record(t, &v, fx)
	t.lastEpoch = last
	return next, wire.None
}

// going says that the client goes on with a producer id that it was given at the end of the transaction whose markers are
// still on their way.
func (t *txn) going(p Producer) bool {
	return t.state.preparing() && t.version >= VersionBump && t.nextID != noProducer && p == Producer{t.nextID, 0}
}

// ending is the state that is recorded before the markers go out.
func (t *txn) ending(now Time, in *End) wire.TransactionLogValue {
	v := t.next(now, preparingFor(in.Commit))
	v.PreviousProducerID, v.NextProducerID, v.ClientTransactionVersion = t.producerID, noProducer, in.Version
	return v
}

func preparingFor(commit bool) State {
	if commit {
		return PrepareCommit
	}
	return PrepareAbort
}

// ended says whether the last transaction ended so.
func (t *txn) ended(commit bool) bool {
	if commit {
		return t.state == CompleteCommit
	}
	return t.state == CompleteAbort
}

// MarkersWritten tells that some of the markers of a transaction are written, or not needed because their partitions
// are gone. When none is left the transaction is complete.
func (m *Machine) MarkersWritten(now Time, id string, p Producer, list []Partition, fx *Effects) {
	t := m.txns[id]
	if t == nil || t.pending || !t.state.preparing() || t.producerID != p.ID || t.epoch != p.Epoch {
		return // of an earlier time
	}
	t.unsent = slices.DeleteFunc(t.unsent, func(have Partition) bool { return slices.Contains(list, have) })
	if len(t.unsent) == 0 {
		m.complete(now, t, fx)
	}
}

// complete records the end of a transaction.
func (m *Machine) complete(now Time, t *txn, fx *Effects) {
	to := CompleteAbort
	if t.state == PrepareCommit {
		to = CompleteCommit
	}
	v := t.next(now, to)
	v.TransactionPartitions = []wire.TransactionLogValuePartitionsSchema{}
	v.PreviousProducerID, v.NextProducerID = t.producerID, noProducer
	last := t.lastEpoch
	if t.version >= VersionBump && t.nextID != noProducer {
		v.ProducerID, v.ProducerEpoch, last = t.nextID, 0, t.epoch
	}
	m.record(t, &v, fx)
	t.lastEpoch = last
}
