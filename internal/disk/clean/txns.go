package clean

import "github.com/moldau/moldau/internal/format/record"

// Aborted is a transaction that a marker at offset Last has aborted; its data begin at First.
type Aborted struct {
	ProducerID, First, Last int64
}

// transactions follows the transactions of a log while its batches pass in order.
type transactions struct {
	aborted []Aborted // by First
	next    int
	// open are the aborted transactions whose marker is still to come, by producer.
	open map[int64]openTxn
	// committing are the producers of other transactional data whose marker is still to come.
	committing map[int64]struct{}
}

type openTxn struct {
	index int  // in aborted
	data  bool // a batch of it was seen
}

func newTransactions(aborted []Aborted) transactions {
	return transactions{aborted: aborted, open: map[int64]openTxn{}, committing: map[int64]struct{}{}}
}

func (t *transactions) advance(offset int64) {
	for t.next < len(t.aborted) && t.aborted[t.next].First <= offset {
		id := t.aborted[t.next].ProducerID
		if _, ok := t.open[id]; !ok {
			t.open[id] = openTxn{index: t.next}
		}
		t.next++
	}
}

// onData tells whether the data batch was aborted.
func (t *transactions) onData(b record.Batch) bool {
	t.advance(b.LastOffset())
	if !b.IsTransactional() {
		return false
	}
	id := b.ProducerID()
	if x, ok := t.open[id]; ok {
		if !x.data {
			x.data = true
			t.open[id] = x
		}
		return true
	}
	t.committing[id] = struct{}{}
	return false
}

// onControl tells whether the control batch may go as far as its transaction is concerned; kept is the aborted
// transaction that the marker still stands for, -1 for none.
func (t *transactions) onControl(b record.Batch) (discard bool, kept int, err error) {
	t.advance(b.LastOffset())
	if b.Count() == 0 {
		return true, -1, nil // its record was removed before
	}
	if b.ProducerID() <= record.NoProducerID {
		return false, -1, nil // not of a transaction
	}
	m, ok, err := b.EndTxnMarker()
	if err != nil || !ok {
		return false, -1, err
	}
	if m.Commit {
		_, seen := t.committing[m.ProducerID]
		delete(t.committing, m.ProducerID)
		return !seen, -1, nil
	}
	x, ok := t.open[m.ProducerID]
	delete(t.open, m.ProducerID)
	if ok && x.data {
		return false, x.index, nil
	}
	return true, -1, nil
}
