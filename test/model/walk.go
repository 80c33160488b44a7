package main

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	maxSteps = 150  // of a walk with faults; some end early, so that there is work left
	fair     = 5000 // steps without
)

const maxSeen = 40_000_000 // states that a walk counts as different

// walk takes random walks: a phase with faults, then a fair phase without, in which
// locks go and every task has to end.
type walk struct {
	c     *Cfg
	rnd   *rand.Rand
	seen  *table
	found map[uint8]*Found
	res   Result
}

func (c *Cfg) walk(walks int, rnd *rand.Rand) *Result {
	begin := time.Now()
	x := &walk{c: c, rnd: rnd, seen: newTable(), found: map[uint8]*Found{}}
	for range walks {
		x.once()
	}
	for _, f := range x.found {
		x.res.Found = append(x.res.Found, f)
	}
	slices.SortFunc(x.res.Found, func(a, b *Found) int { return cmp.Compare(a.Prop, b.Prop) })
	x.res.States, x.res.Took = x.seen.n, time.Since(begin)
	return &x.res
}

func (x *walk) once() {
	s := x.c.initial()
	var acts []Act
	steps := 10 + x.rnd.IntN(maxSteps)
	for i := range steps + fair {
		if i >= steps && x.c.over(&s) {
			return
		}
		n, a, viol, ok := x.step(&s, i >= steps)
		if !ok {
			break
		}
		acts = append(acts, a)
		x.res.Edges++
		if viol != vNone {
			x.note(viol, acts)
			if viol != vWaste {
				return
			}
		}
		s = n
		if x.seen.n < maxSeen {
			x.seen.put(hash(&s))
		}
	}
	if !x.c.over(&s) {
		x.note(vStuck, acts)
	}
}

// step picks one of the steps from s; in a calm phase one of progress, or the end of a lock.
func (x *walk) step(s *State, calm bool) (pick State, act Act, bad uint8, ok bool) {
	weight := 0
	x.c.next(s, func(a Act, kind uint8, n *State, viol uint8) {
		g := 8
		switch {
		case calm && kind != progress && a.Code != aUnhold:
			return
		case kind == fault:
			g = 1
		case a.Code == aTick:
			g = 16
		}
		weight += g
		if x.rnd.IntN(weight) < g {
			pick, act, bad = *n, a, viol
		}
	})
	return pick, act, bad, weight > 0
}

func (x *walk) note(prop uint8, acts []Act) {
	f := x.found[prop]
	if f == nil {
		f = &Found{Prop: prop}
		x.found[prop] = f
	}
	f.Edges++
	if f.Trace == nil || len(acts) < len(f.Trace) {
		f.Trace, f.Depth = slices.Clone(acts), len(acts)
	}
}
