package metric

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestCountersAddUpOverShards(t *testing.T) {
	c := NewCounters(3)
	var wg sync.WaitGroup
	for n := range uint64(8) {
		wg.Go(func() {
			s := c.Shard(n)
			for range 1000 {
				s.Add(1, 2)
			}
		})
	}
	wg.Wait()
	if got := []uint64{c.Sum(0), c.Sum(1), c.Sum(2)}; got[0] != 0 || got[1] != 16_000 || got[2] != 0 {
		t.Errorf("got %v", got)
	}
}

func TestEveryDurationIsInItsBucket(t *testing.T) {
	last := -1
	for d := time.Duration(1); d < 300*time.Second; d += d/7 + 1 {
		b := bucketOf(d)
		if b < last {
			t.Fatalf("%v is in bucket %d, after %d", d, b, last)
		}
		if last = b; b == bucketCount-1 {
			continue
		}
		if d >= upper(b) && b > 0 || b > 0 && d < upper(b-1) {
			t.Fatalf("%v is in bucket %d, which goes from %v to %v", d, b, upper(b-1), upper(b))
		}
	}
}

func TestQuantilesForgetThePast(t *testing.T) {
	var h Histogram
	for range 99 {
		h.Observe(time.Millisecond)
	}
	h.Observe(time.Second)
	q := h.Quantiles(0, 0.5, 0.99, 1)
	if q[0] < time.Millisecond || q[0] > 2*time.Millisecond || q[1] != q[0] || q[2] < time.Second || q[2] > 2*time.Second {
		t.Errorf("got %v", q)
	}
	for minute := range time.Duration(3) {
		q = h.Quantiles((minute+1)*window, 0.5)
	}
	if q[0] != 0 {
		t.Errorf("minutes later: %v", q)
	}
	h.Observe(time.Second)
	if q = h.Quantiles(4*window+1, 0.5); q[0] < time.Second {
		t.Errorf("a new one: %v", q)
	}
	if n, sum := h.Count(); n != 101 || sum < 2*time.Second {
		t.Errorf("%d with the sum %v", n, sum)
	}
}

func TestGathered(t *testing.T) {
	r := NewRegistry()
	var h Histogram
	h.Observe(3 * time.Millisecond)
	r.Collect(func(s *Sink) {
		s.Counter("a_total", "A.", 3)
		s.Counter("a_total", "A.", 2, "topic", "x")
		s.Gauge("b", "B.", -1, "k", "v", "l", "w")
		s.Histogram("c_seconds", "C.", &h, "api", "Fetch")
	})
	families, err := r.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, f := range families {
		for _, m := range f.Metric {
			found[f.GetName()] += m.String()
		}
	}
	for name, want := range map[string]string{
		"a_total": `counter:{value:3}`, "b": `gauge:{value:-1}`, "c_seconds": `sample_count:1`, "go_goroutines": "gauge", "process_start_time_seconds": "gauge",
	} {
		if !strings.Contains(strings.ReplaceAll(found[name], " ", ""), want) {
			t.Errorf("%s: %q lacks %q", name, found[name], want)
		}
	}
}

func TestBadNamesAreErrorsNotPanics(t *testing.T) {
	r := NewRegistry()
	r.Collect(func(s *Sink) { s.Gauge("no good", "", 1) })
	r.Collect(func(s *Sink) { s.Gauge("twice", "", 1, "a", "b"); s.Gauge("twice", "", 1, "a", "b") })
	if _, err := r.Gatherer().Gather(); err == nil {
		t.Error("there is no error")
	}
	var _ prometheus.Collector = (*exposition)(r)
}

func BenchmarkShardAdd(b *testing.B) {
	s := NewCounters(4).Shard(1)
	for b.Loop() {
		s.Add(2, 1)
	}
}

func BenchmarkObserve(b *testing.B) {
	var h Histogram
	for b.Loop() {
		h.Observe(12345)
	}
}
