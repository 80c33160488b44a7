package main

import "testing"

// redundant are rules that the others make up for.
var redundant = map[string]bool{"claimed-again rule off": true, "M3 Pairs off (freeze)": true}

// quick is what a test has time for: states of one experiment.
const quick = 150_000

// The quick half of the table: nothing is found where all rules are on, and every rule that matters is missed when it is off.
func TestExperiments(t *testing.T) {
	for i := range experiments {
		e := &experiments[i]
		if e.base != (Rules{}) && e.base != waiting || !e.mutated() && (e.faults > 1 || len(e.only) > 5) {
			continue
		}
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			c := e.cfg()
			r := c.explore(quick, true)
			wrong := e.base == waiting || e.mutated() && !redundant[e.name]
			if len(r.Found) == 0 && wrong && !r.Cut || len(r.Found) > 0 && !wrong {
				t.Errorf("found: %s", r.summary())
			}
		})
	}
}
