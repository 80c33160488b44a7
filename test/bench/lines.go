package main

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"text/template"
)

// panel is one of the drawings of a picture: a metric over time.
type panel struct {
	metric, title, short string
	logarithmic          bool
}

// Where things are in a picture, in pixels: two panels beside each other.
const (
	panelWide, panelHigh = 330, 130
	panelStep, panelRow  = 400, 190
	panelLeft, panelTop  = 70, 70
)

// curve is what was read of one contender.
type curve struct {
	Points string
	Ours   bool
}

// tick is a line of a scale, and what it says.
type tick struct {
	At   float64
	Text string
}

// plot is a panel as it is drawn.
type plot struct {
	Title         string
	X, Y          int
	Bottom, Right int
	Begin         float64 // where 0 is
	Curves        []curve
	Levels, Times []tick
}

// lines is read on light and on dark pages, as svg is.
var lines = template.Must(template.New("lines").Parse(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 820 {{.Height}}"` +
	` width="820" height="{{.Height}}" role="img" aria-label="{{html .Title}}">
<style>
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 15px }
.level { text-anchor: end }
.time { text-anchor: middle }
.scale { stroke: #d0d7de; stroke-width: 1 }
.begin { stroke: #24292f; stroke-width: 1; stroke-dasharray: 4 3 }
polyline { fill: none; stroke-width: 2 }
.ours { stroke: #0969da }
.other { stroke: #8c959f }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.scale { stroke: #3d444d }
.begin { stroke: #e6edf3 }
.ours { stroke: #4493f8 }
.other { stroke: #9198a1 }
}
</style>
<text class="title" x="10" y="22">{{html .Title}}</text>
{{- range .Legend}}
<line class="{{if .Ours}}ours{{else}}other{{end}}" stroke-width="2" x1="{{.X}}" x2="{{.TextX}}" y1="38" y2="38"/>
<text x="{{.TextX}}" dx="6" y="42">{{html .Name}}</text>
{{- end}}
{{- range .Plots}}{{$p := .}}
<text x="{{.X}}" y="{{.Y}}" dy="-8">{{html .Title}}</text>
{{- range .Levels}}
<line class="scale" x1="{{$p.X}}" x2="{{$p.Right}}" y1="{{printf "%.1f" .At}}" y2="{{printf "%.1f" .At}}"/>
<text class="level" x="{{$p.X}}" dx="-6" y="{{printf "%.1f" .At}}" dy="4">{{.Text}}</text>
{{- end}}
{{- range .Times}}
<text class="time" x="{{printf "%.1f" .At}}" y="{{$p.Bottom}}" dy="16">{{.Text}}</text>
{{- end}}
<line class="begin" x1="{{printf "%.1f" .Begin}}" x2="{{printf "%.1f" .Begin}}" y1="{{.Y}}" y2="{{.Bottom}}"/>
{{- range .Curves}}
<polyline class="{{if .Ours}}ours{{else}}other{{end}}" points="{{.Points}}"/>
{{- end}}
{{- end}}
</svg>
`))

// legend says whose a curve is.
type legend struct {
	Name     string
	X, TextX int
	Ours     bool
}

// draw draws what was read of the contenders, a panel a metric. There is no picture of nothing.
func (p part) draw(s series) []byte {
	names, times, metrics := p.measured(s), p.times(s), p.metrics(s)
	if len(times) < 2 {
		return nil
	}
	var legends []legend
	for i, name := range names {
		x := panelLeft + i*panelStep
		legends = append(legends, legend{name, x, x + 24, ours(name)})
	}
	plots := make([]plot, len(metrics))
	for i, m := range metrics {
		plots[i] = m.plot(s, p, times, panelLeft+i%2*panelStep, panelTop+i/2*panelRow)
	}
	var out bytes.Buffer
	_ = lines.Execute(&out, struct { // to memory, of what the template knows
		Title  string
		Height int
		Legend []legend
		Plots  []plot
	}{p.title, panelTop + (len(plots)+1)/2*panelRow, legends, plots})
	return out.Bytes()
}

// ours is whether a contender is Millrace.
func ours(name string) bool { return strings.HasPrefix(name, "Millrace") }

// plot draws the curves of a metric with their scales, the upper left corner at x and y.
func (m panel) plot(s series, p part, times []float64, x, y int) plot {
	names := p.measured(s)
	first, last := min(0, times[0]), times[len(times)-1]
	across := func(at float64) float64 { return float64(x) + (at-first)/(last-first)*panelWide }
	levels := m.levels(s, names)
	up := func(v float64) float64 { return v }
	if m.logarithmic {
		up = func(v float64) float64 { return math.Log10(max(v, levels[0])) }
	}
	least, most := up(levels[0]), up(levels[len(levels)-1])
	height := func(v float64) float64 { return float64(y) + panelHigh*(1-(up(v)-least)/(most-least)) }
	drawn := plot{Title: m.title, X: x, Y: y, Bottom: y + panelHigh, Right: x + panelWide, Begin: across(0)}
	for _, v := range levels {
		drawn.Levels = append(drawn.Levels, tick{height(v), round(v)})
	}
	for _, at := range []float64{first, 0, last / 2, last} {
		drawn.Times = append(drawn.Times, tick{across(at), fmt.Sprintf("%.0f %s", at, p.unit)})
	}
	for _, name := range names {
		var points strings.Builder
		for _, r := range s[name] {
			if v, ok := r[m.metric]; ok {
				fmt.Fprintf(&points, "%.1f,%.1f ", across(r["at"]), height(v))
			}
		}
		drawn.Curves = append(drawn.Curves, curve{strings.TrimSpace(points.String()), ours(name)})
	}
	return drawn
}

// round writes a round number.
func round(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%g M", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%g k", v/1e3)
	}
	return fmt.Sprintf("%g", v)
}

// levels are where a scale has its lines: from 0 to the next round number, or the powers of
// ten around all values.
func (m panel) levels(s series, names []string) []float64 {
	least, most := math.Inf(1), 0.0
	for _, name := range names {
		for _, v := range s.of(name, m.metric) {
			most = max(most, v)
			if v > 0 {
				least = min(least, v)
			}
		}
	}
	if most == 0 {
		return []float64{0, 1}
	}
	if !m.logarithmic {
		top := math.Pow(10, math.Floor(math.Log10(most)))
		for _, times := range []float64{1, 2, 5, 10} {
			if top*times >= most {
				top *= times
				break
			}
		}
		return []float64{0, top / 2, top}
	}
	var powers []float64
	for power := math.Floor(math.Log10(least)); ; power++ {
		powers = append(powers, math.Pow(10, power))
		if math.Pow(10, power) >= most {
			return powers
		}
	}
}
