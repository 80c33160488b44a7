package main

// pull takes entries off the list and claims them; what was pulled and not claimed is claimed again.
func (x *stepper) pull(w int) {
	c, s, p, m := x.c, x.s, &x.s.W[w], &x.n.W[w]
	if room := c.room(p); !p.Stopping && p.Hand == 0 && p.Call.St == 0 && room > 0 && s.NQ > 0 {
		if !c.Batch {
			room = 1
		}
		room = min(room, int(s.NQ))
		for _, e := range s.Q[:room] {
			m.Hand |= 1 << e.Task
		}
		copy(x.n.Q[:], s.Q[room:])
		x.n.NQ -= uint8(room)
		if x.claims {
			m.sendClaim(0)
		}
		x.do(aPull, w, first(m.Hand), progress, vNone)
	}
	if p.Hand != 0 && p.Call.St == 0 {
		if !x.claims && !c.Reclaim || p.Stopping {
			m.Hand = 0
			x.do(aDrop, w, first(p.Hand), progress, vNone)
		} else if x.claims {
			m.sendClaim(callMax) // an old pull
			x.do(aClaimSend, w, first(p.Hand), progress, vNone)
		}
	}
	if p.Call.St == 1 && x.can(fClaimGiveUp) && p.ZCall.St == 0 {
		m.ZCall = p.Call
		m.ZCall.Age = 0
		c.dropCall(m)
		x.do(fClaimGiveUp, w, first(p.Call.Set), fault, vNone)
	}
}

// room is how many more runs the worker has slots for.
func (c *Cfg) room(p *Worker) int {
	room := int(c.Slots) - len(p.Runs)
	for i := range p.Runs {
		room += int(b2(p.Runs[i].Task == 0))
	}
	return room
}

// sendClaim sends a claim of what is in hand: beats already on their way were composed before it.
func (w *Worker) sendClaim(age uint8) {
	w.Call = Call{St: 1, Set: w.Hand, Gen: w.Gen, Age: age}
	for t := range maxT {
		if !has(w.Hand, t) {
			continue
		}
		if w.Beat.On {
			w.Beat.List[t] |= blind
		}
		if w.ZBeat.On && w.ZBeat.Gen == w.Gen {
			w.ZBeat.List[t] |= blind
		}
	}
}

func (x *stepper) claimAnswer(w int) {
	p, m := &x.s.W[w], &x.n.W[w]
	if p.Call.St != 2 {
		return
	}
	v, code := vNone, aClaimAns
	for t := range x.c.T {
		if p.Call.Att[t] != 0 {
			v = max(v, x.answered(w, t))
		}
		if has(p.Call.Skipped, t) {
			code, v = aPutBack, max(v, push(&x.n, t, 0))
		}
	}
	m.Call, m.Hand = Call{}, 0
	x.do(code, w, first(p.Call.Set), progress, v)
	if x.can(fClaimLost) {
		x.c.dropCall(m)
		x.do(fClaimLost, w, first(p.Call.Set), fault, vNone)
	}
}

func (x *stepper) runsAnywhere(t int, att uint8) bool {
	for w := range x.c.W {
		if x.s.run(w, t, att) != nil {
			return true
		}
	}
	return false
}

func (w *Worker) addRun(r Run) {
	for i := range w.Runs {
		if w.Runs[i].Task == 0 {
			w.Runs[i] = r
			return
		}
	}
}

// runStep: start, end, save and release of one attempt.
func (x *stepper) runStep(w, i int) {
	p, m := &x.s.W[w], &x.n.W[w]
	r := p.Runs[i]
	t := int(r.Task) - 1
	if t < 0 {
		return
	}
	switch r.Ph {
	case phClaimed:
		if !p.Stopping {
			m.Runs[i].Ph = phRunning
			x.do(aStart, w, t, progress, x.begin(w, r))
		}
	case phRunning:
		x.handlerEnds(w, i)
	case phOK, phErr, phStop:
		if x.pg && x.c.maySave(x.s, w, t) {
			x.saveStep(w, i)
		}
	case phBack:
		if x.pg && x.c.maySave(x.s, w, t) {
			v := x.c.save(&x.n, w, r, true)
			m.Runs[i] = Run{}
			x.do(aRelease, w, t, progress, v)
		}
	}
	if p.Stopping && x.pg && !x.c.locked(x.s, t, -1) && r.Ph <= phHang { // not started, or the shutdown's patience is over
		v := x.c.save(&x.n, w, r, true)
		m.Runs[i] = Run{}
		x.do(aRelease, w, t, progress, v)
	}
}

func (x *stepper) handlerEnds(w, i int) {
	m, r := &x.n.W[w], x.s.W[w].Runs[i]
	end := func(ph, code, kind uint8) {
		m.Runs[i].Ph = ph
		x.do(code, w, int(r.Task)-1, kind, vNone)
	}
	end(phOK, aOK, progress)
	end(phErr, aErr, progress)
	if r.Told {
		end(phStop, aStopped, progress)
	}
	if x.can(fHang) {
		end(phHang, fHang, fault)
	}
}

// maySave: the row is not locked; or a statement that saves all outcomes of the worker would wait for another row.
func (c *Cfg) maySave(s *State, w, t int) bool {
	if c.locked(s, t, -1) {
		return false
	}
	for _, r := range s.W[w].Runs {
		if !c.SaveApart && r.Task != 0 && r.Ph >= phOK && r.Ph != phGone && s.T[r.Task-1].Held {
			return false
		}
	}
	return true
}

func (x *stepper) saveStep(w, i int) {
	c, n, m, r := x.c, &x.n, &x.n.W[w], x.s.W[w].Runs[i]
	t := int(r.Task) - 1
	if c.refused(x.s, w, r) {
		x.refusedStep(w, i)
		return
	}
	v := c.save(n, w, r, false)
	m.Runs[i] = Run{}
	x.do(aSave, w, t, progress, v)
	if x.can(fSaveLost) {
		v = c.save(n, w, r, false)
		x.do(fSaveLost, w, t, fault, v)
	}
	if row := &x.s.T[t]; x.s.owns(w, row) && row.Att == r.Att {
		if x.can(fRefuseResult) && r.Ph == phOK {
			n.T[t].Refuses = refusesResult
			x.do(fRefuseResult, w, t, fault, vNone)
		}
		if x.can(fRefuseAll) {
			n.T[t].Refuses = refusesAll
			x.do(fRefuseAll, w, t, fault, vNone)
		}
	}
}

// refusedStep is what becomes of an outcome that PostgreSQL refuses for good.
func (x *stepper) refusedStep(w, i int) {
	m, r := &x.n.W[w], x.s.W[w].Runs[i]
	t := int(r.Task) - 1
	storable := x.s.T[t].Refuses == refusesResult
	if storable && x.c.SmallFailure {
		x.n.T[t].St = failed
		m.Runs[i] = Run{}
		x.do(aSmallFailure, w, t, progress, vNone)
		return
	}
	if x.c.ChargeBegun {
		m.Runs[i].Ph = phGone
	} else {
		m.Runs[i] = Run{}
	}
	v := vNone
	if storable {
		v = vDropped
	}
	x.do(aGiveUp, w, t, progress, v)
}
