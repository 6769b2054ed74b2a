package clean

import (
	"fmt"

	"github.com/moldau/moldau/internal/format/record"
)

// Scan is the first pass: it notes the newest offset of every key in what was never cleaned.
type Scan struct {
	keys    *Keys
	start   int64
	latest  int64
	full    bool
	txns    transactions
	scratch []byte
	probes  [ahead]probe
	offsets [ahead]int64
}

// NewScan begins a pass over the batches from the one that holds start on. aborted are the aborted transactions in that range,
// sorted by First.
func NewScan(keys *Keys, start int64, aborted []Aborted) *Scan {
	return &Scan{keys: keys, start: start, latest: start - 1, txns: newTransactions(aborted)}
}

// Latest is the offset up to which everything was noted.
func (s *Scan) Latest() int64 { return s.latest }

// Full says that the table of keys has no more room: the pass is over.
func (s *Scan) Full() bool { return s.full }

// Passed notes that nothing is left below end.
func (s *Scan) Passed(end int64) {
	if !s.full {
		s.latest = max(s.latest, end-1)
	}
}

// Entry takes the next entry of the log, a batch of format 2 or a message of an older one, whole.
func (s *Scan) Entry(b []byte, e *record.EntryInfo) error {
	if err := record.CheckEntry(b); err != nil {
		return err
	}
	if e.Magic < 2 {
		return s.old(b, e)
	}
	batch := record.Batch(b)
	if batch.IsControl() {
		if _, _, err := s.txns.onControl(batch); err != nil {
			return err
		}
	} else if !s.txns.onData(batch) {
		if err := s.records(batch); err != nil || s.full {
			return err
		}
	}
	s.latest = max(s.latest, e.LastOffset)
	return nil
}

func (s *Scan) records(b record.Batch) error {
	p, err := plain(b, &s.scratch)
	if err != nil {
		return err
	}
	base := b.BaseOffset()
	for n, count := int32(0), b.Count(); n < count; {
		probes, offsets := s.probes[:0], s.offsets[:0]
		for ; n < count && len(probes) < ahead; n++ {
			r, ok := cut(p)
			if !ok || !r.within(b) {
				return fmt.Errorf("record %d of the batch at offset %d: %w", n, base, errRecord)
			}
			p = p[r.size:]
			if offset := base + int64(r.delta); r.hasKey && offset >= s.start {
				probes, offsets = append(probes, s.keys.probe(r.key)), append(offsets, offset)
			}
		}
		s.keys.touch(probes)
		for i := range probes {
			if !s.put(probes[i], offsets[i]) {
				return nil
			}
		}
	}
	return nil
}

func (s *Scan) put(p probe, offset int64) bool {
	if !s.keys.put(p, offset) {
		s.full = true
		return false
	}
	s.latest = max(s.latest, offset)
	return true
}

// old is records for an entry of format 0 or 1.
func (s *Scan) old(b []byte, e *record.EntryInfo) error {
	it, err := record.IterateEntry(b, &s.scratch, maxInflated)
	if err != nil {
		return err
	}
	for r, ok := it.Next(); ok; r, ok = it.Next() {
		if r.Key != nil && r.Offset >= s.start && !s.put(s.keys.probe(r.Key), r.Offset) {
			return nil
		}
	}
	s.latest = max(s.latest, e.LastOffset)
	return it.Err()
}
