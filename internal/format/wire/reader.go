package wire

import (
	"encoding/binary"
	"math"
	"strconv"
	"unicode/utf8"
	"unsafe"
)

// The bound on what one Reader may allocate: AllocationFactor times the length of the input plus AllocationSlack bytes.
// Messages that a client has reason to send stay well below it: an array element is seldom more than three times as
// large in memory as on the wire, and small messages fit into the slack.
const (
	AllocationFactor = 4
	AllocationSlack  = 64 << 10
)

// MaxStringLength is the longest string in bytes that the protocol allows, in the compact form too.
const MaxStringLength = math.MaxInt16

// MalformedError tells why an input is not the message it should be.
type MalformedError struct {
	Offset int    // position in the input where it was noticed
	Reason string // what is wrong there
}

// Error implements error.
func (e *MalformedError) Error() string {
	return "malformed message at byte " + strconv.Itoa(e.Offset) + ": " + e.Reason
}

// Reader takes the parts of a message out of a buffer. The first error sticks: from then on every method returns zero
// values at once. A Reader must not be used by two goroutines at a time.
type Reader struct {
	// AliasStrings makes strings and byte fields refer to the input instead of being copied. Who sets it must keep the
	// input unchanged for as long as the message is in use. Records alias the input always.
	AliasStrings bool

	flexible bool // the message being read uses the compact form and tag sections
	buf      []byte
	off      int
	budget   int // bytes that may still be allocated
	err      error
}

// NewReader returns a Reader of the whole buffer.
func NewReader(buf []byte) *Reader {
	r := &Reader{}
	r.Reset(buf)
	return r
}

// Reset makes r read buf from its start, with a new budget and no error. AliasStrings is kept.
func (r *Reader) Reset(buf []byte) {
	r.buf, r.off, r.err, r.flexible = buf, 0, nil, false
	r.budget = AllocationFactor*len(buf) + AllocationSlack
}

// Err returns the first error, which is a *MalformedError, or nil.
func (r *Reader) Err() error { return r.err }

// Remaining returns how many bytes have not been read yet; 0 after an error.
func (r *Reader) Remaining() int { return len(r.buf) - r.off }

// Offset returns how many bytes have been read.
func (r *Reader) Offset() int { return r.off }

// Finish returns the error, if there was any, and treats bytes that were not read as one.
func (r *Reader) Finish() error {
	if r.err == nil && r.off != len(r.buf) {
		r.fail("bytes follow the end of the message")
	}
	return r.err
}

// Rest takes all bytes that are left; they alias the input.
func (r *Reader) Rest() []byte { return r.take(r.Remaining()) }

// fail records the first error and exhausts the input, so that everything after it comes to an end quickly.
func (r *Reader) fail(reason string) {
	if r.err == nil {
		r.err = &MalformedError{Offset: r.off, Reason: reason}
	}
	r.off = len(r.buf)
}

// take returns the next n bytes, or nil and an error if there are not as many.
func (r *Reader) take(n int) []byte {
	if n < 0 || n > len(r.buf)-r.off {
		r.fail("the message is shorter than its fields")
		return nil
	}
	b := r.buf[r.off : r.off+n : r.off+n]
	r.off += n
	return b
}

// charge accounts for an allocation of count elements of size bytes each, and says whether it is allowed. Larger
// allocations are rounded up, as the memory allocator does.
func (r *Reader) charge(count, size int) bool {
	if size > 0 && count > r.budget/size {
		r.fail("the message would take far more memory than its length can justify")
		return false
	}
	n := count * size
	if n > 16 {
		n = (n + 15) &^ 15
	}
	r.budget -= n
	return true
}

// Bool reads one byte; everything but zero is true.
func (r *Reader) Bool() bool { return r.Int8() != 0 }

// Int8 reads one byte.
func (r *Reader) Int8() int8 {
	if b := r.take(1); b != nil {
		return int8(b[0])
	}
	return 0
}

// Uint16 reads two bytes, most significant first, as all numbers of fixed size are.
func (r *Reader) Uint16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// Int16 reads two bytes.
func (r *Reader) Int16() int16 { return int16(r.Uint16()) }

// Uint32 reads four bytes.
func (r *Reader) Uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// Int32 reads four bytes.
func (r *Reader) Int32() int32 { return int32(r.Uint32()) }

// Int64 reads eight bytes.
func (r *Reader) Int64() int64 {
	if b := r.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

// Float64 reads eight bytes in IEEE 754 form.
func (r *Reader) Float64() float64 { return math.Float64frombits(uint64(r.Int64())) }

// UUID reads sixteen bytes.
func (r *Reader) UUID() (u UUID) {
	if b := r.take(len(u)); b != nil {
		u = UUID(b)
	}
	return u
}

// Uvarint reads an unsigned number of at most 32 bits in groups of seven, least significant first.
func (r *Reader) Uvarint() uint32 {
	var v uint32
	for i := 0; i < 5; i++ {
		if r.off >= len(r.buf) {
			r.fail("the message ends within a number")
			return 0
		}
		c := r.buf[r.off]
		r.off++
		v |= uint32(c&0x7f) << (7 * i)
		if c < 0x80 {
			if i == 4 && c > 0x0f {
				break
			}
			return v
		}
	}
	r.fail("a number of variable length exceeds 32 bits")
	return 0
}

// Uvarlong reads an unsigned number of at most 64 bits in groups of seven.
func (r *Reader) Uvarlong() uint64 {
	v, n := binary.Uvarint(r.buf[r.off:])
	if n <= 0 {
		r.fail("a number of variable length is cut or exceeds 64 bits")
		return 0
	}
	r.off += n
	return v
}

// Varint reads a signed number of at most 32 bits in zigzag form.
func (r *Reader) Varint() int32 {
	u := r.Uvarint()
	return int32(u>>1) ^ -int32(u&1)
}

// Varlong reads a signed number of at most 64 bits in zigzag form.
func (r *Reader) Varlong() int64 {
	u := r.Uvarlong()
	return int64(u>>1) ^ -int64(u&1)
}

// String reads a string with a length of two bytes; null is an error.
func (r *Reader) String() string {
	s, _ := r.stringOf(int(r.Int16()), false)
	return s
}

// NullableString reads a string with a length of two bytes; nil stands for null.
func (r *Reader) NullableString() *string {
	s, ok := r.stringOf(int(r.Int16()), true)
	if !ok {
		return nil
	}
	return &s
}

// CompactString reads a string with a length of variable size; null is an error.
func (r *Reader) CompactString() string {
	s, _ := r.stringOf(int(r.Uvarint())-1, false)
	return s
}

// CompactNullableString reads a string with a length of variable size; nil stands for null.
func (r *Reader) CompactNullableString() *string {
	s, ok := r.stringOf(int(r.Uvarint())-1, true)
	if !ok {
		return nil
	}
	return &s
}

// Bytes reads bytes with a length of four bytes; null is an error.
func (r *Reader) Bytes() []byte { return r.bytesOf(int(r.Int32()), false) }

// NullableBytes reads bytes with a length of four bytes; nil stands for null.
func (r *Reader) NullableBytes() []byte { return r.bytesOf(int(r.Int32()), true) }

// CompactBytes reads bytes with a length of variable size; null is an error.
func (r *Reader) CompactBytes() []byte { return r.bytesOf(int(r.Uvarint())-1, false) }

// CompactNullableBytes reads bytes with a length of variable size; nil stands for null.
func (r *Reader) CompactNullableBytes() []byte { return r.bytesOf(int(r.Uvarint())-1, true) }

// stringOf reads a string of n bytes; the result is false for null and after an error.
func (r *Reader) stringOf(n int, nullable bool) (string, bool) {
	if n < 0 || n > MaxStringLength {
		r.badLength(n, nullable, "string")
		return "", false
	}
	b := r.take(n)
	if b == nil {
		return "", false
	}
	if !utf8.Valid(b) {
		if !r.charge(n, len(replacement)) {
			return "", false
		}
		return replaceInvalid(b), true
	}
	if r.AliasStrings {
		return unsafe.String(unsafe.SliceData(b), n), true
	}
	if !r.charge(n, 1) {
		return "", false
	}
	return string(b), true
}

// replacement stands for a byte that is not a part of any character, as when Java decodes.
const replacement = string(utf8.RuneError)

// replaceInvalid makes text out of bytes some of which are not.
func replaceInvalid(b []byte) string {
	out := make([]byte, 0, len(b)*len(replacement))
	for len(b) > 0 {
		c, n := utf8.DecodeRune(b)
		out = utf8.AppendRune(out, c)
		b = b[n:]
	}
	return unsafe.String(unsafe.SliceData(out), len(out))
}

// bytesOf reads n bytes; nil for null and after an error.
func (r *Reader) bytesOf(n int, nullable bool) []byte {
	if n < 0 {
		r.badLength(n, nullable, "byte field")
		return nil
	}
	b := r.take(n)
	if b == nil || r.AliasStrings {
		return b
	}
	if !r.charge(n, 1) {
		return nil
	}
	return append(make([]byte, 0, n), b...)
}

// badLength fails unless the length is that of a null which is allowed here.
func (r *Reader) badLength(n int, nullable bool, what string) {
	if r.err != nil || n == -1 && nullable {
		return
	}
	if n == -1 {
		r.fail("a " + what + " that must not be null is null")
		return
	}
	r.fail("a " + what + " has the impossible length " + strconv.Itoa(n))
}
