package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/format/compress"
)

func kindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return 0
}

// open is a topic that takes everything.
func open() Limits { return Limits{BeforeMax: math.MaxInt64, AfterMax: math.MaxInt64} }

var allCodecs = []compress.Codec{compress.None, compress.Gzip, compress.Snappy, compress.LZ4, compress.Zstd}

func build(tb testing.TB, o Options, count int) Batch {
	tb.Helper()
	o.Level = compress.DefaultLevel
	w := NewBuilder(nil, o)
	appendGolden(w, goldenContent(0, count, true))
	b, err := w.Finish()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// change edits a copy of b and makes its CRC right again.
func change(b Batch, edit func(b Batch)) Batch {
	c := append(Batch(nil), b...)
	edit(c)
	c.SetCRC()
	return c
}

func put16(b Batch, at int, v int16) { binary.BigEndian.PutUint16(b[at:], uint16(v)) }
func put32(b Batch, at int, v int32) { binary.BigEndian.PutUint32(b[at:], uint32(v)) }
func put64(b Batch, at int, v int64) { binary.BigEndian.PutUint64(b[at:], uint64(v)) }

func TestValidateTakesWhatClientsSend(t *testing.T) {
	for _, codec := range allCodecs {
		b := build(t, Options{Codec: codec}, 60)
		l := open()
		info, err := Validate(b, &l)
		if err != nil {
			t.Fatal(codec, err)
		}
		// 59*7 - 2*1000 and so on: the last record whose index is divisible by 3 is the latest.
		if info.Count != 60 || info.OffsetOfMax != 57 || info.MaxTimestamp != goldenTime+57*7 {
			t.Fatalf("%s: %+v", codec, info)
		}
		l.TimestampType, l.Now = LogAppendTime, 99
		info, err = Validate(b, &l)
		if err != nil || info.MaxTimestamp != 99 || info.OffsetOfMax != 0 {
			t.Fatalf("%s: %+v %v", codec, info, err)
		}
	}
}

func TestValidateRefusesFrames(t *testing.T) {
	b := build(t, Options{}, 3)
	f := func(name string, records []byte, want Kind, text string) {
		t.Helper()
		l := open()
		_, err := Validate(records, &l)
		if kindOf(err) != want || !strings.Contains(fmt.Sprint(err), text) {
			t.Fatalf("%s: want %s %q, got %s %v", name, want, text, kindOf(err), err)
		}
	}
	f("nothing", nil, InvalidRecord, "0 bytes are none")
	f("a byte short", b[:len(b)-1], InvalidRecord, "one whole record batch")
	f("half a header", b[:20], InvalidRecord, "one whole record batch")
	f("two batches", append(b[:len(b):len(b)], b...), InvalidRecord, "exactly one")
	f("trailing byte", append(b[:len(b):len(b)], 0), InvalidRecord, "exactly one")
	f("format 1", readGolden(t, "v1-none"), InvalidRecord, "message format 1")
	f("format 0", readGolden(t, "v0-gzip"), InvalidRecord, "message format 0")
	f("format 3", change(b, func(b Batch) { b[offMagic] = 3 }), Corrupt, "unknown message format 3")
	f("negative length", change(b, func(b Batch) { put32(b, offLength, -1) }), Corrupt, "size")
	f("length below header", change(b, func(b Batch) { put32(b, offLength, 48) }), Corrupt, "less than a header")
	for i := offMagic + 1; i < len(b); i++ {
		c := append([]byte(nil), b...)
		c[i] ^= 0x10
		f(fmt.Sprint("bit flip in byte ", i), c, Corrupt, "CRC-32C")
	}
}

func TestEarlyRefusals(t *testing.T) {
	b := build(t, Options{}, 3)
	zstd := change(b, func(b Batch) { b[offAttributes+1] |= byte(compress.Zstd) })
	for name, c := range map[string]struct {
		records []byte
		old     bool
		early   bool
	}{
		"nothing":               {nil, false, true},
		"two batches":           {append(b[:len(b):len(b)], b...), false, true},
		"format 1":              {readGolden(t, "v1-none"), false, true},
		"zstd before version 7": {zstd, true, true},
		"zstd":                  {zstd, false, false},
		"a wrong CRC":           {change(b, func(b Batch) { b[offCRC] ^= 1 }), false, false},
	} {
		l := open()
		l.RefuseZstd = c.old
		_, err := Validate(c.records, &l)
		var refused *Error
		if errors.As(err, &refused) && refused.Early != c.early || c.early != (CheckFrame(c.records, c.old) != nil) {
			t.Errorf("%s: early is wanted to be %v: %v, and by itself %v", name, c.early, err, CheckFrame(c.records, c.old))
		}
	}
}

func TestValidateRefusesHeaders(t *testing.T) {
	b := build(t, Options{Idempotent: true, ProducerID: 5, ProducerEpoch: 1}, 3)
	f := func(name string, edit func(b Batch), want Kind, text string) {
		t.Helper()
		l := open()
		_, err := Validate(change(b, edit), &l)
		if kindOf(err) != want || !strings.Contains(fmt.Sprint(err), text) {
			t.Fatalf("%s: want %s %q, got %s %v", name, want, text, kindOf(err), err)
		}
	}
	f("untouched", func(Batch) {}, 0, "nil")
	f("base offset", func(b Batch) { b.SetBaseOffset(1) }, InvalidRecord, "base offset")
	f("no record", func(b Batch) { put32(b, offCount, 0); put32(b, offLastOffsetDelta, -1) }, InvalidRecord, "declares 0 records")
	f("negative count", func(b Batch) { put32(b, offCount, -1) }, InvalidRecord, "declares -1 records")
	f("count and delta", func(b Batch) { put32(b, offLastOffsetDelta, 3) }, InvalidRecord, "last offset delta 3")
	f("count too high", func(b Batch) { put32(b, offCount, 4); put32(b, offLastOffsetDelta, 3) }, InvalidRecord, "ends within record 3 of 4")
	f("count too low", func(b Batch) { put32(b, offCount, 2); put32(b, offLastOffsetDelta, 1) }, InvalidRecord, "follow the 2 records")
	f("count absurd", func(b Batch) { put32(b, offCount, math.MaxInt32); put32(b, offLastOffsetDelta, math.MaxInt32-1) }, InvalidRecord, "ends within")
	f("control", func(b Batch) { b[offAttributes+1] |= attrControl }, InvalidRecord, "control")
	f("horizon", func(b Batch) { b[offAttributes+1] |= attrDeleteHorizon }, InvalidRecord, "horizon")
	f("append time", func(b Batch) { b[offAttributes+1] |= attrLogAppendTime }, InvalidTimestamp, "LogAppendTime")
	f("codec 5", func(b Batch) { b[offAttributes+1] |= 5 }, UnsupportedCompression, "codec 5")
	f("not gzip", func(b Batch) { b[offAttributes+1] |= 1 }, InvalidRecord, "gzip")
	f("epoch", func(b Batch) { put16(b, offProducerEpoch, -1) }, InvalidRecord, "epoch -1")
	f("sequence", func(b Batch) { put32(b, offBaseSequence, -1) }, InvalidRecord, "sequence number -1")
	f("transaction without producer", func(b Batch) { put64(b, offProducerID, -1); b[offAttributes+1] |= attrTransactional }, InvalidRecord, "no producer id")
	f("transaction", func(b Batch) { b[offAttributes+1] |= attrTransactional }, 0, "nil")
}

func TestValidateRefusesRecords(t *testing.T) {
	header := func(count int32, records ...byte) Batch {
		b := append(make(Batch, HeaderSize), records...)
		b[offMagic] = 2
		put64(b, offProducerID, -1)
		put32(b, offCount, count)
		put32(b, offLastOffsetDelta, count-1)
		b.seal(compress.None)
		return b
	}
	f := func(name, text string, count int32, records ...byte) {
		t.Helper()
		l := open()
		_, err := Validate(header(count, records...), &l)
		want := InvalidRecord
		if text == "nil" {
			want = 0
		}
		if kindOf(err) != want || !strings.Contains(fmt.Sprint(err), text) {
			t.Fatalf("%s: want %s %q, got %s %v", name, want, text, kindOf(err), err)
		}
	}
	f("all null", "nil", 1, 12, 0, 0, 0, 1, 1, 0)
	f("empty strings", "nil", 1, 12, 0, 0, 0, 0, 0, 0)
	f("two", "nil", 2, 12, 0, 0, 0, 1, 1, 0, 12, 0, 0, 2, 1, 1, 0)
	f("long form of the length", "nil", 1, 0x8c, 0, 0, 0, 0, 1, 1, 0)
	f("long form of the offset", "nil", 1, 14, 0, 0, 0x80, 0, 1, 1, 0)
	f("header", "nil", 1, 18, 0, 0, 0, 1, 1, 2, 2, 'h', 1)
	f("header without end", "do not fill", 1, 16, 0, 0, 0, 1, 1, 2, 2, 'h')
	f("null header key", "do not fill", 1, 16, 0, 0, 0, 1, 1, 2, 1, 1)
	f("negative header count", "do not fill", 1, 12, 0, 0, 0, 1, 1, 1)
	f("many headers", "do not fill", 1, 14, 0, 0, 0, 1, 1, 0xfe, 1)
	f("no offset of the first", "offset delta 1", 1, 12, 0, 0, 2, 1, 1, 0)
	f("same offset twice", "record 1 has the offset delta 0", 2, 12, 0, 0, 0, 1, 1, 0, 12, 0, 0, 0, 1, 1, 0)
	f("short", "claims a size", 1, 10, 0, 0, 0, 1, 1)
	f("past the end", "claims a size", 1, 14, 0, 0, 0, 1, 1, 0)
	f("negative size", "claims a size", 1, 11, 0, 0, 0, 1, 1, 0)
	f("endless varint", "ends within", 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	f("nothing", "ends within", 1)
	f("key past the record", "do not fill", 1, 12, 0, 0, 0, 2, 1, 0)
	f("value past the record", "do not fill", 1, 12, 0, 0, 0, 1, 4, 0)
	f("byte behind headers", "do not fill", 1, 14, 0, 0, 0, 1, 1, 0, 0)
	f("endless timestamp", "do not fill", 1, 24, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1)
	f("byte behind records", "1 bytes follow", 1, 12, 0, 0, 0, 1, 1, 0, 9)
}

func TestValidateTopicRules(t *testing.T) {
	b := build(t, Options{}, 60)
	l := open()
	l.Compacted = true
	_, err := Validate(b, &l)
	var e *Error
	if !errors.As(err, &e) || e.Kind != InvalidRecord || len(e.Records) != 12 || e.Records[1].Index != 5 {
		t.Fatalf("%+v", err)
	}
	// A packed batch is looked into for keys.
	if _, err := Validate(build(t, Options{Codec: compress.Zstd}, 60), &l); kindOf(err) != InvalidRecord {
		t.Fatal(err)
	}

	l = open()
	l.Now, l.AfterMax, l.BeforeMax = goldenTime+57*7, 0, math.MaxInt64
	if _, err := Validate(b, &l); err != nil {
		t.Fatal(err)
	}
	l.Now--
	if _, err = Validate(b, &l); !errors.As(err, &e) || e.Kind != InvalidTimestamp || len(e.Records) != 1 || e.Records[0].Index != 57 {
		t.Fatalf("%+v", err)
	}
	l.AfterMax, l.BeforeMax = 1000, 2000
	if _, err = Validate(b, &l); !errors.As(err, &e) || e.Kind != InvalidTimestamp || e.Records[0].Index != 2 {
		t.Fatalf("%+v", err)
	}
	l.TimestampType = LogAppendTime
	if _, err = Validate(b, &l); err != nil {
		t.Fatal(err)
	}

	l = open()
	l.MaxBatchBytes = len(b)
	if _, err = Validate(b, &l); err != nil {
		t.Fatal(err)
	}
	l.MaxBatchBytes--
	if _, err = Validate(b, &l); kindOf(err) != TooLarge {
		t.Fatal(err)
	}
	l = open()
	l.RefuseZstd = true
	if _, err = Validate(build(t, Options{Codec: compress.Zstd}, 3), &l); kindOf(err) != UnsupportedCompression {
		t.Fatal(err)
	}
}

func TestRecordsWithoutTimestampAreTaken(t *testing.T) {
	w := NewBuilder(nil, Options{})
	w.Append(NoTimestamp, nil, []byte("v"))
	w.Append(goldenTime, nil, []byte("v"))
	b, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	l := Limits{Now: goldenTime, BeforeMax: 10, AfterMax: 10}
	info, err := Validate(b, &l)
	if err != nil || info.MaxTimestamp != goldenTime || info.OffsetOfMax != 1 {
		t.Fatalf("%+v %v", info, err)
	}
}

func TestBadRecordListIsBounded(t *testing.T) {
	w := NewBuilder(nil, Options{})
	for range 10_000 {
		w.Append(1, nil, nil)
	}
	b, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	l := open()
	l.Compacted = true
	_, err = Validate(b, &l)
	var e *Error
	if !errors.As(err, &e) || len(e.Records) != maxBadRecords || !strings.Contains(e.Msg, "10000 of 10000") {
		t.Fatalf("%+v", err)
	}
}

func TestPrepare(t *testing.T) {
	for _, from := range allCodecs {
		for _, to := range allCodecs {
			b := change(build(t, Options{Codec: from, Idempotent: true, ProducerID: 7}, 60), func(b Batch) {
				// A client that does not keep the max timestamp: the log needs the true one.
				put64(b, offMaxTimestamp, 0)
			})
			l := open()
			l.Target = Target{Fixed: true, Codec: to, Level: compress.DefaultLevel}
			info, err := Validate(b, &l)
			if err != nil {
				t.Fatal(from, to, err)
			}
			out, err := Prepare([]byte("before"), &info, &l)
			if err != nil {
				t.Fatal(from, to, err)
			}
			again := open()
			if got, err := Validate(out, &again); err != nil || out.Codec() != to || out.MaxTimestamp() != info.MaxTimestamp ||
				got.MaxTimestamp != info.MaxTimestamp || out.ProducerID() != 7 {
				t.Fatal(from, to, err)
			}
		}
	}
}

func TestPrepareKeepsMaxBatchBytes(t *testing.T) {
	b := build(t, Options{Codec: compress.Zstd}, 60)
	l := open()
	l.MaxBatchBytes = len(b)
	l.Target = Target{Fixed: true}
	info, err := Validate(b, &l)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Prepare(nil, &info, &l); kindOf(err) != TooLarge {
		t.Fatal(err)
	}
}

func TestStampingKeepsTheCRC(t *testing.T) {
	for _, size := range []int{0, 100, shiftFrom - HeaderSize - 20, shiftFrom, shiftFrom + 1, 100_003, 1 << 20} {
		w := NewBuilder(nil, Options{})
		w.Append(1, nil, []byte(strings.Repeat("x", size)))
		b, err := w.Finish()
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []int64{0, 1, -1, goldenTime, math.MinInt64} {
			for _, kind := range []TimestampType{LogAppendTime, CreateTime} {
				b.SetTimestamps(kind, at)
				if err := b.CheckCRC(); err != nil || b.MaxTimestamp() != at || b.TimestampType() != kind {
					t.Fatal(size, at, kind, err)
				}
			}
		}
		b.SetBaseOffset(math.MaxInt64)
		b.SetLeaderEpoch(math.MaxInt32)
		if err := b.CheckCRC(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSequenceWraps(t *testing.T) {
	for _, c := range []struct{ base, n, want int32 }{
		{0, 0, 0}, {0, 4, 4}, {math.MaxInt32, 0, math.MaxInt32}, {math.MaxInt32, 1, 0}, {math.MaxInt32 - 1, 3, 1},
	} {
		if got := AddSequence(c.base, c.n); got != c.want {
			t.Fatalf("%d + %d: want %d, got %d", c.base, c.n, c.want, got)
		}
	}
}

func TestValidateDoesNotAllocate(t *testing.T) {
	for _, codec := range []compress.Codec{compress.None, compress.LZ4, compress.Snappy} {
		b := build(t, Options{Codec: codec}, 60)
		l := open()
		if n := testing.AllocsPerRun(100, func() {
			if _, err := Validate(b, &l); err != nil {
				t.Fatal(err)
			}
		}); n > 0 {
			t.Errorf("%s: %v allocations", codec, n)
		}
	}
}

func BenchmarkWalk(b *testing.B) {
	for _, size := range []int{100, 1000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			w := NewBuilder(nil, Options{})
			for i := 0; w.Size() < 100_000; i++ {
				w.Append(int64(i), nil, make([]byte, size))
			}
			batch, _ := w.Finish()
			p, count := batch.Records(), batch.Count()
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := walk(p, count, 0); !ok {
					b.Fatal("refused")
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(count), "ns/record")
		})
	}
}

func BenchmarkValidate(b *testing.B) {
	for _, codec := range allCodecs {
		b.Run(codec.String(), func(b *testing.B) {
			w := NewBuilder(nil, Options{Codec: codec, Level: compress.DefaultLevel})
			for i := 0; w.Size() < 100_000; i++ {
				w.Append(int64(i), []byte(fmt.Sprint("user-", i)), []byte(fmt.Sprintf(`{"id":%d,"name":"somebody","amount":%d}`, i, i*i)))
			}
			size := w.Size()
			batch, _ := w.Finish()
			l := open()
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Validate(batch, &l); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
