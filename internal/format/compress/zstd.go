package compress

import (
	"encoding/binary"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// zstdMaxBlock is the most that one block unpacks to (RFC 8878, 3.1.1.2.4).
const zstdMaxBlock = 128 << 10

// unpackZstd decodes into room that is measured beforehand: the block headers give an upper bound of the
// output without decoding anything, so one allocation does, and the decoder is bound to it.
func unpackZstd(dst, src []byte, limit int) ([]byte, error) {
	bound, err := zstdBound(src, limit)
	if err != nil {
		return dst, err
	}
	need := int(min(bound, uint64(limit)))
	d, err := takeZstdReader()
	if err != nil {
		return dst, err
	}
	defer releaseZstdReader(d)
	at := len(dst)
	dst = slices.Grow(dst, need)
	out, err := d.DecodeAll(src, dst[at:at:at+need])
	if err == nil {
		return dst[:at+len(out)], nil
	}
	// The decoder's errors do not tell a short destination from broken input. If the limit made it short,
	// that is the likelier reason and the safer answer.
	if bound > uint64(limit) {
		return dst[:at], tooLarge(Zstd, limit)
	}
	return dst[:at], corrupt(Zstd, err.Error())
}

// zstdBound walks frames and block headers and returns the least upper bound of the unpacked size that
// they allow. A frame that declares its size and lies is caught by the decoder.
func zstdBound(src []byte, limit int) (total uint64, err error) {
	for len(src) > 0 {
		var h zstd.Header
		if err := h.Decode(src); err != nil {
			return 0, corrupt(Zstd, "frame header: "+err.Error())
		}
		if h.Skippable {
			skip := uint64(h.HeaderSize) + uint64(h.SkippableSize)
			if skip > uint64(len(src)) {
				return 0, corrupt(Zstd, "skippable frame is cut off")
			}
			src = src[skip:]
			continue
		}
		blocks, rest, err := zstdFrame(src[h.HeaderSize:], h.HasCheckSum)
		if err != nil {
			return 0, err
		}
		if h.HasFCS {
			if h.FrameContentSize > uint64(limit) {
				return 0, tooLarge(Zstd, limit)
			}
			blocks = min(blocks, h.FrameContentSize)
		}
		total += blocks
		src = rest
	}
	return total, nil
}

// zstdFrame walks the blocks of one frame: the bound of its output, and what follows the frame.
func zstdFrame(src []byte, checksum bool) (bound uint64, rest []byte, err error) {
	for {
		if len(src) < 3 {
			return 0, nil, corrupt(Zstd, "block header is cut off")
		}
		h := uint32(binary.LittleEndian.Uint16(src)) | uint32(src[2])<<16
		last, kind, size := h&1 == 1, h>>1&3, uint64(h>>3)
		src = src[3:]
		out, in := size, size
		switch kind {
		case 1: // one byte, repeated
			in = 1
		case 2:
			out = zstdMaxBlock
		case 3:
			return 0, nil, corrupt(Zstd, "reserved block type")
		}
		if in > uint64(len(src)) {
			return 0, nil, corrupt(Zstd, "block is cut off")
		}
		src = src[in:]
		bound += out
		if last {
			break
		}
	}
	if checksum {
		if len(src) < 4 {
			return 0, nil, corrupt(Zstd, "checksum is cut off")
		}
		src = src[4:]
	}
	return bound, src, nil
}
