package main

import (
	"fmt"
	"slices"
	"strings"
)

// course is what is shown of readings over time. Each reading has "at", the second at which
// its interval has ended; what is looked at begins at 0.
type course []part

// part is of contenders that had the same load: a picture, and a table with a line an interval.
type part struct {
	file, title string
	unit        string // of "at"
	names       []string
}

// courseMetrics are what is shown over time, in order, if there was any.
var courseMetrics = []panel{
	{metric: "rate", title: "tasks started a second", short: "tasks/s"},
	{metric: "p99", title: "sent to started, p99 in ms", short: "p99 ms", logarithmic: true},
	{metric: "dead", title: "dead rows", short: "dead rows"},
	{metric: "cpu postgres", title: "CPU s for 1,000 tasks: PostgreSQL", short: "CPU s/1,000: postgres"},
	{metric: "MB table", title: "MB of the table of tasks", short: "MB: table"},
	{metric: "MB indexes", title: "MB of its indexes", short: "MB: indexes"},
	{metric: "refused", title: "tasks refused", short: "refused"},
}

// metrics are those of which anything but 0 was read.
func (p part) metrics(s series) []panel {
	return slices.DeleteFunc(slices.Clone(courseMetrics), func(m panel) bool {
		return !slices.ContainsFunc(p.names, func(name string) bool {
			return slices.ContainsFunc(s.of(name, m.metric), func(v float64) bool { return v != 0 })
		})
	})
}

// before are the readings of the time before 0.
func (s series) before(contender, metric string) []float64 {
	return s.between(contender, metric, func(at, _ float64) bool { return at <= 0 })
}

// end are the readings of the last quarter of the time since 0.
func (s series) end(contender, metric string) []float64 {
	return s.between(contender, metric, func(at, last float64) bool { return at > last*3/4 && at > 0 })
}

func (s series) between(contender, metric string, in func(at, last float64) bool) []float64 {
	readings := s[contender]
	if len(readings) == 0 {
		return nil
	}
	last := readings[len(readings)-1]["at"]
	var values []float64
	for _, r := range readings {
		if v, ok := r[metric]; ok && in(r["at"], last) {
			values = append(values, v)
		}
	}
	return values
}

// endToBefore is each reading of the last quarter, by the median of those before 0.
func (s series) endToBefore(contender, metric string) []float64 {
	values := s.end(contender, metric)
	for i := range values {
		values[i] /= spreadOf(s.before(contender, metric)).median
	}
	return values
}

// tables are a summary, and for each part all that was read, to be unfolded.
func (c course) tables(s series) string {
	var all part
	for _, p := range c {
		all.names = append(all.names, p.names...)
	}
	metrics := all.metrics(s)
	var out strings.Builder
	out.WriteString("| |")
	for _, m := range metrics {
		fmt.Fprintf(&out, " %s, before | at the end |", m.short)
	}
	out.WriteString("\n| --- |" + strings.Repeat(" ---: |", 2*len(metrics)) + "\n")
	for _, p := range c {
		for _, name := range p.measured(s) {
			fmt.Fprintf(&out, "| %s |", name)
			for _, m := range metrics {
				fmt.Fprintf(&out, " %s | %s |", middle(s.before(name, m.metric)), middle(s.end(name, m.metric)))
			}
			out.WriteString("\n")
		}
	}
	for _, p := range c {
		if len(p.measured(s)) > 0 {
			fmt.Fprintf(&out, "\n<details><summary>%s, over time</summary>\n\n%s\n</details>\n", p.title, p.table(s))
		}
	}
	return out.String()
}

// measured are the names of those that were.
func (p part) measured(s series) []string {
	return slices.DeleteFunc(slices.Clone(p.names), func(name string) bool { return len(s[name]) == 0 })
}

// table has a line for each interval.
func (p part) table(s series) string {
	names, metrics := p.measured(s), p.metrics(s)
	var out strings.Builder
	fmt.Fprintf(&out, "| %s |", p.unit)
	for _, name := range names {
		for _, m := range metrics {
			fmt.Fprintf(&out, " %s: %s |", name, m.short)
		}
	}
	out.WriteString("\n|" + strings.Repeat(" ---: |", 1+len(names)*len(metrics)) + "\n")
	for i, at := range p.times(s) {
		fmt.Fprintf(&out, "| %.0f |", at)
		for _, name := range names {
			for _, m := range metrics {
				cell := ""
				if i < len(s[name]) {
					if v, ok := s[name][i][m.metric]; ok {
						cell = short(v)
					}
				}
				fmt.Fprintf(&out, " %s |", cell)
			}
		}
		out.WriteString("\n")
	}
	return out.String()
}

// middle writes the median; of nothing there is none.
func middle(values []float64) string {
	if len(values) == 0 {
		return "–"
	}
	return short(spreadOf(values).median)
}

// times are the ends of the intervals, of the one of whom there are most.
func (p part) times(s series) []float64 {
	var times []float64
	for _, name := range p.names {
		if own := s.of(name, "at"); len(own) > len(times) {
			times = own
		}
	}
	return times
}
