package main

import "slices"

// reaching says of each node whether its edges lead to one of the goals.
func reaching(off, succ []uint32, goals []bool) []bool {
	start, rev := reversed(off, succ)
	good := slices.Clone(goals)
	var q []uint32
	for i, d := range goals {
		if d {
			q = append(q, uint32(i))
		}
	}
	for len(q) > 0 {
		v := q[len(q)-1]
		q = q[:len(q)-1]
		for _, p := range rev[start[v]:start[v+1]] {
			if !good[p] {
				good[p] = true
				q = append(q, p)
			}
		}
	}
	return good
}

// reversed turns the edges around: those into v are rev[start[v]:start[v+1]].
func reversed(off, succ []uint32) (start, rev []uint32) {
	n := len(off) - 1
	start = make([]uint32, n+1)
	for _, t := range succ {
		start[t+1]++
	}
	for i := range n {
		start[i+1] += start[i]
	}
	rev = make([]uint32, len(succ))
	fill := slices.Clone(start)
	for i := range n {
		for _, t := range succ[off[i]:off[i+1]] {
			rev[fill[t]] = uint32(i)
			fill[t]++
		}
	}
	return start, rev
}

const unseen = ^uint32(0)

// tarjan finds strongly connected components, without recursion.
type tarjan struct {
	off, succ      []uint32
	num, low, comp []uint32
	edge           []uint32 // the next edge to look at
	stack, call    []uint32
	count, comps   uint32
}

// components numbers the strongly connected component of each node: an edge within one lies on a cycle.
func components(off, succ []uint32) []uint32 {
	n := len(off) - 1
	t := &tarjan{off: off, succ: succ, num: make([]uint32, n), low: make([]uint32, n), comp: make([]uint32, n), edge: slices.Clone(off[:n])}
	for i := range n {
		t.num[i], t.comp[i] = unseen, unseen
	}
	for r := range n {
		if t.num[r] != unseen {
			continue
		}
		t.call = append(t.call, uint32(r))
		for len(t.call) > 0 {
			t.visit(t.call[len(t.call)-1])
		}
	}
	return t.comp
}

// visit goes on with node v until it meets a new node or v is done.
func (t *tarjan) visit(v uint32) {
	if t.num[v] == unseen {
		t.num[v], t.low[v] = t.count, t.count
		t.count++
		t.stack = append(t.stack, v)
	}
	for ; t.edge[v] < t.off[v+1]; t.edge[v]++ {
		w := t.succ[t.edge[v]]
		if t.num[w] == unseen {
			t.call = append(t.call, w)
			return // the edge stays: low is taken when w is done
		}
		if t.comp[w] == unseen {
			t.low[v] = min(t.low[v], t.low[w])
		}
	}
	if t.low[v] == t.num[v] {
		t.pop(v)
	}
	t.call = t.call[:len(t.call)-1]
}

// pop closes the component of which v was met first.
func (t *tarjan) pop(v uint32) {
	for {
		w := t.stack[len(t.stack)-1]
		t.stack = t.stack[:len(t.stack)-1]
		t.comp[w] = t.comps
		if w == v {
			break
		}
	}
	t.comps++
}
