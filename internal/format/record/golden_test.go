package record

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moldau/moldau/internal/format/compress"
)

const goldenTime = 1_700_000_000_000

// readGolden reads a file that testdata/Golden.java wrote with Kafka's classes.
func readGolden(tb testing.TB, name string) []byte {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".hex"))
	if err != nil {
		tb.Fatal(err)
	}
	b, err := hex.DecodeString(strings.ReplaceAll(string(text), "\n", ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// plainRecord is a record for comparing and printing.
type plainRecord struct {
	Offset, Timestamp int64
	Key, Value        string
	Headers           []string
}

func plain(r Record) plainRecord {
	p := plainRecord{Offset: r.Offset, Timestamp: r.Timestamp, Key: nullable(r.Key), Value: nullable(r.Value)}
	for {
		k, v, ok := r.Headers.Next()
		if !ok {
			return p
		}
		p.Headers = append(p.Headers, string(k)+"="+nullable(v))
	}
}

func nullable(b []byte) string {
	if b == nil {
		return "<null>"
	}
	return string(b)
}

// goldenContent is the twin of content in Golden.java.
func goldenContent(base int64, count int, headers bool) []plainRecord {
	out := make([]plainRecord, count)
	for i := range out {
		p := plainRecord{
			Offset: base + int64(i), Timestamp: goldenTime + int64(i)*7 - int64(i%3)*1000,
			Key: fmt.Sprintf("key-%d", i), Value: strings.Repeat(fmt.Sprintf("value-%d ", i), i%4),
		}
		if i%5 == 0 {
			p.Key = "<null>"
		}
		if i%7 == 3 {
			p.Value = "<null>"
		}
		for h := 0; headers && h < i%3; h++ {
			value := fmt.Sprintf("v%d", i)
			if h == 1 {
				value = "<null>"
			}
			p.Headers = append(p.Headers, fmt.Sprintf("h%d=%s", h, value))
		}
		out[i] = p
	}
	return out
}

// readEntries reads a run of entries of any format.
func readEntries(b []byte) (out []plainRecord, err error) {
	var scratch []byte
	for len(b) > 0 {
		e, err := PeekHeader(b)
		if err != nil {
			return out, err
		}
		if e.Size > len(b) {
			return out, ErrShort
		}
		if err := CheckEntry(b[:e.Size]); err != nil {
			return out, err
		}
		it, err := IterateEntry(b[:e.Size], &scratch, 1<<20)
		if err != nil {
			return out, err
		}
		for r, ok := it.Next(); ok; r, ok = it.Next() {
			out = append(out, plain(r))
		}
		if it.Err() != nil {
			return out, it.Err()
		}
		if last := out[len(out)-1].Offset; last != e.LastOffset {
			return out, fmt.Errorf("last offset %d, header says %d", last, e.LastOffset)
		}
		b = b[e.Size:]
	}
	return out, nil
}

func TestGoldenOfKafkaIsRead(t *testing.T) {
	for magic := range 3 {
		for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
			if codec == "zstd" && magic < 2 {
				continue
			}
			name := fmt.Sprintf("v%d-%s", magic, codec)
			t.Run(name, func(t *testing.T) {
				got, err := readEntries(readGolden(t, name))
				if err != nil {
					t.Fatal(err)
				}
				want := goldenContent(1000, 60, magic == 2)
				for i := range want {
					if magic == 0 {
						want[i].Timestamp = NoTimestamp
					}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatal(diff)
				}
			})
		}
	}
}

func TestGoldenAppendTimeIsRead(t *testing.T) {
	for _, name := range []string{"v2-appendtime-txn", "v1-appendtime-gzip"} {
		got, err := readEntries(readGolden(t, name))
		if err != nil {
			t.Fatal(name, err)
		}
		want := goldenContent(1000, 60, name[1] == '2')
		for i := range want {
			want[i].Timestamp = goldenTime + 5
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(name, diff)
		}
	}
}

func TestGoldenLargeValueIsRead(t *testing.T) {
	for _, codec := range []string{"gzip", "snappy", "lz4", "zstd"} {
		b := readGolden(t, "v2-big-"+codec)
		got, err := readEntries(b)
		if err != nil {
			t.Fatal(codec, err)
		}
		if len(got) != 1 || got[0].Value != strings.Repeat("0123456789", 20_000) {
			t.Fatal(codec, "value differs")
		}
		if _, err := Validate(b, &Limits{Now: goldenTime, AfterMax: 1000, BeforeMax: 1000, MaxInflated: 100_000}); kindOf(err) != TooLarge {
			t.Fatal(codec, "limit of unpacked bytes not kept:", err)
		}
	}
}

func appendGolden(w *Builder, records []plainRecord) {
	bytesOf := func(s string) []byte {
		if s == "<null>" {
			return nil
		}
		return []byte(s)
	}
	for _, r := range records {
		var headers []Header
		for _, h := range r.Headers {
			k, v, _ := strings.Cut(h, "=")
			headers = append(headers, Header{k, bytesOf(v)})
		}
		w.Append(r.Timestamp, bytesOf(r.Key), bytesOf(r.Value), headers...)
	}
}

func TestBuilderWritesKafkasBytes(t *testing.T) {
	check := func(name string, got Batch, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(name, err)
		}
		if want := readGolden(t, name); !bytes.Equal(got, want) {
			t.Fatalf("%s:\nwant %x\ngot  %x", name, want, []byte(got))
		}
	}
	records := goldenContent(1000, 60, true)
	w := NewBuilder(nil, Options{BaseOffset: 1000, LeaderEpoch: -1})
	appendGolden(w, records)
	b, err := w.Finish()
	check("v2-none", b, err)

	// Kafka's builder refers deltas to the append time, when it has one.
	for _, commit := range []bool{true, false} {
		m := EndTxnMarker{ProducerID: 4711, ProducerEpoch: 3, CoordinatorEpoch: 8, Commit: commit, Timestamp: goldenTime}
		b, err := AppendEndTxnMarker([]byte("before"), &m)
		if err != nil {
			t.Fatal(err)
		}
		b.SetLeaderEpoch(9)
		name, offset := "v2-marker-commit", int64(55)
		if !commit {
			name, offset = "v2-marker-abort", 56
		}
		b.SetBaseOffset(offset)
		check(name, b, err)
		if got, ok, err := b.EndTxnMarker(); got != m || !ok || err != nil {
			t.Fatal(got, ok, err)
		}
	}
}

func TestHeaderOfGolden(t *testing.T) {
	b := Batch(readGolden(t, "v2-appendtime-txn"))
	got := fmt.Sprint(b.BaseOffset(), b.Length(), b.LeaderEpoch(), b.Magic(), b.Codec(), b.TimestampType(),
		b.IsTransactional(), b.IsControl(), b.HasDeleteHorizon(), b.LastOffset(), b.MaxTimestamp(), b.ProducerID(),
		b.ProducerEpoch(), b.BaseSequence(), b.LastSequence(), b.Count())
	want := fmt.Sprint(1000, len(b), 9, 2, compress.None, LogAppendTime, true, false, false, 1059, goldenTime+5, 4711, 3, 17, 76, 60)
	if got != want {
		t.Fatalf("want %s\ngot  %s", want, got)
	}
	// Written as create time and stamped later, it is the same batch: its CRC too.
	b.SetTimestamps(CreateTime, 1)
	if err := b.CheckCRC(); err != nil {
		t.Fatal(err)
	}
	b.SetTimestamps(LogAppendTime, goldenTime+5)
	if !bytes.Equal(b, readGolden(t, "v2-appendtime-txn")) {
		t.Fatal("stamping is not reversible")
	}
}
