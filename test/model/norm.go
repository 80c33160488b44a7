package main

import "bytes"

// norm forgets what can no longer matter, so that equal futures are equal states.
func (c *Cfg) norm(s *State) {
	c.normLost(s)
	var used [maxW][2]bool
	for i := range c.T {
		t := &s.T[i]
		c.normTask(t)
		if t.St == processing {
			used[(t.Owner-1)/2][(t.Owner-1)%2] = true
		}
	}
	for i := range c.W {
		c.normWorker(&s.W[i], &used[i])
	}
	for i := int(s.NQ); i < maxQ; i++ {
		s.Q[i] = Entry{}
	}
}

func (c *Cfg) normTask(t *Task) {
	switch t.St {
	case completed, canceled:
		*t = Task{St: t.St, Push: t.Push, PushLate: t.PushLate, Att: t.Att * b2(!c.Fence || !c.CAS), Ver: t.Ver}
	case failed:
		*t = Task{St: t.St, Push: t.Push, PushLate: t.PushLate, Att: t.Att, Ver: t.Ver}
	case pending:
		t.Owner, t.BeatSeen, t.Dl, t.DlBeat, t.Overran, t.FrzClaim, t.Stop, t.Begun = 0, false, 0, false, false, false, false, false
	case processing:
		if c.BeatNo {
			t.BeatSeen = false
		}
		if c.off(fRefuseResult) && c.off(fRefuseAll) && !c.losing() { // what had begun can only be given up for them
			t.Begun = false
		}
	}
	if t.Push == 0 {
		t.PushLate = false
	}
}

// normWorker is told which identities of the worker own rows.
func (c *Cfg) normWorker(w *Worker, used *[2]bool) {
	if w.Up == down || w.Up == exited {
		*w = Worker{Up: w.Up, Gen: w.Gen, ZCall: w.ZCall, ZBeat: w.ZBeat, Age: w.Age, Unbroken: w.Unbroken}
	} else {
		used[w.Gen] = true
	}
	if w.ZCall.St != 0 {
		used[w.ZCall.Gen] = true
	}
	if w.ZBeat.On {
		used[w.ZBeat.Gen] = true
	}
	for g := range w.Age {
		if !used[g] {
			w.Age[g], w.Unbroken[g] = 0, 0
		}
	}
	if c.JudgeDB {
		w.Ok = 0
	} else {
		w.Unbroken = [2]uint8{}
	}
	a, b := &w.Runs[0], &w.Runs[1]
	if a.Task == 0 || b.Task != 0 && (b.Task < a.Task || b.Task == a.Task && b.Att < a.Att) {
		*a, *b = *b, *a
	}
}

// renaming maps the indices of tasks.
type renaming []int

func (p renaming) task(x uint8) uint8 {
	if x == 0 {
		return 0
	}
	return 1 + uint8(p[x-1])
}

func (p renaming) set(set uint8) (to uint8) {
	for i, j := range p {
		if has(set, i) {
			to |= 1 << j
		}
	}
	return to
}

func (p renaming) list(l [maxT]uint8) (to [maxT]uint8) {
	for i, j := range p {
		to[j] = l[i]
	}
	return to
}

func (p renaming) call(c Call) Call {
	c.Set, c.Skipped, c.Att = p.set(c.Set), p.set(c.Skipped), p.list(c.Att)
	c.Lost, c.Edited, c.Ver, c.Base = p.set(c.Lost), p.set(c.Edited), p.list(c.Ver), p.list(c.Base)
	return c
}

// permute renames tasks and workers: they are interchangeable.
func (c *Cfg) permute(s *State, tp, wp renaming) State {
	n := *s
	for i := range c.T {
		t := s.T[i]
		if t.Owner != 0 {
			t.Owner = ownerOf(wp[(t.Owner-1)/2], (t.Owner-1)%2)
		}
		n.T[tp[i]] = t
	}
	for i := range c.W {
		w := s.W[i]
		w.Hand, w.Lock = tp.set(w.Hand), tp.task(w.Lock)
		w.Call, w.ZCall = tp.call(w.Call), tp.call(w.ZCall)
		w.Beat.List, w.ZBeat.List, w.Push, w.Sight = tp.list(w.Beat.List), tp.list(w.ZBeat.List), tp.list(w.Push), tp.list(w.Sight)
		w.Runs[0].Task, w.Runs[1].Task = tp.task(w.Runs[0].Task), tp.task(w.Runs[1].Task)
		n.W[wp[i]] = w
	}
	for i := range s.NQ {
		n.Q[i].Task = uint8(tp[s.Q[i].Task])
	}
	c.norm(&n)
	return n
}

// canon is the least of the renamings of a state.
func (c *Cfg) canon(s *State) State {
	best := *s
	for _, tp := range perms[c.T] {
		for _, wp := range perms[c.W] {
			if p := c.permute(s, tp, wp); bytes.Compare(p.bytes(), best.bytes()) < 0 {
				best = p
			}
		}
	}
	return best
}

var perms = [][]renaming{
	1: {{0}},
	2: {{0, 1}, {1, 0}},
	3: {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}},
}
