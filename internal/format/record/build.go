package record

import (
	"encoding/binary"
	"math"

	"github.com/moldau/moldau/internal/format/compress"
)

// Options are the header of a batch under construction. The zero value makes a plain batch at offset 0.
type Options struct {
	BaseOffset  int64
	LeaderEpoch int32
	Codec       compress.Codec
	// Level is the codec's level; for the default level give compress.DefaultLevel.
	Level int
	// AppendTime, if AppendTimed is set, makes the timestamp type LogAppendTime.
	AppendTime  int64
	AppendTimed bool
	// ProducerID, ProducerEpoch and BaseSequence count if Idempotent is set.
	ProducerID    int64
	ProducerEpoch int16
	BaseSequence  int32
	Idempotent    bool
	Transactional bool
	Control       bool
	// DeleteHorizon in ms counts if HasDeleteHorizon is set (compaction, KIP-534).
	DeleteHorizon    int64
	HasDeleteHorizon bool
}

// Builder writes one batch. Use it once: NewBuilder, Append as often as needed, Finish.
type Builder struct {
	opts  Options
	b     []byte
	start int
	count int32
	// lastDelta is the greatest offset delta so far, -1 before the first record.
	lastDelta                   int32
	baseTimestamp, maxTimestamp int64
}

// NewBuilder starts a batch behind the end of dst.
func NewBuilder(dst []byte, opts Options) *Builder {
	w := &Builder{opts: opts, b: dst, start: len(dst), lastDelta: -1, baseTimestamp: NoTimestamp, maxTimestamp: NoTimestamp}
	var header [HeaderSize]byte
	w.b = append(w.b, header[:]...)
	if opts.HasDeleteHorizon {
		w.baseTimestamp = opts.DeleteHorizon
	}
	return w
}

// Append adds a record behind the last one. A nil key or value is null.
func (w *Builder) Append(timestamp int64, key, value []byte, headers ...Header) {
	w.begin(w.lastDelta+1, timestamp)
	size := w.recordSize(timestamp, key, value) + varintSize(int64(len(headers)))
	for _, h := range headers {
		size += varintSize(int64(len(h.Key))) + len(h.Key) + fieldSize(h.Value)
	}
	w.appendFields(size, timestamp, key, value)
	w.b = appendVarint(w.b, int64(len(headers)))
	for _, h := range headers {
		w.b = appendVarint(w.b, int64(len(h.Key)))
		w.b = append(w.b, h.Key...)
		w.b = appendField(w.b, h.Value)
	}
}

// AppendRecord adds a record at its own offset, which must be above all offsets before: compaction keeps
// offsets.
func (w *Builder) AppendRecord(r *Record) {
	w.begin(int32(r.Offset-w.opts.BaseOffset), r.Timestamp)
	count := int64(r.Headers.count)
	size := w.recordSize(r.Timestamp, r.Key, r.Value) + varintSize(count) + len(r.Headers.raw)
	w.appendFields(size, r.Timestamp, r.Key, r.Value)
	w.b = appendVarint(w.b, count)
	w.b = append(w.b, r.Headers.raw...)
}

// KeepLastOffset makes the batch end at offset, though its last records may be gone: compaction keeps the
// range, and with it the producer's last sequence number.
func (w *Builder) KeepLastOffset(offset int64) {
	w.lastDelta = max(w.lastDelta, int32(offset-w.opts.BaseOffset))
}

// Count is the number of records so far.
func (w *Builder) Count() int { return int(w.count) }

// Size is the size of the batch so far in bytes, before packing.
func (w *Builder) Size() int { return len(w.b) - w.start }

// Finish packs and seals the batch. The result ends the grown dst of NewBuilder. The error is an *Error.
func (w *Builder) Finish() (Batch, error) {
	if w.Size() > math.MaxInt32 {
		return nil, errorf(TooLarge, "record batch of %d bytes is larger than the format allows", w.Size())
	}
	o := &w.opts
	b := Batch(w.b[w.start:])
	if o.Codec != compress.None && w.count > 0 {
		packed, err := compress.Compress(w.b, b.Records(), o.Codec, o.Level)
		if err != nil {
			return nil, errorf(UnsupportedCompression, "packing the records: %v", err)
		}
		end := len(w.b)
		n := copy(packed[w.start+HeaderSize:], packed[end:])
		b = Batch(packed[w.start : w.start+HeaderSize+n])
	}
	b.SetBaseOffset(o.BaseOffset)
	b.SetLeaderEpoch(o.LeaderEpoch)
	b[offMagic] = 2
	binary.BigEndian.PutUint16(b[offAttributes:], o.attributes())
	binary.BigEndian.PutUint32(b[offLastOffsetDelta:], uint32(max(0, w.lastDelta)))
	binary.BigEndian.PutUint64(b[offBaseTimestamp:], uint64(w.baseTimestamp))
	if o.AppendTimed {
		w.maxTimestamp = o.AppendTime
	}
	binary.BigEndian.PutUint64(b[offMaxTimestamp:], uint64(w.maxTimestamp))
	id, epoch, sequence := NoProducerID, NoProducerEpoch, NoSequence
	if o.Idempotent {
		id, epoch, sequence = o.ProducerID, o.ProducerEpoch, o.BaseSequence
	}
	binary.BigEndian.PutUint64(b[offProducerID:], uint64(id))
	binary.BigEndian.PutUint16(b[offProducerEpoch:], uint16(epoch))
	binary.BigEndian.PutUint32(b[offBaseSequence:], uint32(sequence))
	binary.BigEndian.PutUint32(b[offCount:], uint32(w.count))
	b.seal(o.Codec)
	return b[:len(b):len(b)], nil
}

func (o *Options) attributes() (a uint16) {
	for _, f := range [...]struct {
		set bool
		bit uint16
	}{
		{o.AppendTimed, attrLogAppendTime}, {o.Transactional, attrTransactional},
		{o.Control, attrControl}, {o.HasDeleteHorizon, attrDeleteHorizon},
	} {
		if f.set {
			a |= f.bit
		}
	}
	return a
}

// begin notes what the header has to know of the next record.
func (w *Builder) begin(delta int32, timestamp int64) {
	if w.count == 0 && !w.opts.HasDeleteHorizon {
		w.baseTimestamp = timestamp
	}
	w.maxTimestamp = max(w.maxTimestamp, timestamp)
	w.lastDelta = delta
	w.count++
}

// recordSize is the size of a record behind its length field, without header count and headers.
func (w *Builder) recordSize(timestamp int64, key, value []byte) int {
	return 1 + varintSize(timestamp-w.baseTimestamp) + varintSize(int64(w.lastDelta)) + fieldSize(key) + fieldSize(value)
}

func (w *Builder) appendFields(size int, timestamp int64, key, value []byte) {
	w.b = appendVarint(w.b, int64(size))
	w.b = append(w.b, 0)
	w.b = appendVarint(w.b, timestamp-w.baseTimestamp)
	w.b = appendVarint(w.b, int64(w.lastDelta))
	w.b = appendField(w.b, key)
	w.b = appendField(w.b, value)
}

func fieldSize(f []byte) int {
	if f == nil {
		return 1
	}
	return varintSize(int64(len(f))) + len(f)
}

func appendField(dst, f []byte) []byte {
	if f == nil {
		return append(dst, 1)
	}
	return append(appendVarint(dst, int64(len(f))), f...)
}
