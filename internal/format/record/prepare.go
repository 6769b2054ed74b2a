package record

import (
	"encoding/binary"

	"github.com/moldau/moldau/internal/format/compress"
)

// Prepare makes a validated batch what the topic stores: the topic's codec, timestamp type and true max
// timestamp. It works in place where the size stays; a batch that has to be repacked is built behind the
// end of dst, and then the returned batch lies in the grown dst. Base offset and leader epoch are left to
// the appender, who stamps them under its lock. The error is an *Error: TooLarge when the repacked batch
// breaks max.message.bytes.
func Prepare(dst []byte, info *Info, l *Limits) (Batch, error) {
	b := info.Batch
	if l.Target.wants(b.Codec()) {
		var err error
		b, err = Recompress(dst, b, l.Target.Codec, l.Target.Level, l.maxInflated())
		if err != nil {
			return nil, err
		}
		if l.MaxBatchBytes > 0 && len(b) > l.MaxBatchBytes {
			return nil, errorf(TooLarge, "record batch of %d bytes, repacked by %s, exceeds max.message.bytes of the topic, %d bytes",
				len(b), l.Target.Codec, l.MaxBatchBytes)
		}
	}
	b.SetTimestamps(l.TimestampType, info.MaxTimestamp)
	return b, nil
}

// Recompress appends to dst the batch b with its records packed by codec c, and returns that part as a
// batch of its own. Everything else of the header stays, the CRC is new. limit bounds the unpacked records.
func Recompress(dst []byte, b Batch, c compress.Codec, level, limit int) (Batch, error) {
	start := len(dst)
	dst = append(dst, b[:HeaderSize]...)
	s := compress.BorrowScratch()
	defer s.Release()
	plain := b.Records()
	if b.Codec() != compress.None {
		var err error
		if s.B, err = inflate(s.B, b, limit); err != nil {
			return nil, err
		}
		plain = s.B
	}
	dst, err := compress.Compress(dst, plain, c, level)
	if err != nil {
		return nil, errorf(UnsupportedCompression, "packing the records: %v", err)
	}
	out := Batch(dst[start:len(dst):len(dst)])
	out.seal(c)
	return out, nil
}

// seal sets length, codec and CRC of a batch whose records have just been written.
func (b Batch) seal(c compress.Codec) {
	binary.BigEndian.PutUint32(b[offLength:], uint32(len(b)-LogOverhead))
	b[offAttributes+1] = b[offAttributes+1]&^attrCodecMask | byte(c)
	b.SetCRC()
}
