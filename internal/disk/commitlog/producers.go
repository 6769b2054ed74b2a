package commitlog

import (
	"fmt"

	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/machine/idempotence"
)

// ProducerError is why an idempotent or transactional batch is refused; Verdict tells the Kafka error.
type ProducerError struct {
	Verdict idempotence.Verdict
	Msg     string
}

// Error is the message for people.
func (e *ProducerError) Error() string { return e.Msg }

// producerSnapshot is the content of a snapshot file that is still to be written.
type producerSnapshot struct {
	offset int64
	data   []byte
}

// snapshotEvery is how much is appended before a checkpoint also snapshots the producers:
// what a start after a crash has to read again, per log.
const snapshotEvery = 4 << 20

// checkProducer asks the producer table about the first batch of an append. done says that the append has
// its answer: it is a duplicate. The caller holds mu.
func (l *Log) checkProducer(a *Append, b record.Batch) (done bool, err error) {
	if b.ProducerID() <= record.NoProducerID {
		return false, nil
	}
	if b.IsControl() {
		return false, checkMarker(l, a, b)
	}
	p, ok := idempotence.AppendOf(b)
	if !ok {
		return false, nil
	}
	origin := idempotence.Client
	if a.Origin == Coordinator {
		origin = idempotence.Coordinator
	}
	verdict, first := l.producers.Check(&p, origin, a.Guard)
	switch verdict {
	case idempotence.Accept:
		return false, nil
	case idempotence.Duplicate:
		a.Duplicate, a.BaseOffset, a.LastOffset, a.prev = true, first.FirstOffset, first.LastOffset, l.end
		a.DuplicateTime = first.MaxTimestamp
		return true, nil
	default:
		return false, &ProducerError{verdict, fmt.Sprintf("%s-%d: %s", l.topic, l.partition, l.producers.Explain(&p, verdict))}
	}
}

func checkMarker(l *Log, a *Append, b record.Batch) error {
	m, ok, err := markerOf(b)
	if err != nil || !ok {
		return err
	}
	m.TransactionVersion = a.TransactionVersion
	if v := l.producers.CheckMarker(&m); v != idempotence.Accept {
		return &ProducerError{v, fmt.Sprintf("%s-%d: marker of producer %d, epoch %d is refused: %v", l.topic, l.partition, m.ProducerID, m.Epoch, v)}
	}
	return nil
}

// markerOf reads a batch as a transaction marker.
func markerOf(b record.Batch) (idempotence.Marker, bool, error) {
	m, ok, err := b.EndTxnMarker()
	return idempotence.Marker{
		ProducerID: m.ProducerID, Epoch: m.ProducerEpoch, CoordinatorEpoch: m.CoordinatorEpoch,
		Commit: m.Commit, Offset: b.BaseOffset(), Timestamp: m.Timestamp,
	}, ok, err
}

// applyProducer tells the producer table of a batch that has its offsets. The caller holds mu.
func (l *Log) applyProducer(b record.Batch) {
	if b.ProducerID() <= record.NoProducerID {
		return
	}
	if b.IsControl() {
		if m, ok, err := markerOf(b); ok && err == nil {
			if done, ok := l.producers.ApplyMarker(&m); ok && done.Aborted {
				l.aborted = append(l.aborted, AbortedTxn{done.ProducerID, done.FirstOffset, done.LastOffset, done.LastStableOffset})
			}
		}
		return
	}
	if p, ok := idempotence.AppendOf(b); ok {
		l.producers.Apply(&p)
	}
}

// BeginVerification is idempotence.Table.BeginVerification for the first batch of records (KIP-890): the guard goes into
// Append.Guard once the transaction coordinator has said yes. NoGuard without an error means that nobody has to be asked.
func (l *Log) BeginVerification(records []byte, supportsEpochBump bool) (idempotence.Guard, error) {
	b, _, err := record.Next(records)
	if err != nil || len(b) < record.HeaderSize {
		return idempotence.NoGuard, orEmpty(err)
	}
	p, ok := idempotence.AppendOf(b)
	if !ok || !p.Transactional {
		return idempotence.NoGuard, nil
	}
	if to := l.successor(); to != nil {
		return to.BeginVerification(records, supportsEpochBump)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	g, v := l.producers.BeginVerification(&p, supportsEpochBump, l.store.nowMs())
	if v != idempotence.Accept {
		return g, &ProducerError{v, fmt.Sprintf("%s-%d: %s", l.topic, l.partition, l.producers.Explain(&p, v))}
	}
	return g, nil
}

// SkipVerification takes transactional batches without a guard (transaction.partition.verification.enable=false).
func (l *Log) SkipVerification(skip bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.producers.SkipVerification = skip
}

// Producers lists the producers that the log knows, for DescribeProducers.
func (l *Log) Producers() []idempotence.Producer {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.producers.Producers()
}

// LastStableOffset is what readers of committed data may read below: the first offset of a
// transaction that is open, at most the high watermark.
func (l *Log) LastStableOffset() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lastStable()
}

// lastStable is LastStableOffset. The caller holds mu.
func (l *Log) lastStable() int64 {
	lso := l.highWatermark()
	if first, ok := l.producers.FirstUnstableOffset(); ok {
		lso = min(lso, first)
	}
	return lso
}

// moveStable moves Stable after a commit. The caller holds mu.
func (l *Log) moveStable(to int64) {
	l.stable = to
	if l.producers.Len() > 0 {
		l.producers.HighWatermarkMoved(l.highWatermark())
	}
}

// snapshotProducers keeps a snapshot of the producers as of the log's end; it is written when all
// below that is on disk. The caller holds mu.
func (l *Log) snapshotProducers() {
	l.snaps = append(l.snaps, producerSnapshot{l.end, l.producers.AppendSnapshot(nil)})
	l.snapshotBytes = 0
}
