package contract

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var workerChecks = map[string]check{
	"BeatWithALowerNumberRenewsNothing": beatLowerRenewsNothing,
	"BeatDeliveredTwiceRenewsOnce":      beatEqualRenewsNothing,
	"BeatGivesBackWhatItDoesNotList":    beatGivesBack,
	"BeatWithALowerNumberGivesBackToo":  beatLowerGivesBack,
	"BeatGivesBackAnUnlistedAttempt":    beatUnlistedAttempt,
	"BeatStoresNothingRefused":          beatRefused,
	"BeatCancelsWhatWasAskedToStop":     beatGivesBackStopped,
	"BeatTimesOutWhatIsOverdue":         beatTimesOut,
	"BeatTimesOutWhenTheDeadlinePasses": beatDeadlinePasses,
	"BeatTimesOutByTheDeadlineAlone":    beatDeadlineEdge,
	"BeatTakesAnAttemptListedTwiceOnce": beatListedTwice,
	"BeatGivesUpWhatIsListedAsGivenUp":  beatGivesUp,
	"BeatNamesWhatItGaveBack":           beatNamesGivenBack,
	"BeatNamesLostAttempts":             beatNamesLost,
	"BeatNamesAttemptsToStop":           beatNamesStop,
	"BeatsAtTheSameTimeAllSucceed":      beatConcurrently,
	"LeaveForgetsAWorker":               leaveForgets,
	"LeaveKeepsAWorkerThatHoldsTasks":   leaveKeepsHolders,
	"ForgetRemovesWorkersLongSilent":    forgetSilent,
	"ForgetKeepsAWorkerThatOwnsTasks":   forgetKeepsOwners,
	"ForgottenWorkersRegisterAgain":     forgottenRegisters,
}

// released is what a beat's Release does in these checks, as of one moment.
func released(at time.Time) application.Decide {
	return func(task *domain.Task) error { return task.Release(task.Attempt(), at) }
}

// timedOut is what a beat's TimeOut does in these checks, as of one moment.
func timedOut(at time.Time) application.Decide {
	return func(task *domain.Task) error {
		return task.Fail(task.Attempt(), domain.Failure{Reason: "still running"}, domain.RetryPolicy{Base: time.Minute, Cap: time.Hour}, 0.5, at)
	}
}

// wantDecided checks that the store has the task as decide leaves it.
func wantDecided(t *testing.T, s Store, task *domain.Task, decide application.Decide) {
	t.Helper()
	want := task.Clone()
	if err := decide(want); err != nil {
		t.Fatal(err)
	}
	wantStored(t, s, want.State())
}

// wantAnswer checks an answer in which the order means nothing. What was given back has a
// check of its own.
func wantAnswer(t *testing.T, got, want application.BeatAnswer) {
	t.Helper()
	got.GaveBack = nil
	got.Lost, got.Stop, want.Lost, want.Stop = sortRefs(got.Lost), sortRefs(got.Stop), sortRefs(want.Lost), sortRefs(want.Stop)
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
}

func beatLowerRenewsNothing(t *testing.T, s Store) {
	const interval = 400 * time.Millisecond
	worker := domain.NewWorkerID()
	beat(t, s, beatOf(t, worker, 5, interval))
	time.Sleep(2*interval + 100*time.Millisecond)
	beat(t, s, beatOf(t, worker, 4, interval))
	wantStale(t, s, worker)
	beat(t, s, beatOf(t, worker, 4, longInterval))
	wantStale(t, s, worker)
	claimsAfterBeat(t, s, worker, 6, interval)
}

func beatEqualRenewsNothing(t *testing.T, s Store) {
	const interval = 400 * time.Millisecond
	worker := domain.NewWorkerID()
	first := beatOf(t, worker, 5, interval)
	beat(t, s, first)
	time.Sleep(2*interval + 100*time.Millisecond)
	beat(t, s, first)
	wantStale(t, s, worker)
	beat(t, s, beatOf(t, worker, 5, longInterval))
	wantStale(t, s, worker)
	claimsAfterBeat(t, s, worker, 6, interval)
}

// giveBackTasks stores tasks of a worker, claimed around beat 7.
type giveBackTasks struct {
	unlisted, listed, claiming, sameBeat, laterBeat, anothers *domain.Task
	b                                                         application.Beat
}

func storeGiveBackTasks(t *testing.T, s Store, worker domain.WorkerID, at time.Time) giveBackTasks {
	t.Helper()
	x := giveBackTasks{
		unlisted: addMade(t, s, heldBy(worker, 6)), listed: addMade(t, s, heldBy(worker, 6)), claiming: addMade(t, s, heldBy(worker, 6)),
		sameBeat: addMade(t, s, heldBy(worker, 7)), laterBeat: addMade(t, s, heldBy(worker, 8)), anothers: addMade(t, s, heldBy("another", 1)),
		b: beatOf(t, worker, 7, longInterval),
	}
	x.b.Held, x.b.Claiming, x.b.Release = running(x.listed), []domain.TaskID{x.claiming.ID(), makeTask(t).ID()}, released(at)
	return x
}

func (x giveBackTasks) check(t *testing.T, s Store) {
	t.Helper()
	wantDecided(t, s, x.unlisted, x.b.Release)
	for _, kept := range []*domain.Task{x.listed, x.claiming, x.sameBeat, x.laterBeat, x.anothers} {
		wantStored(t, s, kept.State())
	}
}

func beatGivesBack(t *testing.T, s Store) {
	worker := enlist(t, s)
	x := storeGiveBackTasks(t, s, worker, now().Add(time.Second))
	wantAnswer(t, beat(t, s, x.b), application.BeatAnswer{})
	x.check(t, s)
	wantAnswer(t, beat(t, s, x.b), application.BeatAnswer{}) // the same beat, delivered twice
	x.check(t, s)
}

func beatLowerGivesBack(t *testing.T, s Store) {
	worker := domain.NewWorkerID()
	beat(t, s, beatOf(t, worker, 9, longInterval))
	late, stopped := addMade(t, s, heldBy(worker, 6), overdue), addMade(t, s, heldBy(worker, 6), askedToStop)
	x := storeGiveBackTasks(t, s, worker, now().Add(time.Second))
	x.b.Held = append(x.b.Held, running(late, stopped)...)
	x.b.TimeOut = timedOut(now().Add(time.Second))
	wantAnswer(t, beat(t, s, x.b), application.BeatAnswer{
		Lost: []application.AttemptRef{refOf(late)}, Stop: []application.AttemptRef{refOf(stopped)},
	})
	x.check(t, s)
	wantDecided(t, s, late, x.b.TimeOut)
}

func beatUnlistedAttempt(t *testing.T, s Store) {
	worker := enlist(t, s)
	// Claimed again while its former attempt is still running: the answer to the second claim was lost.
	task := addMade(t, s, heldBy(worker, 1), func(s *domain.TaskState) { s.Attempt = 2 })
	former := application.AttemptRef{Task: task.ID(), Attempt: 1}
	b := beatOf(t, worker, 2, longInterval)
	b.Held, b.Release = []application.HeldAttempt{{AttemptRef: former, Running: true}}, released(now())
	wantAnswer(t, beat(t, s, b), application.BeatAnswer{Lost: []application.AttemptRef{former}})
	wantDecided(t, s, task, b.Release)
}

func beatRefused(t *testing.T, s Store) {
	worker := enlist(t, s)
	unlisted, late := addMade(t, s, heldBy(worker, 1)), addMade(t, s, heldBy(worker, 1), overdue)
	other := addMade(t, s, heldBy(worker, 1))
	b := beatOf(t, worker, 2, longInterval)
	at := now()
	b.Held = running(late)
	b.Release = func(task *domain.Task) error {
		if task.ID() == unlisted.ID() {
			return errors.New("not this one")
		}
		return released(at)(task)
	}
	b.TimeOut = func(*domain.Task) error { return errors.New("not now") }
	wantAnswer(t, beat(t, s, b), application.BeatAnswer{})
	wantStored(t, s, unlisted.State())
	wantStored(t, s, late.State())
	wantDecided(t, s, other, released(at)) // a refusal stops nothing else
}

func beatGivesBackStopped(t *testing.T, s Store) {
	worker := enlist(t, s)
	unlisted, late := addMade(t, s, heldBy(worker, 1), askedToStop), addMade(t, s, heldBy(worker, 1), askedToStop, overdue)
	b := beatOf(t, worker, 2, longInterval)
	b.Held, b.Release, b.TimeOut = running(late), released(now()), timedOut(now())
	wantAnswer(t, beat(t, s, b), application.BeatAnswer{Lost: []application.AttemptRef{refOf(late)}})
	wantDecided(t, s, unlisted, b.Release)
	wantDecided(t, s, late, b.TimeOut)
	for _, task := range []*domain.Task{unlisted, late} {
		if got := get(t, s, task.ID()).Status(); got != domain.StatusCanceled {
			t.Errorf("a task that was asked to stop is %s", got)
		}
	}
}

func beatTimesOut(t *testing.T, s Store) {
	worker := enlist(t, s)
	late, inTime := addMade(t, s, heldBy(worker, 1), overdue), addMade(t, s, heldBy(worker, 1))
	returned := addMade(t, s, heldBy(worker, 1), overdue) // its outcome is on its way
	claiming := addMade(t, s, heldBy(worker, 1), overdue)
	anothers := addMade(t, s, heldBy("another", 1), overdue)
	b := beatOf(t, worker, 2, longInterval)
	b.Held = append(running(late, inTime), application.HeldAttempt{AttemptRef: refOf(returned)})
	b.Claiming = idsOf([]*domain.Task{claiming})
	b.TimeOut = timedOut(now())
	wantAnswer(t, beat(t, s, b), application.BeatAnswer{Lost: []application.AttemptRef{refOf(late)}})
	wantDecided(t, s, late, b.TimeOut)
	for _, kept := range []*domain.Task{inTime, returned, claiming, anothers} {
		wantStored(t, s, kept.State())
	}
	// Listed again, by a worker that has not heard: still lost, and not charged twice.
	b.Number = 3
	wantAnswer(t, beat(t, s, b), application.BeatAnswer{Lost: []application.AttemptRef{refOf(late)}})
	wantDecided(t, s, late, b.TimeOut)
}

func beatDeadlinePasses(t *testing.T, s Store) {
	worker := enlist(t, s)
	deadline := now().Add(700 * time.Millisecond)
	task := addMade(t, s, heldBy(worker, 1), func(s *domain.TaskState) { s.Deadline = deadline })
	for number := int64(2); ; number++ {
		b := beatOf(t, worker, number, longInterval)
		b.Held, b.TimeOut = running(task), timedOut(now())
		before := time.Now()
		answer := beat(t, s, b)
		switch after := time.Now(); {
		case len(answer.Lost) > 0 && after.Before(deadline.Add(-100*time.Millisecond)):
			t.Fatalf("timed out %v before its deadline", deadline.Sub(after))
		case len(answer.Lost) > 0:
			wantDecided(t, s, task, b.TimeOut)
			return
		case before.After(deadline.Add(100 * time.Millisecond)):
			t.Fatalf("not timed out %v after its deadline", before.Sub(deadline))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// beatDeadlineEdge has attempts run whose deadlines lie close together around the
// time of the beat: those that are timed out are those that were before it, no more and no fewer.
func beatDeadlineEdge(t *testing.T, s Store) {
	worker := enlist(t, s)
	from := now().Add(-50 * time.Millisecond)
	tasks := make([]*domain.Task, 200)
	for i := range tasks {
		at := from.Add(time.Duration(i) * 2 * time.Millisecond)
		tasks[i] = makeTask(t, heldBy(worker, 1), func(s *domain.TaskState) { s.Deadline = at })
	}
	add(t, s, tasks...)
	b := beatOf(t, worker, 2, longInterval)
	b.Held, b.TimeOut = running(tasks...), timedOut(now().Add(time.Second))
	before := now()
	beat(t, s, b)
	after := now()
	var last, next time.Time // deadlines of what was timed out, and of what was not
	for _, task := range tasks {
		deadline := task.State().Deadline
		switch timed := get(t, s, task.ID()).Status() != domain.StatusProcessing; {
		case timed:
			last = deadline
		case next.IsZero():
			next = deadline
		}
	}
	if last.IsZero() || !next.IsZero() && (next.Before(last) || next.Before(before)) || !last.Before(after) {
		t.Errorf("a beat between %v and %v timed out all up to the deadline %v, but not that of %v", before, after, last, next)
	}
}

// beatListedTwice lists an attempt both as running and as returned: it runs.
func beatListedTwice(t *testing.T, s Store) {
	worker := enlist(t, s)
	for _, order := range [][]bool{{true, false}, {false, true}} {
		late := addMade(t, s, heldBy(worker, 1), overdue)
		b := beatOf(t, worker, 2, longInterval)
		for _, runs := range order {
			b.Held = append(b.Held, application.HeldAttempt{AttemptRef: refOf(late), Running: runs})
		}
		b.TimeOut = timedOut(now().Add(time.Second))
		wantAnswer(t, beat(t, s, b), application.BeatAnswer{Lost: []application.AttemptRef{refOf(late)}})
		wantDecided(t, s, late, b.TimeOut)
	}
}

func beatNamesLost(t *testing.T, s Store) {
	worker := enlist(t, s)
	mine := addMade(t, s, heldBy(worker, 1))
	lost := []application.HeldAttempt{
		{AttemptRef: refOf(makeTask(t, heldBy(worker, 1)))},                               // unknown
		{AttemptRef: refOf(addMade(t, s, heldBy("another", 1))), Running: true},           // another's
		{AttemptRef: refOf(addMade(t, s, completedBy(worker))), Running: true},            // ended by itself
		{AttemptRef: refOf(addMade(t, s, tried(1)))},                                      // given back
		{AttemptRef: refOf(addMade(t, s, heldBy("another", 1), askedToStop))},             // another is to stop, not this one
		{AttemptRef: application.AttemptRef{Task: mine.ID(), Attempt: 2}, Running: true},  // of the future
		{AttemptRef: refOf(addMade(t, s, ended(domain.StatusCanceled))), Running: false},  // canceled
		{AttemptRef: application.AttemptRef{Task: mine.ID(), Attempt: 0}, Running: false}, // before any claim
		{AttemptRef: refOf(addMade(t, s, heldBy("another", 1), overdue)), Running: true},  // another's to time out
		{AttemptRef: refOf(addMade(t, s, waiting(now().Add(time.Hour)))), Running: true},  // backs off
	}
	b := beatOf(t, worker, 2, longInterval)
	b.Held = append(running(mine), lost...)
	want := application.BeatAnswer{}
	for _, held := range lost {
		want.Lost = append(want.Lost, held.AttemptRef)
	}
	wantAnswer(t, beat(t, s, b), want)
	wantStored(t, s, mine.State())
}

func beatNamesStop(t *testing.T, s Store) {
	worker := enlist(t, s)
	stop, goOn := addMade(t, s, heldBy(worker, 1), askedToStop), addMade(t, s, heldBy(worker, 1))
	returned, later := addMade(t, s, heldBy(worker, 1), askedToStop), addMade(t, s, heldBy(worker, 2), askedToStop)
	claiming := addMade(t, s, heldBy(worker, 1), askedToStop)
	b := beatOf(t, worker, 2, longInterval)
	b.Held = append(running(stop, goOn, later), application.HeldAttempt{AttemptRef: refOf(returned)})
	b.Claiming = idsOf([]*domain.Task{claiming})
	want := application.BeatAnswer{Stop: []application.AttemptRef{refOf(stop), refOf(later), refOf(returned)}}
	wantAnswer(t, beat(t, s, b), want)
	b.Number = 3
	wantAnswer(t, beat(t, s, b), want) // until it has stopped
	for _, task := range []*domain.Task{stop, goOn, returned, later, claiming} {
		wantStored(t, s, task.State())
	}
}

func beatConcurrently(t *testing.T, s Store) {
	worker := domain.NewWorkerID()
	tasks := addMany(t, s, 20, heldBy(worker, 1))
	unlisted := addMany(t, s, 20, heldBy(worker, 1))
	at := now()
	var all sync.WaitGroup
	var gaveBack atomic.Int64
	for number := range int64(20) {
		all.Go(func() {
			b := beatOf(t, worker, number+2, longInterval)
			b.Held, b.Release = running(tasks...), released(at)
			answer, err := s.Workers.Beat(t.Context(), b)
			if err != nil || len(answer.Lost)+len(answer.Stop) > 0 {
				t.Errorf("beat %d: %+v, %v", b.Number, answer, err)
			}
			gaveBack.Add(int64(len(answer.GaveBack)))
		})
	}
	all.Wait()
	b := beatOf(t, worker, 22, longInterval) // what a beat left to the next, because it was being changed
	b.Held, b.Release = running(tasks...), released(at)
	gaveBack.Add(int64(len(beat(t, s, b).GaveBack)))
	if n := gaveBack.Load(); n != int64(len(unlisted)) {
		t.Errorf("the answers name %d given back of %d", n, len(unlisted))
	}
	for i := range tasks {
		wantStored(t, s, tasks[i].State())
		wantDecided(t, s, unlisted[i], released(at))
	}
}

func leaveForgets(t *testing.T, s Store) {
	leaver, stayer := enlist(t, s), enlist(t, s)
	addMade(t, s, heldBy(stayer, 1))
	for _, id := range []domain.WorkerID{leaver, leaver, domain.NewWorkerID()} { // again, and one never known
		if err := s.Workers.Leave(t.Context(), id); err != nil {
			t.Fatalf("leave: %v", err)
		}
	}
	wantStale(t, s, leaver)
	wantYoung(t, s, stayer)
}

func leaveKeepsHolders(t *testing.T, s Store) {
	worker := enlist(t, s)
	task := addMade(t, s)
	held := claim(t, s, claimOf(worker, task))
	if len(held) != 1 {
		t.Fatal("the task was not claimed")
	}
	if err := s.Workers.Leave(t.Context(), worker); err != nil {
		t.Fatalf("leave while holding a task: %v", err)
	}
	wantStored(t, s, held[0].State())
	claimed := claim(t, s, claimOf(worker, addMade(t, s))) // it is still known
	for _, task := range append(claimed, held...) {
		if err := errors.Join(task.Complete(1, "done", now()), s.Tasks.Save(t.Context(), task)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Workers.Leave(t.Context(), worker); err != nil {
		t.Fatalf("leave: %v", err)
	}
	wantStale(t, s, worker)
}
