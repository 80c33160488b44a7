package main

import "testing"

// redundant rules are those that others make up for.
var redundant = map[string]bool{"claimed-again rule off": true, "M3 Pairs off (freeze)": true}

// quick is what a test has time for where nothing is to be found: states of one experiment.
const quick = 40_000

// The quick half of the table: every rule that matters is missed when it is off, and with all of them on nothing is found.
func TestExperiments(t *testing.T) {
	for i := range experiments {
		e := &experiments[i]
		if e.slow || e.base != (Rules{}) || !e.mutated() && (e.faults > 1 || len(e.only) > 5) {
			continue
		}
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			limit := quick
			if e.mutated() {
				limit *= 10
			}
			c := e.cfg()
			r := c.explore(limit, true)
			if found := len(r.Found) > 0; found != (e.mutated() && !redundant[e.name]) {
				t.Errorf("found: %s", r.summary())
			}
		})
	}
}
