package clean

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/moldau/moldau/internal/format/compress"
	"github.com/moldau/moldau/internal/format/record"
)

var seeds = [4]uint64{11, 22, 33, 44}

func TestKeysAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := NewKeys([4]uint64{rapid.Uint64().Draw(t, "a"), 2, rapid.Uint64().Draw(t, "b"), 3})
		k.Reset(100, 1000, int64(rapid.IntRange(40, 4000).Draw(t, "memory")), 0.9)
		want := map[string]int64{}
		key := rapid.SliceOfN(rapid.Byte(), 0, 20)
		for i := range rapid.IntRange(1, 200).Draw(t, "n") {
			b := key.Draw(t, "key")
			offset := 100 + int64(i)
			if len(want) >= k.Cap() {
				if k.Put(b, offset) {
					t.Fatalf("a full table of %d takes a key", k.Cap())
				}
				break
			}
			if !k.Put(b, offset) {
				t.Fatalf("a table with %d of %d keys is full", len(want), k.Cap())
			}
			want[string(b)] = offset
		}
		for b, offset := range want {
			if got := k.Newest([]byte(b)); got != offset {
				t.Fatalf("key %x is at %d, expected %d", b, got, offset)
			}
		}
		if b := key.Draw(t, "other"); want[string(b)] == 0 && k.Newest(b) != -1 {
			t.Fatalf("key %x was never noted and is at %d", b, k.Newest(b))
		}
	})
}

// TestEqualHashes gives all keys the same place in the table: they must stay apart.
func TestEqualHashes(t *testing.T) {
	k := NewKeys(seeds)
	k.Reset(0, 10, 1<<20, 0.9)
	var same [][]byte
	// A key whose first word is the mixing word makes the product zero, whatever its second word is.
	for i := range 7 {
		b := binary.LittleEndian.AppendUint64(nil, k.mix[0])
		same = append(same, append(b, fmt.Sprint("rest", i)...))
	}
	slots := map[int]bool{}
	for i, b := range same {
		at := k.probe(b)
		if at.first != 0 {
			t.Fatalf("key %d is looked for at %d", i, at.first)
		}
		for j := range k.slots {
			if k.find(at) == &k.slots[j] {
				slots[j] = true
			}
		}
		if !k.Put(b, int64(i)) {
			t.Fatal("full")
		}
	}
	if len(slots) != len(same) || !slots[0] || !slots[6] {
		t.Fatalf("the keys do not follow each other: %v", slots)
	}
	for i, b := range same {
		if k.Newest(b) != int64(i) {
			t.Fatalf("key %d is at %d", i, k.Newest(b))
		}
	}
	if k.Newest(append(binary.LittleEndian.AppendUint64(nil, k.mix[0]), "rest7"...)) != -1 {
		t.Fatal("a key that was never noted is found")
	}
}

func TestKeysOfAllLengths(t *testing.T) {
	k := NewKeys(seeds)
	k.Reset(0, 4000, 1<<20, 0.9)
	key := make([]byte, 0, 300)
	for i := range 300 {
		// Keys of zeros differ in their length only.
		if !k.Put(key[:i], int64(2*i)) {
			t.Fatal("full")
		}
	}
	for i := range 300 {
		if k.Newest(key[:i]) != int64(2*i) {
			t.Fatalf("the key of %d zeros is at %d", i, k.Newest(key[:i]))
		}
	}
}

// build makes a batch of records "key=value" at an offset; "key" alone is a tombstone.
func build(t testing.TB, o record.Options, entries ...string) record.Batch {
	b := record.NewBuilder(nil, o)
	for i, e := range entries {
		var value []byte
		key := e
		for j := range e {
			if e[j] == '=' {
				key, value = e[:j], []byte(e[j+1:])
				break
			}
		}
		b.Append(1000+int64(i), []byte(key), value)
	}
	batch, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

func peek(t testing.TB, b []byte) *record.EntryInfo {
	e, err := record.PeekHeader(b)
	if err != nil {
		t.Fatal(err)
	}
	return &e
}

// pass cleans batches; it returns what stays as text, one batch each.
func pass(t testing.TB, o Options, end int64, batches ...record.Batch) (kept []record.Batch, text []string) {
	k := NewKeys(seeds)
	k.Reset(0, 1000, 1<<20, 0.9)
	s := NewScan(k, 0, o.Aborted)
	for _, b := range batches {
		if err := s.Entry(b, peek(t, b)); err != nil {
			t.Fatal(err)
		}
	}
	s.Passed(end)
	o.Keys, o.Latest = k, s.Latest()
	f := NewFilter(o)
	for _, b := range batches {
		before := string(b)
		out, err := f.Entry(nil, b, peek(t, b), false)
		if err != nil {
			t.Fatal(err)
		}
		if string(b) != before {
			t.Fatal("the input was changed")
		}
		if len(out) > 0 {
			kept = append(kept, out)
			text = append(text, describe(t, out))
		}
	}
	return kept, text
}

func describe(t testing.TB, b record.Batch) string {
	if err := record.CheckEntry(b); err != nil {
		t.Fatal(err)
	}
	s := fmt.Sprintf("%d-%d", b.BaseOffset(), b.LastOffset())
	if b.HasDeleteHorizon() {
		s += fmt.Sprintf(" horizon %d", b.BaseTimestamp())
	}
	it, err := b.Iterate(nil, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for r, ok := it.Next(); ok; r, ok = it.Next() {
		s += fmt.Sprintf(" %d@%d:%s", r.Offset, r.Timestamp, r.Key)
		if r.Value != nil {
			s += "=" + string(r.Value)
		}
	}
	if it.Err() != nil {
		t.Fatal(it.Err())
	}
	return s
}

func TestFilter(t *testing.T) {
	at := func(o int64) record.Options { return record.Options{BaseOffset: o, LeaderEpoch: 3} }
	packed := at(0)
	packed.Codec, packed.Level = compress.Zstd, compress.DefaultLevel
	idempotent := func(o int64, id int64) record.Options {
		return record.Options{BaseOffset: o, Idempotent: true, ProducerID: id, BaseSequence: int32(o)}
	}
	txn := func(o int64, id int64) record.Options {
		x := idempotent(o, id)
		x.Transactional = true
		return x
	}
	marker := func(o, id int64, commit bool) record.Batch {
		b, err := record.AppendEndTxnMarker(nil, &record.EndTxnMarker{ProducerID: id, Commit: commit, Timestamp: 7})
		if err != nil {
			t.Fatal(err)
		}
		b.SetBaseOffset(o)
		return b
	}
	o := Options{End: 100, NowMs: 5000, DeleteRetentionMs: 100}
	producers := o
	producers.Producers = map[int64]LastRecord{7: {Offset: 1}, 8: {Offset: -1}}
	aborted := o
	aborted.Aborted = []Aborted{{ProducerID: 7, First: 0, Last: 2}}
	for _, c := range []struct {
		name    string
		o       Options
		batches []record.Batch
		want    []string
	}{
		{"all stays", o, []record.Batch{build(t, at(0), "a=1", "b=1")}, []string{"0-1 0@1000:a=1 1@1001:b=1"}},
		{"older ones go", o, []record.Batch{build(t, at(0), "a=1", "b=1", "a=2"), build(t, at(3), "b=2")}, []string{"0-2 2@1002:a=2", "3-3 3@1000:b=2"}},
		{"an empty batch goes", o, []record.Batch{build(t, at(0), "a=1"), build(t, at(1), "a=2")}, []string{"1-1 1@1000:a=2"}},
		{"the last batch of a round stays", Options{End: 1}, []record.Batch{build(t, at(0), "a=1"), build(t, at(1), "a=2")}, []string{"0-0", "1-1 1@1000:a=2"}},
		{"packed", o, []record.Batch{build(t, packed, "a=1", "b=1", "a=2", "c=3")}, []string{"0-3 1@1001:b=1 2@1002:a=2 3@1003:c=3"}},
		{"a tombstone gets its horizon", o, []record.Batch{build(t, at(0), "a=1", "a", "b=2")}, []string{"0-2 horizon 5100 1@1001:a 2@1002:b=2"}},
		{"a packed tombstone gets its horizon", o, []record.Batch{build(t, packed, "a=1", "a", "b=2")}, []string{"0-2 horizon 5100 1@1001:a 2@1002:b=2"}},
		{"a producer's last batch stays", producers, []record.Batch{build(t, idempotent(0, 7), "a=1", "b=1"), build(t, idempotent(2, 9), "a=2"), build(t, at(3), "a=3", "b=3")}, []string{"0-1", "3-4 3@1000:a=3 4@1001:b=3"}},
		{"committed", o, []record.Batch{build(t, txn(0, 7), "a=1"), marker(1, 7, true), build(t, at(2), "b=1")}, []string{"0-0 0@1000:a=1", "1-1 1@7:\x00\x00\x00\x01=\x00\x00\x00\x00\x00\x00", "2-2 2@1000:b=1"}},
		{"aborted data go, the marker stays", aborted, []record.Batch{build(t, txn(0, 7), "a=1"), build(t, at(1), "b=1"), marker(2, 7, false)}, []string{"1-1 1@1000:b=1", "2-2 2@7:\x00\x00\x00\x00=\x00\x00\x00\x00\x00\x00"}},
		{"aborted data do not supersede", aborted, []record.Batch{build(t, txn(1, 7), "a=2"), marker(2, 7, false), build(t, at(3), "a=3"), build(t, txn(4, 9), "b=1")}, []string{"2-2 2@7:\x00\x00\x00\x00=\x00\x00\x00\x00\x00\x00", "3-3 3@1000:a=3", "4-4 4@1000:b=1"}},
		{"a marker without data gets its horizon", o, []record.Batch{marker(1, 7, true)}, []string{"1-1 horizon 5100 1@7:\x00\x00\x00\x01=\x00\x00\x00\x00\x00\x00"}},
		{"the epoch of a producer without data stays", producers, []record.Batch{marker(1, 8, true)}, []string{"1-1 horizon 5100 1@7:\x00\x00\x00\x01=\x00\x00\x00\x00\x00\x00"}},
	} {
		_, got := pass(t, c.o, c.o.End, c.batches...)
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", c.want) {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, c.want)
		}
	}
}

func TestHorizons(t *testing.T) {
	o := Options{End: 100, NowMs: 5000, DeleteRetentionMs: 100}
	marker, err := record.AppendEndTxnMarker(nil, &record.EndTxnMarker{ProducerID: 7, Commit: true, Timestamp: 7})
	if err != nil {
		t.Fatal(err)
	}
	marker.SetBaseOffset(2)
	first, _ := pass(t, o, 100, build(t, record.Options{}, "a", "b=1"), marker)
	o.NowMs = 5099
	second, text := pass(t, o, 100, first...)
	if len(second) != 2 || string(second[0]) != string(first[0]) || string(second[1]) != string(first[1]) {
		t.Fatalf("before the horizon nothing changes: %q", text)
	}
	o.NowMs = 5100
	if _, text = pass(t, o, 100, second...); fmt.Sprint(text) != "[0-1 horizon 5100 1@1001:b=1]" {
		t.Fatalf("at the horizon %q stays", text)
	}
	o.Producers = map[int64]LastRecord{7: {Offset: -1}}
	if _, text = pass(t, o, 100, second...); fmt.Sprint(text) != "[0-1 horizon 5100 1@1001:b=1 2-2]" {
		t.Fatalf("the batch that has the producer's epoch is not empty: %q", text)
	}
}

func TestDamageIsNotRewritten(t *testing.T) {
	b := build(t, record.Options{}, "a=1", "a=2")
	b[len(b)-3] ^= 1
	s := NewScan(NewKeys(seeds), 0, nil)
	f := NewFilter(Options{Keys: s.keys})
	var bad *record.Error
	if err := s.Entry(b, peek(t, b)); !errors.As(err, &bad) {
		t.Fatalf("the scan answers %v", err)
	}
	if out, err := f.Entry(nil, b, peek(t, b), false); !errors.As(err, &bad) || len(out) > 0 {
		t.Fatalf("the filter answers %v with %d bytes", err, len(out))
	}
}

// FuzzEntry: whatever a batch with a right CRC says, cleaning it ends with an error or a batch that can be read.
func FuzzEntry(f *testing.F) {
	f.Add([]byte(build(f, record.Options{}, "a=1", "b", "a=2")))
	f.Add([]byte(build(f, record.Options{Codec: compress.Snappy, Transactional: true, Idempotent: true}, "a=1", "a")))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := record.PeekHeader(b)
		if err != nil || e.Size != len(b) || e.Magic != 2 || e.BaseOffset < 0 || e.BaseOffset > 1<<40 {
			return
		}
		record.Batch(b).SetCRC()
		k := NewKeys(seeds)
		k.Reset(e.BaseOffset, 1000, 1<<10, 0.9)
		s := NewScan(k, e.BaseOffset, nil)
		if s.Entry(b, &e) != nil {
			return
		}
		out, err := NewFilter(Options{Keys: k, Latest: s.Latest(), NowMs: 1 << 40}).Entry(nil, b, &e, true)
		if err == nil {
			err = record.CheckEntry(out)
		}
		if err == nil && (record.Batch(out).BaseOffset() != e.BaseOffset || record.Batch(out).LastOffset() != e.LastOffset) {
			t.Fatal("the range has changed")
		}
	})
}

// benchBatches makes a log in which half of the records are superseded: n records of size bytes, each key twice.
func benchBatches(b *testing.B, n, size int) []record.Batch {
	rng := rand.New(rand.NewPCG(1, 2))
	order := rng.Perm(n)
	value := make([]byte, size-30)
	var list []record.Batch
	for i := 0; i < n; {
		w := record.NewBuilder(nil, record.Options{BaseOffset: int64(i)})
		for w.Size() < 16<<10 && i < n {
			w.Append(int64(i), fmt.Appendf(nil, "key-%08d", order[i]%(n/2)), value)
			i++
		}
		batch, err := w.Finish()
		if err != nil {
			b.Fatal(err)
		}
		list = append(list, batch)
	}
	return list
}

// BenchmarkPass measures both passes in memory, over the bytes of the log.
func BenchmarkPass(b *testing.B) {
	for _, size := range []int{100, 1000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			n := min(200_000_000/size, 2_000_000)
			list := benchBatches(b, n, size)
			var bytes int64
			for _, x := range list {
				bytes += int64(len(x))
			}
			b.SetBytes(bytes)
			b.ReportAllocs()
			out := make([]byte, 0, 64<<10)
			for b.Loop() {
				k := NewKeys(seeds)
				k.Reset(0, int64(n), 128<<20, 0.9)
				s := NewScan(k, 0, nil)
				for _, x := range list {
					if err := s.Entry(x, peek(b, x)); err != nil {
						b.Fatal(err)
					}
				}
				f := NewFilter(Options{Keys: k, Latest: s.Latest(), End: int64(n)})
				for _, x := range list {
					var err error
					if out, err = f.Entry(out[:0], x, peek(b, x), false); err != nil {
						b.Fatal(err)
					}
				}
				if kept := f.Stats().RecordsKept; kept != int64(n/2) {
					b.Fatalf("%d of %d records stay", kept, n)
				}
			}
		})
	}
}
