package idempotence

import (
	"cmp"
	"slices"

	"github.com/moldau/moldau/internal/format/record"
)

const (
	// rememberedBatches is how many batches of a producer are kept to recognise repetitions: what a
	// producer has in flight at most (max.in.flight.requests.per.connection).
	rememberedBatches = 5
	// scanned is up to how many producers are searched one by one; most partitions have no more, and
	// need no map.
	scanned = 8
	// noOffset stands for no transaction.
	noOffset = -1
	// lateTxnBufferMs is what a transaction may exceed the greatest timeout by before it counts as hanging.
	lateTxnBufferMs = 5 * 60 * 1000
)

// batch is one remembered batch.
type batch struct {
	lastOffset, timestamp int64
	lastSequence          int32
	// offsetDelta is the distance from the first to the last record, of offsets as of sequence numbers.
	offsetDelta int32
}

func (b *batch) firstSequence() int32 { return record.AddSequence(b.lastSequence, -b.offsetDelta) }

// producer is one producer's state. It has no pointers, so that a table of millions costs the collector
// nothing.
type producer struct {
	id            int64
	txnFirst      int64
	lastTimestamp int64
	// coordinatorEpoch is the epoch of the transaction coordinator that sent the last marker, -1 for none.
	coordinatorEpoch int32
	epoch            int16
	// count is the number of batches in use; the last one is the newest.
	count   int8
	batches [rememberedBatches]batch
}

func newProducer(id int64) producer {
	return producer{id: id, txnFirst: noOffset, lastTimestamp: record.NoTimestamp, coordinatorEpoch: -1, epoch: record.NoProducerEpoch}
}

// lastSequence is the newest sequence number, NoSequence if no batch is remembered.
func (p *producer) lastSequence() int32 {
	if p.count == 0 {
		return record.NoSequence
	}
	return p.batches[p.count-1].lastSequence
}

// lastOffset is the offset of the newest record, noOffset if no batch is remembered.
func (p *producer) lastOffset() int64 {
	if p.count == 0 {
		return noOffset
	}
	return p.batches[p.count-1].lastOffset
}

// setEpoch forgets the batches of another epoch.
func (p *producer) setEpoch(epoch int16) {
	if p.epoch != epoch {
		p.epoch, p.count = epoch, 0
	}
}

func (p *producer) remember(b batch) {
	if p.count == rememberedBatches {
		copy(p.batches[:], p.batches[1:])
		p.count--
	}
	p.batches[p.count] = b
	p.count++
}

// txn is a transaction that is open, or completed but not yet below the high watermark.
type txn struct {
	producerID, first int64
	// last is the offset of the marker; it counts for completed transactions only.
	last int64
}

// Table is the state of one partition. The zero value is empty and ready.
type Table struct {
	// SkipVerification takes transactional batches without a guard
	// (transaction.partition.verification.enable=false).
	SkipVerification bool

	producers []producer
	// index finds a producer in producers; nil as long as scanning does.
	index map[int64]int32
	// open and unreplicated are sorted by their first offset.
	open, unreplicated []txn
	// verifying holds the verifications under way, nil as long as there is none.
	verifying map[int64]verification
	lastGuard Guard
	// end is the offset behind the last batch that the table knows of.
	end int64
}

// Len is the number of producers.
func (t *Table) Len() int { return len(t.producers) }

// EndOffset is the offset behind the last batch that the table covers: what names a snapshot.
func (t *Table) EndOffset() int64 { return t.end }

// AdvanceTo says that the log up to offset has nothing more for the table (batches without a producer id).
func (t *Table) AdvanceTo(offset int64) { t.end = max(t.end, offset) }

// Reset empties the table: the log starts at offset, or its state is read anew from there.
func (t *Table) Reset(offset int64) {
	clear(t.index)
	clear(t.verifying)
	t.producers, t.open, t.unreplicated = t.producers[:0], t.open[:0], t.unreplicated[:0]
	t.end = offset
}

// Succeed makes the table the successor of another of the same partition: no guard that the other has given is good here.
func (t *Table) Succeed(old *Table) { t.lastGuard = max(t.lastGuard, old.lastGuard) }

// find is the producer of that id, nil if unknown. The pointer is good until the next change of the table.
func (t *Table) find(id int64) *producer {
	if t.index != nil {
		if i, ok := t.index[id]; ok {
			return &t.producers[i]
		}
		return nil
	}
	for i := range t.producers {
		if t.producers[i].id == id {
			return &t.producers[i]
		}
	}
	return nil
}

// findOrAdd is find that makes unknown producers known.
func (t *Table) findOrAdd(id int64) *producer {
	if p := t.find(id); p != nil {
		return p
	}
	t.producers = append(t.producers, newProducer(id))
	at := len(t.producers) - 1
	switch {
	case t.index != nil:
		t.index[id] = int32(at)
	case at == scanned:
		t.index = make(map[int64]int32, 2*scanned)
		for i := range t.producers {
			t.index[t.producers[i].id] = int32(i)
		}
	}
	return &t.producers[at]
}

// Expire forgets producers without an open transaction whose last append is expirationMs or more ago
// (producer.id.expiration.ms), and verifications as old; it returns how many producers. It looks at all of them,
// so call it now and then (producer.id.expiration.check.interval.ms).
func (t *Table) Expire(now, expirationMs int64) int {
	for id, v := range t.verifying { //unordered: each is kept or dropped by itself
		if now-v.since >= expirationMs {
			delete(t.verifying, id)
		}
	}
	before := len(t.producers)
	for i := 0; i < len(t.producers); {
		p := &t.producers[i]
		if p.txnFirst != noOffset || now-p.lastTimestamp < expirationMs {
			i++
			continue
		}
		t.removeAt(i)
	}
	return before - len(t.producers)
}

// removeAt puts the last producer into the place of the i-th.
func (t *Table) removeAt(i int) {
	last := len(t.producers) - 1
	delete(t.index, t.producers[i].id)
	if i != last {
		t.producers[i] = t.producers[last]
		if t.index != nil {
			t.index[t.producers[i].id] = int32(i)
		}
	}
	t.producers = t.producers[:last]
}

// Apply takes note of an appended batch. It checks nothing: for a leader Check has accepted, a follower and
// recovery take what the log holds.
func (t *Table) Apply(a *Append) {
	p := t.findOrAdd(a.ProducerID)
	p.setEpoch(a.Epoch)
	p.remember(batch{
		lastOffset: a.LastOffset, timestamp: a.MaxTimestamp,
		lastSequence: a.LastSequence, offsetDelta: int32(a.LastOffset - a.FirstOffset),
	})
	p.lastTimestamp = a.MaxTimestamp
	if a.Transactional {
		delete(t.verifying, a.ProducerID)
		if p.txnFirst == noOffset {
			p.txnFirst = a.FirstOffset
			insertTxn(&t.open, txn{producerID: a.ProducerID, first: a.FirstOffset})
		}
	}
	t.AdvanceTo(a.LastOffset + 1)
}

// ApplyMarker takes note of an appended marker. If it ends a transaction that has data in this partition,
// ok is true and done says what the transaction index has to know.
func (t *Table) ApplyMarker(m *Marker) (done Completed, ok bool) {
	p := t.findOrAdd(m.ProducerID)
	if p.txnFirst != noOffset {
		done, ok = t.complete(p, m), true
	}
	p.setEpoch(m.Epoch)
	p.coordinatorEpoch, p.lastTimestamp, p.txnFirst = m.CoordinatorEpoch, m.Timestamp, noOffset
	// A producer of transaction version 2 may begin its next transaction, in the epoch that the marker
	// raises to, before the marker of the last one is here: that verification stays good.
	if v := t.verifying[m.ProducerID]; !v.supportsEpochBump || v.epoch != m.Epoch {
		delete(t.verifying, m.ProducerID)
	}
	t.AdvanceTo(m.Offset + 1)
	return done, ok
}

// complete moves the producer's transaction from the open to the unreplicated ones.
func (t *Table) complete(p *producer, m *Marker) Completed {
	done := Completed{
		ProducerID: p.id, FirstOffset: p.txnFirst, LastOffset: m.Offset, Aborted: !m.Commit, LastStableOffset: m.Offset + 1,
	}
	if i := slices.IndexFunc(t.open, func(x txn) bool { return x.producerID != p.id }); i >= 0 {
		done.LastStableOffset = t.open[i].first
	}
	if i, found := slices.BinarySearchFunc(t.open, p.txnFirst, byFirst); found {
		t.open = slices.Delete(t.open, i, i+1)
	}
	insertTxn(&t.unreplicated, txn{producerID: p.id, first: p.txnFirst, last: m.Offset})
	return done
}

func byFirst(x txn, first int64) int { return cmp.Compare(x.first, first) }

// insertTxn keeps the list sorted; nearly always that means at its end.
func insertTxn(list *[]txn, x txn) {
	i, found := slices.BinarySearchFunc(*list, x.first, byFirst)
	if found {
		(*list)[i] = x
		return
	}
	*list = slices.Insert(*list, i, x)
}

// FirstUnstableOffset is the first offset of a transaction that is open or whose marker is not yet below
// the high watermark: readers of committed data stop there. ok is false if there is none.
func (t *Table) FirstUnstableOffset() (offset int64, ok bool) {
	switch {
	case len(t.open) == 0 && len(t.unreplicated) == 0:
		return 0, false
	case len(t.open) == 0:
		return t.unreplicated[0].first, true
	case len(t.unreplicated) == 0:
		return t.open[0].first, true
	default:
		return min(t.open[0].first, t.unreplicated[0].first), true
	}
}

// HighWatermarkMoved forgets completed transactions whose markers are below the high watermark.
func (t *Table) HighWatermarkMoved(highWatermark int64) {
	t.unreplicated = slices.DeleteFunc(t.unreplicated, func(x txn) bool { return x.last < highWatermark })
}

// LogStartMoved forgets completed transactions below the new log start offset. Producers stay until they
// expire, though their batches may be gone.
func (t *Table) LogStartMoved(logStart int64) {
	t.HighWatermarkMoved(logStart)
	t.AdvanceTo(logStart)
}

// HasLateTxn tells whether the oldest open transaction has hung for longer than any coordinator allows
// (transaction.max.timeout.ms, and five minutes).
func (t *Table) HasLateTxn(now, maxTimeoutMs int64) bool {
	if len(t.open) == 0 {
		return false
	}
	p := t.find(t.open[0].producerID)
	return p != nil && p.lastTimestamp > 0 && now-p.lastTimestamp > maxTimeoutMs+lateTxnBufferMs
}

// Producer is what DescribeProducers tells of one.
type Producer struct {
	ID               int64
	Epoch            int16
	LastSequence     int32
	LastTimestamp    int64
	CoordinatorEpoch int32
	// TxnFirstOffset is -1 without an open transaction.
	TxnFirstOffset int64
}

// Producers lists all, by id.
func (t *Table) Producers() []Producer {
	out := make([]Producer, 0, len(t.producers))
	for i := range t.producers {
		p := &t.producers[i]
		out = append(out, Producer{
			ID: p.id, Epoch: p.epoch, LastSequence: p.lastSequence(), LastTimestamp: p.lastTimestamp,
			CoordinatorEpoch: p.coordinatorEpoch, TxnFirstOffset: p.txnFirst,
		})
	}
	slices.SortFunc(out, func(a, b Producer) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// EachLast tells of every producer its epoch and the offset of its newest record, -1 when only markers are known: what
// compaction must not lose.
func (t *Table) EachLast(tell func(id int64, epoch int16, lastOffset int64)) {
	for i := range t.producers {
		p := &t.producers[i]
		tell(p.id, p.epoch, p.lastOffset())
	}
}
