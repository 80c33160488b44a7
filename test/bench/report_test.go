package main

import (
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

// example is two contenders of which one was not measured in all ways.
var example = series{
	"Millrace <1>": {{"rate": 20_000, "p99": 3, "cpu api": 0.05}, {"rate": 22_000, "p99": 4, "cpu api": 0.07}},
	"echo":         {{"rate": 50_000, "rss api": 20}},
}

var contestants = []contender{{name: "echo"}, {name: "Millrace <1>"}}

func TestTable_HasARowForEachContenderAndAColumnForEachMetric(t *testing.T) {
	const want = `| | tasks/s | p99 ms | CPU s/1,000: api | MB: api |
| --- | ---: | ---: | ---: | ---: |
| echo | 50.0 k |  |  | 20.0 |
| Millrace <1> | 21.0 k (20.0 k–22.0 k) | 3.50 (3.00–4.00) | 0.060 |  |
`
	if got := table(example, contestants); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestSummary_HasEveryGoalOnceAndSaysWhatIsMet(t *testing.T) {
	const want = `
2 of 4 goals are met.

| | goal | wanted | measured | met |
| --- | --- | ---: | ---: | --- |
| [Batch accept](#2-batch-accept) | a / b | ≥ 2 | 3.00 | yes |
|  | c | < 5 | 9.00 | **no** |
| [Cost](#6-cost) | d | > 1 | 2.00 | yes |
|  | e | > 1 | – | not measured |
`
	got := results{
		"cost":  {Verdicts: []verdict{above("d", []float64{2}, 1), above("e", nil, 1)}},
		"batch": {Verdicts: []verdict{atLeast("a / b", []float64{3}, 2), below("c", []float64{9}, 5)}},
	}.summary()
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestBetween_ReplacesWhatIsBetweenTheMarksAlone(t *testing.T) {
	begin, end := marks("block")
	got, err := between("above\n"+begin+"\nold\n"+end+"\nbelow", "block", "new\n")
	if want := "above\n" + begin + "\nnew\n" + end + "\nbelow"; err != nil || got != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	for _, page := range []string{"", begin, end} {
		if _, err := between(page, "block", "new"); err == nil {
			t.Errorf("%q has no marks, and no error", page)
		}
	}
}

func TestMarkdown_TellsTheMachineOnceAndEveryGoalThatWasMeasured(t *testing.T) {
	all := results{
		"drain":  {Machine: machine{CPU: "a processor", FsyncMS: 1}, Readings: series{"River, 2,000 workers": {{"rate": 1}}}},
		"accept": {Machine: machine{CPU: "a processor", FsyncMS: 2}, Failure: "no luck"},
	}
	got := all.markdown()
	if n := strings.Count(got, "a processor"); n != 1 {
		t.Errorf("the machine is told %d times:\n%s", n, got)
	}
	for _, want := range []string{"### 1. Accept", "### 3. Drain", "| River, 2,000 workers | 1.00 |", "Not all was measured: no luck."} {
		if !strings.Contains(got, want) {
			t.Errorf("it does not have %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "### 2.") {
		t.Errorf("it has what was not measured:\n%s", got)
	}
}

func TestChart_IsXMLWithABarForEachContenderThatHasTheMetric(t *testing.T) {
	picture := string(chart{title: "Tasks & more", metric: "rate"}.draw(example, contestants))
	for d := xml.NewDecoder(strings.NewReader(picture)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, picture)
		}
	}
	if n := strings.Count(picture, "<rect "); n != 2 {
		t.Errorf("%d bars, want 2", n)
	}
	for _, want := range []string{`class="ours"`, "Millrace &lt;1&gt;", "prefers-color-scheme: dark"} {
		if !strings.Contains(picture, want) {
			t.Errorf("it does not have %q:\n%s", want, picture)
		}
	}
	if got := (chart{metric: "p99"}).draw(example, contestants); strings.Count(string(got), "<rect ") != 1 {
		t.Errorf("of one contender's metric:\n%s", got)
	}
	if got := (chart{metric: "nothing"}).draw(example, contestants); got != nil {
		t.Errorf("of nothing:\n%s", got)
	}
}

func TestGoals_JudgeWhatTheyMeasure(t *testing.T) {
	o := options{runs: 3, tasks: 1000, waiting: 2000, finished: 3000}
	for _, g := range goals {
		s := series{}
		for _, c := range g.contenders(o) {
			if len(s[c.name]) > 0 {
				t.Errorf("%s has two contenders %q", g.name, c.name)
			}
			s[c.name] = []reading{{"at": 0}, {"at": 1}}
			for _, metric := range []string{
				"rate", "p50", "p99", "cpu api", "rss api", "rss worker", "growth api", "growth worker", "statements/s", "Redis commands/s", "MB table", "MB indexes",
			} {
				s[c.name][0][metric], s[c.name][1][metric] = 1, 1
			}
		}
		for _, v := range g.judge(s, o) {
			if v.Got != "1.00" {
				t.Errorf("%s: %s is %s: it compares what is not measured", g.name, v.Text, v.Got)
			}
		}
		for _, p := range g.course {
			if p.draw(s) == nil || len(p.measured(s)) < len(p.names) {
				t.Errorf("%s: the picture %s is of somebody who is not measured", g.name, p.file)
			}
		}
		for _, c := range g.charts {
			if c.draw(s, g.contenders(o)) == nil {
				t.Errorf("%s: the chart %s is of nothing", g.name, c.file)
			}
			for _, name := range c.names {
				if len(s[name]) == 0 {
					t.Errorf("%s: the chart %s is of nobody: %q", g.name, c.file, name)
				}
			}
		}
	}
}

func TestChoose_FindsGoalsByName(t *testing.T) {
	got, err := choose("drain, accept")
	if err != nil || len(got) != 2 || got[0].name != "drain" || got[1].name != "accept" {
		t.Errorf("%v, %v", got, err)
	}
	if all, err := choose(""); err != nil || len(all) != 6 || slices.ContainsFunc(all, func(g goal) bool { return g.named }) {
		t.Errorf("%d goals, %v", len(all), err)
	}
	if _, err := choose("drain,nothing"); err == nil {
		t.Error("a goal that there is not is found")
	}
}
