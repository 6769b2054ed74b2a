package record

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moldau/moldau/internal/format/compress"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestFranzGoReadsBuiltBatches(t *testing.T) {
	for _, codec := range allCodecs {
		b := build(t, Options{
			BaseOffset: 1000, LeaderEpoch: 7, Codec: codec,
			Idempotent: true, ProducerID: 99, ProducerEpoch: 3, BaseSequence: 17, Transactional: true,
		}, 60)
		var k kmsg.RecordBatch
		if err := k.ReadFrom(b); err != nil {
			t.Fatal(codec, err)
		}
		if uint32(k.CRC) != b.CRC() || !bytes.Equal(k.AppendTo(nil), b) {
			t.Fatal(codec, "differs")
		}
		got := fmt.Sprint(k.FirstOffset, k.Length, k.PartitionLeaderEpoch, k.Magic, k.Attributes, k.LastOffsetDelta,
			k.FirstTimestamp, k.MaxTimestamp, k.ProducerID, k.ProducerEpoch, k.FirstSequence, k.NumRecords)
		want := fmt.Sprint(b.BaseOffset(), b.Length()-LogOverhead, b.LeaderEpoch(), b.Magic(), b.Attributes(), b.LastOffsetDelta(),
			b.BaseTimestamp(), b.MaxTimestamp(), b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), b.Count())
		if got != want {
			t.Fatalf("%s: want %s\ngot %s", codec, want, got)
		}
		raw, err := kgo.DefaultDecompressor().Decompress(k.Records, kgo.CompressionCodecType(codec))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(goldenContent(1000, 60, true), franzRecords(t, &k, raw)); diff != "" {
			t.Fatal(codec, diff)
		}
	}
}

func franzRecords(t *testing.T, k *kmsg.RecordBatch, raw []byte) (out []plainRecord) {
	t.Helper()
	for len(raw) > 0 {
		size, p := varint(raw, 0)
		var r kmsg.Record
		if err := r.ReadFrom(raw[:p+int(size)]); err != nil {
			t.Fatal(err)
		}
		raw = raw[p+int(size):]
		one := plainRecord{
			Offset: k.FirstOffset + int64(r.OffsetDelta), Timestamp: k.FirstTimestamp + r.TimestampDelta64,
			Key: nullable(r.Key), Value: nullable(r.Value),
		}
		for _, h := range r.Headers {
			one.Headers = append(one.Headers, h.Key+"="+nullable(h.Value))
		}
		out = append(out, one)
	}
	return out
}

// TestFranzGoBatchesAreTaken takes batches that the types and the compressor of the client encode.
func TestFranzGoBatchesAreTaken(t *testing.T) {
	codecs := map[compress.Codec]kgo.CompressionCodec{
		compress.Gzip: kgo.GzipCompression(), compress.Snappy: kgo.SnappyCompression(),
		compress.LZ4: kgo.Lz4Compression(), compress.Zstd: kgo.ZstdCompression(),
	}
	for codec, peer := range codecs {
		k := kmsg.NewRecordBatch()
		k.PartitionLeaderEpoch, k.Magic, k.ProducerID, k.ProducerEpoch, k.FirstSequence = -1, 2, -1, -1, -1
		k.Attributes, k.FirstTimestamp, k.MaxTimestamp = int16(codec), goldenTime, goldenTime+999
		var raw []byte
		for i := range 1000 {
			r := kmsg.Record{TimestampDelta64: int64(i), OffsetDelta: int32(i), Key: []byte(fmt.Sprint(i)), Value: []byte("value")}
			r.Headers = []kmsg.Header{{Key: "k", Value: []byte("v")}}
			r.Length = int32(len(r.AppendTo(nil)) - 1)
			raw = r.AppendTo(raw)
		}
		k.NumRecords, k.LastOffsetDelta = 1000, 999
		c, err := kgo.DefaultCompressor(peer)
		if err != nil {
			t.Fatal(err)
		}
		k.Records, _ = c.Compress(new(bytes.Buffer), raw)
		b := Batch(k.AppendTo(nil))
		b.seal(codec)
		l := open()
		info, err := Validate(b, &l)
		if err != nil || info.Count != 1000 || info.MaxTimestamp != goldenTime+999 || info.OffsetOfMax != 999 {
			t.Fatal(codec, err, info)
		}
	}
}
