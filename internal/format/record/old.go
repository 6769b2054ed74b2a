package record

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/moldau/moldau/internal/format/compress"
)

// A message of format 0 or 1, found in old log directories:
//
//	 0  int64   offset
//	 8  int32   length of what follows
//	12  uint32  CRC-32 (IEEE) of byte 16 to the end
//	16  int8    magic, 0 or 1
//	17  int8    attributes: bits 0-2 codec, in format 1 bit 3 log append time
//	18  int64   timestamp, ms               only in format 1
//	    int32   key length, -1 null | key | int32 value length, -1 null | value
//
// With a codec the message is a wrapper: its value is a packed message set, its offset that of the last
// message inside. In format 0 the offsets inside are absolute, in format 1 they count from 0.
const (
	oldOffAttributes = 17
	oldHeaderSize0   = 18
	oldHeaderSize1   = 26
	oldOffTimestamp  = 18
)

// oldHeaderSize is the size of a message before the key length.
func oldHeaderSize(magic int8) int {
	if magic == 0 {
		return oldHeaderSize0
	}
	return oldHeaderSize1
}

// oldMessage is one parsed message of format 0 or 1.
type oldMessage struct {
	offset, timestamp int64
	magic             int8
	attributes        byte
	key, value        []byte
}

func (m *oldMessage) codec() compress.Codec { return compress.Codec(m.attributes & attrCodecMask) }

// parseOld reads the first message of b; size is its length.
func parseOld(b []byte) (m oldMessage, size int, err error) {
	if len(b) < oldHeaderSize0 {
		return m, 0, ErrShort
	}
	size = int(int32(binary.BigEndian.Uint32(b[offLength:]))) + LogOverhead
	m = oldMessage{offset: int64(binary.BigEndian.Uint64(b)), magic: int8(b[offMagic]), attributes: b[oldOffAttributes], timestamp: NoTimestamp}
	if m.magic != 0 && m.magic != 1 {
		return m, 0, errorf(Corrupt, "message format %d within a message set", m.magic)
	}
	p := oldHeaderSize(m.magic)
	if size < p+8 {
		return m, 0, errorf(Corrupt, "message at offset %d is corrupt: it claims a size of %d bytes", m.offset, size)
	}
	if size > len(b) {
		return m, 0, ErrShort
	}
	b = b[:size]
	if m.magic == 1 {
		m.timestamp = int64(binary.BigEndian.Uint64(b[oldOffTimestamp:]))
	}
	if m.key, p = oldField(b, p); p > 0 {
		m.value, p = oldField(b, p)
	}
	if p != size {
		return m, 0, errorf(Corrupt, "message at offset %d is corrupt: key and value do not fill its %d bytes", m.offset, size)
	}
	return m, size, nil
}

// oldField reads a nullable byte string with an int32 length; next is -1 if it does not fit.
func oldField(b []byte, p int) (f []byte, next int) {
	if len(b)-p < 4 {
		return nil, -1
	}
	n := int(int32(binary.BigEndian.Uint32(b[p:])))
	p += 4
	if n < 0 {
		return nil, p
	}
	if n > len(b)-p {
		return nil, -1
	}
	return b[p : p+n : p+n], p + n
}

// checkOldCRC compares the CRC of the message that b is.
func checkOldCRC(b []byte) error {
	stored, computed := binary.BigEndian.Uint32(b[12:]), crc32.ChecksumIEEE(b[offMagic:])
	if stored != computed {
		return errorf(Corrupt, "message is corrupt: its CRC-32 is %08x, its bytes give %08x", stored, computed)
	}
	return nil
}

// iterateOld reads the message that b is, or the messages that it wraps.
func iterateOld(b []byte, scratch *[]byte, limit int) (Iterator, error) {
	m, _, err := parseOld(b)
	if err != nil {
		return Iterator{}, err
	}
	if m.codec() == compress.None {
		it := Iterator{old: true, rest: b}
		it.setAppendTime(&m)
		return it, nil
	}
	inner, err := unwrapOld(&m, scratch, limit)
	if err != nil {
		return Iterator{}, err
	}
	last, err := checkInner(inner, m.magic)
	if err != nil {
		return Iterator{}, err
	}
	it := Iterator{old: true, rest: inner}
	it.setAppendTime(&m)
	if m.magic == 1 {
		it.baseOffset = m.offset - last
	}
	return it, nil
}

func (it *Iterator) setAppendTime(m *oldMessage) {
	it.useAppendTime, it.appendTime = m.magic == 1 && m.attributes&attrLogAppendTime != 0, m.timestamp
}

// unwrapOld unpacks the message set inside of a wrapper.
func unwrapOld(m *oldMessage, scratch *[]byte, limit int) ([]byte, error) {
	var own []byte
	if scratch == nil {
		scratch = &own
	}
	unpack := compress.Decompress
	if m.magic == 0 {
		unpack = compress.DecompressMagic0
	}
	out, err := unpack((*scratch)[:0], m.value, m.codec(), limit)
	switch {
	case errors.Is(err, compress.ErrTooLarge):
		return nil, errorf(TooLarge, "the message set at offset %d unpacks to more than %d bytes", m.offset, limit)
	case errors.Is(err, compress.ErrUnknownCodec) || m.codec() == compress.Zstd:
		return nil, errorf(UnsupportedCompression, "message at offset %d of format %d is packed by codec %d", m.offset, m.magic, m.codec())
	case err != nil:
		return nil, errorf(Corrupt, "the message set at offset %d cannot be unpacked: %v", m.offset, err)
	}
	*scratch = out
	return out, nil
}

// checkInner checks the messages inside of a wrapper and returns the last one's offset.
func checkInner(set []byte, magic int8) (last int64, err error) {
	if len(set) == 0 {
		return 0, errorf(Corrupt, "packed message set is empty")
	}
	for len(set) > 0 {
		m, size, err := parseOld(set)
		switch {
		case errors.Is(err, ErrShort):
			return 0, errorf(Corrupt, "packed message set is cut off")
		case err != nil:
			return 0, err
		case m.magic != magic:
			return 0, errorf(Corrupt, "message of format %d in a wrapper of format %d", m.magic, magic)
		case m.codec() != compress.None:
			return 0, errorf(Corrupt, "wrapper within a wrapper")
		}
		if err := checkOldCRC(set[:size]); err != nil {
			return 0, err
		}
		last, set = m.offset, set[size:]
	}
	return last, nil
}

// nextOld is Next for formats 0 and 1.
func (it *Iterator) nextOld() (Record, bool) {
	if len(it.rest) == 0 {
		return Record{}, false
	}
	m, size, err := parseOld(it.rest)
	if err != nil {
		return it.fail(err.Error())
	}
	it.rest = it.rest[size:]
	r := Record{Offset: it.baseOffset + m.offset, Timestamp: m.timestamp, Key: m.key, Value: m.value}
	if it.useAppendTime {
		r.Timestamp = it.appendTime
	}
	return r, true
}
