package commitlog

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/moldau/moldau/internal/disk/vfs"
)

func FuzzParseOffsets(f *testing.F) {
	f.Add([]byte("0\n2\ntopic 0 5\nother 12 0\n"))
	f.Add([]byte(""))
	f.Add([]byte("0\n0\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		lines, err := parseOffsets(b)
		if err != nil {
			return
		}
		again, err := parseOffsets(encodeOffsets(lines))
		if err != nil || len(again) != len(lines) {
			t.Fatalf("%v becomes %v, %v", lines, again, err)
		}
		for i := range lines {
			if lines[i] != again[i] {
				t.Fatalf("%v becomes %v", lines[i], again[i])
			}
		}
	})
}

func FuzzParseEpochs(f *testing.F) {
	f.Add([]byte("0\n2\n0 0\n3 100\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := parseEpochs(b)
		if err != nil {
			return
		}
		again, err := parseEpochs(encodeEpochs(list))
		if err != nil || len(again) != len(list) {
			t.Fatalf("%v becomes %v, %v", list, again, err)
		}
	})
}

func FuzzParseTopicID(f *testing.F) {
	f.Add([]byte("version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ"))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, err := parseTopicID(b)
		if err != nil {
			return
		}
		if again, err := parseTopicID(encodeTopicID(id)); err != nil || again != id {
			t.Fatalf("%x becomes %x, %v", id, again, err)
		}
	})
}

func FuzzParseTxns(f *testing.F) {
	f.Add(appendTxn(appendTxn(nil, &AbortedTxn{1, 2, 3, 4}), &AbortedTxn{1, 5, 6, 7}))
	f.Fuzz(func(t *testing.T, b []byte) {
		list := parseTxns(b, 0)
		var again []byte
		for i := range list {
			again = appendTxn(again, &list[i])
		}
		if !bytes.HasPrefix(b, again) {
			t.Fatalf("%x is read as %v", b, list)
		}
	})
}

func FuzzIndexes(f *testing.F) {
	f.Add(make([]byte, 64), make([]byte, 64), int64(5), int64(1000))
	f.Add([]byte{0, 0, 0, 5, 0, 0, 1, 0}, []byte{0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 5}, int64(5), int64(1000))
	f.Fuzz(func(t *testing.T, offsets, times []byte, rel, size int64) {
		file := memFile(t, offsets)
		n, _, err := countOffsets(file, int64(len(offsets)), size)
		if err != nil || n > len(offsets)/offsetEntryBytes {
			t.Fatalf("%d entries in %d bytes, %v", n, len(offsets), err)
		}
		if e, _, err := searchOffsets(file, n, rel, int(size&7)); err != nil || int64(e.offset) > max(rel, 0) {
			t.Fatalf("searching %d finds %v, %v", rel, e, err)
		}
		file = memFile(t, times)
		n, _, err = countTimes(file, int64(len(times)))
		if err != nil || n > len(times)/timeEntryBytes {
			t.Fatalf("%d entries in %d bytes, %v", n, len(times), err)
		}
		if e, ok, err := searchTimes(file, n, rel); err != nil || ok && e.ts > rel {
			t.Fatalf("searching %d finds %v, %v", rel, e, err)
		}
	})
}

// TestSearchOffsets: wherever a search begins, it finds the last entry that is not beyond.
func TestSearchOffsets(t *testing.T) {
	for _, n := range []int{1, 2, entryBlock - 1, entryBlock, entryBlock + 1, 5 * entryBlock, 7*entryBlock + 3} {
		var b []byte
		for i := range n {
			b = binary.BigEndian.AppendUint32(b, uint32(3*i+2))
			b = binary.BigEndian.AppendUint32(b, uint32(100*i))
		}
		file := memFile(t, b)
		for want := -1; want < n; want += 1 + n/50 {
			for near := 0; near < n+2; near += 1 + n/9 {
				for past := int64(0); past < 3; past++ {
					e, at, err := searchOffsets(file, n, int64(3*want+2)+past, near)
					if want < 0 && (err != nil || e != offsetEntry{}) || want >= 0 && (err != nil || at != want || e != offsetEntry{int32(3*want + 2), int32(100 * want)}) {
						t.Fatalf("%d entries, entry %d, from %d on: %v, %d, %v", n, want, near, e, at, err)
					}
				}
			}
		}
	}
}

func memFile(t *testing.T, b []byte) vfs.File {
	f, err := vfs.NewSim(vfs.SimConfig{}).Edit("/f")
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 0 {
		if _, err := f.WriteAt(b, 0); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func TestEpochCacheAnswersAsKafka(t *testing.T) {
	var c epochCache
	ask := func(epoch int32, wantEpoch int32, wantEnd int64) {
		t.Helper()
		if e, end := c.endOffset(epoch, 100); e != wantEpoch || end != wantEnd {
			t.Errorf("epoch %d ends as %d at %d, expected %d at %d", epoch, e, end, wantEpoch, wantEnd)
		}
	}
	ask(0, -1, -1)
	c.assign(2, 10)
	c.assign(2, 15)
	c.assign(5, 40)
	c.assign(4, 50) // older: not the log's business
	ask(1, 1, 10)
	ask(2, 2, 40)
	ask(4, 2, 40)
	ask(5, 5, 100)
	ask(6, -1, -1)
	ask(-1, -1, -1)
	c.truncateStart(20)
	ask(1, 1, 20)
	c.truncateEnd(40)
	ask(2, 2, 100)
	if c.at(19) != -1 || c.at(20) != 2 || c.at(99) != 2 {
		t.Error(c.at(19), c.at(20), c.at(99))
	}
}
