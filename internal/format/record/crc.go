package record

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// shiftFrom is the batch size from which moving the change of a few header bytes through the CRC is
// cheaper than computing it anew.
const shiftFrom = 8 << 10

// ComputeCRC is the CRC-32C over the part of the batch that it covers.
func (b Batch) ComputeCRC() uint32 { return crc32.Checksum(b[offAttributes:], castagnoli) }

// SetCRC stores the CRC of the batch as it is now.
func (b Batch) SetCRC() { binary.BigEndian.PutUint32(b[offCRC:], b.ComputeCRC()) }

// CheckCRC compares the stored CRC with the bytes; the error is an *Error of kind Corrupt.
func (b Batch) CheckCRC() error {
	if stored, computed := b.CRC(), b.ComputeCRC(); stored != computed {
		return errorf(Corrupt, "record batch is corrupt: its CRC-32C is %08x, its bytes give %08x", stored, computed)
	}
	return nil
}

// stampedCRC is the CRC over the part of the header that stamping may change: attributes up to the
// producer id.
func (b Batch) stampedCRC() uint32 {
	return crc32.Checksum(b[offAttributes:offProducerID], castagnoli)
}

// refreshCRC updates the CRC after a change between attributes and producer id; before is what stampedCRC
// was.
//
// The CRC is linear: for two messages of equal length, crc(a) xor crc(b) depends on a xor b alone. So the
// difference of the two short CRCs, moved over the bytes that follow as if they were zero, is the
// difference of the long ones.
func (b Batch) refreshCRC(before uint32) {
	if len(b) < shiftFrom {
		b.SetCRC()
		return
	}
	change := crcShift(before^b.stampedCRC(), len(b)-offProducerID)
	binary.BigEndian.PutUint32(b[offCRC:], b.CRC()^change)
}

// crcPowers[k] is x to the power of 8*2^k modulo the CRC-32C polynomial, bits reflected: what k doublings
// of one zero byte multiply a register with.
var crcPowers = func() (p [31]uint32) {
	p[0] = 1 << 23 // x^8: bit 31 is x^0
	for k := 1; k < len(p); k++ {
		p[k] = crcMultiply(p[k-1], p[k-1])
	}
	return p
}()

// crcShift moves a CRC register over n zero bytes in O(log n).
func crcShift(register uint32, n int) uint32 {
	for m := uint32(n); m != 0; m &= m - 1 {
		register = crcMultiply(register, crcPowers[bits.TrailingZeros32(m)])
	}
	return register
}

// crcMultiply multiplies two polynomials over GF(2) modulo the CRC-32C polynomial, bits reflected.
func crcMultiply(a, b uint32) uint32 {
	product := uint32(0)
	for ; a != 0; a <<= 1 {
		if a&(1<<31) != 0 {
			product ^= b
		}
		b = b>>1 ^ crc32.Castagnoli&-(b&1)
	}
	return product
}
