package contract

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var refusalChecks = map[string]check{
	"ClaimLeavesOutWhatTheStoreRefuses": refusedClaim,
	"SaveOfARefusedTaskFailsAlone":      refusedSave,
	"SweepsPassOverWhatTheStoreRefuses": refusedSweep,
	"BeatPassesOverWhatTheStoreRefuses": refusedBeat,
	"BeatAnswersThoughItCannotGiveBack": refusedRecords,
}

// refusedClaim: with and without a queue that has a limit, as that may be another way to
// claim.
func refusedClaim(t *testing.T, s Store) {
	worker := enlist(t, s)
	setQueue(t, s, "limited", maxRunning(100))
	for _, queue := range []domain.QueueName{"free", "limited"} {
		tasks := addMany(t, s, 20, inQueue(queue))
		s.Refuse(t, tasks[7].ID())
		got, err := s.Tasks.Claim(t.Context(), claimOf(worker, tasks...))
		if err != nil {
			t.Fatalf("claim: %v", err)
		}
		wantIDs(t, sortedByID(got.Tasks), slices.Concat(tasks[:7], tasks[8:]))
		if len(got.Refused) != 1 || got.Refused[tasks[7].ID()] == nil || len(got.Skipped)+len(got.Unknown)+len(got.Rest) > 0 {
			t.Errorf("queue %s: refused %v, skipped %s; want one refused", queue, got.Refused, got.Skipped)
		}
		wantStored(t, s, tasks[7].State())
		again, err := s.Tasks.Claim(t.Context(), claimOf(worker, tasks[7]))
		if err != nil || len(again.Refused) != 1 || len(again.Tasks) > 0 {
			t.Errorf("queue %s: claim of the refused task: %+v, %v", queue, again, err)
		}
	}
}

func refusedSave(t *testing.T, s Store) {
	worker, tasks := enlist(t, s), addMany(t, s, 20)
	held := claim(t, s, claimOf(worker, tasks...))
	s.Refuse(t, held[5].ID())
	var all sync.WaitGroup
	for i, task := range held {
		all.Go(func() {
			err := errors.Join(task.Complete(1, "done", now()), s.Tasks.Save(t.Context(), task))
			if (i == 5) != errors.Is(err, domain.ErrRefused) || i != 5 && err != nil {
				t.Errorf("save of task %d: %v", i, err)
			}
		})
	}
	all.Wait()
}

// refusedSweep: what the store refuses is passed over and named, as what the domain
// refuses is.
func refusedSweep(t *testing.T, s Store) {
	tasks := addMany(t, s, 9, waiting(now().Add(-time.Hour)))
	s.Refuse(t, tasks[4].ID())
	swept, err := s.Dispatch.Due(t.Context(), now(), application.SweepBatch{Limit: 100, Decide: queuedAt(now())})
	if err != nil {
		t.Fatalf("due: %v", err)
	}
	wantIDs(t, sortedByID(swept.Changed), slices.Concat(tasks[:4], tasks[5:]))
	if swept.Found != len(tasks) || len(swept.Passed) != 1 || swept.Passed[tasks[4].ID()] == nil {
		t.Errorf("found %d, passed %v; want the refused one named", swept.Found, swept.Passed)
	}
	for _, task := range swept.Changed {
		wantStoredWhole(t, s, task)
	}
	wantStored(t, s, tasks[4].State())
}

// refusedBeat: a task that the store does not let a worker give back costs it neither its
// heartbeat nor the answer about its other tasks.
func refusedBeat(t *testing.T, s Store) {
	worker := enlist(t, s)
	refused, givenUp := addMade(t, s, heldBy(worker, 1)), addMade(t, s, heldBy(worker, 1))
	orphan, stopped := addMade(t, s, heldBy(worker, 1)), addMade(t, s, heldBy(worker, 1), askedToStop)
	s.Refuse(t, refused.ID())
	b := beatOf(t, worker, 2, longInterval)
	b.Held = append(running(stopped),
		application.HeldAttempt{AttemptRef: refOf(refused), GivenUp: true}, application.HeldAttempt{AttemptRef: refOf(givenUp), GivenUp: true})
	at := now().Add(time.Second)
	b.Release = released(at)
	b.GiveUp = func(task *domain.Task) error {
		return task.GiveUp(task.Attempt(), domain.RetryPolicy{MaxRescues: 3}, at)
	}
	wantAnswer(t, beat(t, s, b), application.BeatAnswer{
		Lost: []application.AttemptRef{refOf(givenUp)}, Stop: []application.AttemptRef{refOf(stopped)},
	})
	wantDecided(t, s, givenUp, b.GiveUp)
	wantDecided(t, s, orphan, b.Release)
	wantStored(t, s, refused.State())
}

// refusedRecords: only what is to be given back needs a record of its attempt.
func refusedRecords(t *testing.T, s Store) {
	worker := enlist(t, s)
	orphan, stopped := addMade(t, s, heldBy(worker, 1)), addMade(t, s, heldBy(worker, 1), askedToStop)
	gone := addMade(t, s)
	b := beatOf(t, worker, 2, longInterval)
	b.Held = append(running(stopped), application.HeldAttempt{AttemptRef: application.AttemptRef{Task: gone.ID(), Attempt: 1}})
	b.Release = released(now().Add(time.Second))
	allow := s.RefuseRecords(t)
	answer := beat(t, s, b)
	if answer.Kept == nil {
		t.Error("the answer does not say why a task was not given back")
	}
	answer.Kept = nil
	wantAnswer(t, answer, application.BeatAnswer{
		Lost: []application.AttemptRef{{Task: gone.ID(), Attempt: 1}}, Stop: []application.AttemptRef{refOf(stopped)},
	})
	wantStored(t, s, orphan.State())
	allow()
	b.Number++
	if answer := beat(t, s, b); answer.Kept != nil {
		t.Errorf("once records are taken again: %v", answer.Kept)
	}
	wantDecided(t, s, orphan, b.Release)
}
