package main

// mayTick: without a fault nothing is slower than a tick: a push after its commit, a beat, a save, a sweep's commit,
// a claim's answer. What waits for somebody's row lock may take any time.
func (c *Cfg) mayTick(s *State) bool {
	for t := range c.T {
		if s.T[t].Push > 1 && !s.T[t].PushLate {
			return false
		}
	}
	for w := range c.W {
		if !c.workerMayTick(s, w) {
			return false
		}
	}
	return true
}

func (c *Cfg) workerMayTick(s *State, w int) bool {
	p := &s.W[w]
	if (!s.PgDown || s.Lag) && p.Call.St == 1 && !c.claimWaits(s, w, p.Call.Set) {
		return false
	}
	if !s.PgDown && p.Beat.On {
		x := *s
		if _, ok := c.beat(&x, w, &p.Beat, false); ok {
			return false
		}
	}
	if p.Up != up {
		return true
	}
	for t := range c.T {
		if p.Push[t] > 1 {
			return false
		}
	}
	if p.Call.St == 2 && p.Call.Age >= callMax || p.Lock != 0 {
		return false
	}
	if s.PgDown {
		return true
	}
	if p.Gap > 0 && !p.Beat.On { // one that is on its way is held up by somebody's row lock
		return false
	}
	for _, r := range p.Runs {
		if r.Task != 0 && r.Ph >= phOK && r.Ph != phGone && c.maySave(s, w, int(r.Task)-1) {
			return false
		}
	}
	return true
}

func (c *Cfg) tick(n *State) {
	for t := range c.T {
		c.tickTask(n, t)
	}
	for i := range n.NQ {
		inc(&n.Q[i].Age, maxAge)
	}
	for w := range c.W {
		c.tickWorker(n, &n.W[w])
	}
}

func (c *Cfg) tickTask(n *State, t int) {
	r := &n.T[t]
	if r.Marked {
		inc(&r.MarkAge, maxAge)
	}
	if r.Soft {
		inc(&r.SoftAge, maxAge)
	}
	dec(&r.RunAt)
	if r.Push != 0 {
		inc(&r.Push, maxAge+1)
	}
	if r.St != processing {
		return
	}
	dec(&r.Dl)
	if w, lives := n.ownerProc(r); r.Dl == 0 && lives {
		if run := n.run(w, t, r.Att); run != nil && run.Ph <= phHang {
			r.Overran = true
		}
	}
}

func (c *Cfg) tickWorker(n *State, p *Worker) {
	for g := range p.Age {
		inc(&p.Age[g], c.Lease)
		inc(&p.Unbroken[g], c.JudgeWait)
	}
	if p.Call.St != 0 {
		inc(&p.Call.Age, callMax+1)
	}
	for t := range p.Push {
		if p.Push[t] != 0 {
			inc(&p.Push[t], maxAge+1)
		}
		if p.Sight[t] == 1 {
			p.Sight[t] = 2
		}
	}
	if p.Up == up {
		if n.PgDown {
			p.Ok = 0 // a beat failed
		} else {
			p.Gap = 1
		}
	}
	if p.Lock != 0 && c.LockLimit {
		p.Lock, p.LockKind = 0, 0
	}
}
