package harness

import (
	"math"
	"slices"
)

// Summary is what the samples of one side come to.
type Summary struct {
	Median  float64
	Spread  float64   // half the distance between the quartiles, as a part of the median
	Samples []float64 // in the order in which they were taken
}

// Summarize returns the summary of samples, of which there must be at least one.
func Summarize(samples []float64) Summary {
	sorted := slices.Sorted(slices.Values(samples))
	median := quantile(sorted, 0.5)
	return Summary{
		Median:  median,
		Spread:  (quantile(sorted, 0.75) - quantile(sorted, 0.25)) / 2 / median,
		Samples: samples,
	}
}

// quantile interpolates between the two samples next to the quantile.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	low := math.Floor(at)
	i, part := int(low), at-low
	if i+1 == len(sorted) {
		return sorted[i]
	}
	return sorted[i]*(1-part) + sorted[i+1]*part
}
