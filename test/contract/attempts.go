package contract

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var attemptChecks = map[string]check{
	"SaveRecordsEndedAttempts":        attemptsOfSaves,
	"SaveRecordsAllThatHaveEnded":     attemptsOfOneSave,
	"SaveThatIsRefusedRecordsNothing": attemptsOfARefusedSave,
	"SaveRecordsItsOwnAttemptOnly":    attemptsOfARace,
	"SaveOfADoubledRecordSucceeds":    attemptsDoubled,
	"AttemptsAreTheLatestByNumber":    attemptsLatest,
	"AttemptsOfAnUnknownTaskAreNone":  attemptsUnknown,
	"BeatRecordsWhatItGivesBack":      attemptsOfBeats,
	"OrphanedRecordsLostAttempts":     attemptsOfRescues,
}

// retries is the policy of attempts that fail in these checks.
var retries = domain.RetryPolicy{Base: time.Minute, Cap: time.Hour, MaxRescues: 100}

// wantAttempts checks the records of a task, in order, and that their times are UTC.
func wantAttempts(t *testing.T, s Store, id domain.TaskID, want ...domain.Attempt) {
	t.Helper()
	got, err := s.Tasks.Attempts(t.Context(), id)
	if err != nil {
		t.Fatalf("attempts of %s: %v", id, err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("attempts of %s (-want +got):\n%s", id, diff)
	}
	for _, a := range got {
		if a.StartedAt.Location() != time.UTC || a.EndedAt.Location() != time.UTC {
			t.Errorf("attempt %d: %v to %v, which is not in UTC", a.Number, a.StartedAt, a.EndedAt)
		}
	}
}

// endings are the ways in which an attempt ends without success.
var endings = map[domain.AttemptOutcome]func(task *domain.Task, at time.Time) error{
	domain.OutcomeFailed: func(task *domain.Task, at time.Time) error {
		return task.Fail(task.Attempt(), domain.Failure{Reason: "disk \U0001F4A5 'full'\n" + strings.Repeat("é", 2000)}, retries, 0.5, at)
	},
	domain.OutcomeReleased: func(task *domain.Task, at time.Time) error { return task.Release(task.Attempt(), at) },
	domain.OutcomeLost:     func(task *domain.Task, at time.Time) error { return task.Rescue(retries, at) },
	domain.OutcomeStopped: func(task *domain.Task, at time.Time) error {
		return errors.Join(task.RequestStop(at), task.Release(task.Attempt(), at))
	},
}

func attemptsOfSaves(t *testing.T, s Store) {
	for outcome, end := range endings {
		task := addMade(t, s, tried(11), heldBy("worker 'one'", 1))
		neighbor := addMade(t, s, heldBy("w", 1))
		at := now().Add(time.Hour)
		if err := errors.Join(end(task, at), s.Tasks.Save(t.Context(), task)); err != nil {
			t.Fatalf("%s: %v", outcome, err)
		}
		if len(task.EndedAttempts()) > 0 {
			t.Errorf("%s: after the save the task has still to be told of", outcome)
		}
		state := task.State()
		wantStored(t, s, state)
		wantAttempts(t, s, task.ID(), domain.Attempt{
			Number: 12, Worker: "worker 'one'", StartedAt: state.StartedAt, EndedAt: at, Outcome: outcome, Error: state.LastError,
		})
		wantAttempts(t, s, neighbor.ID())
	}
	// Success, and all that ends no attempt, has no record.
	task := addMade(t, s)
	for _, change := range []func() error{
		func() error { return task.Claim(domain.Claim{Worker: "w"}, now()) },
		func() error { return task.RequestStop(now()) },
		func() error { return task.Complete(1, "done", now()) },
	} {
		if err := errors.Join(change(), s.Tasks.Save(t.Context(), task)); err != nil {
			t.Fatal(err)
		}
		wantAttempts(t, s, task.ID())
	}
}

// attempt claims the task and ends that attempt, in memory.
func attempt(t *testing.T, task *domain.Task, end func(task *domain.Task, at time.Time) error) {
	t.Helper()
	at := task.State().RunAt.Add(time.Second)
	if err := errors.Join(
		task.MarkQueued(at),
		task.Claim(domain.Claim{Worker: domain.WorkerID(fmt.Sprint("worker ", task.Attempt()))}, at),
		end(task, at.Add(time.Second)),
	); err != nil {
		t.Fatalf("attempt %d: %v", task.Attempt(), err)
	}
}

func attemptsOfOneSave(t *testing.T, s Store) {
	task := addMade(t, s, func(s *domain.TaskState) { s.MaxAttempts = 100 })
	var want []domain.Attempt
	for _, batch := range []int{3, 1, 7, 2} {
		for i := range batch {
			attempt(t, task, endings[[]domain.AttemptOutcome{domain.OutcomeReleased, domain.OutcomeFailed, domain.OutcomeLost}[i%3]])
		}
		want = append(want, task.EndedAttempts()...)
		if err := s.Tasks.Save(t.Context(), task); err != nil {
			t.Fatal(err)
		}
		wantAttempts(t, s, task.ID(), want...)
	}
	if len(want) != 13 {
		t.Errorf("%d attempts, want 13", len(want))
	}
}

func attemptsOfARefusedSave(t *testing.T, s Store) {
	id := addMade(t, s, heldBy("w", 1)).ID()
	early, late := get(t, s, id), get(t, s, id)
	at := now().Add(time.Second)
	if err := early.Release(1, at); err != nil {
		t.Fatal(err)
	}
	want := slices.Clone(early.EndedAttempts())
	if err := errors.Join(s.Tasks.Save(t.Context(), early), early.MarkQueued(at), early.Claim(domain.Claim{Worker: "next"}, at),
		s.Tasks.Save(t.Context(), early)); err != nil {
		t.Fatal(err)
	}
	stranger := makeTask(t, heldBy("w", 1))
	for name, x := range map[string]struct {
		task *domain.Task
		want error
	}{"stale": {late, domain.ErrConflict}, "unknown": {stranger, domain.ErrTaskNotFound}} {
		if err := endings[domain.OutcomeFailed](x.task, at); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := s.Tasks.Save(t.Context(), x.task); !errors.Is(err, x.want) {
				t.Errorf("save of a task that is %s: %v, want %v", name, err, x.want)
			}
		}
		if len(x.task.EndedAttempts()) != 1 {
			t.Errorf("%s: a refused save has made the task forget its attempt", name)
		}
	}
	wantAttempts(t, s, id, want...)
	wantAttempts(t, s, stranger.ID())
	// Nor do later numbers come in by a version that is past.
	attempt(t, late, endings[domain.OutcomeReleased])
	if err := s.Tasks.Save(t.Context(), late); !errors.Is(err, domain.ErrConflict) {
		t.Errorf("save of two attempts of a stale version: %v, want ErrConflict", err)
	}
	wantAttempts(t, s, id, want...)
}

func attemptsOfARace(t *testing.T, s Store) {
	const rounds, racers = 10, 8
	for range rounds {
		id := addMade(t, s, heldBy("w", 1)).ID()
		var want atomic.Pointer[[]domain.Attempt]
		var all sync.WaitGroup
		start := make(chan struct{})
		for i := range racers {
			task := get(t, s, id)
			if err := task.Fail(1, domain.Failure{Reason: fmt.Sprint("racer ", i)}, retries, 0, now().Add(time.Second)); err != nil {
				t.Fatal(err)
			}
			mine := slices.Clone(task.EndedAttempts())
			all.Go(func() {
				<-start
				switch err := s.Tasks.Save(t.Context(), task); {
				case err == nil:
					want.Store(&mine)
				case !errors.Is(err, domain.ErrConflict):
					t.Errorf("save of a racer: %v, want ErrConflict", err)
				}
			})
		}
		close(start)
		all.Wait()
		if want.Load() == nil {
			t.Fatal("no save won")
		}
		wantAttempts(t, s, id, *want.Load()...)
	}
}

// A record of the same number can only be there by somebody's hand. The first
// stays, and the task goes on.
func attemptsDoubled(t *testing.T, s Store) {
	task := addMade(t, s, heldBy("w", 1))
	if err := task.Release(1, now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	want := slices.Clone(task.EndedAttempts())
	if err := s.Tasks.Save(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	s.Double(t, task.ID())
	doubled := want[0]
	doubled.Number++
	attempt(t, task, endings[domain.OutcomeFailed])
	attempt(t, task, endings[domain.OutcomeReleased])
	want = append(want, doubled, task.EndedAttempts()[1])
	if err := s.Tasks.Save(t.Context(), task); err != nil {
		t.Errorf("save: %v", err)
	}
	wantStored(t, s, task.State())
	wantAttempts(t, s, task.ID(), want...)
}

func attemptsLatest(t *testing.T, s Store) {
	task := addMade(t, s)
	for range application.MaxAttemptRecords {
		attempt(t, task, endings[domain.OutcomeReleased])
	}
	first := slices.Clone(task.EndedAttempts())
	if err := s.Tasks.Save(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	wantAttempts(t, s, task.ID(), first...)
	for range 3 {
		attempt(t, task, endings[domain.OutcomeReleased])
	}
	later := slices.Clone(task.EndedAttempts())
	if err := s.Tasks.Save(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	wantAttempts(t, s, task.ID(), append(first[3:], later...)...)
}

func attemptsUnknown(t *testing.T, s Store) {
	wantAttempts(t, s, makeTask(t).ID())
	task := addMade(t, s, heldBy("w", 1))
	if err := errors.Join(task.Release(1, now()), s.Tasks.Save(t.Context(), task)); err != nil {
		t.Fatal(err)
	}
	wantAttempts(t, s, makeTask(t).ID())
}

// wantRecorded checks that the store has the record of the attempt which decide
// ends, and no other.
func wantRecorded(t *testing.T, s Store, task *domain.Task, decide application.Decide, outcome domain.AttemptOutcome) {
	t.Helper()
	want := task.Clone()
	if err := decide(want); err != nil {
		t.Fatal(err)
	}
	if got := want.EndedAttempts(); len(got) != 1 || got[0].Outcome != outcome {
		t.Fatalf("decided: %+v, want one that is %s", got, outcome)
	}
	wantAttempts(t, s, task.ID(), want.EndedAttempts()...)
}

func attemptsOfBeats(t *testing.T, s Store) {
	worker := enlist(t, s)
	orphans := addMany(t, s, 3, tried(4), heldBy(worker, 1))
	stopped := addMade(t, s, heldBy(worker, 1), askedToStop)
	late, lateAndStopped := addMade(t, s, heldBy(worker, 1), overdue), addMade(t, s, heldBy(worker, 1), overdue, askedToStop)
	kept, refused := addMade(t, s, heldBy(worker, 1)), addMade(t, s, heldBy(worker, 1))
	at := now().Add(time.Second)
	b := beatOf(t, worker, 2, longInterval)
	b.Held, b.TimeOut = running(late, lateAndStopped, kept), timedOut(at)
	b.Release = func(task *domain.Task) error {
		if task.ID() == refused.ID() {
			return errors.New("not this one")
		}
		return released(at)(task)
	}
	for range 2 { // the second finds nothing more to record
		beat(t, s, b)
		for _, task := range orphans {
			wantRecorded(t, s, task, b.Release, domain.OutcomeReleased)
		}
		wantRecorded(t, s, stopped, b.Release, domain.OutcomeStopped)
		wantRecorded(t, s, late, b.TimeOut, domain.OutcomeFailed)
		wantRecorded(t, s, lateAndStopped, b.TimeOut, domain.OutcomeStopped)
		wantAttempts(t, s, kept.ID())
		wantAttempts(t, s, refused.ID())
		b.Number++
	}
}

func attemptsOfRescues(t *testing.T, s Store) {
	j := newObserver(s, time.Minute)
	lost := addMany(t, s, 3, tried(4), heldBy("unknown", 1))
	stopped := addMade(t, s, heldBy("unknown", 1), askedToStop)
	refused := addMade(t, s, heldBy("unknown", 1))
	decide := rescue(now().Add(time.Second))
	swept := j.untilFound(t, application.SweepBatch{Limit: 100, Decide: func(task *domain.Task) error {
		if task.ID() == refused.ID() {
			return errors.New("not this one")
		}
		return decide(task)
	}})
	for _, task := range swept.Changed {
		if len(task.EndedAttempts()) > 0 {
			t.Errorf("task %s comes back with attempts that are stored already", task.ID())
		}
	}
	for _, task := range lost {
		wantRecorded(t, s, task, decide, domain.OutcomeLost)
	}
	wantRecorded(t, s, stopped, decide, domain.OutcomeStopped)
	wantAttempts(t, s, refused.ID())
}
