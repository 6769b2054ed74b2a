package clean

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// SlotBytes is what one slot of Keys takes.
const SlotBytes = 20

// MaxLoad is the part of the slots that may be in use at most, whatever is configured: a full table finds nothing.
const MaxLoad = 0.9

// maxSpan is the range of offsets that a slot can hold.
const maxSpan = math.MaxUint32 - 1

// prime is 2^61-1: the field that long keys are hashed in.
const prime = 1<<61 - 1

// inlineKey is the longest key that a slot holds itself.
const inlineKey = 15

// Keys maps the keys of a log to the newest offset of each, in bounded memory.
//
// A slot is found by a fast hash and holds what tells keys apart, so equal hashes do no harm: both keys have a slot. A key of
// up to 15 bytes is in the slot itself. Of longer ones the slot has the values of two polynomials over the key, modulo
// 2^61-1, at points drawn at random for each table: whatever the keys are, two different ones of n bytes have
// the same values with a probability of at most (n/7+2)² / 2^122, which is below 10^-18 for a table of ten million keys
// of 100 bytes, and no sender can know the points.
type Keys struct {
	slots []slot
	count int
	limit int
	start int64
	mix   [2]uint64
	point [2]uint64
	// touched keeps touch from being optimised away.
	touched uint32
}

// slot is the identity of a key in two words, and its offset behind start plus 1; 0 in an empty one.
type slot [SlotBytes / 4]uint32

// identity tells keys apart.
type identity struct{ a, b uint64 }

// NewKeys makes an empty table that hashes by the given random numbers. Reset gives it slots.
func NewKeys(random [4]uint64) *Keys {
	return &Keys{
		mix:   [2]uint64{random[0] | 1, random[1] | 1},
		point: [2]uint64{random[2]%(prime-2) + 2, random[3]%(prime-2) + 2},
	}
}

// Reset empties the table for offsets from start on. It gets as many slots as fit in memory bytes, but no more than span keys,
// the number of offsets to be scanned, can use; load is the part of them that may be used.
func (k *Keys) Reset(start, span, memory int64, load float64) {
	load = min(max(load, 0.01), MaxLoad)
	n := max(min(memory/SlotBytes, 2*span), 2)
	if int64(cap(k.slots)) >= n {
		k.slots = k.slots[:n]
		clear(k.slots)
	} else {
		k.slots = make([]slot, n)
	}
	k.count, k.limit, k.start = 0, max(int(float64(n)*load), 1), start
}

// Len is the number of keys, and Cap how many there may be.
func (k *Keys) Len() int { return k.count }

// Cap is how many keys there may be.
func (k *Keys) Cap() int { return k.limit }

// probe is a key on its way into the table: what tells it apart, and where its search begins.
type probe struct {
	id    identity
	first int
}

// probe prepares the search for a key.
func (k *Keys) probe(key []byte) probe {
	id := k.identify(key)
	hi, lo := bits.Mul64(id.a^k.mix[0], id.b^k.mix[1])
	first, _ := bits.Mul64((hi^lo)*0x9e3779b97f4a7c15, uint64(len(k.slots)))
	return probe{id, int(first)}
}

// ahead is how many records are prepared before the first of them is looked up.
const ahead = 64

// touch looks at the places of several keys at once. Nothing follows from what is there; but the memory is far away, and so the
// processor waits for all of them together, not for one after the other.
func (k *Keys) touch(list []probe) {
	var sum uint32
	for i := range list {
		sum += k.slots[list[i].first][4]
	}
	k.touched = sum
}

// Put notes that the key has a record at the offset, which is above all before. It reports false, and
// does nothing, when there is no room.
func (k *Keys) Put(key []byte, offset int64) bool { return k.put(k.probe(key), offset) }

func (k *Keys) put(p probe, offset int64) bool {
	distance := offset - k.start
	if k.count >= k.limit || distance < 0 || distance >= maxSpan {
		return false
	}
	s := k.find(p)
	if s[4] == 0 {
		k.count++
		s[0], s[1], s[2], s[3] = uint32(p.id.a), uint32(p.id.a>>32), uint32(p.id.b), uint32(p.id.b>>32)
	}
	s[4] = uint32(distance) + 1
	return true
}

// Newest is the greatest offset that was noted for the key, -1 for none.
func (k *Keys) Newest(key []byte) int64 { return k.newest(k.probe(key)) }

func (k *Keys) newest(p probe) int64 {
	s := k.find(p)
	if s[4] == 0 {
		return -1
	}
	return k.start + int64(s[4]) - 1
}

// find gives the key's slot, or the empty one where it belongs.
func (k *Keys) find(p probe) *slot {
	for i := p.first; ; {
		s := &k.slots[i]
		if s[4] == 0 || s.is(p.id) {
			return s
		}
		if i++; i == len(k.slots) {
			i = 0
		}
	}
}

func (s *slot) is(id identity) bool {
	return uint64(s[0])|uint64(s[1])<<32 == id.a && uint64(s[2])|uint64(s[3])<<32 == id.b
}

// identify gives the key itself with its length, or its two polynomials: the uppermost bits tell which.
func (k *Keys) identify(key []byte) identity {
	n := len(key)
	switch {
	case n > inlineKey:
		a, b := k.polynomials(key)
		return identity{a, b | 1<<63}
	case n >= 8:
		// The last bytes overlap the first ones when there are less than 15; the length tells how many count.
		return identity{binary.LittleEndian.Uint64(key), tail7(key) | uint64(n)<<56}
	}
	var a uint64
	for i := n - 1; i >= 0; i-- {
		a = a<<8 | uint64(key[i])
	}
	return identity{a, uint64(n) << 56}
}

// tail7 is the last 7 bytes of a key that has at least 8.
func tail7(key []byte) uint64 { return binary.LittleEndian.Uint64(key[len(key)-8:]) >> 8 }

// polynomials evaluates the polynomial whose coefficients are the length and the key in pieces of 7 bytes at the two points.
func (k *Keys) polynomials(key []byte) (a, b uint64) {
	p, q := k.point[0], k.point[1]
	a = uint64(len(key)) + 1
	b = a
	for len(key) >= 8 {
		c := binary.LittleEndian.Uint64(key) & (1<<56 - 1)
		a, b = step(a, p, c), step(b, q, c)
		key = key[7:]
	}
	var c uint64
	for i := len(key) - 1; i >= 0; i-- {
		c = c<<8 | uint64(key[i])
	}
	return canonical(step(a, p, c)), canonical(step(b, q, c))
}

// step is h*x + c modulo prime, below 2^62. The last piece may have 7 bytes like all others, hence c is below 2^56.
func step(h, x, c uint64) uint64 {
	hi, lo := bits.Mul64(h, x)
	r := lo&prime + (hi<<3 | lo>>61) + c
	return r&prime + r>>61
}

func canonical(h uint64) uint64 {
	if h >= prime {
		h -= prime
	}
	return h
}
