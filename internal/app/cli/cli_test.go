package cli

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/disk/inspect"
)

func TestFormatted(t *testing.T) {
	r := &kgo.Record{
		Topic: "t", Partition: 2, Offset: 7, Key: []byte("k"), Value: []byte("v"), Timestamp: time.UnixMilli(1234),
		Headers: []kgo.RecordHeader{{Key: "a", Value: []byte("1")}, {Key: "b"}},
	}
	for format, want := range map[string]string{
		`%v\n`: "v\n", `%t-%p@%o`: "t-2@7", `%k\t%v`: "k\tv", `%d`: "1234", `%h`: "a=1,b=", `%%\\`: `%\`, `%x \x`: `%x \x`, `%`: "%", ``: "",
	} {
		c := consuming{format: format}
		if got := c.formatted(r); got != want {
			t.Errorf("%q gives %q, want %q", format, got, want)
		}
	}
}

func TestJSONBytes(t *testing.T) {
	for _, b := range [][]byte{nil, {}, []byte("text"), []byte("\"<ä>\n"), {0xff, 0}} {
		text, err := json.Marshal(jsonRecord{Key: newJSONBytes(b)})
		if err != nil {
			t.Fatal(err)
		}
		var back jsonRecord
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		got, err := back.Key.bytes()
		if err != nil || !bytes.Equal(got, b) || (got == nil) != (b == nil) {
			t.Errorf("%q became %q by way of %s", b, got, text)
		}
	}
	for _, bad := range []string{`{"key":1}`, `{"key":{"base64":"!"}}`, `{"key":{"hex":"00"}}`} {
		if err := json.Unmarshal([]byte(bad), &jsonRecord{}); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 5 << 30: "5.0 GiB", 3 << 50: "3072.0 TiB"} {
		if got := size(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}

func TestProgressWaitsAndClears(t *testing.T) {
	hand := clock.NewHand(1)
	var out bytes.Buffer
	p := &progress{out: &out, clock: hand, next: progressAfter}
	tick := func() string {
		out.Reset()
		p.show(func(w io.Writer) { _, _ = w.Write([]byte("half")) })
		return out.String()
	}
	if got := tick(); got != "" {
		t.Errorf("at once: %q", got)
	}
	hand.Advance(progressAfter)
	if got := tick(); !strings.HasSuffix(got, "half") {
		t.Errorf("after a while: %q", got)
	}
	if got := tick(); got != "" {
		t.Errorf("again at once: %q", got)
	}
	p.clear()
	if out.Len() == 0 {
		t.Error("the line stays")
	}
	if silent := newProgress(&out); silent.out != nil {
		t.Error("a buffer counts as a terminal")
	}
}

func TestPeopleReadFields(t *testing.T) {
	got := people(inspect.Fields{
		{Name: "n", Value: 5}, {Name: "none", Value: nil}, {Name: "b", Value: []byte("a\n")}, {Name: "raw", Value: []byte{0xff}}, {Name: "s", Value: "two words"},
		{Name: "list", Value: []any{int32(1), inspect.Fields{{Name: "x", Value: true}}}},
	})
	if want := `n=5 none=null b="a\n" raw=0xff s="two words" list=[1 {x=true}]`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// head makes the header of a batch of format 2 without records.
func head2(first, last int64, attributes uint16, producer int64, count uint32) []byte {
	b := make([]byte, 61)
	be := binary.BigEndian
	be.PutUint64(b, uint64(first))
	be.PutUint32(b[8:], 49)
	b[16] = 2
	be.PutUint16(b[21:], attributes)
	be.PutUint32(b[23:], uint32(last-first))
	be.PutUint64(b[43:], uint64(producer))
	be.PutUint32(b[57:], count)
	return b
}

func TestWhatConsumersNeverGet(t *testing.T) {
	const control, txn = 0x30, 0x10
	data := head2(5, 9, 0, -1, 5)
	for _, c := range []struct {
		name    string
		look    look
		batches [][]byte
		aborted []int64 // producer, first offset
		next    int64
		empty   bool
	}{
		{"nothing came", look{from: 5}, nil, nil, 5, true},
		{"a record", look{from: 5}, [][]byte{data}, nil, 5, false},
		{"a marker", look{from: 5}, [][]byte{head2(5, 5, control, 1, 1)}, nil, 6, true},
		{"emptied by compaction", look{from: 5}, [][]byte{head2(5, 9, 0, -1, 0), head2(10, 11, 0, -1, 0)}, nil, 12, true},
		{"emptied, then a record", look{from: 5}, [][]byte{head2(3, 4, 0, -1, 0), data}, nil, 5, false},
		{"the batch of what was printed last", look{from: 8, started: true}, [][]byte{data}, nil, 10, true},
		{"the batch in which the reading begins", look{from: 8}, [][]byte{data}, nil, 8, false},
		{"aborted", look{from: 5, committed: true}, [][]byte{head2(5, 9, txn, 7, 5), head2(10, 10, control, 7, 1)}, []int64{7, 5}, 11, true},
		{"aborted, and everything is read", look{from: 5}, [][]byte{head2(5, 9, txn, 7, 5)}, []int64{7, 5}, 5, false},
		{"aborted before", look{from: 5, committed: true}, [][]byte{head2(5, 9, txn, 7, 5)}, []int64{7, 2}, 10, true},
		{"committed behind an aborted one", look{from: 5, committed: true}, [][]byte{head2(5, 9, txn, 7, 5), head2(10, 10, control, 7, 1), head2(11, 11, txn, 7, 1)}, []int64{7, 5}, 11, false},
		{"another producer's", look{from: 5, committed: true}, [][]byte{head2(5, 9, txn, 8, 5)}, []int64{7, 5}, 5, false},
		{"a batch that is cut", look{from: 5}, [][]byte{data[:60]}, nil, 5, true},
	} {
		part := &kmsg.FetchResponseTopicPartition{RecordBatches: bytes.Join(c.batches, nil)}
		for i := 0; i+1 < len(c.aborted); i += 2 {
			part.AbortedTransactions = append(part.AbortedTransactions, kmsg.FetchResponseTopicPartitionAbortedTransaction{ProducerID: c.aborted[i], FirstOffset: c.aborted[i+1]})
		}
		c.look.aborted = map[int64]bool{}
		if next, empty := c.look.passEmpty(part, c.look.from); next != c.next || empty != c.empty {
			t.Errorf("%s: next %d, empty %v; want %d, %v", c.name, next, empty, c.next, c.empty)
		}
	}
}
