package main

import (
	"bytes"
	"slices"
	"strings"
	"text/template"
)

// chart is a picture of one metric: a bar for each contender.
type chart struct {
	file, title, metric string
	names               []string // the contenders; none: all that have the metric
}

// bar is one line of a chart, in pixels.
type bar struct {
	Name, Value       string
	Y, Text           int
	Width             float64
	Least, Most       float64
	Ours              bool
	ValueAt, MiddleAt float64
}

const (
	barsAt, barsWide = 290, 330
	barHeight        = 28
)

// svg is read on light and on dark pages; the picture's own rules say which.
var svg = template.Must(template.New("svg").Parse(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 820 {{.Height}}" width="820" height="{{.Height}}" role="img" aria-label="{{html .Title}}">
<style>
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 15px }
.name { text-anchor: end }
.ours { fill: #0969da }
.other { fill: #afb8c1 }
.reach { stroke: #24292f; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.ours { fill: #4493f8 }
.other { fill: #545d68 }
.reach { stroke: #e6edf3 }
}
</style>
<text class="title" x="10" y="22">{{html .Title}}</text>
{{- range .Bars}}
<text class="name" x="280" y="{{.Text}}">{{html .Name}}</text>
<rect class="{{if .Ours}}ours{{else}}other{{end}}" x="290" y="{{.Y}}" width="{{printf "%.1f" .Width}}" height="18" rx="2"/>
<line class="reach" x1="{{printf "%.1f" .Least}}" x2="{{printf "%.1f" .Most}}" y1="{{.MiddleAt}}" y2="{{.MiddleAt}}"/>
<text x="{{printf "%.1f" .ValueAt}}" y="{{.Text}}">{{html .Value}}</text>
{{- end}}
</svg>
`))

// draw draws the medians of the contenders, in order, and how far the values reach.
// There is no picture of nothing.
func (c chart) draw(s series, contenders []contender) []byte {
	var names []string
	var spreads []spread
	most := 0.0
	for _, each := range contenders {
		values := s.of(each.name, c.metric)
		if len(values) == 0 || c.names != nil && !slices.Contains(c.names, each.name) {
			continue
		}
		names, spreads = append(names, each.name), append(spreads, spreadOf(values))
		most = max(most, spreads[len(spreads)-1].most)
	}
	if most == 0 {
		return nil
	}
	bars := make([]bar, len(names))
	for i, v := range spreads {
		y := 36 + i*barHeight
		x := func(value float64) float64 { return value / most * barsWide }
		bars[i] = bar{
			Name: strings.ReplaceAll(names[i], "`", ""), Value: v.String(), Y: y, Text: y + 14, MiddleAt: float64(y + 9),
			Width: x(v.median), Least: barsAt + x(v.least), Most: barsAt + x(v.most), ValueAt: barsAt + x(v.most) + 8,
			Ours: ours(names[i]),
		}
	}
	var out bytes.Buffer
	_ = svg.Execute(&out, struct { // to memory, of what the template knows
		Title  string
		Height int
		Bars   []bar
	}{c.title, 46 + len(bars)*barHeight, bars})
	return out.Bytes()
}
