package cli

import (
	"testing"
	"time"
)

func TestLatenciesArePrecise(t *testing.T) {
	for d := time.Microsecond; d < time.Hour; d = d*9/8 + time.Microsecond {
		got := latencyOf(latencyBucket(d))
		if diff := (got - d).Abs(); diff > d/50+latencyUnit {
			t.Fatalf("%v is told as %v", d, got)
		}
	}
	if b := latencyBucket(1000 * time.Hour); b != latencyBuckets-1 {
		t.Errorf("a very long one is in bucket %d", b)
	}
	var l latencies
	if got := l.table(); got != (latencyTable{}) {
		t.Errorf("nothing: %v", got)
	}
	for i := range 1000 {
		l.add(time.Duration(i+1) * time.Millisecond)
	}
	got := l.table()
	for name, v := range map[string][2]float64{"p50": {got.P50, 500}, "p95": {got.P95, 950}, "p99": {got.P99, 990}, "mean": {got.Mean, 500.5}, "max": {got.Max, 1000}} {
		if v[0] < v[1]*0.98 || v[0] > v[1]*1.02 {
			t.Errorf("%s is %v, want about %v", name, v[0], v[1])
		}
	}
}
