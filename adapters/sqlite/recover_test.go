package sqlite_test

import (
	"errors"
	"testing"
	"time"

	"github.com/millrace/millrace/adapters/sqlite"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

func TestRecover_RescuesWhatAnEarlierProcessHeld(t *testing.T) {
	db, _ := open(t, fresh(t))
	store := storeOn(db)
	dead := beatOnce(t, store, time.Minute)
	held, waiting := addTask(t, store), addTask(t, store)
	claim := application.ClaimRequest{
		Claim: domain.Claim{Worker: dead, Beat: 1, Timeout: time.Hour}, IDs: []domain.TaskID{held.ID()}, Now: time.Now(),
	}
	if claimed, err := store.Tasks.Claim(t.Context(), claim); err != nil || len(claimed.Tasks) != 1 {
		t.Fatalf("claim: %d tasks, %v", len(claimed.Tasks), err)
	}

	var rescued []*domain.Task
	err := sqlite.Recover(t.Context(), db, func(task *domain.Task) error {
		return task.Rescue(domain.RetryPolicy{MaxRescues: 3}, time.Now())
	}, func(some []*domain.Task) { rescued = append(rescued, some...) })

	if err != nil || len(rescued) != 1 || rescued[0].ID() != held.ID() || rescued[0].LastOutcome() != domain.OutcomeLost {
		t.Fatalf("recover: rescued %v, %v; want the one that was held, its attempt lost", rescued, err)
	}
	for _, task := range []*domain.Task{held, waiting} {
		if got, err := store.Tasks.Get(t.Context(), task.ID()); err != nil || got.Status() != domain.StatusPending {
			t.Errorf("task %s: %v, %v", task.ID(), got, err)
		}
	}
	attempts, err := store.Tasks.Attempts(t.Context(), held.ID())
	if err != nil || len(attempts) != 1 || attempts[0].Outcome != domain.OutcomeLost || attempts[0].Worker != dead {
		t.Errorf("attempts: %+v, %v; want one that was lost", attempts, err)
	}
	if _, err := store.Tasks.Claim(t.Context(), claim); !errors.Is(err, domain.ErrWorkerStale) {
		t.Errorf("claim of a forgotten worker: %v, want ErrWorkerStale", err)
	}
}
