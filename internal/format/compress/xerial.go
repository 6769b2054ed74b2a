package compress

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/klauspost/compress/snappy"
)

// The xerial framing, which snappy-java's streams write and so all Java producers:
//
//	82 'S' 'N' 'A' 'P' 'P' 'Y' 00 | int32 version 1 | int32 compatible version 1
//	then chunks: int32 length | raw snappy block of at most 32 KiB unpacked
//
// Streams that were appended to each other repeat the header between chunks. Other clients write one raw
// snappy block instead; a raw block cannot begin with the header, because its first bytes would announce a
// length that the rest does not fulfil.
const (
	xerialHeaderLen = 16
	xerialChunk     = 32 << 10
	// snappyMaxRatio: three bytes of a copy element yield at most 64, so a larger claim is a lie.
	snappyMaxRatio = 64
)

var (
	xerialMagic  = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}
	xerialHeader = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1}
)

func packXerial(dst, src []byte) []byte {
	dst = append(dst, xerialHeader...)
	for len(src) > 0 {
		n := min(len(src), xerialChunk)
		at := len(dst)
		dst = slices.Grow(dst, 4+snappy.MaxEncodedLen(n))
		room := dst[at+4 : cap(dst)]
		packed := snappy.Encode(room[:cap(room)], src[:n])
		dst = dst[:at+4+len(packed)]
		binary.BigEndian.PutUint32(dst[at:], uint32(len(packed)))
		src = src[n:]
	}
	return dst
}

func unpackSnappy(dst, src []byte, limit int) ([]byte, error) {
	if !bytes.HasPrefix(src, xerialMagic) {
		return unpackSnappyBlock(dst, src, limit)
	}
	end := len(dst) + limit
	for len(src) > 0 {
		if bytes.HasPrefix(src, xerialMagic) {
			if len(src) < xerialHeaderLen {
				return dst, corrupt(Snappy, "xerial header is cut off")
			}
			src = src[xerialHeaderLen:]
			continue
		}
		if len(src) < 4 {
			return dst, corrupt(Snappy, "xerial chunk length is cut off")
		}
		n := binary.BigEndian.Uint32(src)
		src = src[4:]
		if uint64(n) > uint64(len(src)) {
			return dst, corrupt(Snappy, "xerial chunk is longer than the payload")
		}
		var err error
		if dst, err = unpackSnappyBlock(dst, src[:n], end-len(dst)); err != nil {
			return dst, err
		}
		src = src[n:]
	}
	return dst, nil
}

func unpackSnappyBlock(dst, src []byte, limit int) ([]byte, error) {
	n, err := snappy.DecodedLen(src)
	if err != nil {
		return dst, corrupt(Snappy, err.Error())
	}
	if n > limit {
		return dst, tooLarge(Snappy, limit)
	}
	if n > snappyMaxRatio*len(src) {
		return dst, corrupt(Snappy, "block claims a size it cannot have")
	}
	at := len(dst)
	dst = reserve(dst, n, at+limit)[:at+n]
	if _, err := snappy.Decode(dst[at:], src); err != nil {
		return dst[:at], corrupt(Snappy, err.Error())
	}
	return dst, nil
}
