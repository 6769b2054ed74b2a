package broker

import (
	"sync"
	"sync/atomic"

	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/idempotence"
	"github.com/moldau/moldau/internal/machine/txn"
)

// abortableSince is the version of Produce whose clients know TRANSACTION_ABORTABLE (KIP-890).
const abortableSince = 11

// produceTurns keeps the transactional produces of a producer in order: while one waits for the transaction coordinator
// those behind it wait too, since only what has arrived in order has its sequence numbers in order. What waits is bounded by what
// connections may have in flight.
//
// Differs from Kafka: several Produce requests of a transactional producer can be in hand; Kafka reads the next request of a
// connection only when the one before is answered.
type produceTurns struct {
	busy    atomic.Int32 // len(waiting)
	mu      sync.Mutex
	waiting map[int64][]*produce // by producer id, behind the one whose turn it is
}

// queue puts op behind the one whose turn it is; false if there is none.
func (t *produceTurns) queue(id int64, op *produce) bool {
	if t.busy.Load() == 0 {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	list, busy := t.waiting[id]
	if busy {
		t.waiting[id] = append(list, op)
	}
	return busy
}

// begin has the producer's next produces wait.
func (t *produceTurns) begin(id int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiting == nil {
		t.waiting = map[int64][]*produce{}
	}
	if _, ok := t.waiting[id]; !ok {
		t.waiting[id] = nil
		t.busy.Add(1)
	}
}

// next gives the one whose turn it is now, nil if nobody waits any more.
func (t *produceTurns) next(id int64) *produce {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.waiting[id]
	if len(list) == 0 {
		delete(t.waiting, id)
		t.busy.Add(-1)
		return nil
	}
	t.waiting[id] = list[1:]
	return list[0]
}

// pass lets those append who have waited for one before them.
func (t *produceTurns) pass(id int64) {
	for op := t.next(id); op != nil; op = t.next(id) {
		if op.takeTurn(batchProducer(op.transactional[0])) {
			return
		}
	}
}

// beginTransactional appends the transactional batches of the request, or has them wait for those before them.
func (op *produce) beginTransactional() {
	producer := batchProducer(op.transactional[0])
	switch {
	case !op.oneProducer(producer.ID):
		op.refuseTransactional(wire.InvalidProducerIDMapping, "transactional records of one request have more than one producer id")
		return
	case op.q.Version < implicitProduceSince && op.b.latecomers.late(op.q, producer.ID, producer.Epoch, txn.UseProduce):
		op.refuseTransactional(wire.NotEnoughReplicas, "the request came on a connection that the producer has given up; its client sends it again if it is still there")
		return
	case op.b.turns.queue(producer.ID, op):
		return
	}
	op.takeTurn(producer)
}

func (op *produce) oneProducer(id int64) bool {
	for _, a := range op.transactional {
		if batchProducer(a).ID != id {
			return false
		}
	}
	return true
}

func batchProducer(a *produceAppend) txn.Producer {
	b := record.Batch(a.Records)
	return txn.Producer{ID: b.ProducerID(), Epoch: b.ProducerEpoch()}
}

func (op *produce) refuseTransactional(code wire.Code, message string) {
	for _, a := range op.transactional {
		a.code, a.message, a.early = code, message, true
		op.pending.Add(-1)
	}
}

// takeTurn announces the batches to their logs, appends those of partitions where the transaction is open already, and asks
// the transaction coordinator about the others (KIP-890). waits says that it has not answered yet: then the
// producer's next requests wait, and the answer goes on with them. op may be gone after the call.
func (op *produce) takeTurn(producer txn.Producer) (waits bool) {
	b, list := op.b, op.transactional
	bump := op.q.Version >= implicitProduceSince
	op.pending.Add(1) // op stays until the end
	defer op.finishOne()
	for _, a := range list {
		guard, err := a.part.Log().BeginVerification(a.Records, bump)
		if err != nil {
			a.code, a.message = appendCode(err)
			a.early = true
			op.finishOne()
			continue
		}
		if a.Guard = guard; guard == idempotence.NoGuard || !asks(b, bump) {
			a.part.Log().Append(&a.Append)
			continue
		}
		op.unverified = append(op.unverified, a)
	}
	if len(op.unverified) == 0 {
		return false
	}
	parts := make([]txn.Partition, len(op.unverified))
	for i, a := range op.unverified {
		parts[i] = txn.Partition{Topic: a.part.Topic, Index: a.part.Index}
	}
	b.turns.begin(producer.ID)
	b.askTransaction(*op.req.TransactionalID, producer, parts, bump, op.announceAgain, func(codes []wire.Code) {
		op.appendVerified(codes)
		b.turns.pass(producer.ID)
	})
	return true
}

// announceAgain announces the batches anew: the producer's last transaction has got its markers meanwhile, which made the
// first announcement void.
func (op *produce) announceAgain() {
	bump := op.q.Version >= implicitProduceSince
	for _, a := range op.unverified {
		guard, err := a.part.Log().BeginVerification(a.Records, bump)
		if a.Guard = guard; err != nil {
			a.code, a.message = appendCode(err)
			a.early = true
		}
	}
}

// appendVerified appends the batches that the transaction coordinator says are part of the transaction.
func (op *produce) appendVerified(codes []wire.Code) {
	bump, abortable := op.q.Version >= implicitProduceSince, op.q.Version >= abortableSince
	for i, a := range op.unverified {
		if a.code != wire.None {
			op.finishOne()
			continue
		}
		if codes[i] != wire.None {
			a.code, a.early = verified(codes[i], bump, abortable), true
			a.message = "the transaction coordinator has not verified the partition: " + codes[i].Message()
			op.finishOne()
			continue
		}
		a.part.Log().Append(&a.Append)
	}
}
