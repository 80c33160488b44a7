package main

import (
	"fmt"
	"strings"
)

// experiment explores a scope of its own with one rule switched off, or with all of them on.
type experiment struct {
	name    string
	base    Rules  // none: present
	off, on string // rules
	tasks   int    // none: 1
	workers int    // none: 2
	faults  uint8
	only    []uint8  // the faults in play
	clients [3]uint8 // cancels, stops, reopens
	edits   uint8    // of pending tasks
	reads   bool     // clients read
	accepts []uint8  // violations that are not looked for
	holds   uint8    // how often an operator locks a row
	fail    uint8    // none: 1
	resc    uint8    // none: 1
	split   bool
	batch   bool
	wait    uint8
	beats   uint8
	lease   uint8
	further bool // goes on after the first violation
	unhurt  bool // a rule is off, and nothing is to be found
	one     bool // one slot a worker: a backlog
	slow    bool // not for the quick half
}

// mutated: a rule is off or a bound is wrong, and the model has to find it.
func (e *experiment) mutated() bool {
	return !e.unhurt && (e.off != "" || e.on != "" || e.wait != 0 || e.lease != 0)
}

// all faults but the refusals, which have experiments of their own.
var all = []uint8{
	fPushLost, fPushLate, fClaimLost, fClaimGiveUp, fSaveLost, fBeatLost, fBeatGiveUp, fHang, fFreeze, fCrash, fTerm,
	fPgDown, fFlush, fDouble,
}

// known is what unflushed claims come to whatever saves and workers do.
var known = []uint8{vTwo, vFree, vRobbed, vBack}

func fs(f ...uint8) []uint8 { return f }

func mask(codes []uint8) (m uint32) {
	for _, c := range codes {
		m |= 1 << (c - fPushLost)
	}
	return m
}

func propsOf(of []uint8) (m uint32) {
	for _, i := range of {
		m |= 1 << i
	}
	return m
}

func (e *experiment) cfg() Cfg {
	c := Cfg{
		T: max(1, e.tasks), W: 2, MaxFaults: e.faults, Cancels: e.clients[0], Stops: e.clients[1], Reopens: e.clients[2],
		Holds: e.holds, Edits: e.edits, Reads: e.reads, Accepts: propsOf(e.accepts), MaxFail: max(1, e.fail), MaxResc: max(1, e.resc), Dl: 2, Lease: 4, Slots: 2 - b2(e.one), JudgeWait: 2,
		Split: e.split, Batch: e.batch, LocalBeats: max(2, e.beats), Off: ^mask(e.only), Stop: e.mutated() && !e.further,
	}
	if e.workers > 0 {
		c.W = e.workers
	}
	if e.wait > 0 {
		c.JudgeWait = e.wait
	}
	if e.lease > 0 {
		c.Lease = e.lease
	}
	c.Rules = e.base
	if c.Rules == (Rules{}) {
		c.Rules = present
	}
	c.Rules = c.without(e.off).with(e.on)
	return c
}

// runAll prints the table of the experiments whose name contains match.
func runAll(match string, limit int, traces bool) {
	fmt.Println("| experiment | faults | states | depth | s | found (steps) |\n| --- | --- | --- | --- | --- | --- |")
	for i := range experiments {
		e := &experiments[i]
		if !strings.Contains(e.name, match) {
			continue
		}
		c := e.cfg()
		r := c.explore(limit, true)
		fmt.Printf("| %s | %d | %d | %d | %.1f | %s |\n", e.name, e.faults, r.States, r.Depth, r.Took.Seconds(), r.summary())
		if traces {
			for _, f := range r.Found {
				f.print()
			}
		}
	}
}

func (r *Result) summary() string {
	var found []string
	for _, f := range r.Found {
		found = append(found, fmt.Sprintf("%s (%d)", propName[f.Prop], f.Depth))
	}
	switch {
	case len(found) > 0:
		return strings.Join(found, "; ")
	case r.Cut:
		return "nothing up to this depth"
	default:
		return "nothing"
	}
}
