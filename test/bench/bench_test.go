package main

import (
	"encoding/binary"
	"math"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 3},
		{[]float64{5, 1, 3}, 3},
		{[]float64{4, 1, 3, 2}, 2.5},
	} {
		if got := median(c.values); got != c.want {
			t.Errorf("median of %v: %v, want %v", c.values, got, c.want)
		}
	}
	if !math.IsNaN(median(nil)) {
		t.Error("nothing has a median")
	}
}

func TestPercentile(t *testing.T) {
	var d []time.Duration
	for i := range 1000 {
		d = append(d, time.Duration(i+1))
	}
	for p, want := range map[float64]time.Duration{0: 1, 50: 500, 99: 990, 99.9: 999, 100: 1000} {
		if got := percentile(d, p); got != want {
			t.Errorf("p%v: %v, want %v", p, got, want)
		}
	}
	if percentile(nil, 50) != 0 {
		t.Error("nothing has a percentile")
	}
}

func TestCompareTakesTheMedianOfRatiosRoundByRound(t *testing.T) {
	s := compare([]float64{1, 2, 3}, []float64{10, 10, 60})
	if s.ours != 2 || s.theirs != 10 || s.ratio != 0.1 || s.lowest != 0.05 || s.greatest != 0.2 {
		t.Errorf("%+v", s)
	}
	if s := compare([]float64{1}, nil); !math.IsNaN(s.ratio) || s.ours != 1 {
		t.Errorf("without the other side: %+v", s)
	}
}

func TestGoalVerdicts(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		goal goal
		s    spread
		want string
	}{
		{goal{}, spread{ratio: 1}, ""},
		{goal{ratioMost, 0.2}, spread{ratio: 0.2}, "yes"},
		{goal{ratioMost, 0.2}, spread{ratio: 0.21}, "no"},
		{goal{ratioMost, 0.2}, spread{ratio: nan}, "-"},
		{goal{ratioLeast, 6}, spread{ratio: 7}, "yes"},
		{goal{ratioLeast, 6}, spread{ratio: 5}, "no"},
		{goal{oursMost, 60}, spread{ours: 50, ratio: nan}, "yes"},
		{goal{oursMost, 60}, spread{ours: 70, ratio: nan}, "no"},
		{goal{oursMost, 60}, spread{ours: nan, ratio: nan}, "-"},
	} {
		if got := c.goal.verdict(c.s); got != c.want {
			t.Errorf("%+v with %+v: %q, want %q", c.goal, c.s, got, c.want)
		}
	}
}

func TestProcFilesAreRead(t *testing.T) {
	stat := "42 (a (b) c) S 1 42 42 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 1 0 1 1 1"
	if cpu, err := parseStat([]byte(stat)); err != nil || cpu != 2*time.Second {
		t.Errorf("CPU %v, %v", cpu, err)
	}
	if _, err := parseStat([]byte("42 (x) S 1")); err == nil {
		t.Error("a cut line was taken")
	}
	m := parseStatus("Name:\tx\nVmHWM:\t    4000 kB\nVmRSS:\t    3000 kB\nRssAnon:\t    1000 kB\n")
	if m.resident != 3.072 || m.anonymous != 1.024 || m.peak != 4.096 {
		t.Errorf("%+v", m)
	}
	if got := parseMachine("cpu  100 0 50 1000 7 1 2 3 0 0"); got.busy != 1530*time.Millisecond || got.stolen != 30*time.Millisecond {
		t.Errorf("%+v", got)
	}
}

func TestRequestsGoOnceAroundTheTopic(t *testing.T) {
	batch, err := newBatch(3, 50)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newRequestSet(&topic{name: "t", partitions: 6}, 4, batch); err == nil {
		t.Error("6 partitions were spread over requests of 4")
	}
	set, err := newRequestSet(&topic{name: "t", partitions: 6}, 2, batch)
	if err != nil {
		t.Fatal(err)
	}
	if len(set.frames) != 3 || set.records != 6 || set.bytes != 2*len(batch) {
		t.Fatalf("%d frames, %d records, %d bytes", len(set.frames), set.records, set.bytes)
	}
	var partitions []int32
	for _, frame := range set.frames {
		r := wire.NewReader(frame)
		if n := int(r.Int32()); n != len(frame)-4 || len(frame) != len(set.frames[0]) {
			t.Fatalf("a frame of %d bytes says %d", len(frame), n)
		}
		h, err := wire.DecodeRequestHeader(r)
		if err != nil || h.APIKey != wire.KeyProduce {
			t.Fatal(h, err)
		}
		var req wire.ProduceRequest
		req.Decode(r, h.APIVersion)
		if err := r.Finish(); err != nil {
			t.Fatal(err)
		}
		for _, p := range req.TopicData[0].PartitionData {
			partitions = append(partitions, p.Index)
			if err := record.Batch(p.Records).CheckCRC(); err != nil {
				t.Error(err)
			}
		}
	}
	if !slices.Equal(partitions, []int32{0, 1, 2, 3, 4, 5}) {
		t.Errorf("partitions %v", partitions)
	}
}

func TestRingNumbersAndWraps(t *testing.T) {
	set := &requestSet{frames: [][]byte{[]byte("....key.correlationA"), []byte("....key.correlationB"), []byte("....key.correlationC")}}
	r := newRing(set, 4, 5)
	if r.n != 6 {
		t.Fatalf("%d frames for 4 in flight of 3 different", r.n)
	}
	var order strings.Builder
	for sent := 0; sent < 8; {
		piece, n := r.take(min(4, 8-sent), int32(sent))
		for i := range n {
			frame := piece[i*r.size:][:r.size]
			if got := binary.BigEndian.Uint32(frame[correlationAt:]); got != uint32(sent+i) {
				t.Errorf("frame %d has number %d", sent+i, got)
			}
			order.WriteByte(frame[r.size-1])
		}
		sent += n
	}
	if order.String() != "CABCABCA" {
		t.Errorf("order %s", order.String())
	}
}

func TestAnswersMustGrow(t *testing.T) {
	a := newAnswers(&topic{partitions: 2})
	answer := func(partition int32, code wire.Code, offset int64) error {
		a.resp.Responses = []wire.ProduceResponseTopicProduceResponse{{
			PartitionResponses: []wire.ProduceResponsePartitionProduceResponse{{Index: partition, ErrorCode: code, BaseOffset: offset}},
		}}
		return a.check()
	}
	for i, c := range []struct {
		partition int32
		code      wire.Code
		offset    int64
		good      bool
	}{{0, 0, 0, true}, {1, 0, 0, true}, {0, 0, 5, true}, {0, 0, 5, false}, {1, wire.NotLeaderOrFollower, 7, false}, {2, 0, 1, false}} {
		if err := answer(c.partition, c.code, c.offset); (err == nil) != c.good {
			t.Errorf("answer %d: %v", i, err)
		}
	}
}

// serveBytes gives a connection on which the bytes arrive.
func serveBytes(t *testing.T, b []byte) *conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := dial(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer s.Close()
		_, _ = s.Write(b) // what is missing shows at the reader
	}()
	return c
}

func TestBulkFetchFindsWhereToReadOn(t *testing.T) {
	batch, err := newBatch(10, 1000)
	if err != nil {
		t.Fatal(err)
	}
	run := slices.Concat(batch, batch, batch, batch[:100]) // the last one is cut, as answers of limited size are
	resp := &wire.FetchResponse{Responses: []wire.FetchResponseFetchableTopicResponse{{
		TopicID: wire.UUID{1}, Partitions: []wire.FetchResponsePartitionData{{HighWatermark: 1000, Records: run}},
	}}}
	frame := wire.AppendResponseFrame(nil, 7, resp, fetchVersion)
	c := serveBytes(t, slices.Concat(frame, frame))
	c.correlation = 7
	drop, err := newDropper(c)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		next, n, err := readBulk(c, drop, 4)
		if err != nil || next != 30 || n != len(run) {
			t.Fatalf("offset %d, %d bytes, %v", next, n, err)
		}
	}
	c = serveBytes(t, frame)
	c.correlation = 8
	if _, _, err := readBulk(c, drop, 4); err == nil {
		t.Error("an answer to another request was taken")
	}
}

func TestTailRefusesGaps(t *testing.T) {
	batch, err := newBatch(2, 10)
	if err != nil {
		t.Fatal(err)
	}
	f := &tail{topic: &topic{name: "t"}, offsets: []int64{0}}
	if err := f.take(&wire.FetchResponsePartitionData{Records: batch}, time.Time{}); err != nil || f.offsets[0] != 2 || f.records.Load() != 2 {
		t.Fatalf("%v, offset %d", err, f.offsets[0])
	}
	if err := f.take(&wire.FetchResponsePartitionData{Records: batch}, time.Time{}); err == nil {
		t.Error("a batch came twice unnoticed")
	}
}

func TestRowsCanBeSelected(t *testing.T) {
	all := allRows()
	list, err := selected(all, "single,start")
	if err != nil || !slices.Equal(rowNames(list), []string{"single/1", "single/16", "start"}) {
		t.Errorf("%v, %v", rowNames(list), err)
	}
	if _, err := selected(all, "nothing"); err == nil {
		t.Error("an unknown row was selected")
	}
	for _, r := range all {
		// A row without Kafka tells what something of ours costs over something else of ours.
		want := ours
		if slices.ContainsFunc(r.arms, func(a arm) bool { return a.side == theirs }) {
			want = theirs
		}
		for _, l := range r.lines {
			if r.arms[l.ours].side != ours || r.arms[l.theirs].side != want || l.ours == l.theirs {
				t.Errorf("row %s: %s: compares %v with %v", r.name, l.what, r.arms[l.ours], r.arms[l.theirs])
			}
		}
	}
}
