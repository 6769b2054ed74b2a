package cli

import (
	"math/bits"
	"sync"
	"time"
)

const (
	// latencyBits is the precision of a latency: 1/64 of it.
	latencyBits = 6
	// latencyUnit is the shortest that is told from none.
	latencyUnit = time.Microsecond
	// latencyBuckets reach to several hours.
	latencyBuckets = (35 - latencyBits) << latencyBits
)

// latencies counts durations by size. Any goroutine may add.
type latencies struct {
	mu      sync.Mutex // guards what follows
	buckets [latencyBuckets]uint64
	count   uint64
	sum     time.Duration
	max     time.Duration
}

func (l *latencies) add(d time.Duration) {
	d = max(d, 0)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buckets[latencyBucket(d)]++
	l.count++
	l.sum += d
	l.max = max(l.max, d)
}

// latencyBucket is linear within each power of two.
func latencyBucket(d time.Duration) int {
	units := uint64(d / latencyUnit)
	shift := max(bits.Len64(units)-latencyBits-1, 0)
	return min(shift<<latencyBits+int(units>>shift), latencyBuckets-1)
}

// latencyOf is the middle of a bucket.
func latencyOf(bucket int) time.Duration {
	shift := max(bucket>>latencyBits-1, 0)
	units := uint64(bucket-shift<<latencyBits) << shift
	return time.Duration(units)*latencyUnit + (time.Duration(1)<<shift)*latencyUnit/2
}

// latencyTable is what is shown of latencies, in milliseconds.
type latencyTable struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P95  float64 `json:"p95"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// quantile is the smallest duration that so large a share is within. mu is held.
func (l *latencies) quantile(q float64) time.Duration {
	var seen uint64
	for i, n := range l.buckets {
		if seen += n; n > 0 && float64(seen) >= q*float64(l.count) {
			return min(latencyOf(i), l.max)
		}
	}
	return 0
}

func (l *latencies) table() latencyTable {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count == 0 {
		return latencyTable{}
	}
	return latencyTable{
		Mean: toMs(l.sum / time.Duration(l.count)), P50: toMs(l.quantile(0.5)), P95: toMs(l.quantile(0.95)),
		P99: toMs(l.quantile(0.99)), P999: toMs(l.quantile(0.999)), Max: toMs(l.max),
	}
}

// toMs is a duration in milliseconds with three digits.
func toMs(d time.Duration) float64 { return float64(d.Round(latencyUnit)) / float64(time.Millisecond) }
