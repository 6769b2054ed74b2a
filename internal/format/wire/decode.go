package wire

import (
	"encoding/binary"
	"unsafe"
)

// This file has the parts of the Reader that only the generated code uses. They follow the form (classic or flexible)
// of the message being read.

// begin prepares for a message in this version; it fails if the version is not one of [low, high].
// Versions from flexible on use the flexible form; -1 stands for never.
func (r *Reader) begin(version, low, high, flexible int16) {
	if version < low || version > high {
		r.fail("the message has an unknown version")
	}
	r.flexible = flexible >= 0 && version >= flexible
}

// shortLength reads the length of a string in the form of the message; -1 stands for null.
func (r *Reader) shortLength() int {
	if r.flexible {
		return int(r.Uvarint()) - 1
	}
	return int(r.Int16())
}

// longLength reads a length in the form of the message; -1 stands for null.
func (r *Reader) longLength() int {
	if r.flexible {
		return int(r.Uvarint()) - 1
	}
	return int(r.Int32())
}

// text reads a string that cannot be null.
func (r *Reader) text() string {
	s, _ := r.stringOf(r.shortLength(), false)
	return s
}

// optText reads a string that can be null if nullable says so. It reuses the variable that old points to.
func (r *Reader) optText(old *string, nullable bool) *string {
	s, ok := r.stringOf(r.shortLength(), nullable)
	if !ok {
		return nil
	}
	if old == nil {
		if !r.charge(1, int(unsafe.Sizeof(s))) {
			return nil
		}
		old = new(string)
	}
	*old = s
	return old
}

// blob reads a byte field.
func (r *Reader) blob(nullable bool) []byte { return r.bytesOf(r.longLength(), nullable) }

// records reads a record field, which aliases the input.
func (r *Reader) records(nullable bool) []byte {
	n := r.longLength()
	if n < 0 {
		r.badLength(n, nullable, "record field")
		return nil
	}
	return r.take(n)
}

// count reads the length of an array of elements that take at least size bytes each; -1 stands for null.
func (r *Reader) count(size int, nullable bool) int {
	n := r.longLength()
	if n < 0 {
		r.badLength(n, nullable, "array")
		if r.err != nil {
			return 0
		}
		return -1
	}
	if n > r.Remaining()/size {
		r.fail("an array claims more elements than the message has room for")
		return 0
	}
	return n
}

// present reads the mark before a struct that can be null.
func (r *Reader) present() bool { return r.Int8() >= 0 && r.err == nil }

// tagPresent reads the mark before a struct that can be null in a tagged field.
func (r *Reader) tagPresent() bool { return r.Uvarint() > 0 }

// resize returns s with n elements, which keep what they refer to so that it can be used again. The result is not nil.
func resize[T any](r *Reader, s []T, n int) []T {
	if n <= cap(s) && s != nil {
		return s[:n]
	}
	var zero T
	if !r.charge(n, int(unsafe.Sizeof(zero))) {
		return s[:0]
	}
	grown := make([]T, n)
	copy(grown, s[:cap(s)])
	return grown
}

// renew returns what p points to, or something new if it points to nothing.
func renew[T any](r *Reader, p *T) *T {
	if p != nil {
		return p
	}
	var zero T
	r.charge(1, int(unsafe.Sizeof(zero)))
	return new(T)
}

// emptied returns s without elements, and not nil.
func emptied[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s[:0]
}

// integers reads an array of numbers of one size; get takes one out of the bytes.
func integers[T any](r *Reader, s []T, nullable bool, get func([]byte) T) []T {
	size := int(unsafe.Sizeof(*new(T)))
	n := r.count(size, nullable)
	if n < 0 {
		return nil
	}
	s = resize(r, s, n)
	b := r.take(len(s) * size)
	if b == nil {
		return s[:0]
	}
	for i := range s {
		s[i] = get(b[i*size:])
	}
	return s
}

func (r *Reader) int8s(s []int8, nullable bool) []int8 {
	return integers(r, s, nullable, func(b []byte) int8 { return int8(b[0]) })
}

func (r *Reader) int16s(s []int16, nullable bool) []int16 {
	return integers(r, s, nullable, func(b []byte) int16 { return int16(binary.BigEndian.Uint16(b)) })
}

func (r *Reader) int32s(s []int32, nullable bool) []int32 {
	return integers(r, s, nullable, func(b []byte) int32 { return int32(binary.BigEndian.Uint32(b)) })
}

func (r *Reader) int64s(s []int64, nullable bool) []int64 {
	return integers(r, s, nullable, func(b []byte) int64 { return int64(binary.BigEndian.Uint64(b)) })
}

func (r *Reader) uuids(s []UUID, nullable bool) []UUID {
	return integers(r, s, nullable, func(b []byte) UUID { return UUID(b[:16]) })
}

func (r *Reader) texts(s []string, nullable bool) []string {
	size := 2
	if r.flexible {
		size = 1
	}
	n := r.count(size, nullable)
	if n < 0 {
		return nil
	}
	s = resize(r, s, n)
	for i := range s {
		s[i] = r.text()
	}
	return s
}

// tags reads how many tagged fields follow; each takes two bytes at least.
func (r *Reader) tags() int {
	n := r.Uvarint()
	if int64(n) > int64(r.Remaining()/2) {
		r.fail("a tag section claims more fields than the message has room for")
		return 0
	}
	return int(n)
}

// tag reads the head of a tagged field: its number and where it ends.
func (r *Reader) tag() (tag uint32, end int) {
	tag = r.Uvarint()
	size := r.Uvarint()
	if int64(size) > int64(r.Remaining()) {
		r.fail("a tagged field is longer than the message")
		return 0, r.off
	}
	return tag, r.off + int(size)
}

// closeTag checks that a tagged field ended where it said.
func (r *Reader) closeTag(end int) {
	if r.err == nil && r.off != end {
		r.fail("a tagged field is not as long as it says")
	}
}

// skipTag goes to the end of a tagged field that is not known.
func (r *Reader) skipTag(end int) {
	if r.err == nil {
		r.off = end
	}
}

// skipTags reads a tag section of which no field is known.
func (r *Reader) skipTags() {
	for n := r.tags(); n > 0 && r.err == nil; n-- {
		_, end := r.tag()
		r.skipTag(end)
	}
}
