package worker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/internal/apptest"
	"github.com/millrace/millrace/domain"
)

func TestWorker_TriesATaskAgainLaterWhenItsHandlerFails(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(returning(apptest.ErrBroken))
		ids := r.enqueue(50)
		r.start()
		apptest.Pass(0)

		waits := map[time.Duration]bool{}
		for _, id := range ids {
			s := r.store.State(id)
			wait := s.RunAt.Sub(s.UpdatedAt)
			if wait < 0 || wait >= apptest.RetryPolicy.Base {
				t.Errorf("waits %s, want less than %s", wait, apptest.RetryPolicy.Base)
			}
			waits[wait] = true
			apptest.Same(t, "status", s.Status, domain.StatusPending)
			apptest.Same(t, "failures", s.Failures, 1)
			apptest.Same(t, "last error", s.LastError, apptest.ErrBroken.Error())
			apptest.Same(t, "marked as queued", !s.QueuedAt.IsZero(), false)
		}
		if len(waits) < len(ids)/2 {
			t.Errorf("%d tasks wait for only %d different times: there is no jitter", len(ids), len(waits))
		}
	})
}

func TestWorker_ObeysWhatTheHandlersErrorSays(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		status domain.Status
		wait   time.Duration
	}{
		"Permanent":         {application.Permanent(apptest.ErrBroken), domain.StatusFailed, 0},
		"PermanentWrapped":  {fmt.Errorf("wrapped: %w", application.Permanent(apptest.ErrBroken)), domain.StatusFailed, 0},
		"RetryAfter":        {application.RetryAfter(apptest.ErrBroken, time.Hour), domain.StatusPending, time.Hour},
		"RetryAfterWrapped": {fmt.Errorf("wrapped: %w", application.RetryAfter(apptest.ErrBroken, time.Hour)), domain.StatusPending, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			onRig(t, func(t *testing.T, r *rig) {
				r.handles(returning(c.err))
				id := r.enqueueOne()
				r.start()

				s := r.store.State(id)
				apptest.Same(t, "status", s.Status, c.status)
				apptest.Same(t, "wait", s.RunAt.Sub(s.UpdatedAt), c.wait)
				apptest.Same(t, "last error", s.LastError, c.err.Error())
				if !errors.Is(c.err, apptest.ErrBroken) {
					t.Errorf("%v hides its cause", c.err)
				}
			})
		})
	}
}

func TestWorker_SurvivesAPanicOfAHandler(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.Handler.EXPECT().Handle(apptest.Any, apptest.Any).DoAndReturn(work(panicking).handle)
		r.handles(returning(nil))
		id := r.enqueueOne()
		r.Events.EXPECT().HandlerPanicked(apptest.Any, application.AttemptRef{Task: id, Attempt: 1}, "oh no", apptest.Any).Do(
			func(_ context.Context, _ application.AttemptRef, _ any, stack []byte) {
				if !strings.Contains(string(stack), "worker_test.panicking") {
					t.Errorf("the stack does not show where the panic was:\n%s", stack)
				}
			})
		r.start()

		s := r.store.State(id)
		apptest.Same(t, "status", s.Status, domain.StatusPending)
		apptest.Same(t, "failures", s.Failures, 1)
		if !strings.Contains(s.LastError, "oh no") || strings.Contains(s.LastError, "goroutine") {
			t.Errorf("last error %q does not show the panic alone", s.LastError)
		}
		next := r.enqueueOne()
		apptest.Pass(0)
		r.wantStatus(domain.StatusCompleted, next)
	})
}

func panicking(context.Context, *domain.Task) error { panic("oh no") }

func TestWorker_AnAttemptThatPassesItsTimeHasFailed(t *testing.T) {
	t.Run("HeedsItsContext", func(t *testing.T) {
		onRig(t, func(t *testing.T, r *rig) {
			r.handles(func(ctx context.Context, task *domain.Task) error {
				return application.Permanent(untilTold(ctx, task)) // no matter
			})
			wantTimeout(t, r, r.enqueueOne(), r.cfg.TaskTimeout)
		})
	})
	t.Run("IgnoresItsContext", func(t *testing.T) {
		onRig(t, func(t *testing.T, r *rig) {
			freed := make(chan struct{})
			defer close(freed)
			r.handles(func(context.Context, *domain.Task) error {
				<-freed
				return nil
			})
			id := r.enqueueOne()
			r.Events.EXPECT().HandlerAbandoned(apptest.Any, application.AttemptRef{Task: id, Attempt: 1})
			wantTimeout(t, r, id, r.cfg.TaskTimeout+r.cfg.HandlerGrace)
		})
	})
}

// wantTimeout fails the test unless the task is given back when the time has
// passed, as a failure that names the timeout, and its slot is free.
func wantTimeout(t *testing.T, r *rig, id domain.TaskID, after time.Duration) {
	t.Helper()
	r.start()
	apptest.Pass(after - 1)
	r.wantStatus(domain.StatusProcessing, id)
	apptest.Pass(1)

	s := r.store.State(id)
	apptest.Same(t, "status", s.Status, domain.StatusPending)
	apptest.Same(t, "failures", s.Failures, 1)
	if !strings.Contains(s.LastError, r.cfg.TaskTimeout.String()) {
		t.Errorf("last error %q does not name the timeout", s.LastError)
	}
	apptest.Pass(2 * apptest.PullWait)
	apptest.Same(t, "the last pull asks for", r.asked.Last(), r.cfg.Capacity)
}

func TestWorker_AHandlerThatFinishesInTheGraceHasFinished(t *testing.T) {
	onRig(t, func(_ *testing.T, r *rig) {
		r.handles(func(context.Context, *domain.Task) error {
			time.Sleep(r.cfg.TaskTimeout + r.cfg.HandlerGrace/2)
			return nil
		})
		id := r.enqueueOne()
		r.start()

		apptest.Pass(r.cfg.TaskTimeout + r.cfg.HandlerGrace)

		r.wantStatus(domain.StatusCompleted, id)
	})
}

// A stop was asked for while the handler ran, and its save meets the newer version.
func TestWorker_DecidesAgainWhenAStopWasAskedFor(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want domain.Status
	}{
		"Finished": {nil, domain.StatusCompleted},
		"Failed":   {apptest.ErrBroken, domain.StatusCanceled},
	} {
		t.Run(name, func(t *testing.T) {
			onRig(t, func(t *testing.T, r *rig) {
				r.handles(func(_ context.Context, task *domain.Task) error {
					apptest.Must(t, r.store.Change(task.ID(), func(task *domain.Task) error { return task.RequestStop(apptest.Now()) }))
					return c.err
				})
				id := r.enqueueOne()
				r.start()

				r.wantStatus(c.want, id)
				apptest.Same(t, "failures", r.store.State(id).Failures, 0)
				if !slices.Equal(r.ends.List(), []domain.Status{c.want}) {
					t.Errorf("told the ends %v, want %s", r.ends.List(), c.want)
				}
			})
		})
	}
}

func TestWorker_StoresAnOutcomeWhenTheStoreIsBack(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(returning(nil))
		id := r.enqueueOne()
		r.Tasks.EXPECT().Save(apptest.Any, apptest.Any).Return(fmt.Errorf("save: %w", domain.ErrUnavailable)).Times(20)
		r.start()
		r.wantStatus(domain.StatusProcessing, id)

		apptest.Pass(5 * time.Minute)

		r.wantStatus(domain.StatusCompleted, id)
		if !slices.Equal(r.ends.List(), []domain.Status{domain.StatusCompleted}) {
			t.Errorf("told the ends %v, want completed", r.ends.List())
		}
	})
}

func TestWorker_ReadsTheTaskAgainWhenTheStoreIsBack(t *testing.T) {
	onRig(t, func(_ *testing.T, r *rig) {
		r.handles(returning(nil))
		id := r.enqueueOne()
		r.Tasks.EXPECT().Save(apptest.Any, apptest.Any).Return(domain.ErrUnavailable).Times(1)
		r.Tasks.EXPECT().Get(apptest.Any, id).Return(nil, domain.ErrUnavailable).Times(20)
		r.start()

		apptest.Pass(5 * time.Minute)

		r.wantStatus(domain.StatusCompleted, id)
	})
}

func TestWorker_RecognisesASaveWhoseAnswerWasLost(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(returning(apptest.ErrBroken))
		id := r.enqueueOne()
		r.Tasks.EXPECT().Save(apptest.Any, apptest.Any).DoAndReturn(func(ctx context.Context, task *domain.Task) error {
			apptest.Must(t, r.store.Save(ctx, task.Clone()))
			return domain.ErrUnavailable
		}).Times(1)
		r.start()

		apptest.Pass(time.Minute)

		apptest.Same(t, "failures", r.store.State(id).Failures, 1)
		apptest.Same(t, "saves that were answered", slices.Contains(r.calls.List(), "save"), false)
		if !slices.Equal(r.ends.List(), []domain.Status{domain.StatusPending}) {
			t.Errorf("told the ends %v, want pending", r.ends.List())
		}
	})
}

func TestWorker_GivesUpWhatTheStoreRefusesForGood(t *testing.T) {
	for name, refuse := range map[string]func(r *rig, id domain.TaskID){
		"Save": func(r *rig, _ domain.TaskID) {
			r.Tasks.EXPECT().Save(apptest.Any, apptest.Any).Return(apptest.ErrBroken).Times(5)
		},
		"Get": func(r *rig, id domain.TaskID) {
			r.Tasks.EXPECT().Save(apptest.Any, apptest.Any).Return(domain.ErrConflict).Times(1)
			r.Tasks.EXPECT().Get(apptest.Any, id).Return(nil, apptest.ErrBroken).Times(5)
		},
	} {
		t.Run(name, func(t *testing.T) {
			onRig(t, func(t *testing.T, r *rig) {
				r.handles(returning(nil))
				id := r.enqueueOne()
				refuse(r, id)
				r.Events.EXPECT().OutcomeUnsaved(apptest.Any, application.AttemptRef{Task: id, Attempt: 1}, apptest.ErrBroken)
				r.start()

				apptest.Pass(time.Minute)

				r.wantStatus(domain.StatusProcessing, id)
				apptest.Same(t, "attempts held", len(r.beats.Last().Held), 0)
			})
		})
	}
}

// The task was rescued from this worker and claimed by another one before its
// handler returned.
func TestWorker_DropsTheOutcomeOfAnAttemptThatIsNoLongerTheOne(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(func(_ context.Context, task *domain.Task) error {
			apptest.Must(t, r.store.Change(task.ID(), claimedByAnother))
			return nil
		})
		id := r.enqueueOne()
		r.Events.EXPECT().AttemptLost(apptest.Any, application.AttemptRef{Task: id, Attempt: 1})
		r.start()

		s := r.store.State(id)
		apptest.Same(t, "status", s.Status, domain.StatusProcessing)
		apptest.Same(t, "worker", s.Worker, "another")
		apptest.Same(t, "ends told", len(r.ends.List()), 0)
	})
}

// claimedByAnother makes a task that was lost by its worker another's.
func claimedByAnother(task *domain.Task) error {
	return errors.Join(
		task.Rescue(apptest.RetryPolicy, apptest.Now()),
		task.MarkQueued(apptest.Now()),
		task.Claim(domain.Claim{Worker: "another", Timeout: time.Minute}, apptest.Now()),
	)
}

func TestWorker_DropsTheOutcomeOfATaskThatIsGone(t *testing.T) {
	onRig(t, func(_ *testing.T, r *rig) {
		r.handles(returning(nil))
		id := r.enqueueOne()
		r.Tasks.EXPECT().Save(apptest.Any, apptest.Any).Return(domain.ErrTaskNotFound).Times(1)
		r.Events.EXPECT().AttemptLost(apptest.Any, application.AttemptRef{Task: id, Attempt: 1})
		r.start()
	})
}
