package main

import (
	"fmt"
	"io"
	"time"
)

// progress prints what is being measured, the results so far, and how long the rest will
// take.
type progress struct {
	w           io.Writer
	start       time.Time
	done, total int
}

func (p *progress) begin(goal, contender string, run, runs int) {
	left := "?"
	passed := time.Since(p.start)
	if p.done > 0 {
		left = (passed / time.Duration(p.done) * time.Duration(p.total-p.done)).Round(time.Second).String()
	}
	fmt.Fprintf(p.w, "%3d/%d  %s so far, about %s left  %s, run %d of %d: %s … ",
		p.done+1, p.total, passed.Round(time.Second), left, goal, run, runs, contender)
}

func (p *progress) end(r reading) {
	p.done++
	switch {
	case r["p99"] > 0 && r["rate"] == 0:
		fmt.Fprintf(p.w, "p50 %s ms, p99 %s ms\n", short(r["p50"]), short(r["p99"]))
	case r["rate"] > 0:
		fmt.Fprintf(p.w, "%s/s\n", short(r["rate"]))
	default:
		fmt.Fprintln(p.w, "done")
	}
}

// interval prints what was read in the course of a measurement.
func (p *progress) interval(r reading) {
	fmt.Fprintf(p.w, "\n%8.0f s  %s/s, p99 %s ms, %s dead rows, PostgreSQL %s CPU s/1,000, %s refused ", r["at"],
		short(r["rate"]), short(r["p99"]), short(r["dead"]), short(r["cpu postgres"]), short(r["refused"]))
}

// note prints something in the course of a measurement.
func (p *progress) note(text string) { fmt.Fprintf(p.w, "\n           %s ", text) }

// failed prints why a goal could not be measured; its remaining measurements count as
// done.
func (p *progress) failed(err error, done int) {
	p.done = done
	fmt.Fprintln(p.w, "failed:", err)
}
