package quota

import "math"

// Window is how use is sampled: quota.window.num and quota.window.size.seconds.
type Window struct {
	Samples int
	Ms      int64 // length of one sample
}

// sample is what was used in one stretch of time.
type sample struct {
	start, last int64
	sum         float64
}

// Rate is use per second over the last samples, counted as Kafka's Rate does. The zero value is ready for use.
type Rate struct {
	samples []sample
	current int
}

// Record adds a quantity to the sample of the time now. A sample that is full gives way to the next; one more than the
// window counts is kept, so that the youngest full ones are always there.
func (r *Rate) Record(w Window, quantity float64, now int64) {
	s := r.at(now)
	if now-s.start >= w.Ms {
		r.current = (r.current + 1) % (w.Samples + 1)
		if r.current >= len(r.samples) {
			r.samples = append(r.samples, sample{start: now})
			r.current = len(r.samples) - 1
		} else {
			r.samples[r.current] = sample{start: now}
		}
		s = &r.samples[r.current]
	}
	s.sum += quantity
	s.last = now
}

// at is the present sample, the first one if there is none yet.
func (r *Rate) at(now int64) *sample {
	if len(r.samples) == 0 {
		r.samples = append(r.samples, sample{start: now, last: now})
	}
	if r.current >= len(r.samples) {
		r.current = len(r.samples) - 1
	}
	return &r.samples[r.current]
}

// Measure is the use per second over the window that ends now.
func (r *Rate) Measure(w Window, now int64) float64 {
	r.forget(w, now)
	sum := 0.0
	for i := range r.samples {
		sum += r.samples[i].sum
	}
	return sum / (float64(r.Span(w, now)) / 1000)
}

// forget empties the samples that lie before the window.
func (r *Rate) forget(w Window, now int64) {
	age := int64(w.Samples) * w.Ms
	for i := range r.samples {
		if s := &r.samples[i]; now-s.last >= age {
			*s = sample{start: now, last: now}
		}
	}
}

// Span is the time in milliseconds that Measure divides by: since the oldest sample began, and as if all samples but one
// had passed when they have not, so that the beginning of a client's life is no burst.
func (r *Rate) Span(w Window, now int64) int64 {
	r.forget(w, now)
	oldest := r.at(now).start
	for i := range r.samples {
		oldest = min(oldest, r.samples[i].start)
	}
	span := now - oldest
	full, least := span/w.Ms, int64(w.Samples-1)
	if full < least {
		span += (least - full) * w.Ms
	}
	return max(span, 1)
}

// Delay is how many milliseconds without use bring an observed rate, measured over a span, down to its bound (KIP-13):
// with the delay X, observed * span / (span + X) = bound.
//
// Differs from Kafka: a throttle time that does not fit into 32 bits is the largest that does; in Kafka it wraps around.
func Delay(observed, bound float64, span int64) int64 {
	return clamp((observed - bound) / bound * float64(span))
}

// clamp rounds as Java's Math.round does, and keeps what fits into a protocol's int32.
func clamp(ms float64) int64 {
	if math.IsNaN(ms) {
		return 0
	}
	return int64(math.Floor(min(max(ms, 0), math.MaxInt32) + 0.5))
}

// Bucket is tokens that come at the rate of a bound and are kept for one window (KIP-599). The zero value is full.
type Bucket struct {
	tokens float64
	last   int64
}

// Tokens is what is there now, negative after more was taken.
func (b *Bucket) Tokens(w Window, bound float64, now int64) float64 {
	b.refill(w, bound, now)
	return b.tokens
}

// Take takes n tokens whether or not they are there; a negative n gives them back.
func (b *Bucket) Take(w Window, bound, n float64, now int64) {
	b.refill(w, bound, now)
	b.tokens = min(burst(w, bound), b.tokens-n)
}

func (b *Bucket) refill(w Window, bound float64, now int64) {
	b.tokens = min(burst(w, bound), b.tokens+bound*float64(now-b.last)/1000)
	b.last = now
}

// burst is how many tokens a bucket holds.
func burst(w Window, bound float64) float64 {
	return float64(w.Samples) * (float64(w.Ms) / 1000) * bound
}

// Shortage is how many milliseconds it takes until a bucket with so many tokens has none too few.
func Shortage(tokens, bound float64) int64 { return clamp(-tokens / bound * 1000) }
