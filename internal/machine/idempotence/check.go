package idempotence

import (
	"fmt"
	"math"

	"github.com/moldau/moldau/internal/format/record"
)

// Append is a batch with a producer id.
type Append struct {
	ProducerID int64
	Epoch      int16
	// FirstSequence and LastSequence mean nothing in batches of coordinators.
	FirstSequence, LastSequence int32
	// FirstOffset and LastOffset need not be known to Check.
	FirstOffset, LastOffset int64
	// MaxTimestamp in ms, as it is in the batch's header.
	MaxTimestamp  int64
	Transactional bool
}

// AppendOf reads the header of a data batch; ok is false for batches that do not concern the table: those
// without a producer id, and control batches.
func AppendOf(b record.Batch) (a Append, ok bool) {
	if b.ProducerID() <= record.NoProducerID || b.IsControl() {
		return a, false
	}
	return Append{
		ProducerID: b.ProducerID(), Epoch: b.ProducerEpoch(),
		FirstSequence: b.BaseSequence(), LastSequence: b.LastSequence(),
		FirstOffset: b.BaseOffset(), LastOffset: b.LastOffset(),
		MaxTimestamp: b.MaxTimestamp(), Transactional: b.IsTransactional(),
	}, true
}

// Marker is a transaction marker.
type Marker struct {
	ProducerID       int64
	Epoch            int16
	CoordinatorEpoch int32
	Commit           bool
	Offset           int64
	// Timestamp in ms is the control record's.
	Timestamp int64
	// TransactionVersion is what WriteTxnMarkers says: from 2 on the coordinator raises the epoch for each
	// marker. 0 if unknown. Only CheckMarker looks at it.
	TransactionVersion int16
}

// Completed is a transaction that a marker has ended. Aborted ones go into the transaction index.
type Completed struct {
	ProducerID int64
	// FirstOffset is that of the first data, LastOffset that of the marker.
	FirstOffset, LastOffset int64
	Aborted                 bool
	// LastStableOffset is where the log is stable up to once the marker is.
	LastStableOffset int64
}

// Origin tells who writes a batch, and so what is checked of it.
type Origin int8

// The origins.
const (
	// Client batches are checked in full.
	Client Origin = iota
	// Coordinator batches (transactional offset commits) have no sequence numbers.
	Coordinator
)

// Verdict is what Check says.
type Verdict int8

// The verdicts, with the Kafka errors that the broker answers.
const (
	// Accept: append the batch, then Apply it.
	Accept Verdict = iota
	// Duplicate: do not append; answer success with the offsets of the first time.
	Duplicate
	// OutOfOrderSequence is OUT_OF_ORDER_SEQUENCE_NUMBER (45).
	OutOfOrderSequence
	// InvalidProducerEpoch is INVALID_PRODUCER_EPOCH (47).
	InvalidProducerEpoch
	// InvalidTxnState is INVALID_TXN_STATE (48).
	InvalidTxnState
	// CoordinatorFenced is TRANSACTION_COORDINATOR_FENCED (52).
	CoordinatorFenced
)

var verdictNames = [...]string{
	Accept: "accept", Duplicate: "duplicate", OutOfOrderSequence: "OUT_OF_ORDER_SEQUENCE_NUMBER",
	InvalidProducerEpoch: "INVALID_PRODUCER_EPOCH", InvalidTxnState: "INVALID_TXN_STATE",
	CoordinatorFenced: "TRANSACTION_COORDINATOR_FENCED",
}

// String names the verdict, refusals by their Kafka error.
func (v Verdict) String() string {
	if v < 0 || int(v) >= len(verdictNames) {
		return fmt.Sprintf("verdict(%d)", int8(v))
	}
	return verdictNames[v]
}

// Repeated is where a duplicate batch already lies.
type Repeated struct{ FirstOffset, LastOffset, MaxTimestamp int64 }

// Guard ties an append to the verification that preceded it (KIP-890). NoGuard verifies nothing.
type Guard uint64

// NoGuard is the guard of batches that need no verification.
const NoGuard Guard = 0

// verification is one that is under way: the transaction coordinator is asked whether the partition belongs
// to the producer's transaction.
type verification struct {
	guard Guard
	since int64
	// lowest is the least sequence number that waits; a higher one must not overtake it.
	lowest            int32
	epoch             int16
	supportsEpochBump bool
}

// BeginVerification is to be called for a transactional batch before the transaction coordinator is asked.
// With NoGuard and Accept nothing has to be asked, since the transaction is open. Otherwise the guard must be
// handed to Check with the batch. A marker in between makes the guard void. supportsEpochBump is
// set for producers of transaction version 2. A stale epoch gives InvalidProducerEpoch.
func (t *Table) BeginVerification(a *Append, supportsEpochBump bool, now int64) (Guard, Verdict) {
	if p := t.find(a.ProducerID); p != nil {
		if a.Epoch < p.epoch {
			return NoGuard, InvalidProducerEpoch
		}
		if p.txnFirst != noOffset && p.epoch == a.Epoch {
			return NoGuard, Accept
		}
	}
	v, ok := t.verifying[a.ProducerID]
	if !ok {
		t.lastGuard++
		v = verification{guard: t.lastGuard, since: now, lowest: a.FirstSequence, epoch: a.Epoch, supportsEpochBump: supportsEpochBump}
	}
	// A raised epoch starts its sequence anew; within one epoch the lowest counts.
	if a.Epoch > v.epoch || a.Epoch == v.epoch && a.FirstSequence < v.lowest {
		v.epoch, v.lowest = a.Epoch, a.FirstSequence
	}
	if t.verifying == nil {
		t.verifying = make(map[int64]verification)
	}
	t.verifying[a.ProducerID] = v
	return v.guard, Accept
}

// Check tells what to do with a batch of a client or a coordinator. It changes nothing. The Repeated counts
// with Duplicate only.
func (t *Table) Check(a *Append, origin Origin, guard Guard) (Verdict, Repeated) {
	p := t.find(a.ProducerID)
	if p == nil {
		unknown := newProducer(a.ProducerID)
		return t.checkAppend(&unknown, a, origin, guard), Repeated{}
	}
	if origin == Client && p.epoch == a.Epoch {
		for i := range p.batches[:p.count] {
			b := &p.batches[i]
			if b.lastSequence == a.LastSequence && b.firstSequence() == a.FirstSequence {
				return Duplicate, Repeated{
					FirstOffset: b.lastOffset - int64(b.offsetDelta), LastOffset: b.lastOffset, MaxTimestamp: b.timestamp,
				}
			}
		}
	}
	return t.checkAppend(p, a, origin, guard), Repeated{}
}

func (t *Table) checkAppend(p *producer, a *Append, origin Origin, guard Guard) Verdict {
	if a.Epoch < p.epoch {
		return InvalidProducerEpoch
	}
	inTxn := p.txnFirst != noOffset
	if a.Transactional && !(inTxn && p.epoch == a.Epoch) && !t.SkipVerification {
		if v, ok := t.verifying[a.ProducerID]; guard == NoGuard || !ok || v.guard != guard {
			return InvalidTxnState
		}
	}
	if origin == Client && !t.inSequence(p, a) {
		return OutOfOrderSequence
	}
	if inTxn && !a.Transactional {
		return InvalidTxnState
	}
	return Accept
}

// inSequence tells whether the batch follows what the partition has of the producer. A producer that is
// unknown, because it expired or its records were deleted, may go on with any number (KIP-360), unless it
// could have raised its epoch instead (KIP-890).
func (t *Table) inSequence(p *producer, a *Append) bool {
	if v, ok := t.verifying[a.ProducerID]; ok {
		if v.supportsEpochBump && a.FirstSequence != 0 && p.count == 0 {
			return false
		}
		if a.FirstSequence > v.lowest {
			return false
		}
	}
	if p.epoch == record.NoProducerEpoch {
		return true
	}
	if p.epoch != a.Epoch {
		return a.FirstSequence == 0
	}
	last := p.lastSequence()
	return int64(a.FirstSequence) == int64(last)+1 || a.FirstSequence == 0 && last == math.MaxInt32
}

// CheckMarker tells whether a marker from the coordinator is to be written.
func (t *Table) CheckMarker(m *Marker) Verdict {
	p := t.find(m.ProducerID)
	if p == nil {
		return Accept
	}
	if m.Epoch < p.epoch {
		return InvalidProducerEpoch
	}
	// From version 2 on a marker has a new epoch. The same epoch again is a late marker, which must not end
	// the producer's next transaction; without an open one it is a harmless repetition (KAFKA-19999).
	if m.TransactionVersion >= 2 && m.Epoch == p.epoch && p.txnFirst != noOffset {
		return InvalidProducerEpoch
	}
	if m.CoordinatorEpoch < p.coordinatorEpoch {
		return CoordinatorFenced
	}
	return Accept
}

// Explain says in words why Check refuses a; call it before the table changes.
func (t *Table) Explain(a *Append, v Verdict) string {
	unknown := newProducer(a.ProducerID)
	p := t.find(a.ProducerID)
	if p == nil {
		p = &unknown
	}
	switch v {
	case OutOfOrderSequence:
		if p.count == 0 {
			return fmt.Sprintf("out of order sequence number for producer %d: got %d in epoch %d, a lower one must come first",
				a.ProducerID, a.FirstSequence, a.Epoch)
		}
		return fmt.Sprintf("out of order sequence number for producer %d: got %d in epoch %d, last was %d in epoch %d",
			a.ProducerID, a.FirstSequence, a.Epoch, p.lastSequence(), p.epoch)
	case InvalidProducerEpoch:
		return fmt.Sprintf("epoch %d of producer %d is older than %d, the last seen one; a newer instance of the producer has taken over",
			a.Epoch, a.ProducerID, p.epoch)
	case InvalidTxnState:
		if a.Transactional {
			return fmt.Sprintf("batch of producer %d is not part of an ongoing transaction", a.ProducerID)
		}
		return fmt.Sprintf("batch of producer %d must be transactional, its transaction is open since offset %d", a.ProducerID, p.txnFirst)
	default:
		return v.String()
	}
}
