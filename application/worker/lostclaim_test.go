package worker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

// A failover to a standby that had not got the claim gives the attempt's number again, and
// it is this worker that gets it.
func TestWorker_BeginsAnAttemptOnceThatItHasClaimedTwice(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		var runs apptest.Record[int]
		h.handles(func(ctx context.Context, task *domain.Task) error {
			runs.Add(task.Attempt())
			if task.Attempt() > 1 {
				return nil
			}
			err := untilCanceled(ctx, task)
			if cause := context.Cause(ctx); !errors.Is(cause, domain.ErrAttemptLost) {
				t.Errorf("the handler's context has ended because of %v, want %v", cause, domain.ErrAttemptLost)
			}
			return err
		})
		id := h.enqueueOne()
		entry := apptest.Entry(id, apptest.Now())
		h.Events.EXPECT().AttemptLost(apptest.Any, apptest.Any, application.AttemptRef{Task: id, Attempt: 1})
		h.Tasks.EXPECT().Claim(apptest.Any, apptest.Any).DoAndReturn(h.claim).Times(1)
		h.Tasks.EXPECT().Claim(apptest.Any, apptest.Any).DoAndReturn(
			func(ctx context.Context, _ application.ClaimRequest) (application.ClaimResult, error) {
				task, err := h.store.Get(ctx, id)
				return application.ClaimResult{Tasks: []*domain.Task{task}}, err
			}).Times(1)
		h.start()
		apptest.Must(t, h.queue.Push(t.Context(), entry))
		apptest.Pass(0)

		s := h.store.State(id)
		apptest.Same(t, "status", s.Status, domain.StatusPending)
		apptest.Same(t, "failures and rescues", s.Failures+s.Rescues, 0)
		apptest.Same(t, "runs", len(runs.List()), 1)

		h.pushDue([]domain.TaskID{id})
		apptest.Pass(0)
		apptest.Same(t, "runs", len(runs.List()), 2)
		apptest.Same(t, "attempt of the second run", runs.List()[1], 2)
		h.wantStatus(domain.StatusCompleted, id)
	})
}

// The store has lost the claim in a failover, the task was edited, and what holds it now has
// the same attempt: the outcome is that of another message.
func TestWorker_DropsTheOutcomeOfALostClaim(t *testing.T) {
	for name, held := range map[string]func(s *domain.TaskState){
		"AnotherWorkerHoldsIt":    func(s *domain.TaskState) { s.Worker = "another" },
		"TheSameWorkerHoldsItNow": func(s *domain.TaskState) { s.StartedAt = s.StartedAt.Add(time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(t *testing.T, h *harness) {
				h.handles(returning(nil))
				id := h.enqueueOne()
				h.Tasks.EXPECT().Save(apptest.Any, apptest.Any).Return(domain.ErrConflict).Times(1)
				h.Tasks.EXPECT().Get(apptest.Any, id).DoAndReturn(func(_ context.Context, id domain.TaskID) (*domain.Task, error) {
					s := h.store.State(id)
					s.Version++
					held(&s)
					return domain.Restore(s)
				}).Times(1)
				h.Events.EXPECT().AttemptLost(apptest.Any, apptest.Any, application.AttemptRef{Task: id, Attempt: 1})
				h.start()

				h.wantStatus(domain.StatusProcessing, id)
				apptest.Same(t, "ends reported", len(h.ends.List()), 0)
			})
		})
	}
}
