// Package compress packs and unpacks the payload of record batches: Kafka's five codecs by their id.
//
//	id  name    on the wire
//	0   none    the bytes as they are
//	1   gzip    RFC 1952, possibly several members
//	2   snappy  raw block, or the xerial framing that Java clients write (see xerial.go)
//	3   lz4     frame format (see lz4frame.go)
//	4   zstd    RFC 8878
//
// Invariants: whatever the input says, Decompress returns at most limit bytes and allocates no more than
// limit (beyond dst's own room) plus a constant of the codec; the same input gives the same output; nothing
// is kept of the caller's slices after the call.
//
// Called by internal/format/record, the log cleaner, and clients of coordinators' blobs. It starts no
// goroutine, and it never looks into what it unpacks.
//
// Formats: KIP-110 (zstd), KIP-390 (levels), and docs of the respective codecs.
package compress

import (
	"errors"
	"fmt"
)

// Codec is Kafka's id of a compression codec: bits 0 to 2 of a batch's attributes.
type Codec int8

// The codecs that Kafka knows.
const (
	None   Codec = 0
	Gzip   Codec = 1
	Snappy Codec = 2
	LZ4    Codec = 3
	Zstd   Codec = 4
)

// DefaultLevel asks for the codec's own default level: gzip 6, lz4 9 (which Kafka defines as the fast
// compressor), zstd 3. Snappy has no levels.
const DefaultLevel = -1 << 31

var (
	// ErrTooLarge says that the unpacked payload exceeds the caller's limit.
	ErrTooLarge = errors.New("payload unpacks to more than the limit")
	// ErrCorrupt says that the packed bytes break their own format.
	ErrCorrupt = errors.New("packed payload is corrupt")
	// ErrUnknownCodec says that the codec id is none that Kafka defines.
	ErrUnknownCodec = errors.New("unknown compression codec, known ones are none, gzip, snappy, lz4 and zstd")
)

var codecNames = [...]string{None: "none", Gzip: "gzip", Snappy: "snappy", LZ4: "lz4", Zstd: "zstd"}

// Valid tells whether c is one of Kafka's codecs.
func (c Codec) Valid() bool { return c >= None && c <= Zstd }

// String is the codec's name in configurations.
func (c Codec) String() string {
	if !c.Valid() {
		return fmt.Sprintf("codec(%d)", int8(c))
	}
	return codecNames[c]
}

// Levels gives the range and the default of the codec's level as Kafka's compression.{gzip,lz4,zstd}.level
// define them (KIP-390). For codecs without levels all three are 0.
func (c Codec) Levels() (lowest, highest, preset int) {
	switch c {
	case Gzip:
		return 1, 9, -1
	case LZ4:
		return 1, 17, 9
	case Zstd:
		return -131072, 22, 3
	default:
		return 0, 0, 0
	}
}

// Compress appends the packed src to dst. A level outside of the codec's range is moved into it.
func Compress(dst, src []byte, c Codec, level int) ([]byte, error) {
	switch c {
	case None:
		return append(dst, src...), nil
	case Gzip:
		return packGzip(dst, src, level)
	case Snappy:
		return packXerial(dst, src), nil
	case LZ4:
		return packLZ4(dst, src, level)
	case Zstd:
		return packZstd(dst, src, level)
	default:
		return dst, fmt.Errorf("id %d: %w", int8(c), ErrUnknownCodec)
	}
}

// Decompress appends the unpacked src to dst. It returns an error that is ErrTooLarge when that would add
// more than limit bytes, ErrCorrupt when src breaks the format, ErrUnknownCodec for an id without a codec.
// On errors the result is dst with an undefined part of the output after its original length.
func Decompress(dst, src []byte, c Codec, limit int) ([]byte, error) {
	switch c {
	case None:
		if len(src) > limit {
			return dst, tooLarge(c, limit)
		}
		return append(dst, src...), nil
	case Gzip:
		return unpackGzip(dst, src, limit)
	case Snappy:
		return unpackSnappy(dst, src, limit)
	case LZ4:
		return unpackLZ4(dst, src, limit, true)
	case Zstd:
		return unpackZstd(dst, src, limit)
	default:
		return dst, fmt.Errorf("id %d: %w", int8(c), ErrUnknownCodec)
	}
}

// DecompressMagic0 is Decompress for message format 0, whose lz4 frames carry a wrong header checksum
// (KAFKA-3160): there the checksum is not looked at.
func DecompressMagic0(dst, src []byte, c Codec, limit int) ([]byte, error) {
	if c == LZ4 {
		return unpackLZ4(dst, src, limit, false)
	}
	return Decompress(dst, src, c, limit)
}

func tooLarge(c Codec, limit int) error {
	return fmt.Errorf("%s payload, limit %d bytes: %w", c, limit, ErrTooLarge)
}

func corrupt(c Codec, what string) error {
	return fmt.Errorf("%s: %s: %w", c, what, ErrCorrupt)
}

// clampLevel moves level into the codec's range, the default level for DefaultLevel.
func clampLevel(c Codec, level int) int {
	lowest, highest, preset := c.Levels()
	if level == DefaultLevel || level == preset {
		return preset
	}
	return min(max(level, lowest), highest)
}
