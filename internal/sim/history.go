package sim

import (
	"encoding/binary"
	"fmt"

	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/invariant"
)

// place is a topic's partition.
type place struct {
	topic string
	index int32
}

func (p place) String() string { return fmt.Sprintf("%s-%d", p.topic, p.index) }

// sent is one batch as its producer knows it.
type sent struct {
	first uint64 // number of the first record; they count up
	count int
	acked bool
	base  int64 // offset of the first record, when acked
	// maybe tells that the batch may be in the log although nobody was told.
	maybe bool
}

// history is all that clients were told of one partition: what they sent, what
// was acknowledged, and what they have read.
type history struct {
	place place
	next  uint64 // number of the next record
	sent  []*sent
	// seen is the number of the record that a reader got at each offset.
	seen map[int64]uint64
	// acked counts acknowledged records.
	acked int
}

// batch makes the next batch of a partition: numbered records of about size bytes.
func (h *history) batch(count, size int, opts record.Options, nowMs int64) ([]byte, *sent) {
	s := &sent{first: h.next, count: count}
	w := record.NewBuilder(nil, opts)
	for i := range count {
		value := make([]byte, max(size, 8))
		binary.BigEndian.PutUint64(value, h.next+uint64(i))
		for k := 8; k < len(value); k++ {
			value[k] = byte(uint64(k) * (h.next + uint64(i) + 1))
		}
		w.Append(nowMs, []byte(h.place.topic), value)
	}
	h.next += uint64(count)
	h.sent = append(h.sent, s)
	b, err := w.Finish()
	invariant.Check(err == nil, "building a batch: %v", err)
	return b, s
}

// record is one record as it was read.
type readRecord struct {
	offset int64
	number uint64
}

// check holds what a reader finds in the whole partition against the history.
// Records of a batch nobody was told of may be there once, in their place, or
// not at all.
func (h *history) check(got []readRecord) error {
	at := make(map[int64]uint64, len(got))
	where := make(map[uint64]int64, len(got))
	for i, r := range got {
		if i > 0 && r.offset != got[i-1].offset+1 {
			return fmt.Errorf("%s: offset %d follows %d", h.place, r.offset, got[i-1].offset)
		}
		if before, twice := where[r.number]; twice {
			return fmt.Errorf("%s: record %d is at offset %d and at %d", h.place, r.number, before, r.offset)
		}
		if i > 0 && r.number < got[i-1].number {
			return fmt.Errorf("%s: record %d at offset %d comes after record %d: out of order", h.place, r.number, r.offset, got[i-1].number)
		}
		at[r.offset], where[r.number] = r.number, r.offset
	}
	for _, s := range h.sent {
		for i := range s.count {
			offset, ok := where[s.first+uint64(i)]
			switch {
			case s.acked && !ok:
				return fmt.Errorf("%s: LOST: record %d was acknowledged at offset %d and is gone (the log holds %d records)", h.place, s.first+uint64(i), s.base+int64(i), len(got))
			case s.acked && offset != s.base+int64(i):
				return fmt.Errorf("%s: record %d was acknowledged at offset %d and is at %d", h.place, s.first+uint64(i), s.base+int64(i), offset)
			case !s.acked && !s.maybe && ok:
				return fmt.Errorf("%s: record %d was refused and is at offset %d", h.place, s.first+uint64(i), offset)
			}
		}
	}
	for offset, number := range h.seen { //unordered: any violation will do
		if now, ok := at[offset]; !ok || now != number {
			return fmt.Errorf("%s: VANISHED: a reader saw record %d at offset %d, now there is %d (present: %t)", h.place, number, offset, now, ok)
		}
	}
	for offset, number := range at { //unordered: a copy
		h.seen[offset] = number
	}
	return nil
}
