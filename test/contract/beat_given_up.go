package contract

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// beatGivesUp lists attempts as given up, whatever number they were claimed under: each
// is taken once, and no other attempt of its task is.
func beatGivesUp(t *testing.T, s Store) {
	worker := enlist(t, s)
	begun, sameBeat := addMade(t, s, heldBy(worker, 1)), addMade(t, s, heldBy(worker, 2), overdue)
	stopped := addMade(t, s, heldBy(worker, 1), askedToStop)
	later := addMade(t, s, tried(1), heldBy(worker, 2)) // its second attempt; the first was given up
	anothers := addMade(t, s, heldBy("another", 1))
	former := application.AttemptRef{Task: later.ID(), Attempt: 1}
	b := beatOf(t, worker, 2, longInterval)
	lost := []application.AttemptRef{refOf(begun), refOf(sameBeat), refOf(stopped), former, refOf(anothers)}
	for _, ref := range lost {
		b.Held = append(b.Held, application.HeldAttempt{AttemptRef: ref, GivenUp: true})
	}
	at := now().Add(time.Second)
	b.GiveUp = func(task *domain.Task) error {
		return task.GiveUp(task.Attempt(), domain.RetryPolicy{MaxRescues: 3}, at)
	}
	for range 2 { // the second finds nothing more to take
		wantAnswer(t, beat(t, s, b), application.BeatAnswer{Lost: lost})
		for _, task := range []*domain.Task{begun, sameBeat, stopped} {
			wantDecided(t, s, task, b.GiveUp)
		}
		wantStored(t, s, later.State())
		wantStored(t, s, anothers.State())
		b.Number++
		b.Held = append(b.Held, running(later)...) // listed at the latest now, as it was claimed under 2
	}
	if got := get(t, s, begun.ID()).State().Rescues; got != 1 {
		t.Errorf("charged %d rescues, want 1", got)
	}
}

// beatNamesGivenBack gives back by every rule: the answer names each task once, as it is
// stored, and how its attempt ended.
func beatNamesGivenBack(t *testing.T, s Store) {
	worker := enlist(t, s)
	unlisted, stopped := addMade(t, s, heldBy(worker, 1)), addMade(t, s, heldBy(worker, 1), askedToStop)
	late, unsaved := addMade(t, s, heldBy(worker, 1), overdue), addMade(t, s, heldBy(worker, 1))
	kept := addMade(t, s, heldBy(worker, 1))
	b := beatOf(t, worker, 2, longInterval)
	b.Portion = 2 // more than one statement
	b.Held = append(running(late, kept), application.HeldAttempt{AttemptRef: refOf(unsaved), GivenUp: true})
	b.Release, b.TimeOut = released(now()), timedOut(now())
	b.GiveUp = func(task *domain.Task) error {
		return task.GiveUp(task.Attempt(), domain.RetryPolicy{MaxRescues: 3}, now())
	}

	got := map[domain.TaskID]domain.AttemptOutcome{}
	for _, task := range beat(t, s, b).GaveBack {
		got[task.ID()] = task.LastOutcome()
		stored := get(t, s, task.ID())
		if stored.Version() != task.Version() || stored.Status() != task.Status() || stored.Queue() != task.Queue() {
			t.Errorf("the answer has the task %s in version %d, and the store %s in %d", task.Status(), task.Version(), stored.Status(), stored.Version())
		}
	}

	want := map[domain.TaskID]domain.AttemptOutcome{
		unlisted.ID(): domain.OutcomeReleased, stopped.ID(): domain.OutcomeStopped,
		late.ID(): domain.OutcomeFailed, unsaved.ID(): domain.OutcomeLost,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("given back (-want +got):\n%s", diff)
	}
	b.Number = 3
	if again := beat(t, s, b).GaveBack; len(again) > 0 {
		t.Errorf("the next beat names %d tasks again", len(again))
	}
}
