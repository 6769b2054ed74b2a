package clean

import (
	"github.com/moldau/moldau/internal/format/compress"
	"github.com/moldau/moldau/internal/format/record"
)

// maxInflated bounds what one batch may unpack to: more than any topic takes.
const maxInflated = 1 << 30

// item is what cleaning has to know of a record.
type item struct {
	size      int // of the whole record
	delta     int32
	timestamp int64 // relative to the batch's
	key       []byte
	hasKey    bool
	hasValue  bool
}

// within says that the record's offset is one of the batch.
func (r *item) within(b record.Batch) bool {
	return r.delta >= 0 && b.BaseOffset()+int64(r.delta) <= b.LastOffset()
}

// cut reads the record at the beginning of p as far as it has to. Its CRC was right, so headers are not looked at; ok is false
// for what cannot be a record all the same.
func cut(p []byte) (r item, ok bool) {
	size, at := uvarint(p, 0)
	length := int(unzig(size))
	if at < 0 || length < 6 || length > len(p)-at {
		return r, false
	}
	r.size = at + length
	b := p[at:r.size]
	var u uint64
	if u, at = uvarint(b, 1); at < 0 {
		return r, false
	}
	r.timestamp = unzig(u)
	if u, at = uvarint(b, at); at < 0 {
		return r, false
	}
	r.delta = int32(unzig(u))
	if u, at = uvarint(b, at); at < 0 {
		return r, false
	}
	if n := unzig(u); n >= 0 {
		if n > int64(len(b)-at) {
			return r, false
		}
		r.key, r.hasKey = b[at:at+int(n)], true
		at += int(n)
	}
	if u, at = uvarint(b, at); at < 0 {
		return r, false
	}
	r.hasValue = unzig(u) >= 0
	return r, true
}

func unzig(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// uvarint reads a varint at p; next is -1 if it does not end within b or is too long.
func uvarint(b []byte, p int) (v uint64, next int) {
	if uint(p) < uint(len(b)) && b[p] < 0x80 {
		return uint64(b[p]), p + 1
	}
	return longVarint(b, p)
}

func longVarint(b []byte, p int) (v uint64, next int) {
	for shift := 0; shift < 70; shift += 7 {
		if p >= len(b) {
			break
		}
		c := b[p]
		p++
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return v, p
		}
	}
	return 0, -1
}

// plain gives the records of a batch of format 2, unpacked into scratch if they are packed.
func plain(b record.Batch, scratch *[]byte) ([]byte, error) {
	if b.Codec() == compress.None || b.Count() == 0 {
		return b.Records(), nil
	}
	if _, err := b.Iterate(scratch, maxInflated); err != nil {
		return nil, err
	}
	return *scratch, nil
}
