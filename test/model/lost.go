package main

// Claims that PostgreSQL may lose: they are committed, and not flushed. A crash of the
// server, or a failover to a standby that has not got them, makes their rows what they
// were before. The worker that has got the claim's answer does not know.

// maxCount is where versions, and numbers left out, stop counting: they are compared with few others.
const maxCount = 6

// losing: a claim may be lost in this scope.
func (c *Cfg) losing() bool { return !c.Flushed && (!c.off(fPgCrash) || !c.off(fLag)) }

// flushes: the step commits something that is flushed, and with it all that was committed before. A tick is
// longer than the time after which PostgreSQL flushes by itself.
func flushes(code uint8, n *State) bool {
	switch code {
	case aAdd, aCancel, aStop, aEdit, aReopen, aSave, aSmallFailure, aRelease, aBeatExec, aLateBeat, aDue, aStranded,
		aLease, aDeadline, aCommit, aPgUp, fSaveLost, fBeatLost, fPgDown:
		return true
	case aTick:
		return !n.Lag
	}
	return false
}

func (c *Cfg) flush(n *State) {
	for t := range c.T {
		r := &n.T[t]
		if !r.Soft {
			continue
		}
		r.Soft, r.SoftAge, r.SoftSkip, r.Seen = false, 0, 0, false
		n.unsight(t)
	}
}

func (s *State) unsight(t int) {
	for i := range s.W {
		s.W[i].Sight[t] = 0
	}
}

func (c *Cfg) anySoft(s *State) bool {
	for t := range c.T {
		if s.T[t].Soft {
			return true
		}
	}
	return false
}

// lostClaims: a crash of PostgreSQL, or the loss of its standby.
func (x *stepper) lostClaims() {
	c, s, n := x.c, x.s, &x.n
	if x.pg && x.can(fPgCrash) && c.anySoft(s) {
		c.cut(n)
		v := c.lose(n)
		n.PgDown, n.HadOut = !s.HadOut, true // a second one takes no time: see HadOut
		x.do(fPgCrash, 0, 0, fault, v)
	}
	if x.pg && x.can(fLag) && c.losing() && !s.HadOut {
		for w := range c.W {
			if m := &n.W[w]; m.Beat.On {
				m.Beat, m.Ok = Beat{}, 0
			}
			n.W[w].ZBeat, n.W[w].Lock, n.W[w].LockKind = Beat{}, 0, 0
		}
		n.PgDown, n.HadOut, n.Lag = true, true, true
		x.do(fLag, 0, 0, fault, vNone)
	}
	if s.Lag {
		c.cut(n)
		v := c.lose(n)
		n.PgDown, n.Lag = false, false
		x.do(aFailover, 0, 0, env, v)
	}
	for t := range c.T {
		if r := &s.T[t]; c.Reads && r.Soft && !r.Seen {
			n.T[t].Seen = true
			x.do(aRead, 0, t, env, vNone)
		}
	}
}

// lose loses all claims that are not flushed. No later claim may have the number of one that
// may have been lost, so with Skip it is left out for every row that could be claimed.
func (c *Cfg) lose(n *State) (viol uint8) {
	for t := range c.T {
		r := &n.T[t]
		if r.Soft {
			if r.Seen {
				viol = c.judged(vBack)
			}
			c.loseClaim(n, t)
		}
		if c.SkipLost && r.St == pending && r.Marked {
			inc(&r.Skip, maxCount)
		}
	}
	return viol
}

func (c *Cfg) loseClaim(n *State, t int) {
	r := &n.T[t]
	moved := 1 + r.SoftSkip
	if r.Ver < moved { // nobody had to count
		r.Ver = moved
	}
	ver, base := r.Ver, r.Ver-moved
	if w, lives := n.ownerProc(r); lives {
		me := &n.W[w]
		if run := n.run(w, t, r.Att); run != nil {
			run.Lost, run.Ver, run.Base = 1, ver, base
		}
		if me.Call.St == 2 && me.Call.Att[t] == r.Att {
			me.Call.Lost |= 1 << t
			me.Call.Edited &^= 1 << t
			me.Call.Ver[t], me.Call.Base[t] = ver, base
		}
	}
	if r.Begun {
		r.Ran, r.Free = r.Att, true
	}
	r.St, r.Marked, r.MarkAge, r.Att, r.Ver, r.Skip = pending, true, r.SoftAge, r.Att-moved, base, r.SoftSkip
	r.Soft, r.SoftAge, r.SoftSkip, r.Seen = false, 0, 0, false
}

// edit notes that the row is another than what runs of lost claims have.
func (s *State) edit(t int) {
	inc(&s.T[t].Ver, maxCount)
	for w := range s.W {
		m := &s.W[w]
		m.Call.Edited |= m.Call.Lost & (1 << t)
		for i := range m.Runs {
			if r := &m.Runs[i]; int(r.Task) == t+1 && r.Lost != 0 {
				r.Lost = 2
			}
		}
	}
}

// moved counts the version of each row that a step has changed, other than by a claim or the loss of one.
func (x *stepper) moved(code uint8) {
	if code == aClaimExec || code == aLateClaim || code == fPgCrash || code == aFailover || !x.c.losing() {
		return
	}
	for t := range x.c.T {
		a, b := &x.s.T[t], &x.n.T[t]
		if a.Ver == b.Ver && (a.St != b.St || a.Owner != b.Owner || a.Att != b.Att || a.Stop != b.Stop) {
			inc(&b.Ver, maxCount)
		}
	}
}

// robbed: a worker that lives, and was never frozen, runs an attempt of the task whose claim is lost. Nobody
// may claim it then.
func (c *Cfg) robbed(n *State, t int) bool {
	for w := range c.W {
		m := &n.W[w]
		for _, r := range m.Runs {
			if m.Up == up && !m.FrzBeat && int(r.Task) == t+1 && r.Lost == 1 {
				return true
			}
		}
	}
	return false
}

// answered is what a worker does with a task that it has claimed. If it holds this attempt already, that
// one's claim was lost: its run is to end, and the new claim is given back.
func (x *stepper) answered(w, t int) (viol uint8) {
	call, m := &x.s.W[w].Call, &x.n.W[w]
	att := call.Att[t]
	run := Run{Task: uint8(t) + 1, Att: att, Ph: phClaimed, Lost: call.Lost >> t & 1, Ver: call.Ver[t], Base: call.Base[t]}
	if has(call.Edited, t) {
		run.Lost = 2
	}
	if old := x.n.run(w, t, att); old != nil && x.c.RunOnce {
		*old, run.Ph = Run{}, phBack
	} else if x.runsAnywhere(t, att) {
		viol = x.c.judged(vTwo)
	}
	m.addRun(run)
	return viol
}

// begin notes that the handler of the run begins.
func (x *stepper) begin(w int, r Run) (viol uint8) {
	row := &x.n.T[r.Task-1]
	mine := x.s.owns(w, row) && row.Att == r.Att
	switch {
	case r.Lost != 0:
		if row.St == processing && row.Att == r.Att && row.Begun {
			viol = x.c.judged(vTwo)
		}
		if row.St == pending || row.St == processing {
			row.Ran, row.Free = r.Att, row.St == pending
		}
	case mine:
		if row.Ran == r.Att {
			viol = x.c.judged(vTwo)
		} else if row.Free {
			viol = x.c.judged(vFree)
		}
		row.Begun, row.Free = true, false
	}
	return viol
}

// adopt stores the lost claims of what a beat lists, where nothing has become of the row since.
func (c *Cfg) adopt(n *State, w int, b *Beat) {
	if !c.Adopt || n.W[w].Gen != b.Gen {
		return
	}
	for i := range n.W[w].Runs {
		run := &n.W[w].Runs[i]
		if run.Task == 0 || run.Lost == 0 || b.List[run.Task-1]&^(blind|ended|gone) != run.Att {
			continue
		}
		t := int(run.Task) - 1
		if r := &n.T[t]; r.St == pending && r.Ver == run.Base && !c.locked(n, t, w) {
			r.St, r.Owner, r.Dl, r.Att, r.Ver = processing, ownerOf(w, b.Gen), c.Dl, run.Att, run.Ver
			r.Stop, r.BeatSeen, r.DlBeat, r.Overran, r.FrzClaim = false, false, false, false, n.W[w].Up == frozen
			r.Begun, r.Ran, r.Free = run.Ph != phClaimed, 0, false
			r.Marked, r.MarkAge = false, 0
			run.Lost, run.Ver, run.Base = 0, 0, 0
			n.unsight(t)
		}
	}
}

// normLost forgets versions that nobody will compare.
func (c *Cfg) normLost(s *State) {
	var counted uint8
	for w := range s.W {
		m := &s.W[w]
		counted |= m.Call.Lost
		for i := range m.Runs {
			if r := &m.Runs[i]; r.Task != 0 && r.Lost != 0 {
				counted |= 1 << (r.Task - 1)
			}
		}
	}
	for t := range c.T {
		if !has(counted, t) {
			s.T[t].Ver = 0
		}
	}
}
