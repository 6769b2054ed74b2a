package compress

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"slices"

	"github.com/pierrec/lz4/v4"
)

// The lz4 frame:
//
//	uint32 magic 184D2204 | FLG | BD | [uint64 content size] | [uint32 dictionary id] | HC
//	blocks: uint32 size, high bit set if stored plain | data | [uint32 block checksum]
//	uint32 0 (end mark) | [uint32 content checksum]            all little endian
//
// FLG: bits 7-6 version 01, 5 blocks independent, 4 block checksums, 3 content size, 2 content checksum,
// 0 dictionary id. BD: bits 6-4 the largest block, 4 = 64 KiB to 7 = 4 MiB. HC is the second byte of
// xxHash-32 over FLG up to HC; message format 0 wrongly included the magic.
//
// Written as Java's producer does: independent blocks of 64 KiB, no checksums but HC. Bytes behind the end
// mark are left alone, as Kafka does.
const (
	lz4Magic       = 0x184D2204
	lz4BlockSize   = 64 << 10
	lz4Window      = 64 << 10
	lz4StoredFlag  = 1 << 31
	lz4Independent = 1 << 5
	lz4BlockSum    = 1 << 4
	lz4ContentSize = 1 << 3
	lz4ContentSum  = 1 << 2
	lz4DictionaryF = 1 << 0
	// lz4MaxRatio: each further byte of a match length stands for 255 bytes of output.
	lz4MaxRatio = 255
)

func packLZ4(dst, src []byte, level int) ([]byte, error) {
	level = clampLevel(LZ4, level)
	at := len(dst)
	dst = append(dst, 0x04, 0x22, 0x4D, 0x18, 1<<6|lz4Independent, 4<<4, 0)
	dst[at+6] = byte(xxh32(dst[at+4:at+6]) >> 8)
	for len(src) > 0 {
		n := min(len(src), lz4BlockSize)
		at := len(dst)
		dst = slices.Grow(dst, 4+n)
		// Room for one byte less than n, so that a block that does not shrink is stored.
		packed, err := packBlockLZ4(dst[at+4:at+4+n-1], src[:n], level)
		if err != nil && !errors.Is(err, lz4.ErrInvalidSourceShortBuffer) {
			return dst[:at], err
		}
		if err != nil || packed == 0 {
			dst = binary.LittleEndian.AppendUint32(dst[:at], uint32(n)|lz4StoredFlag)
			dst = append(dst, src[:n]...)
		} else {
			binary.LittleEndian.PutUint32(dst[at:at+4], uint32(packed))
			dst = dst[:at+4+packed]
		}
		src = src[n:]
	}
	return binary.LittleEndian.AppendUint32(dst, 0), nil
}

// lz4Frame is what a frame's header says.
type lz4Frame struct {
	flags     byte
	blockSize int
	// contentSize is the declared size of the output, a hint for allocation; -1 if not declared.
	contentSize int64
}

func parseLZ4Header(src []byte, verify bool) (f lz4Frame, rest []byte, err error) {
	if len(src) < 7 || binary.LittleEndian.Uint32(src) != lz4Magic {
		return f, nil, corrupt(LZ4, "no frame header")
	}
	f = lz4Frame{flags: src[4], contentSize: -1}
	if f.flags>>6 != 1 || f.flags&2 != 0 {
		return f, nil, corrupt(LZ4, "unknown frame version")
	}
	if f.flags&lz4DictionaryF != 0 {
		return f, nil, corrupt(LZ4, "frame needs a dictionary")
	}
	sizeID := src[5] >> 4
	if sizeID < 4 || sizeID > 7 || src[5]&0x0F != 0 {
		return f, nil, corrupt(LZ4, "unknown block size")
	}
	f.blockSize = 1 << (8 + 2*sizeID)
	end := 6
	if f.flags&lz4ContentSize != 0 {
		end += 8
		if len(src) <= end {
			return f, nil, corrupt(LZ4, "frame header is cut off")
		}
		f.contentSize = int64(binary.LittleEndian.Uint64(src[6:]) & (1<<62 - 1))
	}
	if verify && byte(xxh32(src[4:end])>>8) != src[end] {
		return f, nil, corrupt(LZ4, "header checksum does not match")
	}
	return f, src[end+1:], nil
}

// unpackLZ4 decodes one frame; verify is false for message format 0, whose header checksum is wrong.
func unpackLZ4(dst, src []byte, limit int, verify bool) ([]byte, error) {
	f, src, err := parseLZ4Header(src, verify)
	if err != nil {
		return dst, err
	}
	if f.contentSize > int64(limit) {
		return dst, tooLarge(LZ4, limit)
	}
	start, end := len(dst), len(dst)+limit
	for {
		if len(src) < 4 {
			return dst, corrupt(LZ4, "block size is cut off")
		}
		word := binary.LittleEndian.Uint32(src)
		src = src[4:]
		if word == 0 {
			break
		}
		size, stored := int(word&^lz4StoredFlag), word&lz4StoredFlag != 0
		need := size
		if f.flags&lz4BlockSum != 0 {
			need += 4
		}
		if size > f.blockSize || need > len(src) {
			return dst, corrupt(LZ4, "block is longer than the frame allows")
		}
		if f.flags&lz4BlockSum != 0 && binary.LittleEndian.Uint32(src[size:]) != xxh32(src[:size]) {
			return dst, corrupt(LZ4, "block checksum does not match")
		}
		window := start
		if f.flags&lz4Independent != 0 {
			window = len(dst)
		}
		if dst, err = f.unpackBlock(dst, src[:size], window, end, stored); err != nil {
			return dst, err
		}
		src = src[need:]
	}
	return dst, f.checkContent(dst[start:], src)
}

// unpackBlock appends one block to dst, which may grow up to end. Matches may reach back to window.
func (f *lz4Frame) unpackBlock(dst, src []byte, window, end int, stored bool) ([]byte, error) {
	at := len(dst)
	if stored {
		if at+len(src) > end {
			return dst, tooLarge(LZ4, end-at)
		}
		return append(reserve(dst, len(src), end), src...), nil
	}
	room := min(f.blockSize, lz4MaxRatio*len(src), end-at)
	if room == 0 {
		// The decoder demands a destination.
		return dst, tooLarge(LZ4, 0)
	}
	dst = reserve(dst, room, end)
	window = max(window, at-lz4Window)
	n, err := lz4.UncompressBlockWithDict(src, dst[at:at+room], dst[window:at])
	if err == nil {
		return dst[:at+n], nil
	}
	// The decoder does not tell a short destination from broken input. If the caller's limit made the
	// destination short, that is the likelier reason and the safer answer.
	if room == end-at {
		return dst[:at], tooLarge(LZ4, end-at)
	}
	return dst[:at], corrupt(LZ4, err.Error())
}

// checkContent verifies what the frame says of its whole output.
func (f *lz4Frame) checkContent(out, rest []byte) error {
	if f.contentSize >= 0 && f.contentSize != int64(len(out)) {
		return corrupt(LZ4, "content size does not match")
	}
	if f.flags&lz4ContentSum == 0 {
		return nil
	}
	if len(rest) < 4 {
		return corrupt(LZ4, "content checksum is cut off")
	}
	if binary.LittleEndian.Uint32(rest) != xxh32(out) {
		return corrupt(LZ4, "content checksum does not match")
	}
	return nil
}

const (
	xxPrime1 uint32 = 2654435761
	xxPrime2 uint32 = 2246822519
	xxPrime3 uint32 = 3266489917
	xxPrime4 uint32 = 668265263
	xxPrime5 uint32 = 374761393
)

// xxh32 is xxHash-32 with seed 0.
func xxh32(b []byte) uint32 {
	n := uint32(len(b))
	h := xxPrime5
	if len(b) >= 16 {
		lanes := [4]uint32{0, xxPrime2, 0, 0}
		lanes[0] = xxPrime2
		lanes[0] += xxPrime1
		lanes[3] -= xxPrime1
		for ; len(b) >= 16; b = b[16:] {
			for i := range lanes {
				v := lanes[i] + binary.LittleEndian.Uint32(b[4*i:])*xxPrime2
				lanes[i] = bits.RotateLeft32(v, 13) * xxPrime1
			}
		}
		h = bits.RotateLeft32(lanes[0], 1) + bits.RotateLeft32(lanes[1], 7) +
			bits.RotateLeft32(lanes[2], 12) + bits.RotateLeft32(lanes[3], 18)
	}
	h += n
	for ; len(b) >= 4; b = b[4:] {
		h = bits.RotateLeft32(h+binary.LittleEndian.Uint32(b)*xxPrime3, 17) * xxPrime4
	}
	for _, c := range b {
		h = bits.RotateLeft32(h+uint32(c)*xxPrime5, 11) * xxPrime1
	}
	h = (h ^ h>>15) * xxPrime2
	h = (h ^ h>>13) * xxPrime3
	return h ^ h>>16
}
