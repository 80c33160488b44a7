package usecase

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// How long something may fail before the program is not ready, and how long a failure
// that nobody has repeated says something of now.
const (
	workTolerance  = 5 * time.Second
	sweepTolerance = time.Minute
	experienceAge  = 10 * time.Second
)

var (
	// needed is the work without which no task is submitted, or none runs.
	needed = []application.Loop{application.CallSubmit, application.LoopPull, application.LoopClaim, application.LoopHeartbeat}
	// sweeps repeat at least every minute, whatever became of the last one.
	sweeps = []application.Loop{application.SweepDue, application.SweepStranded, application.SweepOrphaned,
		application.SweepWorkers, application.SweepKeys, application.SweepBulk}
	// tidying is the sweeps without which tasks run all the same: what is purged late is kept
	// for longer.
	tidying = []application.Loop{application.SweepPurge, application.SweepStatistics}
	// helpful is the other work without which tasks run all the same: outcomes are kept while they
	// cannot be saved, and signals are hints. What is saved may be one task whose row is locked.
	helpful = []application.Loop{application.LoopSave, application.LoopGiveBack, application.LoopListen, application.LoopWait}
)

// Experience is what the work of a program has last experienced: the time since when each
// loop and each kind of call fails. Readiness is made of it, because a server that answers
// a probe may still refuse the work.
type Experience struct {
	mu      sync.Mutex
	failing map[application.Loop]failing
}

type failing struct {
	since, last time.Time
	times       int
	err         error // the last one
}

var _ application.Experience = (*Experience)(nil)

// NewExperience makes one that has experienced nothing.
func NewExperience() *Experience { return &Experience{failing: map[application.Loop]failing{}} }

// Note notes a result.
func (x *Experience) Note(loop application.Loop, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err == nil {
		delete(x.failing, loop)
		return
	}
	now := time.Now()
	f, was := x.failing[loop]
	if !was || stale(loop, f, now) {
		f = failing{since: now}
	}
	f.last, f.err = now, err
	f.times++
	x.failing[loop] = f
}

// isSweep reports whether the loop is a sweep, which is always repeated.
func isSweep(loop application.Loop) bool {
	return slices.Contains(sweeps, loop) || slices.Contains(tidying, loop)
}

// stale reports whether the failure says nothing of now.
func stale(loop application.Loop, f failing, now time.Time) bool {
	return !isSweep(loop) && now.Sub(f.last) > experienceAge
}

// Needed fails while work fails without which the program is not ready.
func (x *Experience) Needed() application.Probe {
	return experienceOf{x, slices.Concat(needed, sweeps)}
}

// Helpful fails while other work fails.
func (x *Experience) Helpful() application.Probe {
	return experienceOf{x, slices.Concat(helpful, tidying)}
}

// experienceOf is a probe of some loops.
type experienceOf struct {
	*Experience
	loops []application.Loop
}

// Probe returns why the first of the loops fails that has failed for too long.
func (x experienceOf) Probe(context.Context) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := time.Now()
	for _, loop := range x.loops {
		f, ok := x.failing[loop]
		tolerance := workTolerance
		if isSweep(loop) {
			tolerance = sweepTolerance
		}
		if !ok || stale(loop, f, now) || f.times < 2 || now.Sub(f.since) < tolerance {
			continue
		}
		why := application.ReasonOf(f.err)
		if why != "" {
			why = ": " + why
		}
		return domain.Errorf(domain.CodeUnavailable, "%s has failed for %s%s", inWords(loop), now.Sub(f.since).Round(time.Second), why)
	}
	return nil
}

// workInWords is the work whose name alone does not say what it is for.
var workInWords = map[application.Loop]string{
	application.LoopSave: "saving outcomes", application.LoopListen: "listening for signals",
	application.LoopWait: "reading for waiting requests", application.SweepDue: "the sweep of due tasks",
	application.SweepStranded: "the sweep of stranded tasks", application.SweepOrphaned: "the sweep of orphaned tasks",
	application.SweepWorkers: "the sweep of silent workers", application.SweepKeys: "the sweep of expired idempotency keys",
	application.SweepBulk: "the sweep of bulk actions", application.SweepPurge: "the purge of expired tasks",
	application.SweepStatistics: "the sweep of old statistics",
}

// inWords names the work for operators.
func inWords(loop application.Loop) string {
	if words, ok := workInWords[loop]; ok {
		return words
	}
	return string(loop)
}

// ExperiencedEvents notes the results of loops, and passes all events on.
type ExperiencedEvents struct {
	application.Events
	experience *Experience
}

// NewExperiencedEvents decorates next.
func NewExperiencedEvents(next application.Events, x *Experience) *ExperiencedEvents {
	return &ExperiencedEvents{next, x}
}

// LoopRan notes the result.
func (e *ExperiencedEvents) LoopRan(ctx context.Context, loop application.Loop, err error) {
	e.experience.Note(loop, err)
	e.Events.LoopRan(ctx, loop, err)
}
