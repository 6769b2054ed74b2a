package record

import (
	"github.com/moldau/moldau/internal/format/compress"
)

// Record is one record of a batch. Key, Value and Headers are views of the batch or of the iterator's
// scratch buffer.
type Record struct {
	// Offset is absolute.
	Offset int64
	// Timestamp in ms; the append time if the batch has that timestamp type.
	Timestamp int64
	// Key and Value are nil for null.
	Key, Value []byte
	Headers    Headers
}

// Header is one header of a record; Value is nil for null.
type Header struct {
	Key   string
	Value []byte
}

// Headers are the headers of one record, still encoded.
type Headers struct {
	raw   []byte
	count int32
}

// Len is the number of headers that are left to read.
func (h *Headers) Len() int { return int(h.count) }

// Next takes the next header; key and value are views.
func (h *Headers) Next() (key, value []byte, ok bool) {
	if h.count <= 0 {
		return nil, nil, false
	}
	// The record was checked when the iterator reached it, so nothing can be cut off here.
	size, p := varint(h.raw, 0)
	key = h.raw[p : p+int(size)]
	p += int(size)
	size, p = varint(h.raw, p)
	if size >= 0 {
		value = h.raw[p : p+int(size) : p+int(size)]
		p += int(size)
	}
	h.raw = h.raw[p:]
	h.count--
	return key, value, true
}

// Iterator reads the records of one batch, of any format. It is a value; the zero value is at its end.
type Iterator struct {
	rest []byte
	left int32
	// baseOffset and baseTimestamp are what the deltas refer to; appendTime replaces all timestamps if
	// useAppendTime is set.
	baseOffset, baseTimestamp, appendTime int64
	useAppendTime                         bool
	// old is set for message sets of format 0 and 1, whose entries are read until rest is empty.
	old bool
	err error
}

// Iterate reads the records of b, which need not be validated; CheckCRC is up to the caller. Packed
// records are unpacked into *scratch, which is reused and grown (nil: into new memory), at most limit
// bytes; the records are views of it, so one scratch buffer serves one iteration at a time. The error is an
// *Error.
func (b Batch) Iterate(scratch *[]byte, limit int) (Iterator, error) {
	it := Iterator{
		rest: b.Records(), left: b.Count(), baseOffset: b.BaseOffset(), baseTimestamp: b.BaseTimestamp(),
		appendTime: b.MaxTimestamp(), useAppendTime: b.TimestampType() == LogAppendTime,
	}
	if it.left < 0 {
		return Iterator{}, errorf(InvalidRecord, "record batch declares %d records", it.left)
	}
	if b.Codec() == compress.None || it.left == 0 {
		return it, nil
	}
	var own []byte
	if scratch == nil {
		scratch = &own
	}
	out, err := inflate((*scratch)[:0], b, limit)
	if err != nil {
		return Iterator{}, err
	}
	*scratch, it.rest = out, out
	return it, nil
}

// Next takes the next record; ok is false at the end and after broken bytes, which Err tells apart.
func (it *Iterator) Next() (r Record, ok bool) {
	if it.old {
		return it.nextOld()
	}
	if it.left <= 0 {
		return Record{}, false
	}
	size, p := varint(it.rest, 0)
	if p < 0 || size < minRecord || int(size) > len(it.rest)-p {
		return it.fail("its length is not possible")
	}
	end := p + int(size)
	body := it.rest[p:end]
	timestamp, p := varlong(body, 1)
	offset, p := varintAt(body, p)
	key, p := field(body, p)
	value, p := field(body, p)
	if p < 0 || !walkHeaders(body, p) {
		return it.fail("its fields do not fill its length")
	}
	count, p := varint(body, p)
	r = Record{
		Offset: it.baseOffset + int64(offset), Timestamp: it.baseTimestamp + timestamp,
		Key: key, Value: value, Headers: Headers{raw: body[p:], count: count},
	}
	if it.useAppendTime {
		r.Timestamp = it.appendTime
	}
	it.rest = it.rest[end:]
	it.left--
	return r, true
}

// Err tells why Next ended early: an *Error, nil at the proper end.
func (it *Iterator) Err() error { return it.err }

func (it *Iterator) fail(why string) (Record, bool) {
	it.err = errorf(InvalidRecord, "record of the batch at offset %d cannot be read, %d records before its end: %s",
		it.baseOffset, it.left, why)
	it.left, it.rest, it.old = 0, nil, false
	return Record{}, false
}

// varintAt is varint, where p = -1 stays -1.
func varintAt(b []byte, p int) (int32, int) {
	if p < 0 {
		return 0, -1
	}
	return varint(b, p)
}

// field reads a nullable byte string; p = -1 stays -1.
func field(b []byte, p int) ([]byte, int) {
	size, p := varintAt(b, p)
	if p < 0 || int(size) > len(b)-p {
		return nil, -1
	}
	if size < 0 {
		return nil, p
	}
	end := p + int(size)
	return b[p:end:end], end
}
