package main

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/moldau/moldau/internal/format/compress"
)

// duelBatch is a record batch of message format 2 whose fields may be wrong.
type duelBatch struct {
	offset      int64
	leaderEpoch int32
	magic       byte
	attributes  int16
	lastDelta   int32
	first, max  int64 // timestamps
	producer    int64
	epoch       int16
	sequence    int32
	count       int32
	records     []byte // packed
}

// Bits of a batch's attributes.
const (
	batchTransactional = 1 << 4
	batchControl       = 1 << 5
)

// Places of the header.
const (
	batchLengthAt  = 8
	batchMagicAt   = 16
	batchCRCAt     = 17
	batchSummedAt  = 21
	batchRecordsAt = 61
)

// bytes are the batch with its length and CRC.
func (b *duelBatch) bytes() []byte {
	p := binary.BigEndian.AppendUint64(nil, uint64(b.offset))
	p = binary.BigEndian.AppendUint32(p, 0)
	p = binary.BigEndian.AppendUint32(p, uint32(b.leaderEpoch))
	p = append(p, b.magic)
	p = binary.BigEndian.AppendUint32(p, 0)
	p = binary.BigEndian.AppendUint16(p, uint16(b.attributes))
	p = binary.BigEndian.AppendUint32(p, uint32(b.lastDelta))
	p = binary.BigEndian.AppendUint64(p, uint64(b.first))
	p = binary.BigEndian.AppendUint64(p, uint64(b.max))
	p = binary.BigEndian.AppendUint64(p, uint64(b.producer))
	p = binary.BigEndian.AppendUint16(p, uint16(b.epoch))
	p = binary.BigEndian.AppendUint32(p, uint32(b.sequence))
	p = binary.BigEndian.AppendUint32(p, uint32(b.count))
	p = append(p, b.records...)
	binary.BigEndian.PutUint32(p[batchLengthAt:], uint32(len(p)-batchLengthAt-4))
	sumBatch(p)
	return p
}

// sumBatch sets the CRC.
func sumBatch(p []byte) {
	binary.BigEndian.PutUint32(p[batchCRCAt:], crc32.Checksum(p[batchSummedAt:], crc32.MakeTable(crc32.Castagnoli)))
}

// duelRecord is one record of a batch.
type duelRecord struct {
	time, delta int64 // to the batch's
	key, value  []byte
	headers     [][2][]byte
}

// append adds the record as a batch has it.
func (r *duelRecord) append(p []byte) []byte {
	body := []byte{0}
	body = binary.AppendVarint(body, r.time)
	body = binary.AppendVarint(body, r.delta)
	body = appendNullable(body, r.key)
	body = appendNullable(body, r.value)
	body = binary.AppendVarint(body, int64(len(r.headers)))
	for _, h := range r.headers {
		body = appendNullable(body, h[0])
		body = appendNullable(body, h[1])
	}
	p = binary.AppendVarint(p, int64(len(body)))
	return append(p, body...)
}

func appendNullable(p, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(p, -1)
	}
	return append(binary.AppendVarint(p, int64(len(b))), b...)
}

// batchOf is a good batch of some records of about the given time.
func batchOf(rng *rand.Rand, now int64, count int) (*duelBatch, []duelRecord) {
	b := &duelBatch{magic: 2, lastDelta: int32(count - 1), first: now - int64(rng.IntN(5000)), producer: -1, epoch: -1, sequence: -1, count: int32(count)}
	b.leaderEpoch = []int32{-1, 0, 7}[rng.IntN(3)]
	var list []duelRecord
	for i := range count {
		r := duelRecord{delta: int64(i), key: []byte{'k', byte('0' + rng.IntN(4))}, value: bytes.Repeat([]byte{byte('a' + rng.IntN(26))}, rng.IntN(60))}
		if i > 0 {
			r.time = int64(rng.IntN(2000) - 500)
		}
		switch rng.IntN(10) {
		case 0:
			r.value = nil
		case 1:
			r.headers = [][2][]byte{{[]byte("h"), []byte("v")}, {[]byte("h"), nil}, {[]byte(""), []byte("")}}
		case 2:
			r.key = []byte{}
		}
		list = append(list, r)
	}
	b.attributes = int16([]compress.Codec{0, 0, 0, 1, 2, 3, 4}[rng.IntN(7)])
	b.pack(list)
	return b, list
}

// pack puts records into the batch by the codec that its attributes name.
func (b *duelBatch) pack(list []duelRecord) {
	var plain []byte
	b.max = math.MinInt64
	for i := range list {
		b.max = max(b.max, b.first+list[i].time)
		plain = list[i].append(plain)
	}
	b.packPlain(plain)
}

func (b *duelBatch) packPlain(plain []byte) {
	packed, err := compress.Compress(nil, plain, compress.Codec(b.attributes&7), compress.DefaultLevel)
	if err != nil {
		packed = plain // a codec that there is not
	}
	b.records = packed
}

// batchFaults are what can be wrong with a batch. Left out is what Moldau refuses and Kafka lets pass or repairs, see record.Validate,
// and what Kafka answers with UNKNOWN_SERVER_ERROR or not at all: codecs that there are not, what a codec cannot
// unpack, no records (null).
var batchFaults = []func(rng *rand.Rand, b *duelBatch, list []duelRecord) []byte{
	func(_ *rand.Rand, b *duelBatch, _ []duelRecord) []byte { // a wrong CRC
		p := b.bytes()
		p[batchCRCAt] ^= 1
		return p
	},
	func(rng *rand.Rand, b *duelBatch, _ []duelRecord) []byte {
		b.magic = byte(rng.IntN(5))
		return b.bytes()
	},
	func(rng *rand.Rand, b *duelBatch, _ []duelRecord) []byte { // of the count and the last delta one is wrong, or both
		if n := int32([]int{-1, 1, 5}[rng.IntN(3)]); rng.IntN(2) == 0 {
			b.count += n
		} else {
			b.lastDelta += n
		}
		return b.bytes()
	},
	func(rng *rand.Rand, b *duelBatch, _ []duelRecord) []byte {
		n := int32([]int{-1, 1, 5}[rng.IntN(3)])
		b.count, b.lastDelta = b.count+n, b.lastDelta+n
		return b.bytes()
	},
	func(*rand.Rand, *duelBatch, []duelRecord) []byte { return []byte{} },
	func(rng *rand.Rand, b *duelBatch, _ []duelRecord) []byte { // cut off
		p := b.bytes()
		return p[:rng.IntN(len(p))]
	},
	func(_ *rand.Rand, b *duelBatch, _ []duelRecord) []byte { // twice
		return slices.Concat(b.bytes(), b.bytes())
	},
	func(rng *rand.Rand, b *duelBatch, _ []duelRecord) []byte { // a wrong length
		p := b.bytes()
		n := []uint32{0, 13, 14, 48, 49, uint32(len(p)), uint32(len(p)) + 1, 1 << 31, math.MaxUint32}[rng.IntN(9)]
		binary.BigEndian.PutUint32(p[batchLengthAt:], n)
		return p
	},
	func(_ *rand.Rand, b *duelBatch, _ []duelRecord) []byte {
		b.attributes |= batchControl
		return b.bytes()
	},
	func(_ *rand.Rand, b *duelBatch, _ []duelRecord) []byte { b.offset = 5; return b.bytes() },
	func(_ *rand.Rand, b *duelBatch, list []duelRecord) []byte { // no key
		list[len(list)/2].key = nil
		b.pack(list)
		return b.bytes()
	},
	func(_ *rand.Rand, b *duelBatch, _ []duelRecord) []byte { b.max += 10_000; return b.bytes() },
	func(_ *rand.Rand, b *duelBatch, _ []duelRecord) []byte { b.max = -1; return b.bytes() },
	func(rng *rand.Rand, b *duelBatch, list []duelRecord) []byte { // far away, or none
		for i := range list {
			list[i].time = max(0, list[i].time) // Kafka fails at times before 1970
		}
		b.first = []int64{-1, 0, 1, b.first + 30*3_600_000, b.first - 100*24*3_600_000}[rng.IntN(5)]
		b.pack(list)
		return b.bytes()
	},
	func(rng *rand.Rand, b *duelBatch, list []duelRecord) []byte { // one record is far away
		if len(list) == 1 { // the first one's is the batch's, as all clients have it
			list = append(list, duelRecord{delta: 1, key: []byte("k")})
			b.count, b.lastDelta = b.count+1, b.lastDelta+1
		}
		list[len(list)-1].time = []int64{30 * 3_600_000, -100 * 24 * 3_600_000}[rng.IntN(2)]
		b.pack(list)
		return b.bytes()
	},
	func(rng *rand.Rand, b *duelBatch, _ []duelRecord) []byte { // records that are none
		b.packPlain(randomBytes(rng, 1+rng.IntN(40)))
		return b.bytes()
	},
	func(rng *rand.Rand, b *duelBatch, _ []duelRecord) []byte { // not packed as it says
		b.records = randomBytes(rng, rng.IntN(40))
		b.attributes &^= 7
		return b.bytes()
	},
	func(rng *rand.Rand, b *duelBatch, list []duelRecord) []byte { // too large
		list[0].value = randomBytes(rng, 4000)
		b.attributes &^= 7
		b.pack(list)
		return b.bytes()
	},
	func(_ *rand.Rand, b *duelBatch, _ []duelRecord) []byte { // nothing in it
		b.records, b.count, b.lastDelta, b.attributes = nil, 0, 0, 0
		return b.bytes()
	},
	func(_ *rand.Rand, b *duelBatch, _ []duelRecord) []byte { // a header key that is null
		r := duelRecord{key: []byte("k"), headers: [][2][]byte{{nil, []byte("v")}}}
		b.count, b.lastDelta = 1, 0
		b.pack([]duelRecord{r})
		return b.bytes()
	},
	func(_ *rand.Rand, b *duelBatch, _ []duelRecord) []byte { // a length below null
		r := duelRecord{key: []byte("k"), value: []byte("v")}
		p := r.append(nil)
		p[4] = 3 // the key's length: -2
		b.count, b.lastDelta, b.attributes = 1, 0, 0
		b.packPlain(p)
		return b.bytes()
	},
}

func randomBytes(rng *rand.Rand, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
	return p
}
