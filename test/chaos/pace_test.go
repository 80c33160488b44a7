package chaos

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// usual is what the quickest of several tasks takes from its submission to its end
// on the machines that the limits of this package were set on, or more.
const usual = 50 * time.Millisecond

// The sampler measures the machine as well, all the time and past Millrace:
// usually nine in ten take no longer than that.
const (
	sampleInterval = 20 * time.Millisecond
	usualSample    = 30 * time.Millisecond
)

// pace is how many times slower than usual this machine is, at least 1. The limits
// are multiplied by it: they are about what a fault costs, and not about the machine.
type pace float64

func (p pace) stretch(limit time.Duration) time.Duration {
	return time.Duration(float64(limit) * max(1, float64(p)))
}

// muchSlower is the pace from which on rescue and refill have no limit but that of
// a hang: tasks may wait in line then, and what was forgotten is only looked for
// once the line has moved on to what came after it.
const muchSlower = 1.5

// onward is how long what a fault has stranded may take to go on.
func (p pace) onward(limit time.Duration) time.Duration {
	if limit > 0 && p > muchSlower {
		return settleLimit
	}
	return p.stretch(limit)
}

// measurePace sends tasks through while nothing is broken. Of several times the
// slowest counts: other programs come and go.
func (r *run) measurePace(when string) {
	r.t.Helper()
	random := rand.New(rand.NewPCG(r.seed, 7_000_000))
	quickest := settleLimit
	for n := range 8 {
		s := r.submitPace(when, n, random)
		if !r.awaitEnd(s.ids[0], s.sent.Add(settleLimit)) {
			r.t.Fatalf("a task has not ended within %s, %s the faults", settleLimit, when)
		}
		quickest = min(quickest, time.Since(s.sent))
	}
	r.pace = max(r.pace, pace(float64(quickest)/float64(usual)))
	r.t.Logf("%s the faults a task takes %s at least: limits are multiplied by %.1f", when, quickest.Round(time.Millisecond), max(1, float64(r.pace)))
}

// submitPace submits a task, again and again: a machine that is slow refuses some.
func (r *run) submitPace(when string, n int, random *rand.Rand) *submission {
	r.t.Helper()
	for end, try := time.Now().Add(settleLimit), 0; time.Now().Before(end); try++ {
		s := single(fmt.Sprintf("pace %s, task %d, try %d", when, n, try))
		if r.load.submit(s, random, settleLimit) {
			return s
		}
		time.Sleep(20 * time.Millisecond)
	}
	r.t.Fatalf("no task was accepted within %s, %s the faults", settleLimit, when)
	return nil
}

// measureSamples takes into account how slow the machine was while things were broken.
func (r *run) measureSamples() {
	slow := r.running.slow()
	r.pace = max(r.pace, pace(float64(slow)/float64(usualSample)))
	r.t.Logf("a sample took %s: limits are multiplied by %.1f", slow.Round(time.Millisecond), max(1, float64(r.pace)))
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
