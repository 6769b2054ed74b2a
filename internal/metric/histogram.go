package metric

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// The buckets of a histogram: two to each power of two, from 1 µs to 128 s.
const (
	leastUnit   = 10 // bits of 1,024 ns, below which everything is in the first bucket
	octaves     = 27
	bucketCount = 2*octaves + 2
)

// window is how much of the past quantiles are about: between one and two of it.
const window = time.Minute

// Histogram counts durations by size. The zero value is ready. Any goroutine may
// observe; memory is shared by all cores, so on a path of millions a second observe a sample.
type Histogram struct {
	buckets [bucketCount]atomic.Uint64
	sum     atomic.Int64

	mu sync.Mutex // guards what follows
	// older and newer are what the buckets held some time ago, so that quantiles are about the recent past.
	older, newer [bucketCount]uint64
	newerAt      time.Duration
}

// Observe counts one duration.
func (h *Histogram) Observe(d time.Duration) {
	d = max(d, 0)
	h.buckets[bucketOf(d)].Add(1)
	h.sum.Add(int64(d))
}

// bucketOf finds the bucket: that of the highest bit and the bit after it.
func bucketOf(d time.Duration) int {
	n := bits.Len64(uint64(d))
	if n <= leastUnit {
		return 0
	}
	half := int(uint64(d)>>(n-2)) & 1
	return min(1+2*(n-leastUnit-1)+half, bucketCount-1)
}

// upper is the bucket's end.
func upper(bucket int) time.Duration {
	if bucket == 0 {
		return 1 << leastUnit
	}
	octave, half := (bucket-1)/2, (bucket-1)%2
	low := time.Duration(1) << (leastUnit + octave)
	return low + low/2*time.Duration(half+1)
}

// Count is how many were observed, and their sum.
func (h *Histogram) Count() (n uint64, sum time.Duration) {
	for i := range h.buckets {
		n += h.buckets[i].Load()
	}
	return n, time.Duration(h.sum.Load())
}

// cumulative is the histogram as Prometheus wants it; the last bucket has no end.
func (h *Histogram) cumulative() (n uint64, sum time.Duration, buckets map[float64]uint64) {
	buckets = make(map[float64]uint64, octaves)
	for i := range h.buckets {
		n += h.buckets[i].Load()
		if i%2 == 0 && i < bucketCount-1 { // whole octaves are enough there
			buckets[upper(i).Seconds()] = n
		}
	}
	return n, time.Duration(h.sum.Load()), buckets
}

// Quantiles estimates quantiles, 0 to 1, of what was observed in the last minute or two: each is the end of the bucket that it is
// in. mono is the time now, as clock.Clock tells it. Without observations they are 0.
func (h *Histogram) Quantiles(mono time.Duration, qs ...float64) []time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	var now, recent [bucketCount]uint64
	var total uint64
	for i := range h.buckets {
		now[i] = h.buckets[i].Load()
		recent[i] = now[i] - h.older[i]
		total += recent[i]
	}
	if mono-h.newerAt >= window {
		h.older, h.newer, h.newerAt = h.newer, now, mono
	}
	out := make([]time.Duration, len(qs))
	for k, q := range qs {
		var seen uint64
		for i := range recent {
			if seen += recent[i]; recent[i] > 0 && float64(seen) >= q*float64(total) {
				out[k] = upper(i)
				break
			}
		}
	}
	return out
}
