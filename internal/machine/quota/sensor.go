package quota

import "math"

// Unlimited is the bound of whoever has no limit.
const Unlimited = math.MaxInt64

// Sensor is the use that one entity makes of one kind, and its bound. The zero value has used nothing.
type Sensor struct {
	rate   Rate
	bucket Bucket
	last   int64 // when something was last recorded
}

// Record counts a quantity whatever the limit.
func (s *Sensor) Record(w Window, quantity float64, now int64) {
	s.last = now
	s.rate.Record(w, quantity, now)
}

// Check tells how long the entity has to wait to be within its bound, 0 when it is.
func (s *Sensor) Check(w Window, bound float64, now int64) (waitMs int64) {
	observed := s.rate.Measure(w, now)
	if observed <= bound {
		return 0
	}
	return Delay(observed, bound, s.rate.Span(w, now))
}

// Use is Record and Check.
func (s *Sensor) Use(w Window, bound, quantity float64, now int64) (waitMs int64) {
	s.Record(w, quantity, now)
	return s.Check(w, bound, now)
}

// Rate is the use per second.
func (s *Sensor) Rate(w Window, now int64) float64 { return s.rate.Measure(w, now) }

// TakeStrict takes tokens unless the bucket is empty already; then nothing is taken, and the answer is how long the
// entity has to wait until it may ask again (KIP-599, requests that know the error).
func (s *Sensor) TakeStrict(w Window, bound, n float64, now int64) (waitMs int64, ok bool) {
	if tokens := s.bucket.Tokens(w, bound, now); tokens < 0 {
		return Shortage(tokens, bound), false
	}
	s.take(w, bound, n, now)
	return 0, true
}

// Take takes tokens in any case, and tells how long the entity has to wait if they were not there (KIP-599, older requests).
func (s *Sensor) Take(w Window, bound, n float64, now int64) (waitMs int64) {
	s.take(w, bound, n, now)
	if tokens := s.bucket.Tokens(w, bound, now); tokens < 0 {
		return Shortage(tokens, bound)
	}
	return 0
}

func (s *Sensor) take(w Window, bound, n float64, now int64) {
	s.last = now
	s.rate.Record(w, n, now)
	s.bucket.Take(w, bound, n, now)
}

// Tokens is how many tokens there are.
func (s *Sensor) Tokens(w Window, bound float64, now int64) float64 {
	return s.bucket.Tokens(w, bound, now)
}

// IdleMs is how long ago something was last recorded.
func (s *Sensor) IdleMs(now int64) int64 { return now - s.last }

// Touch notes that the sensor is in use.
func (s *Sensor) Touch(now int64) { s.last = now }
