package wire

import (
	"encoding/binary"
	"math"
)

// AppendBool appends one byte.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// AppendInt8 appends one byte.
func AppendInt8(b []byte, v int8) []byte { return append(b, byte(v)) }

// AppendInt16 appends two bytes, most significant first, as all numbers of fixed size are.
func AppendInt16(b []byte, v int16) []byte { return binary.BigEndian.AppendUint16(b, uint16(v)) }

// AppendUint16 appends two bytes.
func AppendUint16(b []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(b, v) }

// AppendInt32 appends four bytes.
func AppendInt32(b []byte, v int32) []byte { return binary.BigEndian.AppendUint32(b, uint32(v)) }

// AppendUint32 appends four bytes.
func AppendUint32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }

// AppendInt64 appends eight bytes.
func AppendInt64(b []byte, v int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(v)) }

// AppendFloat64 appends eight bytes in IEEE 754 form.
func AppendFloat64(b []byte, v float64) []byte {
	return binary.BigEndian.AppendUint64(b, math.Float64bits(v))
}

// AppendUUID appends sixteen bytes.
func AppendUUID(b []byte, v UUID) []byte { return append(b, v[:]...) }

// AppendUvarint appends an unsigned number in groups of seven bits, least significant first.
func AppendUvarint(b []byte, v uint32) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

// AppendVarint appends a signed number in zigzag form.
func AppendVarint(b []byte, v int32) []byte {
	return AppendUvarint(b, uint32(v)<<1^uint32(v>>31))
}

// AppendVarlong appends a signed number of 64 bits in zigzag form.
func AppendVarlong(b []byte, v int64) []byte { return binary.AppendVarint(b, v) }

// AppendString appends a string with a length of two bytes.
func AppendString(b []byte, s string) []byte { return appendText(b, s, false) }

// AppendNullableString appends a string with a length of two bytes, or null.
func AppendNullableString(b []byte, s *string) []byte { return appendOptText(b, s, true, false) }

// AppendCompactString appends a string with a length of variable size.
func AppendCompactString(b []byte, s string) []byte { return appendText(b, s, true) }

// AppendCompactNullableString appends a string with a length of variable size, or null.
func AppendCompactNullableString(b []byte, s *string) []byte { return appendOptText(b, s, true, true) }

// appendText appends a string in the flexible or in the classic form.
func appendText(b []byte, s string, flexible bool) []byte {
	if len(s) > MaxStringLength {
		s = s[:MaxStringLength]
	}
	if flexible {
		b = AppendUvarint(b, uint32(len(s))+1)
	} else {
		b = AppendInt16(b, int16(len(s)))
	}
	return append(b, s...)
}

// appendOptText appends a string or null; the empty string stands for a null that the version does not allow.
func appendOptText(b []byte, s *string, nullable, flexible bool) []byte {
	switch {
	case s != nil:
		return appendText(b, *s, flexible)
	case !nullable:
		return appendText(b, "", flexible)
	case flexible:
		return append(b, 0)
	}
	return AppendInt16(b, -1)
}

// appendCount appends the length of an array or byte field.
func appendCount(b []byte, n int, null, flexible bool) []byte {
	if null {
		n = -1
	}
	if flexible {
		return AppendUvarint(b, uint32(n+1))
	}
	return AppendInt32(b, int32(n))
}

// appendBlob appends a byte field or record field.
func appendBlob(b, v []byte, nullable, flexible bool) []byte {
	b = appendCount(b, len(v), nullable && v == nil, flexible)
	return append(b, v...)
}

func appendInt8s(b []byte, s []int8, nullable, flexible bool) []byte {
	b = appendCount(b, len(s), nullable && s == nil, flexible)
	for _, v := range s {
		b = AppendInt8(b, v)
	}
	return b
}

func appendInt16s(b []byte, s []int16, nullable, flexible bool) []byte {
	b = appendCount(b, len(s), nullable && s == nil, flexible)
	for _, v := range s {
		b = AppendInt16(b, v)
	}
	return b
}

func appendInt32s(b []byte, s []int32, nullable, flexible bool) []byte {
	b = appendCount(b, len(s), nullable && s == nil, flexible)
	for _, v := range s {
		b = AppendInt32(b, v)
	}
	return b
}

func appendInt64s(b []byte, s []int64, nullable, flexible bool) []byte {
	b = appendCount(b, len(s), nullable && s == nil, flexible)
	for _, v := range s {
		b = AppendInt64(b, v)
	}
	return b
}

func appendUUIDs(b []byte, s []UUID, nullable, flexible bool) []byte {
	b = appendCount(b, len(s), nullable && s == nil, flexible)
	for i := range s {
		b = append(b, s[i][:]...)
	}
	return b
}

func appendTexts(b []byte, s []string, nullable, flexible bool) []byte {
	b = appendCount(b, len(s), nullable && s == nil, flexible)
	for _, v := range s {
		b = appendText(b, v, flexible)
	}
	return b
}

// appendPresent appends the mark before a struct that can be null.
func appendPresent(b []byte, present bool) []byte {
	if present {
		return append(b, 1)
	}
	return append(b, 0xff)
}

// appendTagPresent appends the mark before a struct that can be null in a tagged field, where Kafka has another form.
func appendTagPresent(b []byte, present bool) []byte { return AppendBool(b, present) }

// openTag begins a tagged field in the tag section whose count is at position section, and returns where its value
// starts. No message has more than 127 tagged fields, nor a tag above 127, so the count and the tag are one byte.
func openTag(b []byte, section int, tag byte) ([]byte, int) {
	b[section]++
	b = append(b, tag)
	return b, len(b)
}

// closeTag puts the size in front of the value that starts at position start and ends the buffer.
func closeTag(b []byte, start int) []byte {
	var head [binary.MaxVarintLen32]byte
	size := AppendUvarint(head[:0], uint32(len(b)-start))
	b = append(b, size...)
	copy(b[start+len(size):], b[start:])
	copy(b[start:], size)
	return b
}
