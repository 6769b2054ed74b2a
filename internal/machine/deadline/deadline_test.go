package deadline_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/moldau/moldau/internal/machine/deadline"
)

type thing struct {
	deadline.Deadline
	name int
}

// TestAgainstAList sets, stops and takes at random, and compares with a list that is searched.
func TestAgainstAList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q deadline.Queue[*thing]
		things := make([]thing, 8)
		due := map[int]int64{}
		for i := range things {
			things[i].name = i
		}
		now := int64(0)
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			x := &things[rapid.IntRange(0, len(things)-1).Draw(t, "thing")]
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				at := now + rapid.Int64Range(0, 20).Draw(t, "at")
				q.Set(x, at)
				due[x.name] = max(at, 1)
			case 2:
				x.Stop()
				delete(due, x.name)
			default:
				now += rapid.Int64Range(0, 10).Draw(t, "later")
				var got, want []int
				for x, ok := q.Due(now); ok; x, ok = q.Due(now) {
					got = append(got, x.name)
				}
				for name, at := range due {
					if at <= now {
						want = append(want, name)
						delete(due, name)
					}
				}
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Fatalf("at %d came %v, and %v were due", now, got, want)
				}
			}
			if x.Pending() != (due[x.name] != 0) {
				t.Fatalf("thing %d: pending is %v", x.name, x.Pending())
			}
			earliest := int64(0)
			for _, at := range due {
				if earliest == 0 || at < earliest {
					earliest = at
				}
			}
			if next, ok := q.Next(); earliest != 0 && (!ok || next > earliest) {
				t.Fatalf("the first is due at %d, and Next is %d, %v", earliest, next, ok)
			}
		}
	})
}

// TestOrder has what is due at the same time come in the order of Set, and an old time be void.
func TestOrder(t *testing.T) {
	var q deadline.Queue[*thing]
	a, b, c := &thing{name: 1}, &thing{name: 2}, &thing{name: 3}
	q.Set(b, 5)
	q.Set(a, 5)
	q.Set(c, 3)
	q.Set(c, 9)
	var order []int
	for _, now := range []int64{3, 5, 9} {
		for x, ok := q.Due(now); ok; x, ok = q.Due(now) {
			order = append(order, x.name)
		}
	}
	if !slices.Equal(order, []int{2, 1, 3}) || q.Len() != 0 {
		t.Errorf("%v, %d left", order, q.Len())
	}
}
