package clean

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/moldau/moldau/internal/format/compress"
	"github.com/moldau/moldau/internal/format/record"
)

// errRecord says that the bytes of a record are none. Batches were checked when they came, and again by their CRC.
var errRecord = errors.New("its fields do not fill its length, or its offset is not one of the batch")

// Positions in a batch's header that are rewritten; the others have setters in record.
const (
	offLength        = 8
	offAttributes    = 22
	offBaseTimestamp = 27
	offMaxTimestamp  = 35
	offCount         = 57

	codecMask  = 0x07
	horizonBit = 1 << 6
)

// LastRecord is what a log's producer table has of one active producer.
type LastRecord struct {
	// Offset is that of its newest data, -1 if it has none.
	Offset int64
	Epoch  int16
}

// Options are what a Filter decides by.
type Options struct {
	// Keys is what the scan has noted, of all records up to Latest.
	Keys   *Keys
	Latest int64
	// End is the offset up to which this round cleans: its last batch stays, empty if need be.
	End int64
	// NowMs is the time and DeleteRetentionMs the topic's delete.retention.ms.
	NowMs, DeleteRetentionMs int64
	// Producers are the active ones, by id.
	Producers map[int64]LastRecord
	// Aborted are the aborted transactions of all that is cleaned, sorted by First.
	Aborted []Aborted
}

// Stats is what a Filter has seen.
type Stats struct {
	RecordsRead, RecordsKept int64
	BytesRead, BytesKept     int64
	// Invalid counts records without a key.
	Invalid int64
}

// Filter is the second pass: it decides what stays, and rewrites batches.
type Filter struct {
	o       Options
	txns    transactions
	stats   Stats
	kept    []int
	scratch []byte
	out     []byte
	runs    []run
	items   [ahead]item
	probes  [ahead]probe
}

// run is a part of a batch's records that stays.
type run struct{ from, to int }

// NewFilter begins a pass from the log's beginning.
func NewFilter(o Options) *Filter {
	return &Filter{o: o, txns: newTransactions(o.Aborted)}
}

// Stats are what has passed so far.
func (f *Filter) Stats() Stats { return f.stats }

// TakeAborted gives the indexes into Options.Aborted of the transactions whose markers stay, since it was called last.
func (f *Filter) TakeAborted() []int {
	kept := f.kept
	f.kept = nil
	return kept
}

// Entry appends to dst what stays of the next entry. last says that it is the last of what becomes one segment: its
// range stays, so that the segment tells where it ends.
func (f *Filter) Entry(dst, b []byte, e *record.EntryInfo, last bool) ([]byte, error) {
	if err := record.CheckEntry(b); err != nil {
		return dst, err
	}
	f.stats.BytesRead += int64(len(b))
	n := len(dst)
	var err error
	if e.Magic < 2 {
		dst, err = f.old(dst, b, last)
	} else {
		dst, err = f.batch(dst, record.Batch(b), last)
	}
	f.stats.BytesKept += int64(len(dst) - n)
	return dst, err
}

// fate is what becomes of a batch before its records are looked at.
type fate struct {
	discard   bool // all of its records go
	keepEmpty bool
	horizon   bool // it is a marker that may go when its horizon has passed
}

func (f *Filter) batch(dst []byte, b record.Batch, last bool) ([]byte, error) {
	w, err := f.judge(b, last)
	if err != nil {
		return dst, err
	}
	f.stats.RecordsRead += int64(b.Count())
	if w.discard || b.Count() == 0 {
		if w.keepEmpty {
			dst = appendEmpty(dst, b)
		}
		return dst, nil
	}
	if b.IsControl() {
		f.stats.RecordsKept += int64(b.Count())
		if w.horizon && !b.HasDeleteHorizon() {
			return f.rebuild(dst, b, nil)
		}
		return append(dst, b...), nil
	}
	return f.data(dst, b, w)
}

// judge decides on the batch as a whole.
func (f *Filter) judge(b record.Batch, last bool) (w fate, err error) {
	if b.IsControl() {
		discard, kept, err := f.txns.onControl(b)
		if err != nil {
			return w, err
		}
		if kept >= 0 {
			f.kept = append(f.kept, kept)
		}
		w.horizon = discard
		w.discard = discard && b.HasDeleteHorizon() && b.BaseTimestamp() <= f.o.NowMs
	} else {
		w.discard = f.txns.onData(b)
	}
	w.keepEmpty = last || b.LastOffset()+1 == f.o.End || f.lastOfProducer(b)
	return w, nil
}

// lastOfProducer tells whether the producer's state depends on the batch: on its last sequence number, or of a
// producer without data on its epoch.
func (f *Filter) lastOfProducer(b record.Batch) bool {
	if b.ProducerID() <= record.NoProducerID {
		return false
	}
	p, ok := f.o.Producers[b.ProducerID()]
	if !ok {
		return false
	}
	if p.Offset >= 0 {
		return b.LastOffset() == p.Offset
	}
	return b.IsControl() && b.ProducerEpoch() == p.Epoch
}

// data writes what stays of a batch of data.
func (f *Filter) data(dst []byte, b record.Batch, w fate) ([]byte, error) {
	p, err := plain(b, &f.scratch)
	if err != nil {
		return dst, err
	}
	k, err := f.choose(b, p)
	if err != nil {
		return dst, err
	}
	f.stats.RecordsKept += int64(k.count)
	switch {
	case k.count == 0:
		if w.keepEmpty {
			dst = appendEmpty(dst, b)
		}
		return dst, nil
	case k.tombstones && !b.HasDeleteHorizon():
		return f.rebuild(dst, b, &k)
	case k.count == b.Count():
		return append(dst, b...), nil
	default:
		return f.shrink(dst, b, p, &k)
	}
}

// chosen is which records of a batch stay.
type chosen struct {
	count        int32
	tombstones   bool
	maxTimestamp int64
}

// choose finds the records that stay; f.runs has where they are.
func (f *Filter) choose(b record.Batch, p []byte) (k chosen, err error) {
	f.runs = f.runs[:0]
	k.maxTimestamp = record.NoTimestamp
	base, baseTime := b.BaseOffset(), b.BaseTimestamp()
	deletable := b.HasDeleteHorizon() && f.o.NowMs >= baseTime
	at := 0
	for n, count := int32(0), b.Count(); n < count; {
		items, probes := f.items[:0], f.probes[:0]
		for from := at; n < count && len(items) < ahead; n++ {
			r, ok := cut(p[from:])
			if !ok || !r.within(b) {
				return k, fmt.Errorf("record %d of the batch at offset %d: %w", n, base, errRecord)
			}
			from += r.size
			items = append(items, r)
			probes = append(probes, f.o.Keys.probe(r.key))
		}
		f.o.Keys.touch(probes)
		for i := range items {
			r := &items[i]
			end := at + r.size
			if f.stays(r, probes[i], base+int64(r.delta), deletable) {
				k.count++
				k.tombstones = k.tombstones || !r.hasValue
				k.maxTimestamp = max(k.maxTimestamp, baseTime+r.timestamp)
				f.keep(at, end)
			}
			at = end
		}
	}
	return k, nil
}

// keep adds a record to the runs.
func (f *Filter) keep(at, end int) {
	if last := len(f.runs) - 1; last >= 0 && f.runs[last].to == at {
		f.runs[last].to = end
		return
	}
	f.runs = append(f.runs, run{at, end})
}

// stays decides on one record; deletable says that tombstones of its batch are past their horizon.
func (f *Filter) stays(r *item, p probe, offset int64, deletable bool) bool {
	switch {
	case offset > f.o.Latest:
		return true
	case !r.hasKey:
		f.stats.Invalid++
		return false
	case f.o.Keys.newest(p) > offset:
		return false
	default:
		return r.hasValue || !deletable
	}
}

// shrink writes the batch with the records in f.runs as they are: offsets and timestamps refer to the same header.
func (f *Filter) shrink(dst []byte, b record.Batch, p []byte, k *chosen) ([]byte, error) {
	start := len(dst)
	dst = append(dst, b[:record.HeaderSize]...)
	if b.Codec() == compress.None {
		for _, r := range f.runs {
			dst = append(dst, p[r.from:r.to]...)
		}
	} else {
		f.out = f.out[:0]
		for _, r := range f.runs {
			f.out = append(f.out, p[r.from:r.to]...)
		}
		var err error
		if dst, err = compress.Compress(dst, f.out, b.Codec(), compress.DefaultLevel); err != nil {
			return dst[:start], fmt.Errorf("packing the batch at offset %d: %w", b.BaseOffset(), err)
		}
	}
	n := record.Batch(dst[start:])
	if n.TimestampType() == record.CreateTime {
		binary.BigEndian.PutUint64(n[offMaxTimestamp:], uint64(k.maxTimestamp))
	}
	binary.BigEndian.PutUint32(n[offCount:], uint32(k.count))
	seal(n)
	return dst, nil
}

// rebuild writes the batch with a delete horizon in the place of its base timestamp; k is nil for one of which all stays.
func (f *Filter) rebuild(dst []byte, b record.Batch, k *chosen) ([]byte, error) {
	w := record.NewBuilder(dst, record.Options{
		BaseOffset: b.BaseOffset(), LeaderEpoch: b.LeaderEpoch(), Codec: b.Codec(), Level: compress.DefaultLevel,
		AppendTime: b.MaxTimestamp(), AppendTimed: b.TimestampType() == record.LogAppendTime,
		ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(), BaseSequence: b.BaseSequence(), Idempotent: true,
		Transactional: b.IsTransactional(), Control: b.IsControl(),
		HasDeleteHorizon: true, DeleteHorizon: f.o.NowMs + f.o.DeleteRetentionMs,
	})
	it, err := b.Iterate(&f.scratch, maxInflated)
	if err != nil {
		return dst, err
	}
	at, i := 0, 0
	for r, ok := it.Next(); ok; r, ok = it.Next() {
		if k == nil {
			w.AppendRecord(&r)
			continue
		}
		// The runs count bytes; records come in the same order.
		if i == len(f.runs) {
			break
		}
		size := sizeAt(b, f.scratch, at)
		if at >= f.runs[i].from {
			w.AppendRecord(&r)
		}
		if at += size; at >= f.runs[i].to {
			i++
		}
	}
	if err := it.Err(); err != nil {
		return dst, err
	}
	w.KeepLastOffset(b.LastOffset())
	n := len(dst)
	out, err := w.Finish()
	if err != nil {
		return dst, err
	}
	return whole(dst, n, out), nil
}

// sizeAt is the size of the record at a position of the batch's records.
func sizeAt(b record.Batch, scratch []byte, at int) int {
	p := scratch
	if b.Codec() == compress.None {
		p = b.Records()
	}
	r, _ := cut(p[at:])
	return r.size
}

// whole gives dst with the batch that a Builder has made behind its end, wherever that lies now.
func whole(dst []byte, n int, b record.Batch) []byte { return append(dst[:n], b...) }

// appendEmpty writes the header of a batch whose records are gone: its offsets and sequence numbers stay.
func appendEmpty(dst []byte, b record.Batch) []byte {
	start := len(dst)
	dst = append(dst, b[:record.HeaderSize]...)
	n := record.Batch(dst[start:])
	n[offAttributes] &^= codecMask | horizonBit
	unknown := record.NoTimestamp
	binary.BigEndian.PutUint64(n[offBaseTimestamp:], uint64(unknown))
	binary.BigEndian.PutUint32(n[offCount:], 0)
	seal(n)
	return dst
}

// seal sets length and CRC.
func seal(b record.Batch) {
	binary.BigEndian.PutUint32(b[offLength:], uint32(len(b)-record.LogOverhead))
	b.SetCRC()
}

// old decides on an entry of format 0 or 1, which stays whole if one of its records stays.
//
// Differs from Kafka: when a log with messages of the formats 0 and 1 (before Kafka 0.11) is compacted, messages that were
// packed together are not taken apart, and tombstones have no delete horizon and stay while they are the newest of their
// key.
func (f *Filter) old(dst, b []byte, last bool) ([]byte, error) {
	it, err := record.IterateEntry(b, &f.scratch, maxInflated)
	if err != nil {
		return dst, err
	}
	n, any := int64(0), last
	for r, ok := it.Next(); ok; r, ok = it.Next() {
		n++
		any = any || f.stays(&item{hasKey: r.Key != nil, hasValue: r.Value != nil}, f.o.Keys.probe(r.Key), r.Offset, false)
	}
	if err := it.Err(); err != nil {
		return dst, err
	}
	f.stats.RecordsRead += n
	if !any {
		return dst, nil
	}
	f.stats.RecordsKept += n
	return append(dst, b...), nil
}
