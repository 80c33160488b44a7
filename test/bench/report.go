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

	beginMark = "<!-- bench:begin -->"
	endMark   = "<!-- bench:end -->"
)

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
		m := all[g.name]
		for _, c := range g.charts {
			if picture := c.draw(m.Readings, g.shown(m)); picture != nil {
				if err := os.WriteFile(filepath.Join(chartsDir, c.file+".svg"), picture, 0o644); err != nil {
					return err
				}
			}
		}
	}
	page, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	replaced, err := between(string(page), all.markdown())
	if err != nil {
		return err
	}
	return os.WriteFile(document, []byte(replaced), 0o644)
}

// between puts text between the marks of a page.
func between(page, text string) (string, error) {
	head, rest, ok := strings.Cut(page, beginMark)
	_, tail, ends := strings.Cut(rest, endMark)
	if !ok || !ends {
		return "", fmt.Errorf("%s has no %s and %s", document, beginMark, endMark)
	}
	return head + beginMark + "\n" + text + endMark + tail, nil
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
		for _, c := range g.charts {
			fmt.Fprintf(&out, "![%s](performance/%s.svg)\n\n", c.title, c.file)
		}
		out.WriteString(table(m.Readings, g.shown(m)))
		if len(m.Verdicts) > 0 {
			out.WriteString("\n" + verdictTable(m.Verdicts))
		}
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

func verdictTable(verdicts []verdict) string {
	var out strings.Builder
	out.WriteString("| goal | wanted | measured | met |\n| --- | ---: | ---: | --- |\n")
	for _, v := range verdicts {
		fmt.Fprintf(&out, "| %s | %s | %s | %s |\n", v.Text, v.Want, v.Got, v.word())
	}
	return out.String()
}

func (v verdict) word() string {
	if v.Met {
		return "yes"
	}
	return "**no**"
}
