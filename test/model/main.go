// The model checks the protocol of claims, heartbeats and sweeps: it visits every
// state that a small system can reach, with every interleaving and a bounded number
// of faults, and looks for violated properties. It knows none of the code that it
// is a model of. docs/model.md says what is in it, and what it has found.
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
)

// scope is what the flags start from.
func scope(name string) (Cfg, error) {
	c := Cfg{
		T: 1, W: 2, MaxFaults: 2, Cancels: 1, Stops: 1, Reopens: 1, Holds: 1, MaxFail: 2, MaxResc: 2,
		Dl: 2, Lease: 4, Slots: 2, JudgeWait: 2, LocalBeats: 2,
	}
	switch name {
	case "one": // one task, everything
	case "two": // two tasks
		c.T, c.MaxFaults, c.Reopens, c.Batch = 2, 1, 0, true
	case "split":
		c.Split, c.Cancels, c.Reopens = true, 0, 0
	case "big": // for the random walk
		c.T, c.W, c.MaxFaults, c.Cancels, c.Stops, c.Reopens, c.Holds, c.MaxResc, c.Batch = 3, 3, 4, 2, 2, 2, 2, 3, true
	default:
		return c, fmt.Errorf("no such scope: %s", name)
	}
	return c, nil
}

func main() {
	name := flag.String("scope", "one", "one, two, split, big")
	off := flag.String("off", "", "rules to switch off, comma separated")
	faults := flag.Int("faults", -1, "bound on faults")
	limit := flag.Int("limit", 40_000_000, "bound on states")
	walks := flag.Int("walks", 0, "random walks instead of exploring all")
	walkSeed := flag.Uint64("seed", 1, "of the random walk")
	quiet := flag.Bool("q", false, "no interleavings")
	experiment := flag.String("table", "-", "run the experiments whose name contains this, print their table")
	flag.Parse()
	if *experiment != "-" {
		runAll(*experiment, *limit, !*quiet)
		return
	}
	c, err := scope(*name)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	c.Rules = present.without(*off)
	if *faults >= 0 {
		c.MaxFaults = uint8(*faults)
	}
	var r *Result
	if *walks > 0 {
		r = c.walk(*walks, rand.New(rand.NewPCG(*walkSeed, 0)))
	} else {
		r = c.explore(*limit, true)
	}
	fmt.Printf("scope=%s tasks=%d workers=%d faults<=%d off=%s: %d states, %d edges, depth %d, %.1fs: %s\n",
		*name, c.T, c.W, c.MaxFaults, *off, r.States, r.Edges, r.Depth, r.Took.Seconds(), r.summary())
	for _, f := range r.Found {
		if !*quiet {
			f.print()
		}
	}
}
