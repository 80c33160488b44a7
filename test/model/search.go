package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Found is the first violation of a property.
type Found struct {
	Prop  uint8
	Edges int // how many edges or states violate it
	Depth int
	Trace []Act
}

func (f *Found) print() {
	fmt.Printf("  %s: shortest in %d steps (%d such edges or states)\n", propName[f.Prop], f.Depth, f.Edges)
	for i, a := range f.Trace {
		fmt.Printf("    %2d %s\n", i+1, a)
	}
}

// Result of a search.
type Result struct {
	States, Edges int
	Depth         int
	Cut           bool // the limit on states was reached, or the first violation is enough
	Took          time.Duration
	Found         []*Found
}

// bad is where a violation was found: a state, and the step from it, if it is an edge.
type bad struct {
	Found
	at   uint32
	edge bool
}

// search visits every reachable state breadth first, so that the first violation of a property is a shortest one.
type search struct {
	c         *Cfg
	limit     int
	live      bool
	tab       *table
	parent    []uint32
	off, succ []uint32 // progress edges of state i: succ[off[i]:off[i+1]]
	repush    []uint32 // pairs: edges by which entries are queued again
	done      []bool   // every task that is not locked has ended
	held      []bool   // some row is locked by an operator
	bads      map[uint8]*bad
	cur, next []State
	id        uint32 // of the state that is expanded
	res       Result
	stop      bool
}

// initial is a system without tasks, whose workers have long beaten.
func (c *Cfg) initial() State {
	var s State
	for w := range c.W {
		s.W[w].Ok = c.LocalBeats
		s.W[w].Unbroken[0] = c.JudgeWait
	}
	c.norm(&s)
	return s
}

// ended: every task that was added has ended, but for those whose rows are locked.
func (c *Cfg) ended(s *State) bool {
	for t := range c.T {
		if r := &s.T[t]; (r.St == pending || r.St == processing) && !r.Held {
			return false
		}
	}
	return true
}

// over: every task that was added has ended.
func (c *Cfg) over(s *State) bool {
	for t := range c.T {
		if st := s.T[t].St; st == pending || st == processing {
			return false
		}
	}
	return true
}

// quiet: nothing more can happen to any task.
func (c *Cfg) quiet(s *State) bool {
	for t := range c.T {
		st := s.T[t].St
		if st != completed && st != canceled && (st != failed || s.Reopens != c.Reopens) {
			return false
		}
	}
	for w := range c.W {
		if s.W[w].Runs != [2]Run{} || s.W[w].Call.St != 0 {
			return false
		}
	}
	return true
}

// explore searches the whole scope, then asks the liveness questions of the graph of progress steps.
func (c *Cfg) explore(limit int, live bool) *Result {
	begin := time.Now()
	x := &search{c: c, limit: limit, live: live, tab: newTable(), parent: []uint32{0}, bads: map[uint8]*bad{}}
	first := c.initial()
	first = c.canon(&first)
	x.tab.put(hash(&first))
	x.cur = []State{first}
	for len(x.cur) > 0 && !x.res.Cut {
		x.layer()
		x.cur, x.next = x.next, x.cur[:0]
		x.res.Depth++
	}
	x.res.States = x.tab.n
	if live && !x.res.Cut {
		x.liveness()
	}
	for _, b := range x.bads {
		x.res.Found = append(x.res.Found, x.report(b))
	}
	slices.SortFunc(x.res.Found, func(a, b *Found) int { return cmp.Compare(a.Prop, b.Prop) })
	x.res.Took = time.Since(begin)
	return &x.res
}

// layer expands the states of one depth.
func (x *search) layer() {
	for i := range x.cur {
		x.expand(&x.cur[i])
		x.id++
		if x.tab.n > x.limit || x.stop {
			x.res.Cut = true
			return
		}
	}
}

func (x *search) expand(s *State) {
	over, held := x.c.over(s), false
	for t := range x.c.T {
		held = held || s.T[t].Held
	}
	x.done, x.held, x.off = append(x.done, x.c.ended(s)), append(x.held, held), append(x.off, uint32(len(x.succ)))
	if x.c.quiet(s) {
		return
	}
	x.c.next(s, func(a Act, kind uint8, n *State, viol uint8) {
		x.res.Edges++
		if viol != vNone {
			x.note(viol, x.id, true, 1)
			if viol != vWaste { // waste harms nothing: go on
				x.stop = x.stop || x.c.Stop
				return
			}
		}
		to := x.visit(n)
		if x.live && kind == progress && !over {
			x.succ = append(x.succ, to)
			if a.Code == aStranded || a.Code == aCommit || a.Code == aPutBack {
				x.repush = append(x.repush, x.id, to)
			}
		}
	})
}

func (x *search) visit(n *State) uint32 {
	s := x.c.canon(n)
	to, fresh := x.tab.put(hash(&s))
	if fresh {
		x.parent = append(x.parent, x.id)
		x.next = append(x.next, s)
	}
	return to
}

func (x *search) note(prop uint8, at uint32, edge bool, times int) {
	b := x.bads[prop]
	if b == nil {
		b = &bad{Found: Found{Prop: prop}, at: at, edge: edge}
		x.bads[prop] = b
	}
	b.Edges += times
}

func (x *search) liveness() {
	x.off = append(x.off, uint32(len(x.succ)))
	good := reaching(x.off, x.succ, x.done)
	for i, g := range good {
		switch {
		case g:
		case x.held[i]:
			x.note(vWait, uint32(i), false, 1)
		default:
			x.note(vStuck, uint32(i), false, 1)
		}
	}
	comp := components(x.off, x.succ)
	for i := 0; i < len(x.repush); i += 2 {
		if comp[x.repush[i]] == comp[x.repush[i+1]] {
			x.note(vLoop, x.repush[i], false, 1)
		}
	}
}

// report replays the way to a violation, with the names that the workers and tasks have from the start.
func (x *search) report(b *bad) *Found {
	f := b.Found
	var last State
	f.Trace, last = x.trace(b.at)
	if b.edge {
		found := false
		x.c.next(&last, func(a Act, _ uint8, _ *State, viol uint8) {
			if viol == f.Prop && !found {
				f.Trace, found = append(f.Trace, a), true
			}
		})
	}
	f.Depth = len(f.Trace)
	return &f
}

func (x *search) trace(at uint32) (acts []Act, s State) {
	var way []uint32
	for i := at; i != 0; i = x.parent[i] {
		way = append(way, i)
	}
	slices.Reverse(way)
	s = x.c.initial()
	for _, want := range way {
		var to *State
		x.c.next(&s, func(a Act, _ uint8, n *State, viol uint8) {
			if to != nil || viol != vNone && viol != vWaste {
				return
			}
			y := x.c.canon(n)
			if j := x.tab.slot(hash(&y)); x.tab.keys[j] != 0 && x.tab.ids[j] == want {
				z := *n
				to = &z
				acts = append(acts, a)
			}
		})
		if to == nil {
			panic("the trace cannot be replayed")
		}
		s = *to
	}
	return acts, s
}
