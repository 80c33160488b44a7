package chaos

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"testing"
	"time"
)

// schedule draws steps of one fault or two: all kinds come up before any comes again.
type schedule struct {
	r     *rand.Rand
	kinds []*kind
	left  []*kind
}

func newSchedule(seed uint64, kinds []*kind) *schedule {
	s := &schedule{r: rand.New(rand.NewPCG(seed, 0)), kinds: kinds}
	s.shuffle()
	// Stable, so that the order within each half is still the seed's.
	var first, rest []*kind
	for _, k := range s.left {
		if k.first {
			first = append(first, k)
		} else {
			rest = append(rest, k)
		}
	}
	s.left = slices.Concat(first, rest)
	return s
}

func (s *schedule) shuffle() {
	s.left = slices.Clone(s.kinds)
	s.r.Shuffle(len(s.left), func(i, j int) { s.left[i], s.left[j] = s.left[j], s.left[i] })
}

// next draws a step. Every draw is made whatever the kind, so that a seed means
// the same schedule after a change of one of them.
func (s *schedule) next() []fault {
	if len(s.left) == 0 {
		s.shuffle()
	}
	one := s.draw(s.left[0])
	s.left = s.left[1:]
	alone, after := s.r.IntN(2) == 0, s.r.Int64N(int64(time.Second))
	if alone || one.alone() {
		return []fault{one}
	}
	for i, k := range s.left {
		if k.part == one.part || k.alone() || k.first {
			continue
		}
		s.left = slices.Concat(s.left[:i], s.left[i+1:])
		two := s.draw(k)
		two.after = time.Duration(after)
		return []fault{one, two}
	}
	return []fault{one}
}

func (s *schedule) draw(k *kind) fault {
	return fault{
		kind: k, target: s.r.IntN(apis + workers), all: s.r.IntN(2) == 0,
		lasts: k.least + time.Duration(s.r.Int64N(int64(k.most-k.least)+1)),
	}
}

// chosen are the kinds whose names match the expression.
func chosen(t *testing.T, expression string) (found []*kind) {
	t.Helper()
	names, err := regexp.Compile(expression)
	if err != nil {
		t.Fatalf("-chaos.only: %v", err)
	}
	for _, k := range kinds {
		if names.MatchString(k.name) {
			found = append(found, k)
		}
	}
	if len(found) == 0 {
		t.Fatalf("-chaos.only: no fault is called %s", expression)
	}
	return found
}
