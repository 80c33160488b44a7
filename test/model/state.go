package main

import "unsafe"

// Bounds of the arrays. A scope (Cfg) uses the first T tasks and W workers of them.
const (
	maxT = 3
	maxW = 3
	maxQ = 6
)

// Abstract time: one tick is one beat interval (3 s), lateness included: while
// PostgreSQL answers, a worker that is up and not frozen gets at least one beat
// through between two ticks.
const (
	grace   = 1 // of the stranded sweep
	backoff = 1 // of a retry
	callMax = 1 // a claim's answer may be as old as this before the worker must give the call up
	maxAge  = 3 // ages of marks and entries stop counting here
)

// Status of a task row.
const (
	none uint8 = iota
	pending
	processing
	completed
	canceled
	failed
)

// Status of a worker process.
const (
	up uint8 = iota
	frozen
	down   // killed
	exited // after a graceful stop
)

// Phase of a run: what a worker holds of one attempt.
const (
	phClaimed uint8 = 1 + iota // claimed, not started
	phRunning
	phHang // will never return
	phOK   // the handler succeeded, the outcome is not saved yet
	phErr  // the handler failed, the outcome is not saved yet
	phStop // the handler ended because it was told to stop
	phGone // begun, and its outcome given up: to be given back by a beat
	phBack // claimed while the worker held the same attempt: to be given back
)

// What PostgreSQL refuses of a task's outcomes, for good.
const (
	refusesResult uint8 = 1 + iota // the result, not a failure
	refusesAll                     // whatever is saved
)

// A byte of a beat's list: an attempt, or anyAtt, and these flags.
const (
	anyAtt uint8 = 0x0f // held, whatever the attempt: its claim is in flight
	gone   uint8 = 0x20 // begun and given up
	ended  uint8 = 0x40 // held, but its handler has returned
	blind  uint8 = 0x80 // the list was read before the claim of that task was sent
)

// Task is a row in PostgreSQL, plus the API's push that follows its commit, plus
// ghosts that only the checker reads.
type Task struct {
	St       uint8
	Marked   bool
	MarkAge  uint8
	RunAt    uint8 // ticks until it may run
	Att      uint8
	Owner    uint8 // 0, or 1 + 2*worker + generation
	Fail     uint8
	Resc     uint8
	Stop     bool  // asked to stop
	BeatSeen bool  // a beat of the owner was executed since the claim
	Dl       uint8 // ticks until the deadline
	DlBeat   bool  // the owner has beaten since the deadline passed
	Push     uint8 // the API's push is still to be made: 1 + age of the mark
	PushLate bool  // and the API is stalled
	Held     bool  // an operator's open transaction has the row locked
	Refuses  uint8
	Overran  bool // ghost: at the deadline some living process was still running this attempt
	FrzClaim bool // ghost: the owner was frozen since the claim
	Begun    bool // ghost: the handler of this attempt has begun

	// Of claims that PostgreSQL may lose. Ver is counted while a run of a lost claim is about.
	Ver      uint8
	Skip     uint8 // numbers that the next claim leaves out
	Soft     bool  // the claim is committed, and not flushed
	SoftAge  uint8 // the mark's age, were the claim lost
	SoftSkip uint8 // what the claim has left out
	Seen     bool  // ghost: a client has read it since that claim
	Ran      uint8 // ghost: the attempt of the latest lost claim whose handler had begun
	Free     bool  // ghost: and nothing was charged since
}

// Run is one attempt in a worker's memory.
type Run struct {
	Task, Att, Ph uint8 // Task is 1 + index, 0 is an empty slot
	Told          bool  // to stop
	Lost          uint8 // ghost: the claim is; 2: and the row was edited since
	Ver, Base     uint8 // of a lost claim: the version that it gave, and the one before it
}

// Beat is a beat statement on its way to PostgreSQL.
type Beat struct {
	On   bool
	Gen  uint8
	List [maxT]uint8
}

// Call is a claim statement: 1 on its way, 2 executed and its answer on its way
// back. Set and Skipped are sets of tasks, by bit.
type Call struct {
	St, Set, Skipped, Age, Gen uint8
	Att                        [maxT]uint8
	Lost, Edited               uint8       // sets: of claims that are lost, and of rows that were edited since
	Ver, Base                  [maxT]uint8 // of a lost claim
}

// Worker is a process, and the rows of its (at most two) identities in PostgreSQL.
type Worker struct {
	Up       uint8
	Gen      uint8
	Stopping bool
	Hand     uint8 // the tasks whose entries are pulled and not claimed yet, by bit
	Call     Call
	ZCall    Call // given up by the worker, yet PostgreSQL may still execute it
	Beat     Beat
	ZBeat    Beat
	Runs     [2]Run
	Ok       uint8       // own beats in a row (the rule as written counts these)
	Gap      uint8       // ticks since the last beat, while PostgreSQL answered
	FrzBeat  bool        // ghost: frozen since its last beat
	Push     [maxT]uint8 // the dispatcher's pushes still to be made: 1 + age of the mark
	Sight    [maxT]uint8 // seen stranded: 1 just now, 2 a sweep ago
	Lock     uint8       // 1 + task: the dispatcher's open transaction
	LockKind uint8
	Age      [2]uint8 // of the heartbeat
	Unbroken [2]uint8 // ticks since the unbroken stretch of beats began
}

// Entry is a hint in the Redis list.
type Entry struct{ Task, Age uint8 }

// State is the whole system. Bytes and bools only: it is hashed and compared as memory.
type State struct {
	T       [maxT]Task
	W       [maxW]Worker
	Q       [maxQ]Entry
	NQ      uint8
	PgDown  bool
	HadOut  bool  // one outage a run: the lease is only four beats long here, so flapping would outlast it
	Faults  uint8 // spent
	Cancels uint8
	Stops   uint8
	Reopens uint8
	Holds   uint8
	Edits   uint8
	Lag     bool // away but for claims: the standby that every other commit waits for is
}

func (s *State) bytes() []byte { return unsafe.Slice((*byte)(unsafe.Pointer(s)), unsafe.Sizeof(*s)) }

func b2(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

func inc(x *uint8, limit uint8) {
	if *x < limit {
		*x++
	}
}

func dec(x *uint8) {
	if *x > 0 {
		*x--
	}
}

// has reports whether a set of tasks has the task.
func has(set uint8, t int) bool { return set>>t&1 == 1 }

func ownerOf(w int, gen uint8) uint8 { return 1 + 2*uint8(w) + gen }

// owns reports whether worker w, under its present identity, has the row in processing.
func (s *State) owns(w int, t *Task) bool {
	return t.St == processing && t.Owner == ownerOf(w, s.W[w].Gen)
}

// ownerProc is the process that owns the row, if it still lives under that identity.
func (s *State) ownerProc(t *Task) (int, bool) {
	w := int(t.Owner-1) / 2
	return w, s.W[w].Gen == (t.Owner-1)%2 && (s.W[w].Up == up || s.W[w].Up == frozen)
}

func (s *State) run(w, t int, att uint8) *Run {
	for i := range s.W[w].Runs {
		if r := &s.W[w].Runs[i]; int(r.Task) == t+1 && r.Att == att {
			return r
		}
	}
	return nil
}
