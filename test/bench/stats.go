package main

import (
	"math"
	"slices"
	"time"
)

// median is the middle of the values, or the mean of the two in the middle; NaN without values.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(values))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// percentile is the smallest value that at least p percent of the sorted values do not exceed; 0 without values.
func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(p*float64(len(sorted))/100 - 1e-9)) // 99.9 % of 1,000 are 999, whatever binary fractions say
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// spread is what a comparison says over all rounds.
type spread struct {
	ours, theirs     float64 // medians
	ratio            float64 // median of the rounds' ratios
	lowest, greatest float64 // of the rounds' ratios
}

// compare pairs the values of each round; a round in which one side has no value is left out.
func compare(ours, theirs []float64) spread {
	var ratios []float64
	for i := range min(len(ours), len(theirs)) {
		if r := ours[i] / theirs[i]; !math.IsNaN(r) && !math.IsInf(r, 0) {
			ratios = append(ratios, r)
		}
	}
	s := spread{ours: median(ours), theirs: median(theirs), ratio: median(ratios), lowest: math.NaN(), greatest: math.NaN()}
	if len(ratios) > 0 {
		s.lowest, s.greatest = slices.Min(ratios), slices.Max(ratios)
	}
	return s
}

// bound says what a goal limits.
type bound int

const (
	noBound    bound = iota
	ratioMost        // ours / theirs must not exceed the limit
	ratioLeast       // ours / theirs must reach the limit
	oursMost         // our value alone must not exceed the limit
	oursLeast        // our value alone must reach the limit
)

// goal is a figure to reach.
type goal struct {
	bound bound
	limit float64
}

// met tells whether the median reaches the goal; without a goal, or without values, nothing is met.
func (g goal) met(s spread) bool {
	switch g.bound {
	case ratioMost:
		return s.ratio <= g.limit
	case ratioLeast:
		return s.ratio >= g.limit
	case oursMost:
		return s.ours <= g.limit
	case oursLeast:
		return s.ours >= g.limit
	default:
		return false
	}
}
