package main

import "hash/maphash"

var seed = maphash.MakeSeed()

// hash is never 0, which marks an empty slot.
func hash(s *State) uint64 { return maphash.Bytes(seed, s.bytes()) | 1 }

// table maps a state's 64-bit hash to its number (open addressing; 0 is an empty slot).
type table struct {
	keys []uint64
	ids  []uint32
	n    int
}

func newTable() *table { return &table{keys: make([]uint64, 1<<16), ids: make([]uint32, 1<<16)} }

// put answers the number of the key, and whether it is new (then it gets number t.n).
func (t *table) put(k uint64) (uint32, bool) {
	if t.n*10 > len(t.keys)*7 {
		t.grow()
	}
	j := t.slot(k)
	if t.keys[j] == k {
		return t.ids[j], false
	}
	t.keys[j], t.ids[j] = k, uint32(t.n)
	t.n++
	return t.ids[j], true
}

func (t *table) grow() {
	old := *t
	t.keys, t.ids = make([]uint64, 2*len(old.keys)), make([]uint32, 2*len(old.keys))
	for i, k := range old.keys {
		if k != 0 {
			j := t.slot(k)
			t.keys[j], t.ids[j] = k, old.ids[i]
		}
	}
}

func (t *table) slot(k uint64) int {
	m := uint64(len(t.keys) - 1)
	j := (k * 0x9e3779b97f4a7c15) >> 7 & m
	for t.keys[j] != 0 && t.keys[j] != k {
		j = (j + 1) & m
	}
	return int(j)
}
