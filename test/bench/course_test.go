package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// falling is a course of a rate that falls once the snapshot is held.
var falling = series{
	"Millrace <1>": {
		{"at": -5, "rate": 100, "p99": 2}, {"at": 0, "rate": 200, "p99": 4},
		{"at": 5, "rate": 190, "p99": 30}, {"at": 10, "rate": 150, "p99": 70},
		{"at": 15, "rate": 120, "p99": 90}, {"at": 20, "rate": 75},
	},
}

var fallingCourse = course{{file: "x", title: "Falls & falls", unit: "s", names: []string{"River", "Millrace <1>"}}}

func TestCourse_ComparesTheLastQuarterWithTheTimeBefore(t *testing.T) {
	const name = "Millrace <1>"
	if got, want := falling.before(name, "rate"), []float64{100, 200}; !cmp.Equal(got, want) {
		t.Errorf("before: %v, want %v", got, want)
	}
	if got, want := falling.end(name, "rate"), []float64{75}; !cmp.Equal(got, want) {
		t.Errorf("at the end: %v, want %v", got, want)
	}
	if got, want := falling.endToBefore(name, "rate"), []float64{0.5}; !cmp.Equal(got, want) {
		t.Errorf("the end by the time before: %v, want %v", got, want)
	}
	if got := falling.endToBefore("River", "rate"); len(got) != 0 {
		t.Errorf("of nobody: %v", got)
	}
}

func TestCourse_HasASummaryAndALineForEachInterval(t *testing.T) {
	got := fallingCourse.tables(falling)
	for _, want := range []string{
		"| | tasks/s, before | at the end | p99 ms, before | at the end |\n",
		"| Millrace <1> | 150 | 75.0 | 3.00 | – |\n",
		"| s | Millrace <1>: tasks/s | Millrace <1>: p99 ms |\n",
		"| -5 | 100 | 2.00 |\n", "| 20 | 75.0 |  |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("it does not have %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "River") || strings.Contains(got, "dead") {
		t.Errorf("it has what was not measured:\n%s", got)
	}
}

func TestPart_IsDrawnAsXMLWithACurveForEachMetric(t *testing.T) {
	picture := string(fallingCourse[0].draw(falling))
	for d := xml.NewDecoder(strings.NewReader(picture)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, picture)
		}
	}
	if n := strings.Count(picture, "<polyline "); n != 2 {
		t.Errorf("%d curves, want 2", n)
	}
	for _, want := range []string{
		`polyline class="ours"`, "Millrace &lt;1&gt;", "Falls &amp; falls", ">-5 s<", ">20 s<", ">200<",
	} {
		if !strings.Contains(picture, want) {
			t.Errorf("it does not have %q:\n%s", want, picture)
		}
	}
	if got := fallingCourse[0].draw(series{}); got != nil {
		t.Errorf("of nothing:\n%s", got)
	}
}

func TestLevels_AreRoundAndHoldAllValues(t *testing.T) {
	s := series{"a": {{"rate": 0.3, "p99": 3}, {"rate": 2300, "p99": 1200}}}
	if got, want := (panel{metric: "rate"}).levels(s, []string{"a"}), []float64{0, 2500, 5000}; !cmp.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	powers := panel{metric: "p99", logarithmic: true}
	if got, want := powers.levels(s, []string{"a"}), []float64{1, 10, 100, 1000, 10_000}; !cmp.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestTally_BeginsAnewWithEachInterval(t *testing.T) {
	begin := time.Unix(1_800_000_000, 0)
	tl := &tally{from: begin}
	for n := range 10 {
		tl.add(begin.Add(-time.Duration(n)*time.Second), begin)
	}
	tl.refused.Add(3)
	want := reading{"rate": 2, "p50": 5000, "p99": 9000, "refused": 3}
	if got := tl.take(begin.Add(5 * time.Second)); !cmp.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got, want := tl.take(begin.Add(10*time.Second)), (reading{"rate": 0, "refused": 0}); !cmp.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if n := tl.started.Load(); n != 10 {
		t.Errorf("%d have started, want 10", n)
	}
}
