package main

import (
	"fmt"
	"reflect"
	"strings"
)

// Rules are what the checker can switch off.
type Rules struct {
	// The protocol as it was first written.
	Fence      bool // an outcome counts only for the attempt that holds the row
	CAS        bool // a save is conditional at all
	MarkedOnly bool // a claim takes only marked rows
	ClearMark  bool // a retry, release, rescue clears the mark
	ClaimFresh bool // a claim needs a fresh own heartbeat
	FreshBeat  bool // a dispatcher judges only after unbroken beats of its own
	Orphan     bool // a beat gives back what the worker owns and does not list
	OrphanPrev bool // ... only if claimed before the previous beat
	Stranded   bool
	Grace      bool // of the stranded sweep
	Due        bool
	LeaseSweep bool
	Deadline   bool
	Reclaim    bool // what was pulled and not claimed is claimed again
	AttGrows   bool // a reopen does not reset the attempt

	// Claims that PostgreSQL may lose, C1 to C6.
	Flushed   bool // C1 a claim is flushed, and confirmed by a standby, before it is answered
	SaveNames bool // C2 a save names the worker and the attempt (else: the version, and the attempt when another one is stored)
	SaveClaim bool // C3 a row that is read again, to be saved, has to be as of the same claim (else: of the same attempt)
	RunOnce   bool // C4 a claim of an attempt that the worker holds already is given back, and ends that one
	SkipLost  bool // C5 after a crash the numbers that lost claims may have had are left out
	Adopt     bool // C6 a beat stores a lost claim again, if the row is still as it was

	// The mends M1 to M9.
	StopWins   bool // M1 whatever takes back a task that was asked to stop makes it canceled
	ListAll    bool // M2 a beat lists all that is held: claims in flight and unsaved outcomes too
	Pairs      bool // M3 a beat lists (id, attempt)
	BeatNo     bool // M4 beats are numbered, a claim carries the number (replaces "claimed before its previous beat")
	JudgeDB    bool // M5 the judge's unbroken stretch is read in the database by the judging statement itself
	DlLive     bool // M6 a deadline is charged only if a beat made since names the attempt as still running
	LockLimit  bool // M7 PostgreSQL ends a transaction of Millrace that idles
	TwoSweeps  bool // M8 stranded only when two sweeps running, a grace apart, say so
	FreshTight bool // M9 fresh, for a claim, is younger than two beats (else: younger than the lease)

	// Rows that somebody has locked, L1 to L4.
	ClaimSkips bool // L1 a claim passes over locked rows (else: it waits, with its whole batch)
	SaveApart  bool // L2 an outcome whose row is locked is left out of the shared statement
	BeatSkips  bool // L3 a beat gives back what is not locked (else: the whole beat waits)
	SweepSkips bool // L4 a sweep passes over locked rows (else: it waits with all that it found)
	PutBack    bool // instead: what a claim has passed over goes back on the list at once

	// What had begun is charged, B1 and B2.
	SmallFailure bool // B1 a refused outcome is stored as a small permanent failure
	ChargeBegun  bool // B2 a begun attempt that the worker gives up is given back by a beat, and charged to rescues
}

// written is the first draft of the protocol.
var written = Rules{
	Fence: true, CAS: true, MarkedOnly: true, ClearMark: true, ClaimFresh: true, FreshBeat: true, Orphan: true,
	OrphanPrev: true, Stranded: true, Grace: true, Due: true, LeaseSweep: true, Deadline: true, Reclaim: true, AttGrows: true,
	Flushed: true, SaveNames: true, SaveClaim: true, RunOnce: true,
}

// waiting is the protocol whose statements wait for locked rows; present is the protocol.
var (
	waiting = written.with("StopWins,ListAll,Pairs,BeatNo,JudgeDB,DlLive,LockLimit,TwoSweeps,FreshTight")
	present = waiting.with("ClaimSkips,SaveApart,BeatSkips,SweepSkips,SmallFailure,ChargeBegun")
)

func (r Rules) with(names string) Rules    { return r.set(names, true) }
func (r Rules) without(names string) Rules { return r.set(names, false) }

// set switches the named rules (comma separated) on or off.
func (r Rules) set(names string, to bool) Rules {
	for name := range strings.FieldsFuncSeq(names, func(c rune) bool { return c == ',' }) {
		v := reflect.ValueOf(&r).Elem().FieldByName(name)
		if !v.IsValid() {
			panic(fmt.Sprintf("no such rule: %s", name))
		}
		v.SetBool(to)
	}
	return r
}

// Cfg is a scope.
type Cfg struct {
	Rules
	T, W                    int
	MaxFaults               uint8
	Cancels, Stops, Reopens uint8
	Holds                   uint8 // how often an operator locks a row
	MaxFail, MaxResc        uint8
	Lease                   uint8  // LEASE_TIMEOUT: a heartbeat of this age has lapsed
	Dl                      uint8  // deadline of an attempt, in ticks
	JudgeWait               uint8  // M5: ticks that the judge's stretch must have lasted
	LocalBeats              uint8  // M5 off: own beats in a row that a judge needs
	Slots                   uint8  // of a worker, 1 or 2
	Batch                   bool   // a worker pulls for all its free slots at once
	Split                   bool   // sweeps lock in one step and commit in another
	Off                     uint32 // faults that are not part of the scope, by bit of their Act code
	Edits                   uint8  // how often a client edits a pending task
	Reads                   bool   // clients read tasks: what they saw counts
	Accepts                 uint32 // violations that are not looked for, by bit
	Stop                    bool   // at the first violation that is not mere waste
}

// judged is the violation, unless it is not looked for.
func (c *Cfg) judged(viol uint8) uint8 {
	if c.Accepts>>viol&1 == 1 {
		return vNone
	}
	return viol
}

// off reports whether the fault is not part of the scope.
func (c *Cfg) off(code uint8) bool { return c.Off>>(code-fPushLost)&1 == 1 }

// fresh is the age at which a heartbeat is too old for a claim.
func (c *Cfg) fresh() uint8 {
	if c.FreshTight {
		return 2
	}
	return c.Lease
}

// Properties. A violation is an edge of the graph, or a state of it.
const (
	vNone    uint8 = iota
	vEnd           // a task that has ended is changed other than by a reopen
	vFence         // an outcome of another attempt is applied
	vTwo           // two runs of one attempt
	vEarly         // claimed before run_at
	vFailure       // a failure is spent though no handler failed or overran
	vTaken         // taken by the lease from a worker that is alive and beats
	vOrphan        // taken by the orphan rule from a worker that holds it
	vStop          // a stop request ends in a retry
	vTold          // a beat does not tell that an attempt is lost
	vWaste         // the dispatcher re-queues what is still in the list or has just been pulled
	vQueue         // the list grows past its bound
	vHeld          // a row is changed while an operator has it locked
	vFree          // an attempt that had begun is given back and no budget is spent
	vDropped       // an outcome is given up though a failure could be stored
	vLost          // the outcome of a lost claim is applied to a later one
	vOld           // ... and the task was edited in between
	vRobbed        // an outage takes a task from a worker that is alive
	vBack          // what a client has read is undone
	vStuck         // liveness: no end is reachable without faults
	vWait          // liveness: what is not locked cannot end while a row is locked
	vLoop          // liveness: re-queueing for ever
	nProps
)

var propName = [nProps]string{
	"", "ended-twice", "fenced-out save", "one attempt twice", "before run_at", "failure misspent",
	"lease taken from live worker", "orphan rule took held task", "stop became retry", "stale run not told",
	"needless re-push", "list overflows", "locked row changed", "begun attempt given back free", "outcome dropped needlessly",
	"outcome of a lost claim saved", "edit undone", "taken from live worker by an outage", "undone what a client had read",
	"STUCK (no end reachable)", "WAITS for a locked row", "re-push for ever",
}
