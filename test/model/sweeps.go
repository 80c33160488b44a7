package main

// sweepKinds are the sweeps that change rows, by the step that they take.
var sweepKinds = [...]uint8{aDue, aStranded, aLease, aDeadline}

// judge: may this dispatcher judge leases?
func (c *Cfg) judge(s *State, d int) bool {
	w := &s.W[d]
	switch {
	case !c.FreshBeat:
		return true
	case c.JudgeDB:
		return w.Age[w.Gen] <= 1 && w.Unbroken[w.Gen] >= c.JudgeWait
	default:
		return w.Ok >= c.LocalBeats
	}
}

// sweepWants: does this sweep act on this row now?
func (c *Cfg) sweepWants(s *State, d, t int, kind uint8) bool {
	r := &s.T[t]
	switch kind {
	case aDue:
		return c.Due && r.St == pending && !r.Marked && r.RunAt == 0
	case aStranded:
		return c.Stranded && c.strandedRow(s, t) && (!c.TwoSweeps || s.W[d].Sight[t] == 2)
	case aLease:
		return c.LeaseSweep && r.St == processing && s.W[(r.Owner-1)/2].Age[(r.Owner-1)%2] >= c.Lease && c.judge(s, d)
	case aDeadline:
		return c.Deadline && r.St == processing && r.Dl == 0 && (!c.DlLive || r.DlBeat)
	}
	return false
}

// sweepWaits: the sweep's statement has found a row that an operator has locked, and waits with all that it found.
func (c *Cfg) sweepWaits(s *State, d int, kind uint8) bool {
	if c.SweepSkips {
		return false
	}
	for t := range c.T {
		if s.T[t].Held && c.sweepWants(s, d, t, kind) {
			return true
		}
	}
	return false
}

func (c *Cfg) strandedRow(s *State, t int) bool {
	r := &s.T[t]
	if r.St != pending || !r.Marked {
		return false
	}
	g, oldest := uint8(grace), uint8(0) // an empty list: the oldest is now
	if s.NQ > 0 {
		oldest = s.Q[0].Age
	}
	if !c.Grace {
		g = 0
	}
	return r.MarkAge > oldest+g || !c.Grace && s.NQ == 0
}

// sweep acts on a row. The decision is checked against the truth at the time it was taken (from).
func (c *Cfg) sweep(from, n *State, d, t int, kind uint8) (viol uint8) {
	r := &n.T[t]
	switch kind {
	case aDue, aStranded:
		if kind == aStranded && from.Faults == 0 && c.wasteful(from, t) {
			viol = vWaste
		}
		r.Marked, r.MarkAge = true, 0
		n.W[d].Push[t] = 1
		n.unsight(t)
	case aLease:
		w, lives := from.ownerProc(&from.T[t])
		live := lives && from.W[w].Up == up && (!from.W[w].FrzBeat || !from.T[t].FrzClaim)
		viol = c.giveBack(r, byLease)
		if live {
			viol = vTaken
		}
	case aDeadline:
		over := from.T[t].Overran
		viol = c.giveBack(r, byDeadline)
		if !over {
			viol = vFailure
		}
	}
	return viol
}

// wasteful: the entry is still in the list, about to be pushed by a living process, or was pulled within this tick by one.
func (c *Cfg) wasteful(s *State, t int) bool {
	for _, e := range s.Q[:s.NQ] {
		if int(e.Task) == t {
			return true
		}
	}
	if s.T[t].Push != 0 && !s.T[t].PushLate {
		return true
	}
	for i := range c.W {
		w := &s.W[i]
		if w.Up == up && (w.Push[t] != 0 || has(w.Call.Set, t) && w.Call.St == 1 && w.Call.Age == 0) {
			return true
		}
	}
	return false
}

func push(n *State, t int, age uint8) uint8 {
	if n.NQ == maxQ {
		return vQueue
	}
	n.Q[n.NQ] = Entry{uint8(t), age}
	n.NQ++
	return vNone
}
