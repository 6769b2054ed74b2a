package record

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/format/compress"
)

// addGolden gives a fuzzer all batches that Kafka wrote.
func addGolden(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.hex"))
	if err != nil || len(files) == 0 {
		f.Fatal(err)
	}
	for _, name := range files {
		if info, err := os.Stat(name); err == nil && info.Size() < 8<<10 {
			f.Add(readGolden(f, strings.TrimSuffix(filepath.Base(name), ".hex")))
		}
	}
}

// FuzzValidate repairs length and CRC, so that the fuzzer reaches the records, and demands of whatever
// is taken that every reader can read it.
func FuzzValidate(f *testing.F) {
	addGolden(f)
	f.Fuzz(func(t *testing.T, p []byte) {
		l := open()
		l.MaxInflated = 1 << 18
		_, _ = Validate(p, &l)
		if len(p) < HeaderSize {
			return
		}
		b := append(Batch(nil), p...)
		b[offMagic] = 2
		b.SetBaseOffset(0)
		b.seal(b.Codec())
		info, err := Validate(b, &l)
		if err != nil {
			if kindOf(err) == 0 || err.Error() == "" {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		it, err := b.Iterate(nil, l.MaxInflated)
		if err != nil {
			t.Fatal(err)
		}
		n, latest, latestAt := int64(0), NoTimestamp, int64(0)
		for r, ok := it.Next(); ok; r, ok = it.Next() {
			if r.Offset != n {
				t.Fatalf("record %d has offset %d", n, r.Offset)
			}
			if r.Timestamp > latest {
				latest, latestAt = r.Timestamp, n
			}
			plain(r)
			n++
		}
		if it.Err() != nil || n != int64(info.Count) || latest != info.MaxTimestamp || latestAt != int64(info.OffsetOfMax) {
			t.Fatal(it.Err(), n, latest, info)
		}
		l.Target = Target{Fixed: true, Codec: compress.Snappy}
		out, err := Prepare(nil, &info, &l)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Validate(out, &l); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzEntries reads a run of entries of any format, with and without repaired checksums.
func FuzzEntries(f *testing.F) {
	addGolden(f)
	f.Fuzz(func(t *testing.T, p []byte) {
		const limit = 1 << 18
		_, _ = readEntries(p)
		var scratch []byte
		for len(p) > 0 {
			e, err := PeekHeader(p)
			if err != nil {
				if kindOf(err) == 0 && !errors.Is(err, ErrShort) {
					t.Fatal(err)
				}
				return
			}
			if e.Size <= 0 || e.BaseOffset > e.LastOffset && e.Magic < 2 {
				t.Fatalf("%+v", e)
			}
			it, err := IterateEntry(p, &scratch, limit)
			if err != nil && kindOf(err) == 0 && !errors.Is(err, ErrShort) {
				t.Fatal(err)
			}
			if len(scratch) > limit {
				t.Fatal("limit not kept")
			}
			for r, ok := it.Next(); ok; r, ok = it.Next() {
				plain(r)
			}
			if it.Err() != nil && kindOf(it.Err()) == 0 {
				t.Fatal(it.Err())
			}
			if e.Size > len(p) {
				return
			}
			if e.Magic == 2 {
				_, _, _ = Batch(p[:e.Size]).EndTxnMarker()
			}
			p = p[e.Size:]
		}
	})
}

// FuzzNext splits and joins.
func FuzzNext(f *testing.F) {
	addGolden(f)
	f.Fuzz(func(t *testing.T, p []byte) {
		var joined []byte
		rest := p
		for {
			b, after, err := Next(rest)
			if err != nil || b == nil {
				break
			}
			if b.Length() != len(b) {
				t.Fatal("length differs")
			}
			joined, rest = append(joined, b...), after
		}
		if !bytes.Equal(append(joined, rest...), p) {
			t.Fatal("bytes are lost")
		}
	})
}
