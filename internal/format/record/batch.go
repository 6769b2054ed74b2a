package record

import (
	"encoding/binary"

	"github.com/moldau/moldau/internal/format/compress"
)

// Positions in the header of a batch of format 2.
const (
	offBaseOffset      = 0
	offLength          = 8
	offLeaderEpoch     = 12
	offMagic           = 16
	offCRC             = 17
	offAttributes      = 21
	offLastOffsetDelta = 23
	offBaseTimestamp   = 27
	offMaxTimestamp    = 35
	offProducerID      = 43
	offProducerEpoch   = 51
	offBaseSequence    = 53
	offCount           = 57

	// HeaderSize is the size of a format 2 batch without its records.
	HeaderSize = 61
	// LogOverhead is the size of base offset and length, which the length field does not count.
	LogOverhead = 12
)

// Bits of a batch's attributes.
const (
	attrCodecMask     = 0x07
	attrLogAppendTime = 1 << 3
	attrTransactional = 1 << 4
	attrControl       = 1 << 5
	attrDeleteHorizon = 1 << 6
	attrKnown         = 1<<7 - 1
)

// What fields hold when they say nothing.
const (
	NoProducerID    int64 = -1
	NoProducerEpoch int16 = -1
	NoSequence      int32 = -1
	NoTimestamp     int64 = -1
	NoLeaderEpoch   int32 = -1
)

// maxSequence is the last sequence number before the count starts again at 0.
const maxSequence = 1<<31 - 1

// TimestampType tells what the timestamps of a batch mean (message.timestamp.type).
type TimestampType int8

// The timestamp types.
const (
	CreateTime    TimestampType = 0
	LogAppendTime TimestampType = 1
)

// String is the type's name in configurations.
func (t TimestampType) String() string {
	if t == LogAppendTime {
		return "LogAppendTime"
	}
	return "CreateTime"
}

// Batch is a view of exactly one batch of format 2: header and records, nothing behind. Whoever makes one
// by conversion guarantees at least HeaderSize bytes; Next, Validate and the Builder do.
type Batch []byte

// BaseOffset is the offset of the first record.
func (b Batch) BaseOffset() int64 { return int64(binary.BigEndian.Uint64(b[offBaseOffset:])) }

// Length is the whole size of the batch in bytes as its header says, including the first 12.
func (b Batch) Length() int { return int(int32(binary.BigEndian.Uint32(b[offLength:]))) + LogOverhead }

// LeaderEpoch is the epoch of the leader that appended the batch, NoLeaderEpoch before.
func (b Batch) LeaderEpoch() int32 { return int32(binary.BigEndian.Uint32(b[offLeaderEpoch:])) }

// Magic is the message format.
func (b Batch) Magic() int8 { return int8(b[offMagic]) }

// CRC is the stored CRC-32C.
func (b Batch) CRC() uint32 { return binary.BigEndian.Uint32(b[offCRC:]) }

// Attributes are the raw flags.
func (b Batch) Attributes() int16 { return int16(binary.BigEndian.Uint16(b[offAttributes:])) }

// Codec is how the records are packed; it may be one that does not exist.
func (b Batch) Codec() compress.Codec { return compress.Codec(b[offAttributes+1] & attrCodecMask) }

// TimestampType tells who set the timestamps.
func (b Batch) TimestampType() TimestampType {
	return TimestampType(b[offAttributes+1] & attrLogAppendTime >> 3)
}

// IsTransactional tells whether the batch belongs to a transaction.
func (b Batch) IsTransactional() bool { return b[offAttributes+1]&attrTransactional != 0 }

// IsControl tells whether the record is a control record (transaction marker, quorum message).
func (b Batch) IsControl() bool { return b[offAttributes+1]&attrControl != 0 }

// HasDeleteHorizon tells whether the base timestamp holds the time from which tombstones may go (KIP-534).
func (b Batch) HasDeleteHorizon() bool { return b[offAttributes+1]&attrDeleteHorizon != 0 }

// LastOffsetDelta is the distance from the base offset to the last offset. Compaction keeps it, so it may
// be more than the count says.
func (b Batch) LastOffsetDelta() int32 { return int32(binary.BigEndian.Uint32(b[offLastOffsetDelta:])) }

// LastOffset is the offset of the last record that the batch had when it was produced.
func (b Batch) LastOffset() int64 { return b.BaseOffset() + int64(b.LastOffsetDelta()) }

// BaseTimestamp is what the records' timestamp deltas refer to, in ms.
func (b Batch) BaseTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[offBaseTimestamp:])) }

// MaxTimestamp is the greatest timestamp in the batch in ms, or the append time.
func (b Batch) MaxTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[offMaxTimestamp:])) }

// ProducerID is the id of an idempotent producer, NoProducerID for others.
func (b Batch) ProducerID() int64 { return int64(binary.BigEndian.Uint64(b[offProducerID:])) }

// ProducerEpoch is the epoch of that id.
func (b Batch) ProducerEpoch() int16 { return int16(binary.BigEndian.Uint16(b[offProducerEpoch:])) }

// BaseSequence is the sequence number of the first record, NoSequence without a producer id.
func (b Batch) BaseSequence() int32 { return int32(binary.BigEndian.Uint32(b[offBaseSequence:])) }

// LastSequence is the sequence number of the last record: after 2^31-1 follows 0.
func (b Batch) LastSequence() int32 {
	base := b.BaseSequence()
	if base == NoSequence {
		return NoSequence
	}
	return AddSequence(base, b.LastOffsetDelta())
}

// AddSequence moves a sequence number forward by n, wrapping from 2^31-1 to 0.
func AddSequence(sequence, n int32) int32 {
	return int32((int64(sequence) + int64(n)) & maxSequence)
}

// Count is the number of records present.
func (b Batch) Count() int32 { return int32(binary.BigEndian.Uint32(b[offCount:])) }

// Records are the packed records behind the header.
func (b Batch) Records() []byte { return b[HeaderSize:] }

// SetBaseOffset stamps the offset of the first record. The CRC does not cover it.
func (b Batch) SetBaseOffset(offset int64) {
	binary.BigEndian.PutUint64(b[offBaseOffset:], uint64(offset))
}

// SetLeaderEpoch stamps the epoch of the appending leader. The CRC does not cover it.
func (b Batch) SetLeaderEpoch(epoch int32) {
	binary.BigEndian.PutUint32(b[offLeaderEpoch:], uint32(epoch))
}

// SetTimestamps sets timestamp type and max timestamp and brings the CRC, which must be right before,
// up to date. With LogAppendTime, max is the append time and counts for every record. It returns without a
// write when nothing changes.
func (b Batch) SetTimestamps(t TimestampType, maxTimestamp int64) {
	if b.TimestampType() == t && b.MaxTimestamp() == maxTimestamp {
		return
	}
	before := b.stampedCRC()
	// As Kafka does, attributes that are rewritten lose the bits that have no meaning yet.
	b[offAttributes] = 0
	b[offAttributes+1] = b[offAttributes+1]&attrKnown&^attrLogAppendTime | byte(t)<<3
	binary.BigEndian.PutUint64(b[offMaxTimestamp:], uint64(maxTimestamp))
	b.refreshCRC(before)
}
