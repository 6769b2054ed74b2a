package quota_test

import (
	"math"
	"testing"

	"github.com/moldau/moldau/internal/machine/quota"
)

// FuzzSensor: whatever is recorded when, delays are sane, and a delay that is waited out without use is enough.
func FuzzSensor(f *testing.F) {
	f.Add(uint8(11), uint8(1), 1000.0, []byte{1, 200, 0, 255, 9, 9})
	f.Add(uint8(1), uint8(1), 0.5, []byte{0, 255, 0, 255})
	f.Fuzz(func(t *testing.T, samples, seconds uint8, bound float64, steps []byte) {
		if samples == 0 || seconds == 0 || !(bound >= 1e-3 && bound < 1e12) {
			return
		}
		w := quota.Window{Samples: int(samples), Ms: int64(seconds) * 1000}
		var s, b quota.Sensor
		now := int64(1) << 40
		for i := 0; i+1 < len(steps); i += 2 {
			now += int64(steps[i]) * 37
			quantity := float64(steps[i+1]) * bound / 16
			if wait := s.Use(w, bound, quantity, now); wait < 0 || wait > math.MaxInt32 {
				t.Fatal("a delay of", wait)
			}
			wait, ok := b.TakeStrict(w, bound, quantity, now)
			if wait < 0 || ok != (wait == 0) && ok {
				t.Fatal("a shortage of", wait, ok)
			}
			if tokens, most := b.Tokens(w, bound, now), float64(samples)*float64(seconds)*bound; tokens > most*(1+1e-9) {
				t.Fatal("more tokens than the bucket holds", tokens, most)
			}
		}
		if wait := b.Take(w, bound, 1, now); wait > 0 && wait < math.MaxInt32 {
			if _, ok := b.TakeStrict(w, bound, 0, now+wait+1); !ok {
				t.Fatal("still empty after", wait)
			}
		}
		if rate := s.Rate(w, now+int64(w.Samples)*w.Ms*2); rate != 0 {
			t.Fatal("a rate without use", rate)
		}
	})
}
