package contract

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

const (
	// observerInterval is short, so that a check sees an unbroken heartbeat soon, and
	// so much longer than a beat takes that a busy machine keeps it up.
	observerInterval = 300 * time.Millisecond
	// patience bounds what has to come true at some time: only a hang takes longer.
	patience = 2 * time.Minute
)

// observing is a worker in whose name a check observes leases.
type observing struct {
	s        Store
	observer application.Observer
	number   int64
	holds    []application.HeldAttempt
}

func newObserver(s Store, lease time.Duration) *observing {
	return &observing{s: s, observer: application.Observer{Worker: domain.NewWorkerID(), Interval: observerInterval, Lease: lease}}
}

func (j *observing) step(ctx context.Context, b application.SweepBatch) (application.SweepResult, error) {
	return j.s.Dispatch.Orphaned(ctx, j.observer, b)
}

// beat sends the observer's next beat.
func (j *observing) beat(t *testing.T) {
	t.Helper()
	j.number++
	b := beatOf(t, j.observer.Worker, j.number, observerInterval)
	b.Held = j.holds
	beat(t, j.s, b)
}

// untilFound beats and observes until something is found.
func (j *observing) untilFound(t *testing.T, b application.SweepBatch, others ...func()) application.SweepResult {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(observerInterval / 10) {
		for _, other := range others {
			other()
		}
		j.beat(t)
		if swept := step(j.step).must(t, b); swept.Found > 0 {
			return swept
		}
	}
	t.Fatalf("nothing was found orphaned within %v", patience)
	return application.SweepResult{}
}

// rescue is what a sweep for orphaned tasks does, as of one moment.
func rescue(at time.Time) application.Decide {
	return func(task *domain.Task) error { return task.Rescue(domain.RetryPolicy{MaxRescues: 3}, at) }
}

func orphanedUnknown(t *testing.T, s Store) {
	j := newObserver(s, time.Minute)
	lost := []*domain.Task{
		addMade(t, s, heldBy("unknown", 1)), addMade(t, s, heldBy("unknown", 9)), addMade(t, s, heldBy("nobody", 1), askedToStop),
		addMade(t, s, heldBy("unknown", 1), func(s *domain.TaskState) { s.Attempt, s.Rescues = 3, 2 }),
	}
	alive := enlist(t, s)
	kept := []*domain.Task{
		addMade(t, s, heldBy(alive, 1)), addMade(t, s, heldBy(alive, 1), overdue), // a deadline is not asked about here
		addMade(t, s), addMade(t, s, waiting(now())), addMade(t, s, ended(domain.StatusFailed)), addMade(t, s, ended(domain.StatusCompleted)),
	}
	b := application.SweepBatch{Limit: 100, Decide: rescue(now().Add(time.Second))}
	wantSwept(t, s, j.untilFound(t, b), b.Decide, lost...)
	for _, task := range kept {
		wantStored(t, s, task.State())
	}
}

func orphanedBounded(t *testing.T, s Store) {
	j := newObserver(s, time.Minute)
	addMany(t, s, 7, heldBy("unknown", 1))
	refusal := errors.New("not this one")
	var refused domain.TaskID
	at := now()
	b := application.SweepBatch{Limit: 3, Decide: func(task *domain.Task) error {
		if refused == (domain.TaskID{}) {
			refused = task.ID()
		}
		if task.ID() == refused {
			return refusal
		}
		return rescue(at)(task)
	}}
	first := j.untilFound(t, b)
	if first.Found != 3 || len(first.Changed) != 2 || !errors.Is(first.Passed[refused], refusal) || len(first.Passed) != 1 {
		t.Errorf("first step: found %d, changed %d, passed over %v", first.Found, len(first.Changed), first.Passed)
	}
	if got := get(t, s, refused); got.Status() != domain.StatusProcessing || got.Version() != 2 {
		t.Errorf("the refused task is %s at version %d", got.Status(), got.Version())
	}
	b.Except = []domain.TaskID{refused}
	second := j.untilFound(t, b)
	if second.Found != 3 || len(second.Changed) != 3 || len(second.Passed) > 0 {
		t.Errorf("second step: found %d, changed %d, passed over %v", second.Found, len(second.Changed), second.Passed)
	}
	b.Limit = 100
	third := j.untilFound(t, b)
	if third.Found != 1 || len(third.Changed) != 1 || len(third.Passed) > 0 {
		t.Errorf("third step: found %d, changed %d, passed over %v", third.Found, len(third.Changed), third.Passed)
	}
}

func orphanedLapsed(t *testing.T, s Store) {
	const lease = 2 * time.Second
	j := newObserver(s, lease)
	dead, alive := domain.NewWorkerID(), domain.NewWorkerID()
	start := time.Now()
	beat(t, s, beatOf(t, dead, 1, longInterval)) // its lease counts, not its interval
	lost := addMade(t, s, heldBy(dead, 1))
	living, own := addMade(t, s, heldBy(alive, 1)), addMade(t, s, heldBy(j.observer.Worker, 1))
	j.holds = running(own)
	b := application.SweepBatch{Limit: 100, Decide: rescue(now().Add(time.Minute))}
	swept := j.untilFound(t, b, func() {
		renewal := beatOf(t, alive, j.number+1, longInterval)
		renewal.Held = running(living)
		beat(t, s, renewal)
	})
	if early := lease - time.Since(start); early > 0 {
		t.Errorf("found orphaned %v before its lease could lapse", early)
	}
	wantSwept(t, s, swept, b.Decide, lost)
	wantStored(t, s, living.State())
	wantStored(t, s, own.State())
}

func orphanedUnknownObserver(t *testing.T, s Store) {
	lost := addMade(t, s, heldBy("unknown", 1))
	enlist(t, s)
	j := newObserver(s, time.Minute)
	b := application.SweepBatch{Limit: 100, Decide: rescue(now())}
	wantSwept(t, s, step(j.step).must(t, b), b.Decide)
	j.beat(t) // a single beat shows nothing yet
	wantSwept(t, s, step(j.step).must(t, b), b.Decide)
	wantSwept(t, s, j.untilFound(t, b), b.Decide, lost)
}

func orphanedBrokenObserver(t *testing.T, s Store) {
	lost := addMade(t, s, heldBy("unknown", 1))
	j := newObserver(s, time.Minute)
	refuse := application.SweepBatch{Limit: 100, Decide: func(*domain.Task) error { return errors.New("only looking") }}
	b := application.SweepBatch{Limit: 100, Decide: rescue(now())}
	j.untilFound(t, refuse)
	for range 3 { // the longer it has beaten, the less it may matter
		time.Sleep(2*observerInterval + 100*time.Millisecond)
		wantSwept(t, s, step(j.step).must(t, b), b.Decide) // its heartbeat is old
		j.beat(t)
		wantSwept(t, s, step(j.step).must(t, b), b.Decide) // young, but with a gap
	}
	j.number -= 2 // beats that came late mend nothing
	j.beat(t)
	wantSwept(t, s, step(j.step).must(t, b), b.Decide)
	j.number++
	wantSwept(t, s, j.untilFound(t, b), b.Decide, lost)
}

func orphanedRace(t *testing.T, s Store) {
	const count = 100
	addMany(t, s, count, heldBy("unknown", 1))
	j := newObserver(s, time.Minute)
	j.untilFound(t, application.SweepBatch{Limit: 1, Decide: func(*domain.Task) error { return errors.New("only looking") }})
	ctx, stop := context.WithCancel(t.Context())
	var beating sync.WaitGroup
	beating.Go(func() { // Fatal would end the wrong goroutine: a failed beat shows in the sweeps
		for number := j.number + 1; ctx.Err() == nil; number++ {
			_, _ = s.Workers.Beat(ctx, beatOf(t, j.observer.Worker, number, observerInterval))
			time.Sleep(observerInterval / 10)
		}
	})
	wantEachOnce(t, "orphaned", j.step, rescue(now().Add(time.Second)), count)
	stop()
	beating.Wait()
}
