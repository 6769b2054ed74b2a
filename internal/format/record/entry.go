package record

import (
	"encoding/binary"

	"github.com/moldau/moldau/internal/format/compress"
)

// EntryInfo is what a log has to know of one entry of a segment file, of any format: a batch of format 2,
// or a message (wrapper) of format 0 or 1.
type EntryInfo struct {
	Magic int8
	// Size is the whole size in bytes.
	Size int
	// BaseOffset is the first offset. For a wrapper of format 0 or 1 it equals LastOffset, and
	// BaseUnknown is set: only its content tells.
	BaseOffset, LastOffset int64
	BaseUnknown            bool
	// LeaderEpoch is NoLeaderEpoch before format 2.
	LeaderEpoch int32
	// MaxTimestamp in ms, NoTimestamp in format 0.
	MaxTimestamp  int64
	TimestampType TimestampType
	Codec         compress.Codec
	// Count is the number of records, -1 before format 2.
	Count int32
}

// PeekSize is the number of bytes that PeekHeader needs at most.
const PeekSize = HeaderSize

// PeekHeader reads the head of the entry at the start of b, of which only PeekSize bytes (or the whole
// entry if that is shorter) need to be there. It returns ErrShort when there are less, and an *Error of
// kind Corrupt for what no entry can begin with, such as the zeros of a preallocated file.
func PeekHeader(b []byte) (EntryInfo, error) {
	if len(b) < offMagic+1 {
		return EntryInfo{}, ErrShort
	}
	size := int(int32(binary.BigEndian.Uint32(b[offLength:]))) + LogOverhead
	magic := int8(b[offMagic])
	if magic == 0 || magic == 1 {
		return peekOld(b, size, magic)
	}
	if err := checkMagic2(magic, size); err != nil {
		return EntryInfo{}, err
	}
	if len(b) < HeaderSize {
		return EntryInfo{}, ErrShort
	}
	h := Batch(b)
	if h.LastOffsetDelta() < 0 || h.Count() < 0 || h.BaseOffset() < 0 {
		return EntryInfo{}, errorf(Corrupt, "record batch is corrupt: base offset %d, last offset delta %d, %d records",
			h.BaseOffset(), h.LastOffsetDelta(), h.Count())
	}
	return EntryInfo{
		Magic: magic, Size: size, BaseOffset: h.BaseOffset(), LastOffset: h.LastOffset(), LeaderEpoch: h.LeaderEpoch(),
		MaxTimestamp: h.MaxTimestamp(), TimestampType: h.TimestampType(), Codec: h.Codec(), Count: h.Count(),
	}, nil
}

func peekOld(b []byte, size int, magic int8) (EntryInfo, error) {
	head := oldHeaderSize(magic)
	offset := int64(binary.BigEndian.Uint64(b))
	if size < head+8 || offset < 0 {
		return EntryInfo{}, errorf(Corrupt, "message of format %d is corrupt: offset %d, a size of %d bytes", magic, offset, size)
	}
	if len(b) < head {
		return EntryInfo{}, ErrShort
	}
	attributes := b[oldOffAttributes]
	e := EntryInfo{
		Magic: magic, Size: size, BaseOffset: offset, LastOffset: offset, LeaderEpoch: NoLeaderEpoch,
		MaxTimestamp: NoTimestamp, Codec: compress.Codec(attributes & attrCodecMask), Count: -1,
	}
	e.BaseUnknown = e.Codec != compress.None
	if magic == 1 {
		e.MaxTimestamp = int64(binary.BigEndian.Uint64(b[oldOffTimestamp:]))
		e.TimestampType = TimestampType(attributes & attrLogAppendTime >> 3)
	}
	return e, nil
}

// CheckEntry checks head and CRC of the entry, of any format, that b must be as a whole. It returns
// ErrShort when b ends before the entry does, else an *Error.
func CheckEntry(b []byte) error {
	e, err := PeekHeader(b)
	switch {
	case err != nil:
		return err
	case e.Size > len(b):
		return ErrShort
	case e.Size < len(b):
		return errorf(Corrupt, "%d bytes follow the entry at offset %d", len(b)-e.Size, e.BaseOffset)
	case e.Magic == 2:
		return Batch(b).CheckCRC()
	default:
		return checkOldCRC(b)
	}
}

// IterateEntry is Batch.Iterate for an entry of any format; records have absolute offsets. The entry must have passed
// CheckEntry.
func IterateEntry(b []byte, scratch *[]byte, limit int) (Iterator, error) {
	e, err := PeekHeader(b)
	switch {
	case err != nil:
		return Iterator{}, err
	case e.Size > len(b):
		return Iterator{}, ErrShort
	case e.Magic == 2:
		return Batch(b[:e.Size]).Iterate(scratch, limit)
	default:
		return iterateOld(b[:e.Size], scratch, limit)
	}
}
