package main

// worker enumerates the steps of a worker, and of PostgreSQL with what it has sent.
func (x *stepper) worker(w int) {
	x.claimsAtServer(w)
	x.beatsAtServer(w)
	switch x.s.W[w].Up {
	case frozen:
		x.thaw(w)
	case down, exited:
		x.restart(w)
	default:
		x.pull(w)
		x.claimAnswer(w)
		for i := range x.s.W[w].Runs {
			x.runStep(w, i)
		}
		x.exit(w)
		x.sendBeat(w)
		for t := range x.c.T {
			x.dispatch(w, t)
		}
		x.commit(w)
		x.processFaults(w)
	}
}

// claimsAtServer executes claims that are on their way, whatever has become of their sender.
func (x *stepper) claimsAtServer(w int) {
	p, m := &x.s.W[w], &x.n.W[w]
	if x.claims && p.Call.St == 1 && !x.c.claimWaits(x.s, w, p.Call.Set) {
		call := p.Call
		v := x.c.claim(&x.n, w, &call)
		call.St = 2
		m.Call = call
		x.do(aClaimExec, w, first(call.Set), progress, v)
	}
	if x.claims && p.ZCall.St != 0 && !x.c.claimWaits(x.s, w, p.ZCall.Set) {
		call := p.ZCall
		v := x.c.claim(&x.n, w, &call)
		m.ZCall = Call{}
		x.do(aLateClaim, w, first(call.Set), env, v)
	}
}

// beatsAtServer executes beats that are on their way.
func (x *stepper) beatsAtServer(w int) {
	c, p, m := x.c, &x.s.W[w], &x.n.W[w]
	if x.pg && p.ZBeat.On {
		if v, ok := c.beat(&x.n, w, &p.ZBeat, true); ok {
			m.ZBeat = Beat{}
			x.do(aLateBeat, w, 0, env, v)
		}
		x.n = *x.s
	}
	if !x.pg || !p.Beat.On {
		return
	}
	if v, ok := c.beat(&x.n, w, &p.Beat, false); ok {
		m.Beat = Beat{}
		if p.Up == up {
			if told := c.hear(&x.n, w, &p.Beat); v == vNone {
				v = told
			}
		}
		x.do(aBeatExec, w, 0, progress, v)
		if x.can(fBeatLost) && p.Up == up {
			v, _ = c.beat(&x.n, w, &p.Beat, false)
			m.Beat, m.Ok = Beat{}, 0
			x.do(fBeatLost, w, 0, fault, v)
		}
	}
	x.n = *x.s
}

// hear is what a worker does with a beat's answer.
func (c *Cfg) hear(n *State, w int, b *Beat) (viol uint8) {
	me := &n.W[w]
	inc(&me.Ok, c.LocalBeats)
	for i := range me.Runs {
		r := &me.Runs[i]
		if r.Task == 0 {
			continue
		}
		t := &n.T[r.Task-1]
		mine := n.owns(w, t)
		if mine && r.Att != t.Att {
			if !c.Pairs {
				viol = vTold
			}
			mine = !c.Pairs
		}
		if r.Lost != 0 && b.List[r.Task-1]&^(blind|ended|gone) != r.Att {
			continue // it was not listed: the next answer tells
		}
		if !mine {
			if viol == vNone && r.Lost == 1 && t.St == pending {
				viol = c.judged(vRobbed)
			}
			*r = Run{} // its context is canceled, its outcome dropped
		} else if t.Stop {
			r.Told = true
		}
	}
	return viol
}

// woken is the kind of a step that brings a worker back: some worker has to run.
func (x *stepper) woken() uint8 {
	if x.anyUp {
		return env
	}
	return progress
}

func (x *stepper) thaw(w int) {
	p, m := &x.s.W[w], &x.n.W[w]
	m.Up, m.Gap = up, 0
	if p.Call.St == 2 && p.Call.Age > callMax { // the deadline of the connection has passed
		x.c.dropCall(m)
	}
	x.do(aThaw, w, 0, x.woken(), vNone)
	if x.can(fCrash) {
		kill(m, down)
		x.do(fCrash, w, 0, fault, vNone)
	}
}

func (x *stepper) restart(w int) {
	p, m := &x.s.W[w], &x.n.W[w]
	if p.Gen != 0 {
		return
	}
	*m = Worker{Gen: 1, ZCall: p.ZCall, ZBeat: p.ZBeat, Age: p.Age, Unbroken: p.Unbroken}
	m.Age[1], m.Unbroken[1] = x.c.Lease, 0 // until its first beat
	x.do(aRestart, w, 0, x.woken(), vNone)
}

// exit: with nothing left, or with what nobody can save for now: PostgreSQL is away, or the row is locked.
func (x *stepper) exit(w int) {
	p := &x.s.W[w]
	if !p.Stopping || p.Call.St != 0 {
		return
	}
	for _, r := range p.Runs {
		if x.pg && r.Task != 0 && !x.s.T[r.Task-1].Held {
			return
		}
	}
	kill(&x.n.W[w], exited)
	x.do(aExit, w, 0, progress, vNone)
}

// sendBeat: once a tick, again after a failure.
func (x *stepper) sendBeat(w int) {
	c, p, m := x.c, &x.s.W[w], &x.n.W[w]
	if x.pg && !p.Beat.On && p.Age[p.Gen] > 0 {
		m.Beat = Beat{On: true, Gen: p.Gen, List: c.beatList(p)}
		x.do(aBeatSend, w, 0, progress, vNone)
	}
	if p.Beat.On && x.can(fBeatGiveUp) && !p.ZBeat.On {
		m.ZBeat, m.Beat, m.Ok = p.Beat, Beat{}, 0
		x.do(fBeatGiveUp, w, 0, fault, vNone)
	}
}

func (c *Cfg) beatList(p *Worker) (list [maxT]uint8) {
	for _, r := range p.Runs {
		if r.Task == 0 || !c.ListAll && r.Ph > phHang {
			continue
		}
		l := &list[r.Task-1]
		if r.Att > *l&^(ended|gone) {
			*l = r.Att | ended*b2(r.Ph > phHang) | gone*b2(r.Ph == phGone)
		}
	}
	for t := range c.T {
		if c.ListAll && has(p.Call.Set, t) {
			list[t] = anyAtt
		}
	}
	return list
}

// dispatch: the pushes and sweeps of a worker for one task.
func (x *stepper) dispatch(w, t int) {
	c, s, n := x.c, x.s, &x.n
	p, m := &s.W[w], &n.W[w]
	if a := p.Push[t]; a != 0 {
		m.Push[t] = 0
		x.do(aDPush, w, t, progress, push(n, t, a-1))
		if x.can(fPushLost) {
			m.Push[t] = 0
			x.do(fPushLost, w, t, fault, vNone)
		}
	}
	if x.pg && c.TwoSweeps && c.Stranded {
		if is := c.strandedRow(s, t); is && p.Sight[t] == 0 {
			m.Sight[t] = 1
			x.do(aSight, w, t, progress, vNone)
		} else if !is && p.Sight[t] != 0 {
			m.Sight[t] = 0
			x.do(aUnsight, w, t, progress, vNone)
		}
	}
	if !x.pg || c.locked(s, t, -1) || p.Lock != 0 {
		return
	}
	for _, kind := range sweepKinds {
		pushing := p.Push[t] != 0 && kind <= aStranded
		if c.sweepWants(s, w, t, kind) && !pushing && !c.sweepWaits(s, w, kind) {
			x.sweep(w, t, kind)
		}
	}
}

func (x *stepper) sweep(w, t int, kind uint8) {
	if !x.c.Split {
		x.do(kind, w, t, progress, x.c.sweep(x.s, &x.n, w, t, kind))
		return
	}
	probe := *x.s
	v := x.c.sweep(x.s, &probe, w, t, kind)
	x.n.W[w].Lock, x.n.W[w].LockKind = uint8(t)+1, kind
	x.do(aLock, w, t, progress, v)
}

func (x *stepper) commit(w int) {
	p := &x.s.W[w]
	if p.Lock == 0 {
		return
	}
	t := int(p.Lock) - 1
	x.c.sweep(x.s, &x.n, w, t, p.LockKind)
	x.n.W[w].Lock, x.n.W[w].LockKind = 0, 0
	x.do(aCommit, w, t, progress, vNone)
}

func (x *stepper) processFaults(w int) {
	p, m := &x.s.W[w], &x.n.W[w]
	if x.can(fFreeze) {
		m.Up, m.FrzBeat = frozen, true
		for t := range x.c.T {
			if x.s.T[t].Owner == ownerOf(w, p.Gen) {
				x.n.T[t].FrzClaim = true
			}
		}
		x.do(fFreeze, w, 0, fault, vNone)
	}
	if x.can(fCrash) {
		kill(m, down)
		x.do(fCrash, w, 0, fault, vNone)
	}
	if x.can(fTerm) && !p.Stopping {
		m.Stopping = true
		x.do(fTerm, w, 0, fault, vNone)
	}
}

// kill forgets a process; its statements on the way may still be executed. norm forgets the rest.
func kill(w *Worker, how uint8) {
	if w.Call.St == 1 && w.ZCall.St == 0 {
		w.ZCall = w.Call
		w.ZCall.Age = 0
	}
	if w.Beat.On && !w.ZBeat.On {
		w.ZBeat = w.Beat
	}
	w.Up = how
}
