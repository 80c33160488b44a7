package main

// why a processing row goes back
const (
	byErr uint8 = iota
	byDeadline
	byLease
	byOrphan
	byGone // begun, and given up by its worker
	byRelease
)

// giveBack takes a row out of processing, other than by success. It returns a violation.
func (c *Cfg) giveBack(t *Task, why uint8) uint8 {
	if t.Stop && (why == byErr || c.StopWins) { // an error after a stop request is canceled already as written
		t.St = canceled
		return vNone
	}
	switch why {
	case byErr, byDeadline:
		t.Free = false
		t.Fail++
		t.RunAt = backoff
		if t.Fail >= c.MaxFail {
			t.St = failed
			return vNone
		}
	case byLease, byGone:
		t.Free = false
		t.Resc++
		if t.Resc >= c.MaxResc {
			t.St = failed
			return vNone
		}
	}
	t.St = pending
	if c.ClearMark {
		t.Marked, t.MarkAge = false, 0
	}
	if t.Stop {
		return vStop
	}
	if why == byOrphan && t.Begun {
		return vFree
	}
	return vNone
}

// locked reports whether an open transaction has the row locked: an operator's, a
// sweep's, or a claim of another worker that waits for another row of its batch
// (in the worst case the one that it waits for is the last that it locks).
func (c *Cfg) locked(s *State, t, self int) bool {
	if s.T[t].Held {
		return true
	}
	for i := range c.W {
		w := &s.W[i]
		if int(w.Lock) == t+1 {
			return true
		}
		if i != self && w.Call.St == 1 && has(w.Call.Set, t) && s.T[t].St == pending && c.waitsForOperator(s, w.Call.Set) {
			return true
		}
	}
	return false
}

// waitsForOperator: a claim waits for a row that an operator has locked, if it would take it.
func (c *Cfg) waitsForOperator(s *State, set uint8) bool {
	for t := range c.T {
		if r := &s.T[t]; has(set, t) && r.Held && r.St == pending && r.Marked {
			return !c.ClaimSkips
		}
	}
	return false
}

// claimWaits reports whether a claim statement cannot be executed yet.
func (c *Cfg) claimWaits(s *State, w int, set uint8) bool {
	if c.ClaimSkips {
		return false
	}
	for t := range c.T {
		if has(set, t) && !s.T[t].Held && c.locked(s, t, w) {
			return true
		}
	}
	return c.waitsForOperator(s, set)
}

// claim executes a claim statement; its answer is in call.
func (c *Cfg) claim(n *State, w int, call *Call) (viol uint8) {
	if c.ClaimFresh && n.W[w].Age[call.Gen] >= c.fresh() {
		return vNone
	}
	for t := range c.T {
		r := &n.T[t]
		if !has(call.Set, t) || r.St != pending || c.MarkedOnly && !r.Marked {
			continue
		}
		if c.ClaimSkips && c.locked(n, t, w) {
			call.Skipped |= b2(c.PutBack) << t
			continue
		}
		if r.RunAt > 0 {
			viol = vEarly
		}
		r.St, r.Owner, r.Dl = processing, ownerOf(w, call.Gen), c.Dl
		if r.Soft = c.losing(); r.Soft {
			r.SoftAge, r.SoftSkip = r.MarkAge, r.Skip
		}
		r.Att += 1 + r.Skip
		r.Ver, r.Skip = min(r.Ver+1+r.Skip, maxCount), 0
		if c.robbed(n, t) {
			viol = c.judged(vRobbed)
		}
		r.Stop, r.BeatSeen, r.DlBeat, r.Overran, r.FrzClaim, r.Begun = false, false, false, false, n.W[w].Up == frozen, false
		if c.ClearMark {
			r.Marked, r.MarkAge = false, 0
		}
		if !r.Soft { // else no sweep may come in between
			n.unsight(t)
		}
		call.Att[t] = r.Att
	}
	return viol
}

// beat executes a beat statement; ok is false while a row lock holds it up.
func (c *Cfg) beat(n *State, w int, b *Beat, late bool) (viol uint8, ok bool) {
	me := &n.W[w]
	c.adopt(n, w, b)
	for t := range c.T {
		r := &n.T[t]
		if r.St != processing || r.Owner != ownerOf(w, b.Gen) {
			continue
		}
		l := b.List[t] &^ (blind | ended | gone)
		if why, back := c.givesBack(r, b.List[t], l); back {
			switch {
			case !c.locked(n, t, w):
				if v := c.beatGivesBack(n, w, t, b.Gen, why); v != vNone {
					viol = v
				}
			case !c.BeatSkips:
				return vNone, false
			}
			continue
		}
		r.BeatSeen = true
		if r.Dl == 0 && l == r.Att && b.List[t]&ended == 0 && !late {
			r.DlBeat = true
		}
	}
	if me.Age[b.Gen] > 1 {
		me.Unbroken[b.Gen] = 0
	}
	me.Age[b.Gen] = 0
	if me.Gen == b.Gen && me.Up == up {
		me.Gap, me.FrzBeat = 0, false
	}
	return viol, true
}

// givesBack: does a beat with this byte in its list give the worker's row back? l is the attempt that it lists.
func (c *Cfg) givesBack(r *Task, listed, l uint8) (why uint8, back bool) {
	if listed&gone != 0 && l == r.Att {
		return byGone, true
	}
	old := r.BeatSeen || !c.OrphanPrev
	if c.BeatNo {
		old = listed&blind == 0
	}
	held := l == anyAtt || l != 0 && (l == r.Att || !c.Pairs)
	return byOrphan, c.Orphan && !held && old
}

func (c *Cfg) beatGivesBack(n *State, w, t int, gen, why uint8) uint8 {
	me, r := &n.W[w], &n.T[t]
	held := n.run(w, t, r.Att) != nil || me.Call.St == 2 && me.Call.Att[t] == r.Att
	viol := c.giveBack(r, why)
	if why == byOrphan && held && me.Gen == gen && (me.Up == up || me.Up == frozen) {
		return vOrphan
	}
	return viol
}

// counts: does the outcome of the run count? It is saved if the row has the version that the claim gave it; if
// the row has another, it is read again. Without lost claims either says that the attempt holds the row.
func (c *Cfg) counts(n *State, w int, t *Task, r Run) bool {
	named := t.St == processing && (!c.Fence || t.Att == r.Att && (!c.SaveNames || t.Owner == ownerOf(w, n.W[w].Gen)))
	if r.Lost != 0 && t.Ver == r.Ver {
		return named || !c.SaveNames
	}
	return named && (r.Lost == 0 || !c.SaveClaim)
}

// save executes the save of a run's outcome; bounded reloading makes the compare-and-set on version one conditional step.
func (c *Cfg) save(n *State, w int, r Run, release bool) (viol uint8) {
	t := &n.T[r.Task-1]
	if c.CAS && !c.counts(n, w, t, r) {
		return vNone // the outcome is dropped
	}
	if t.St == completed || t.St == canceled || t.St == failed {
		viol = vEnd
	} else if t.St != processing || t.Att != r.Att {
		viol = vFence
	} else if r.Lost == 2 {
		viol = vOld
	} else if r.Lost == 1 && (t.Ver != r.Ver || t.Owner != ownerOf(w, n.W[w].Gen)) { // else nothing tells the two apart
		viol = vLost
	}
	var v uint8
	switch {
	case release:
		v = c.giveBack(t, byRelease)
	case r.Ph == phOK:
		t.St = completed
	case r.Ph == phErr:
		v = c.giveBack(t, byErr)
	case r.Ph == phStop:
		t.St = canceled
	}
	if viol != vNone {
		return viol
	}
	return v
}

// refused reports whether PostgreSQL refuses the outcome of the attempt that holds the row.
func (c *Cfg) refused(s *State, w int, r Run) bool {
	t := &s.T[r.Task-1]
	return s.owns(w, t) && t.Att == r.Att && (t.Refuses == refusesAll || t.Refuses == refusesResult && r.Ph == phOK)
}
