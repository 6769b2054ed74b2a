package inspect_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/disk/inspect"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/compress"
	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
)

// disk is a data directory "d" with the partition orders-0: segments from offsets 0 and 20, four batches of five records each.
type disk struct {
	*vfs.Sim
	t *testing.T
}

func newDisk(t *testing.T) *disk {
	d := &disk{vfs.NewSim(vfs.SimConfig{}), t}
	if err := d.MkdirAll("d/orders-0"); err != nil {
		t.Fatal(err)
	}
	d.put("d/meta.properties", []byte("version=1\ncluster.id=c\nnode.id=1\n"))
	d.put("d/recovery-point-offset-checkpoint", []byte("0\n1\norders 0 40\n"))
	d.put("d/.kafka_cleanshutdown", []byte(`{"version":0,"brokerEpoch":1}`))
	d.put("d/.lock", nil)
	d.put("d/cleaner-offset-checkpoint", nil)
	for _, base := range []int64{0, 20} {
		var log, index, times []byte
		for k := range int64(4) {
			if k > 0 {
				index = be32(be32(index, int32(5*k+4)), int32(len(log)))
				times = be32(be64(times, 1000+base+5*k), int32(5*k+4))
			}
			log = append(log, batch(t, base+5*k, 5, compress.Codec(k))...)
		}
		d.put(name(base, ".log"), log)
		d.put(name(base, ".index"), append(index, make([]byte, 16)...))
		d.put(name(base, ".timeindex"), append(times, make([]byte, 24)...))
	}
	d.put(name(20, ".txnindex"), be64(be64(be64(be64([]byte{0, 0}, 7), 21), 25), 26))
	d.put(name(20, ".snapshot"), snapshot())
	d.put("d/orders-0/leader-epoch-checkpoint", []byte("0\n2\n0 0\n3 20\n"))
	d.put("d/orders-0/partition.metadata", []byte("version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAbw\n"))
	return d
}

func name(base int64, suffix string) string {
	return filepath.Join("d", "orders-0", fmt.Sprintf("%020d%s", base, suffix))
}

func be32(b []byte, v int32) []byte { return binary.BigEndian.AppendUint32(b, uint32(v)) }
func be64(b []byte, v int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(v)) }

// batch has n records with key k, value v and the timestamp 1000 + the batch's offset.
func batch(t *testing.T, base int64, n int, c compress.Codec) []byte {
	t.Helper()
	w := record.NewBuilder(nil, record.Options{BaseOffset: base, LeaderEpoch: int32(base / 20 * 3), Codec: c, Level: compress.DefaultLevel})
	for i := range n {
		w.Append(1000+base, []byte("k"), fmt.Appendf(nil, "v%d", base+int64(i)), record.Header{Key: "h", Value: []byte("x")})
	}
	b, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// snapshot has one producer.
func snapshot() []byte {
	body := be32(nil, 1)
	body = be64(body, 7)
	body = append(body, 0, 2)
	body = be32(be64(be32(be64(be32(body, 9), 19), 4), 1015), 0)
	body = be64(body, -1)
	head := be32([]byte{0, 1}, int32(crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli))))
	return append(head, body...)
}

func (d *disk) put(path string, b []byte) {
	d.t.Helper()
	if err := vfs.WriteFileAtomic(d, path, b); err != nil {
		d.t.Fatal(err)
	}
}

func (d *disk) get(path string) []byte {
	d.t.Helper()
	b, err := vfs.ReadFile(d, path, 1<<20)
	if err != nil {
		d.t.Fatal(err)
	}
	return b
}

// change rewrites a file by f.
func (d *disk) change(path string, f func(b []byte) []byte) { d.put(path, f(d.get(path))) }

// verify gives what Verify finds, one line each.
func (d *disk) verify(path string, deep bool) (string, inspect.Summary) {
	d.t.Helper()
	before := d.OpCount()
	var b strings.Builder
	sum, err := inspect.Verify(d, path, inspect.VerifyOptions{Deep: deep, Report: func(p inspect.Problem) error {
		if p.What == "" || p.Do == "" {
			d.t.Errorf("a problem without a text: %+v", p)
		}
		word := "problem"
		if p.Notice {
			word = "notice"
		}
		fmt.Fprintf(&b, "%s %s %d: %s\n", word, filepath.Base(p.Path), p.Pos, p.What)
		return nil
	}})
	if err != nil {
		d.t.Errorf("verifying %s: %v", path, err)
	}
	if d.OpCount() != before {
		d.t.Error("Verify has changed the disk")
	}
	return b.String(), sum
}

// cutTail, flip and overwrite are the things that befall files.
func cutTail(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:len(b)-n] } }

func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte { b[at] ^= 0x10; return b }
}

func more(tail string) func([]byte) []byte {
	return func(b []byte) []byte { return append(b, tail...) }
}

func TestVerifyFindsNothingInAWholeDirectory(t *testing.T) {
	for _, deep := range []bool{false, true} {
		d := newDisk(t)
		told, sum := d.verify("d", deep)
		if told != "" {
			t.Errorf("found: %s", told)
		}
		want := inspect.Summary{Partitions: 1, Files: 14, Batches: 8, Bytes: sum.Bytes}
		if deep {
			want.Records = 40
		}
		if sum != want {
			t.Errorf("counted %+v, want %+v", sum, want)
		}
	}
}

func TestVerifyTellsDamage(t *testing.T) {
	first := len(batch(t, 0, 5, 0))
	for _, c := range []struct {
		name, file string
		change     func([]byte) []byte
		want       []string // parts of the answer, one line each
	}{
		{"a bit of a record", name(0, ".log"), flip(first - 3), []string{"problem 00000000000000000000.log 0: ", "begins with offset 5, offset 0 was expected"}},
		{"a batch's length", name(0, ".log"), flip(first + 10), []string{fmt.Sprintf("problem 00000000000000000000.log %d: ", first), "begins with offset 10, offset 5 was expected"}},
		{"a batch's head", name(0, ".log"), flip(first + 16), []string{"offset 5 was expected"}},
		{"the end of the log", name(20, ".log"), cutTail(3), []string{"problem 00000000000000000020.log", "offset 35 is the first that is missing", "the log ends at offset 35, and all below 40"}},
		{"noise at the end", name(20, ".log"), more("noise"), []string{"the last 5 bytes are no whole batch"}},
		{"zeros at the end", name(20, ".log"), more(strings.Repeat("\x00", 500)), []string{"the last 500 bytes are no whole batch"}},
		{"a batch twice", name(20, ".log"), func(b []byte) []byte { return append(b, b...) }, []string{"a batch of offsets 20 to 24 stands where offset 40 or later was expected"}},
		{"an older epoch behind", name(20, ".log"), func(b []byte) []byte { return append(b, withEpoch(batch(t, 40, 1, 0), 1)...) }, []string{"is of leader epoch 1, and epoch 3 stands before it"}},
		{"segments overlap", name(0, ".log"), func(b []byte) []byte { return append(b, withEpoch(batch(t, 20, 1, 0), 0)...) }, []string{"the segment ends with offset 20, and the next one begins with 20"}},
		{"index beside a batch", name(0, ".index"), flip(7), []string{"problem 00000000000000000000.index 0: the entry for offset 9 points to byte", "where no batch begins"}},
		{"index with a wrong offset", name(0, ".index"), func(b []byte) []byte { b[3] = 2; return b }, []string{"the entry for offset 2 points to byte", "where the batch of offsets 5 to 9 begins"}},
		{"index not sorted", name(0, ".index"), func(b []byte) []byte { copy(b[8:16], b[:8]); return b }, []string{"index 8: the entry for offset 9 at byte"}},
		{"index with half an entry", name(0, ".index"), more("abc"), []string{"3 bytes at the end are less than an entry"}},
		{"index behind its zeros", name(0, ".index"), more("\x00\x00\x00\x63\x00\x00\x63\x63"), []string{"behind the last batch", "an entry stands behind unused ones"}},
		{"time index too old", name(0, ".timeindex"), func(b []byte) []byte { b[7] -= 4; return b }, []string{"timeindex 0: the entry says that up to offset 9 no timestamp is above 1001, and there is 1005"}},
		{"time index not sorted", name(0, ".timeindex"), func(b []byte) []byte { b[12+6] = 9; return b }, []string{"timeindex 24: the entry for time 1015 at offset 19 stands behind that for time 2"}},
		{"time index behind the end", name(0, ".timeindex"), func(b []byte) []byte { b[2*12+11] = 99; return b }, []string{"names offset 99, which is behind the end"}},
		{"transaction index", name(20, ".txnindex"), func(b []byte) []byte { b[1] = 3; return b }, []string{"txnindex 0: its version is 3"}},
		{"transaction index, cut", name(20, ".txnindex"), cutTail(1), []string{"33 bytes at the end"}},
		{"producer snapshot", name(20, ".snapshot"), flip(20), []string{"problem 00000000000000000020.snapshot -1: the producer snapshot is damaged: its CRC-32C is"}},
		{"producer snapshot, cut", name(20, ".snapshot"), cutTail(1), []string{"announces 1 producers, which take 56 bytes, and has 55"}},
		{"producer snapshot, version", name(20, ".snapshot"), flip(1), []string{"its version is 17"}},
		{"epochs out of order", "d/orders-0/leader-epoch-checkpoint", func([]byte) []byte { return []byte("0\n2\n3 0\n0 20\n") }, []string{"line 4: epoch 0 from offset 20 does not follow epoch 3"}},
		{"epochs cut", "d/orders-0/leader-epoch-checkpoint", cutTail(5), []string{`line 2: it announces "2" lines and has 1`}},
		{"topic id", "d/orders-0/partition.metadata", cutTail(4), []string{"is not 22 characters"}},
		{"meta.properties", "d/meta.properties", func([]byte) []byte { return []byte("cluster.id=x\n") }, []string{"it names no version"}},
		{"recovery points", "d/recovery-point-offset-checkpoint", func([]byte) []byte { return []byte("0\n1\norders 0 x\n") }, []string{`line 3: the offset "x" is not a number`}},
		{"marker", "d/.kafka_cleanshutdown", cutTail(1), []string{"it is no JSON"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDisk(t)
			d.change(c.file, c.change)
			told, sum := d.verify("d", true)
			for _, part := range c.want {
				if !strings.Contains(told, part) {
					t.Errorf("%q is not in\n%s", part, told)
				}
			}
			if sum.Problems == 0 {
				t.Error("no problem is counted")
			}
			if alone, _ := d.verify(c.file, true); alone == "" && !strings.Contains(c.file, "index") && c.name != "segments overlap" {
				t.Error("the file alone looks whole")
			}
		})
	}
}

func withEpoch(b []byte, epoch int32) []byte {
	record.Batch(b).SetLeaderEpoch(epoch)
	return b
}

func TestWhatACrashLeavesIsNoDamage(t *testing.T) {
	d := newDisk(t)
	if err := d.Remove("d/.kafka_cleanshutdown"); err != nil {
		t.Fatal(err)
	}
	d.put("d/recovery-point-offset-checkpoint", []byte("0\n1\norders 0 35\n"))
	d.change(name(20, ".log"), cutTail(3))
	told, sum := d.verify("d", true)
	if sum.Problems != 0 || sum.Notices == 0 || !strings.Contains(told, "notice 00000000000000000020.log") {
		t.Errorf("%+v\n%s", sum, told)
	}
	d.put("d/recovery-point-offset-checkpoint", []byte("0\n1\norders 0 36\n"))
	if told, sum := d.verify("d", true); sum.Problems != 2 {
		t.Errorf("what was synced is gone, and there are %d problems:\n%s", sum.Problems, told)
	}
}

func TestDeepVerifyDecodes(t *testing.T) {
	d := newDisk(t)
	bad := batch(t, 0, 1, 0)
	for _, topic := range []string{"__cluster_metadata-0", "__consumer_offsets-3"} {
		path := filepath.Join("e", topic, "00000000000000000000.log")
		if err := d.MkdirAll(filepath.Dir(path)); err != nil {
			t.Fatal(err)
		}
		d.put(path, bad)
		if told, _ := d.verify(filepath.Dir(path), true); !strings.Contains(told, "the record at offset 0 cannot be decoded") {
			t.Errorf("%s: %s", topic, told)
		}
		if told, _ := d.verify(filepath.Dir(path), false); told != "" {
			t.Errorf("%s: %s", topic, told)
		}
	}
	short := batch(t, 0, 2, 0)
	record.Batch(short)[60] = 3
	record.Batch(short).SetCRC()
	d.put(name(0, ".log"), short)
	if told, _ := d.verify(name(0, ".log"), true); !strings.Contains(told, "cannot be read") {
		t.Errorf("a wrong count: %s", told)
	}
}

func TestVerifySnapshotsOfTheMetadata(t *testing.T) {
	d := newDisk(t)
	path := filepath.Join("d", "__cluster_metadata-0", "00000000000000000009-0000000001.checkpoint")
	if err := d.MkdirAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	whole := metadataSnapshot(t)
	d.put(path, whole)
	if told, sum := d.verify(path, false); told != "" || sum.Records != 3 {
		t.Errorf("%+v %s", sum, told)
	}
	d.put(path, whole[:len(whole)-len(whole)/3])
	if told, _ := d.verify(path, false); !strings.Contains(told, "does not begin with a header and end with a footer") {
		t.Error(told)
	}
	d.put(path, whole)
	var shown []string
	err := inspect.Dump(d, path, inspect.DumpOptions{Deep: true}, func(e *inspect.Entry) error {
		if e.Kind == "record" {
			shown = append(shown, fmt.Sprint(e.Fields[2].Value))
		}
		return nil
	})
	if got := strings.Join(shown, " "); err != nil || got != "SNAPSHOT_HEADER TopicRecord SNAPSHOT_FOOTER" {
		t.Errorf("dumped %s, %v", got, err)
	}
}

// metadataSnapshot has one topic.
func metadataSnapshot(t *testing.T) []byte {
	t.Helper()
	one := func(base int64, isControl bool, f func(w *record.Builder)) []byte {
		w := record.NewBuilder(nil, record.Options{BaseOffset: base, Control: isControl})
		f(w)
		b, err := w.Finish()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := one(0, true, func(w *record.Builder) {
		w.AppendControl(1, record.ControlSnapshotHeader, (&wire.SnapshotHeaderRecord{}).Append(nil, 0))
	})
	b = append(b, one(1, false, func(w *record.Builder) {
		w.Append(1, nil, wire.AppendMetadataRecord(nil, &wire.TopicRecord{Name: "orders", TopicID: wire.UUID{1}}, 0))
	})...)
	return append(b, one(2, true, func(w *record.Builder) {
		w.AppendControl(1, record.ControlSnapshotFooter, (&wire.SnapshotFooterRecord{}).Append(nil, 0))
	})...)
}

func TestVerifyEndsWithTheCallersError(t *testing.T) {
	d := newDisk(t)
	d.change(name(0, ".log"), flip(100))
	stop := fmt.Errorf("stop")
	if _, err := inspect.Verify(d, "d", inspect.VerifyOptions{Report: func(inspect.Problem) error { return stop }}); err == nil || !strings.Contains(err.Error(), "stop") {
		t.Errorf("the error is %v", err)
	}
	for _, path := range []string{"nowhere", "d/.lock"} {
		if _, err := inspect.Verify(d, path, inspect.VerifyOptions{}); err == nil {
			t.Errorf("%s can be verified", path)
		}
		if err := inspect.Dump(d, path, inspect.DumpOptions{}, nil); err == nil {
			t.Errorf("%s can be dumped", path)
		}
	}
}

func TestABadDiskIsAProblem(t *testing.T) {
	d := newDisk(t)
	d.Inject(vfs.Fault{Path: "*.log", Ops: vfs.OpRead, Nth: 1, Times: 1000})
	if told, sum := d.verify("d", false); sum.Problems != 2 || !strings.Contains(told, "input/output error") {
		t.Errorf("%+v\n%s", sum, told)
	}
}

func TestFilesOfNoiseAreToldOnce(t *testing.T) {
	d := newDisk(t)
	index := make([]byte, 8000)
	for i := range index {
		index[i] = byte(i*31) % 100
	}
	d.put(name(0, ".index"), index)
	told, sum := d.verify("d", false)
	if n := strings.Count(told, "\n"); n > 60 || sum.Problems < 500 || !strings.Contains(told, "and no more") {
		t.Errorf("%d lines, %d problems", n, sum.Problems)
	}
}

func TestDump(t *testing.T) {
	d := newDisk(t)
	for _, c := range []struct {
		path string
		o    inspect.DumpOptions
		want string // kind and the first field's value of each entry
	}{
		{"d/orders-0", inspect.DumpOptions{}, "batch 0, batch 5, batch 10, batch 15, batch 20, batch 25, batch 30, batch 35"},
		{"d/orders-0", inspect.DumpOptions{Offset: 21, Count: 2}, "batch 20, batch 25"},
		{"d/orders-0", inspect.DumpOptions{Offset: 23, Count: 3, Deep: true}, "batch 20, record 23, record 24, batch 25, record 25"},
		{name(20, ".index"), inspect.DumpOptions{}, "index 29, index 34, index 39"},
		{name(20, ".index"), inspect.DumpOptions{Offset: 30, Count: 1}, "index 34"},
		{name(0, ".timeindex"), inspect.DumpOptions{}, "timeindex 1005, timeindex 1010, timeindex 1015"},
		{name(20, ".txnindex"), inspect.DumpOptions{}, "txnindex 0"},
		{name(20, ".snapshot"), inspect.DumpOptions{}, "producer 7"},
		{"d/orders-0/leader-epoch-checkpoint", inspect.DumpOptions{}, "epoch 0, epoch 3"},
		{"d/orders-0/partition.metadata", inspect.DumpOptions{}, "property 0"},
		{"d", inspect.DumpOptions{}, `property {"version":0,"brokerEpoch":1}, property 1, offset orders`},
	} {
		if got := dump(t, d, c.path, c.o); got != c.want {
			t.Errorf("%s %+v\n got %s\nwant %s", c.path, c.o, got, c.want)
		}
	}
	d.change(name(0, ".log"), flip(70))
	if got := dump(t, d, name(0, ".log"), inspect.DumpOptions{Deep: true, Count: 1}); got != "batch 0, batch 5, record 5" {
		t.Errorf("with a bad CRC: %s", got)
	}
	d.change(name(0, ".log"), flip(16))
	if got := dump(t, d, name(0, ".log"), inspect.DumpOptions{}); !strings.HasPrefix(got, "damage ") || !strings.HasSuffix(got, "batch 5, batch 10, batch 15") {
		t.Errorf("with a bad head: %s", got)
	}
}

func dump(t *testing.T, d *disk, path string, o inspect.DumpOptions) string {
	t.Helper()
	var got []string
	err := inspect.Dump(d, path, o, func(e *inspect.Entry) error {
		if _, err := json.Marshal(e.Fields); err != nil {
			t.Error(err)
		}
		got = append(got, fmt.Sprintf("%s %s", e.Kind, text(e.Fields[0].Value)))
		return nil
	})
	if err != nil {
		t.Errorf("dumping %s: %v", path, err)
	}
	return strings.Join(got, ", ")
}

func text(v any) string {
	if raw, ok := v.(json.RawMessage); ok {
		return string(raw)
	}
	return fmt.Sprint(v)
}

func TestDumpDecodesInternalTopics(t *testing.T) {
	d := newDisk(t)
	w := record.NewBuilder(nil, record.Options{})
	key := wire.AppendKey(nil, &wire.OffsetCommitKey{Group: "billing", Topic: "orders", Partition: 3})
	w.Append(1, key, wire.AppendValue(nil, &wire.OffsetCommitValue{Offset: 12, Metadata: "m"}, 3))
	w.Append(1, key, nil)
	w.Append(1, []byte{0, 99}, []byte("later"))
	b, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.MkdirAll("d/__consumer_offsets-0"); err != nil {
		t.Fatal(err)
	}
	path := "d/__consumer_offsets-0/00000000000000000000.log"
	d.put(path, b)
	var got []string
	if err := inspect.Dump(d, path, inspect.DumpOptions{Deep: true}, func(e *inspect.Entry) error {
		line, err := json.Marshal(e.Fields)
		got = append(got, string(line))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{`"baseOffset":0`, `"type":"OffsetCommitKey","key":{"group":"billing","topic":"orders","partition":3},"version":3,"value":{"offset":12,`, `"value":null`, `"key":"AGM="`} {
		if !strings.Contains(got[i], want) {
			t.Errorf("entry %d lacks %s: %s", i, want, got[i])
		}
	}
	if told, _ := d.verify(path, true); told != "" {
		t.Error(told)
	}
}
