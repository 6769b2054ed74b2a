package share

import (
	"cmp"
	"container/heap"
	"math"
	"slices"
)

// Batch says what state a run of records is in.
type Batch struct {
	First, Last int64 // offsets, both within
	State       int8
	Count       int16 // how often the records were delivered
}

// valid tells whether the batch has offsets that can be worked with.
func (b *Batch) valid() bool { return b.First >= 0 && b.First <= b.Last && b.Last < math.MaxInt64 }

// alike tells whether two batches are in the same state.
func (b *Batch) alike(o *Batch) bool { return b.State == o.State && b.Count == o.Count }

// rank orders batches that speak of the same records: the higher delivery count is the newer one, then the higher
// state, since states of one delivery go from available over acquired to acknowledged or archived.
func rank(a, b *Batch) int {
	return cmp.Or(cmp.Compare(a.Count, b.Count), cmp.Compare(a.State, b.State))
}

// combine works fresh batches into known ones, which are in order and do not overlap, and takes away what lies before
// start (-1: nothing does). Where two speak of the same record the one of higher rank holds. The result is in order,
// without overlap, neighbors in the same state are one; it may use the memory of known.
func combine(known, fresh []Batch, start int64) []Batch {
	known = cut(known, start)
	if len(fresh) == 0 {
		return known
	}
	low, high := fresh[0].First, fresh[0].Last
	for i := range fresh {
		low, high = min(low, fresh[i].First), max(high, fresh[i].Last)
	}
	// Only those that overlap or touch the fresh ones can change.
	from, _ := slices.BinarySearchFunc(known, low-1, func(b Batch, at int64) int { return cmp.Compare(b.Last, at) })
	to, _ := slices.BinarySearchFunc(known, high+2, func(b Batch, at int64) int { return cmp.Compare(b.First, at) })
	to = max(to, from)
	touched := append(slices.Clone(known[from:to]), fresh...)
	return slices.Replace(known, from, to, sweep(touched, start)...)
}

// cut takes away what lies before start.
func cut(batches []Batch, start int64) []Batch {
	gone := 0
	for gone < len(batches) && batches[gone].Last < start {
		gone++
	}
	batches = slices.Delete(batches, 0, gone)
	if len(batches) > 0 {
		batches[0].First = max(batches[0].First, start)
	}
	return batches
}

// sweep makes batches of any order, which may overlap, into a sequence. It uses the memory of its argument.
func sweep(batches []Batch, start int64) []Batch {
	batches = slices.DeleteFunc(batches, func(b Batch) bool { return !b.valid() || b.Last < start })
	slices.SortFunc(batches, func(a, b Batch) int { return cmp.Compare(a.First, b.First) })
	out := make([]Batch, 0, len(batches)+1)
	var open ranked // those that reach to at or beyond
	at := start
	for next := 0; next < len(batches) || len(open) > 0; {
		if len(open) == 0 {
			at = max(at, batches[next].First)
		}
		for ; next < len(batches) && batches[next].First <= at; next++ {
			heap.Push(&open, batches[next])
		}
		top := open[0]
		if top.Last < at {
			heap.Pop(&open)
			continue
		}
		last := top.Last
		if next < len(batches) {
			last = min(last, batches[next].First-1)
		}
		out = extend(out, Batch{First: at, Last: last, State: top.State, Count: top.Count})
		at = last + 1
	}
	return out
}

// extend appends a batch that begins behind all others, or makes the last one longer.
func extend(out []Batch, b Batch) []Batch {
	if n := len(out); n > 0 && out[n-1].Last+1 == b.First && out[n-1].alike(&b) {
		out[n-1].Last = b.Last
		return out
	}
	return append(out, b)
}

// ranked is a heap with the batch of the highest rank first.
type ranked []Batch

func (r ranked) Len() int           { return len(r) }
func (r ranked) Less(i, k int) bool { return rank(&r[i], &r[k]) > 0 }
func (r ranked) Swap(i, k int)      { r[i], r[k] = r[k], r[i] }
func (r *ranked) Push(x any)        { *r = append(*r, x.(Batch)) }
func (r *ranked) Pop() any {
	last := len(*r) - 1
	b := (*r)[last]
	*r = (*r)[:last]
	return b
}
