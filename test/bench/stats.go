package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// reading is what one measurement has read, by name: rate (tasks a second), p50 and
// p99 (milliseconds), "cpu x" (CPU seconds of x for 1,000 tasks), "rss x" (resident
// megabytes of x), and what else a goal asks for.
type reading map[string]float64

// series are the readings of each contender, one a run.
type series map[string][]reading

// of returns what was read of a contender, run by run.
func (s series) of(contender, metric string) []float64 {
	values := make([]float64, 0, len(s[contender]))
	for _, r := range s[contender] {
		if v, ok := r[metric]; ok {
			values = append(values, v)
		}
	}
	return values
}

// total sums up what was read of a contender under names that start with prefix.
func (s series) total(contender, prefix string) []float64 {
	sums := make([]float64, len(s[contender]))
	for i, r := range s[contender] {
		for name, v := range r {
			if strings.HasPrefix(name, prefix) {
				sums[i] += v
			}
		}
	}
	return sums
}

// ratio compares two contenders run by run.
func (s series) ratio(contender, reference, metric string) []float64 {
	return ratios(s.of(contender, metric), s.of(reference, metric))
}

// ratios divides run by run: what was measured at about the same time saw the same
// machine. What one of the two was not measured in is left out.
func ratios(a, b []float64) []float64 {
	all := make([]float64, min(len(a), len(b)))
	for i := range all {
		all[i] = a[i] / b[i]
	}
	return all
}

// greatest is the greater of two, run by run.
func greatest(a, b []float64) []float64 {
	all := make([]float64, min(len(a), len(b)))
	for i := range all {
		all[i] = max(a[i], b[i])
	}
	return all
}

// metrics are the names that start with prefix of all that was read, in order.
func (s series) metrics(prefix string) []string {
	seen := map[string]bool{}
	for _, readings := range s {
		for _, r := range readings {
			for name := range r {
				seen[name] = seen[name] || strings.HasPrefix(name, prefix)
			}
		}
	}
	var names []string
	for name, wanted := range seen {
		if wanted {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// spread is the median of some values, and how far they reach.
type spread struct{ median, least, most float64 }

// spreadOf is of at least one value; of none all is NaN.
func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{math.NaN(), math.NaN(), math.NaN()}
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	median := sorted[middle]
	if len(sorted)%2 == 0 {
		median = (sorted[middle-1] + median) / 2
	}
	return spread{median, sorted[0], sorted[len(sorted)-1]}
}

// String is the median with three digits, and from where to where the values are.
func (s spread) String() string {
	if math.IsNaN(s.median) {
		return "–"
	}
	if s.least == s.most {
		return short(s.median)
	}
	return fmt.Sprintf("%s (%s–%s)", short(s.median), short(s.least), short(s.most))
}

// short writes a number with three digits: 12.3 k.
func short(v float64) string {
	unit := ""
	switch size := math.Abs(v); {
	case size >= 999_500:
		v, unit = v/1e6, " M"
	case size >= 9_995:
		v, unit = v/1e3, " k"
	}
	digits := 0
	switch size := math.Abs(v); {
	case size == 0:
	case size < 0.00995:
		digits = 4
	case size < 0.9995:
		digits = 3
	case size < 9.995:
		digits = 2
	case size < 99.95:
		digits = 1
	}
	return fmt.Sprintf("%.*f%s", digits, v, unit)
}

// percentile is the value that this share of the values does not exceed.
func percentile(values []float64, share float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// slope is how much y grows for each step of x: a straight line through the points
// that is as near to them as can be.
func slope(x, y []float64) float64 {
	n := float64(len(x))
	var sumX, sumY, sumXY, sumXX float64
	for i := range x {
		sumX, sumY = sumX+x[i], sumY+y[i]
		sumXY, sumXX = sumXY+x[i]*y[i], sumXX+x[i]*x[i]
	}
	return (n*sumXY - sumX*sumY) / (n*sumXX - sumX*sumX)
}

// verdict is whether a goal is met.
type verdict struct {
	Text string `json:"text"` // what is compared
	Want string `json:"want"`
	Got  string `json:"got"`
	Met  bool   `json:"met"`
}

func atLeast(text string, values []float64, want float64) verdict {
	return judge(text, "≥ ", values, want, func(got float64) bool { return got >= want })
}

func atMost(text string, values []float64, want float64) verdict {
	return judge(text, "≤ ", values, want, func(got float64) bool { return got <= want })
}

func below(text string, values []float64, want float64) verdict {
	return judge(text, "< ", values, want, func(got float64) bool { return got < want })
}

func above(text string, values []float64, want float64) verdict {
	return judge(text, "> ", values, want, func(got float64) bool { return got > want })
}

// judge holds the median against what is wanted. What was not measured is not met.
func judge(text, sign string, values []float64, want float64, met func(float64) bool) verdict {
	got := spreadOf(values)
	return verdict{Text: text, Want: sign + strconv.FormatFloat(want, 'g', -1, 64), Got: got.String(), Met: met(got.median)}
}
