package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Where the results go, from the top of the repository.
const (
	document   = "docs/performance.md"
	chartsDir  = "docs/performance"
	resultFile = "test/bench/results/latest.json"

	goalsBlock   = "goals" // the one table of goals, before everything else
	resultsBlock = "bench" // a section for each goal
)

// marks are what a block of the document stands between.
func marks(block string) (begin, end string) {
	return "<!-- " + block + ":begin -->", "<!-- " + block + ":end -->"
}

// measured is what is known of one goal.
type measured struct {
	Machine  machine              `json:"machine"`
	Commit   string               `json:"commit"`
	At       string               `json:"at"`
	Settings string               `json:"settings"`
	Readings map[string][]reading `json:"readings"`
	Verdicts []verdict            `json:"verdicts"`
	Failure  string               `json:"failure,omitempty"` // why not all was measured
}

// results are the latest of each goal, by its name.
type results map[string]measured

// readResults reads what was measured before, so that one goal can be measured
// again alone.
func readResults(file string) (results, error) {
	all := results{}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	return all, json.Unmarshal(text, &all)
}

// judge holds what was measured against the goals of now.
func (all results) judge(o options) {
	for _, g := range goals {
		if m, ok := all[g.name]; ok {
			m.Verdicts = g.judge(m.Readings, o)
			all[g.name] = m
		}
	}
}

// write writes the results, the charts and the tables.
func (all results) write() error {
	text, err := json.MarshalIndent(all, "", "\t")
	if err != nil {
		return err
	}
	for _, dir := range []string{filepath.Dir(resultFile), chartsDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(resultFile, append(text, '\n'), 0o644); err != nil {
		return err
	}
	for _, g := range goals {
		for _, p := range g.pictures(all[g.name]) {
			if err := os.WriteFile(filepath.Join(chartsDir, p.file+".svg"), p.svg, 0o644); err != nil {
				return err
			}
		}
	}
	page, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	whole := string(page)
	for block, content := range map[string]string{goalsBlock: all.summary(), resultsBlock: all.markdown()} {
		if whole, err = between(whole, block, content); err != nil {
			return err
		}
	}
	return os.WriteFile(document, []byte(whole), 0o644)
}

// between puts text between the marks of a block of a page.
func between(page, block, text string) (string, error) {
	begin, end := marks(block)
	head, rest, ok := strings.Cut(page, begin)
	_, tail, ends := strings.Cut(rest, end)
	if !ok || !ends {
		return "", fmt.Errorf("%s has no %s and %s", document, begin, end)
	}
	return head + begin + "\n" + text + end + tail, nil
}

// summary is one table of all that is wanted, and how much of it is met.
func (all results) summary() string {
	var rows strings.Builder
	wanted, met := 0, 0
	for i, g := range goals {
		name := fmt.Sprintf("[%s](#%d-%s)", g.title, i+1, strings.ReplaceAll(strings.ToLower(g.title), " ", "-"))
		for _, v := range all[g.name].Verdicts {
			wanted++
			if v.Met {
				met++
			}
			fmt.Fprintf(&rows, "| %s | %s | %s | %s | %s |\n", name, v.Text, v.Want, v.Got, v.word())
			name = "" // once is enough
		}
	}
	return fmt.Sprintf("\n%d of %d goals are met.\n\n| | goal | wanted | measured | met |\n| --- | --- | ---: | ---: | --- |\n%s", met, wanted, &rows)
}

// markdown is all that is known, goal by goal.
func (all results) markdown() string {
	var out strings.Builder
	var last machine
	for i, g := range goals {
		m, ok := all[g.name]
		if !ok {
			continue
		}
		if m.Machine != last && m.Machine.withoutFsync() != last.withoutFsync() {
			fmt.Fprintf(&out, "\nMachine: %s.\n", m.Machine)
			last = m.Machine
		}
		fmt.Fprintf(&out, "\n### %d. %s\n\n%s\n\n", i+1, g.title, g.about)
		for _, p := range g.pictures(m) {
			fmt.Fprintf(&out, "![%s](performance/%s.svg)\n\n", p.title, p.file)
		}
		out.WriteString(g.tables(m))
		if m.Failure != "" {
			fmt.Fprintf(&out, "\nNot all was measured: %s.\n", m.Failure)
		}
		fmt.Fprintf(&out, "\n%s, %s; %s.\n", m.Commit, m.At, m.Settings)
	}
	return out.String()
}

// withoutFsync is what says whether two machines are the same.
func (m machine) withoutFsync() machine {
	m.FsyncMS = 0
	return m
}

// shown are the contenders in the order of the tables, also of results that are
// older than the code.
func (g goal) shown(m measured) []contender {
	var shown []contender
	for _, c := range g.contenders(options{}) {
		if len(m.Readings[c.name]) > 0 {
			shown = append(shown, c)
		}
	}
	return shown
}

// tables are what was measured, as Markdown: once in a run, and over time.
func (g goal) tables(m measured) string {
	var out string
	once, s := []contender(nil), series{}
	for _, c := range g.shown(m) {
		if c.over == nil {
			once = append(once, c)
			s[c.name] = m.Readings[c.name]
		}
	}
	if len(once) > 0 {
		out = table(s, once)
	}
	if g.course != nil {
		out += "\n" + g.course.tables(m.Readings)
	}
	return out
}

// picture is a chart as a file.
type picture struct {
	file, title string
	svg         []byte
}

// pictures are the charts of a goal. There is none of nothing.
func (g goal) pictures(m measured) []picture {
	var all []picture
	add := func(file, title string, svg []byte) {
		if svg != nil {
			all = append(all, picture{file, title, svg})
		}
	}
	for _, c := range g.charts {
		add(c.file, c.title, c.draw(m.Readings, g.shown(m)))
	}
	for _, p := range g.course {
		add(p.file, p.title, p.draw(m.Readings))
	}
	return all
}

// columns are the metrics of a table in order: those with these names, then those
// that start with them.
var columns = []string{"rate", "p50", "p99", "cpu ", "rss ", ""}

// heading is how a table names a metric.
func heading(metric string) string {
	kind, of, _ := strings.Cut(metric, " ")
	switch kind {
	case "rate":
		return "tasks/s"
	case "p50", "p99":
		return kind + " ms"
	case "cpu":
		return "CPU s/1,000: " + of
	case "rss":
		return "MB: " + of
	case "slope":
		return "MB/min: " + of
	case "accept":
		return "answer " + of + " ms"
	}
	return metric
}

// table has a row for each contender, and a column for all that was read of any.
func table(s series, contenders []contender) string {
	var metrics []string
	seen := map[string]bool{}
	for _, prefix := range columns {
		for _, metric := range s.metrics(prefix) {
			if !seen[metric] {
				seen[metric] = true
				metrics = append(metrics, metric)
			}
		}
	}
	var out strings.Builder
	out.WriteString("| |")
	for _, metric := range metrics {
		out.WriteString(" " + heading(metric) + " |")
	}
	out.WriteString("\n| --- |" + strings.Repeat(" ---: |", len(metrics)) + "\n")
	for _, c := range contenders {
		out.WriteString("| " + c.name + " |")
		for _, metric := range metrics {
			cell := ""
			if values := s.of(c.name, metric); len(values) > 0 {
				cell = spreadOf(values).String()
				if strings.HasPrefix(metric, "cpu ") || strings.HasPrefix(metric, "rss ") {
					cell = short(spreadOf(values).median) // alone, for want of room
				}
			}
			out.WriteString(" " + cell + " |")
		}
		out.WriteString("\n")
	}
	return out.String()
}

func (v verdict) word() string {
	switch {
	case v.Met:
		return "yes"
	case v.Got == spreadOf(nil).String():
		return "not measured"
	}
	return "**no**"
}
