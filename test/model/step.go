package main

import "math/bits"

type emitFn func(a Act, kind uint8, n *State, viol uint8)

// stepper enumerates the steps from one state. A step changes n and is handed on by do, which sets n back.
type stepper struct {
	c      *Cfg
	s      *State
	n      State
	pg     bool // PostgreSQL answers
	claims bool // and it answers claims
	anyUp  bool // some worker takes on work
	emitFn emitFn
}

// next enumerates every step from s.
func (c *Cfg) next(s *State, emit emitFn) {
	x := &stepper{c: c, s: s, n: *s, pg: !s.PgDown, claims: !s.PgDown || s.Lag, emitFn: emit}
	for t := range c.T {
		x.client(t)
		x.operator(t)
		x.apiPush(t)
	}
	for w := range c.W {
		x.anyUp = x.anyUp || s.W[w].Up == up && !s.W[w].Stopping
	}
	for w := range c.W {
		x.worker(w)
	}
	x.outage()
	x.lostClaims()
	x.redis()
	if c.mayTick(s) {
		c.tick(&x.n)
		x.do(aTick, 0, 0, progress, vNone)
	}
}

func (x *stepper) do(code uint8, w, t int, kind, viol uint8) {
	if kind == fault {
		x.n.Faults++
	}
	if viol == vNone && x.changesHeld() {
		viol = vHeld
	}
	x.moved(code)
	if flushes(code, &x.n) {
		x.c.flush(&x.n)
	}
	x.c.norm(&x.n)
	x.emitFn(Act{code, uint8(w), uint8(t)}, kind, &x.n, viol)
	x.n = *x.s
}

// changesHeld: the step has written to a row that an operator has locked.
func (x *stepper) changesHeld() bool {
	for t := range x.c.T {
		a, b := &x.s.T[t], &x.n.T[t]
		if a.Held && b.Held && (a.St != b.St || a.Owner != b.Owner || a.Att != b.Att || a.Marked != b.Marked ||
			a.Fail != b.Fail || a.Resc != b.Resc || a.Stop != b.Stop) {
			return true
		}
	}
	return false
}

func (x *stepper) can(f uint8) bool { return x.s.Faults < x.c.MaxFaults && !x.c.off(f) }

func (x *stepper) client(t int) {
	c, s, n := x.c, x.s, &x.n
	r := &s.T[t]
	if !x.pg {
		return
	}
	if r.St == none && (t == 0 || s.T[t-1].St != none) { // ids are interchangeable: add in order
		n.T[t] = Task{St: pending, Marked: true, Push: 1}
		x.do(aAdd, 0, t, env, vNone)
	}
	if r.St == pending && s.Cancels < c.Cancels && !c.locked(s, t, -1) {
		n.T[t].St = canceled
		n.Cancels++
		x.do(aCancel, 0, t, env, vNone)
	}
	if r.St == pending && s.Edits < c.Edits && !c.locked(s, t, -1) {
		n.edit(t)
		n.Edits++
		x.do(aEdit, 0, t, env, vNone)
	}
	if r.St == processing && !r.Stop && s.Stops < c.Stops && !c.locked(s, t, -1) {
		n.T[t].Stop = true
		n.Stops++
		x.do(aStop, 0, t, env, vNone)
	}
	if r.St == failed && s.Reopens < c.Reopens {
		n.T[t] = Task{St: pending, Marked: true, Push: 1, Att: r.Att * b2(c.AttGrows), Ver: r.Ver}
		n.Reopens++
		x.do(aReopen, 0, t, env, vNone)
	}
}

// operator locks the row of a task in a transaction that stays open for any time, and changes nothing.
func (x *stepper) operator(t int) {
	c, s, n := x.c, x.s, &x.n
	r := &s.T[t]
	if x.pg && (r.St == pending || r.St == processing) && s.Holds < c.Holds && !c.locked(s, t, -1) {
		n.T[t].Held = true
		n.Holds++
		x.do(aHold, 0, t, env, vNone)
	}
	if r.Held {
		n.T[t].Held = false
		x.do(aUnhold, 0, t, env, vNone)
	}
}

func (x *stepper) apiPush(t int) {
	r, n := &x.s.T[t], &x.n
	if r.Push == 0 {
		return
	}
	n.T[t].Push = 0
	x.do(aPush, 0, t, progress, push(n, t, r.Push-1))
	if x.can(fPushLost) {
		n.T[t].Push = 0
		x.do(fPushLost, 0, t, fault, vNone)
	}
	if x.can(fPushLate) && !r.PushLate {
		n.T[t].PushLate = true
		x.do(fPushLate, 0, t, fault, vNone)
	}
}

func (x *stepper) outage() {
	c, n := x.c, &x.n
	if !x.pg {
		n.PgDown, n.Lag = false, false
		x.do(aPgUp, 0, 0, progress, vNone)
		return
	}
	if !x.can(fPgDown) || x.s.HadOut {
		return
	}
	n.PgDown, n.HadOut = true, true
	c.cut(n)
	x.do(fPgDown, 0, 0, fault, vNone)
}

// cut ends every connection to PostgreSQL, and every transaction.
func (c *Cfg) cut(n *State) {
	for t := range c.T {
		n.T[t].Held = false
	}
	for w := range c.W {
		m := &n.W[w]
		if m.Call.St == 1 {
			c.dropCall(m)
		}
		if m.Beat.On {
			m.Beat, m.Ok = Beat{}, 0
		}
		m.ZCall, m.ZBeat, m.Lock, m.LockKind = Call{}, Beat{}, 0, 0
	}
}

// dropCall ends a claim without an answer: what was pulled for it is claimed again, or forgotten.
func (c *Cfg) dropCall(m *Worker) {
	m.Call = Call{}
	if !c.Reclaim {
		m.Hand = 0
	}
}

func (x *stepper) redis() {
	s, n := x.s, &x.n
	if s.NQ > 0 && x.can(fFlush) {
		n.NQ = 0
		x.do(fFlush, 0, 0, fault, vNone)
	}
	if s.NQ > 0 && s.NQ < maxQ && x.can(fDouble) {
		v := push(n, int(s.Q[0].Task), s.Q[0].Age)
		x.do(fDouble, 0, int(s.Q[0].Task), fault, v)
	}
}

// first is the task by which a trace names a set.
func first(set uint8) int {
	if set == 0 {
		return 0
	}
	return bits.TrailingZeros8(set)
}
