package chaos

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// usual is what the quickest of several tasks takes from its submission to its end
// on the machines that the limits of this package were set on, or more.
const usual = 50 * time.Millisecond

// pace is how many times slower than usual this machine is, at least 1. The limits
// are multiplied by it: they are about what a fault costs, and not about the machine.
type pace float64

func (p pace) stretch(limit time.Duration) time.Duration {
	return time.Duration(float64(limit) * max(1, float64(p)))
}

// measurePace sends tasks through while nothing is broken.
func (r *run) measurePace() {
	r.t.Helper()
	random := rand.New(rand.NewPCG(r.seed, 7_000_000))
	quickest := settleLimit
	for n := range 8 {
		s, begun := single(fmt.Sprintf("pace %d", n)), time.Now()
		if !r.load.submit(s, random, settleLimit) {
			r.t.Fatal("no task was accepted before anything was broken")
		}
		if !r.awaitEnd(s.ids[0], begun.Add(settleLimit)) {
			r.t.Fatalf("a task has not ended within %s, before anything was broken", settleLimit)
		}
		quickest = min(quickest, time.Since(begun))
	}
	r.pace = pace(float64(quickest) / float64(usual))
	r.t.Logf("a task takes %s at least: limits are multiplied by %.1f", quickest.Round(time.Millisecond), max(1, float64(r.pace)))
}

// awaitEnd waits until the task is completed or canceled, and reports whether it was in time.
func (r *run) awaitEnd(id string, end time.Time) bool {
	r.t.Helper()
	for time.Now().Before(end) {
		if number(r.t, r.direct, "SELECT count(*) FROM tasks WHERE id = $1 AND status IN ('completed', 'canceled')", id) == 1 {
			return true
		}
		time.Sleep(20 * time.Millisecond)
	}
	return false
}
