package application_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

func TestWorker_TriesATaskAgainLaterWhenItsHandlerFails(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(returning(errBroken))
		ids := r.enqueue(50)
		r.start()
		pass(0)

		waits := map[time.Duration]bool{}
		for _, id := range ids {
			s := r.store.state(id)
			wait := s.RunAt.Sub(s.UpdatedAt)
			if wait < 0 || wait >= retryPolicy.Base {
				t.Errorf("waits %s, want less than %s", wait, retryPolicy.Base)
			}
			waits[wait] = true
			same(t, "status", s.Status, domain.StatusPending)
			same(t, "failures", s.Failures, 1)
			same(t, "last error", s.LastError, errBroken.Error())
			same(t, "marked as queued", !s.QueuedAt.IsZero(), false)
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
		"Permanent":         {application.Permanent(errBroken), domain.StatusFailed, 0},
		"PermanentWrapped":  {fmt.Errorf("wrapped: %w", application.Permanent(errBroken)), domain.StatusFailed, 0},
		"RetryAfter":        {application.RetryAfter(errBroken, time.Hour), domain.StatusPending, time.Hour},
		"RetryAfterWrapped": {fmt.Errorf("wrapped: %w", application.RetryAfter(errBroken, time.Hour)), domain.StatusPending, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			onRig(t, func(t *testing.T, r *rig) {
				r.handles(returning(c.err))
				id := r.enqueueOne()
				r.start()

				s := r.store.state(id)
				same(t, "status", s.Status, c.status)
				same(t, "wait", s.RunAt.Sub(s.UpdatedAt), c.wait)
				same(t, "last error", s.LastError, c.err.Error())
				if !errors.Is(c.err, errBroken) {
					t.Errorf("%v hides its cause", c.err)
				}
			})
		})
	}
}

func TestWorker_SurvivesAPanicOfAHandler(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handler.EXPECT().Handle(anyArg, anyArg).DoAndReturn(work(panicking).handle)
		r.handles(returning(nil))
		id := r.enqueueOne()
		r.events.EXPECT().HandlerPanicked(application.AttemptRef{Task: id, Attempt: 1}, "oh no", anyArg).Do(
			func(_ application.AttemptRef, _ any, stack []byte) {
				if !strings.Contains(string(stack), "application_test.panicking") {
					t.Errorf("the stack does not show where the panic was:\n%s", stack)
				}
			})
		r.start()

		s := r.store.state(id)
		same(t, "status", s.Status, domain.StatusPending)
		same(t, "failures", s.Failures, 1)
		if !strings.Contains(s.LastError, "oh no") || strings.Contains(s.LastError, "goroutine") {
			t.Errorf("last error %q does not show the panic alone", s.LastError)
		}
		next := r.enqueueOne()
		pass(0)
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
			r.events.EXPECT().HandlerAbandoned(application.AttemptRef{Task: id, Attempt: 1})
			wantTimeout(t, r, id, r.cfg.TaskTimeout+r.cfg.HandlerGrace)
		})
	})
}

// wantTimeout fails the test unless the task is given back when the time has
// passed, as a failure that names the timeout, and its slot is free.
func wantTimeout(t *testing.T, r *rig, id domain.TaskID, after time.Duration) {
	t.Helper()
	r.start()
	pass(after - 1)
	r.wantStatus(domain.StatusProcessing, id)
	pass(1)

	s := r.store.state(id)
	same(t, "status", s.Status, domain.StatusPending)
	same(t, "failures", s.Failures, 1)
	if !strings.Contains(s.LastError, r.cfg.TaskTimeout.String()) {
		t.Errorf("last error %q does not name the timeout", s.LastError)
	}
	pass(2 * pullWait)
	same(t, "the last pull asks for", r.asked.last(), r.cfg.Capacity)
}

func TestWorker_AHandlerThatFinishesInTheGraceHasFinished(t *testing.T) {
	onRig(t, func(_ *testing.T, r *rig) {
		r.handles(func(context.Context, *domain.Task) error {
			time.Sleep(r.cfg.TaskTimeout + r.cfg.HandlerGrace/2)
			return nil
		})
		id := r.enqueueOne()
		r.start()

		pass(r.cfg.TaskTimeout + r.cfg.HandlerGrace)

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
		"Failed":   {errBroken, domain.StatusCanceled},
	} {
		t.Run(name, func(t *testing.T) {
			onRig(t, func(t *testing.T, r *rig) {
				r.handles(func(_ context.Context, task *domain.Task) error {
					must(t, r.store.change(task.ID(), func(task *domain.Task) error { return task.RequestStop(now()) }))
					return c.err
				})
				id := r.enqueueOne()
				r.start()

				r.wantStatus(c.want, id)
				same(t, "failures", r.store.state(id).Failures, 0)
				if !slices.Equal(r.ends.list(), []domain.Status{c.want}) {
					t.Errorf("told the ends %v, want %s", r.ends.list(), c.want)
				}
			})
		})
	}
}

func TestWorker_StoresAnOutcomeWhenTheStoreIsBack(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(returning(nil))
		id := r.enqueueOne()
		r.tasks.EXPECT().Save(anyArg, anyArg).Return(fmt.Errorf("save: %w", domain.ErrUnavailable)).Times(20)
		r.start()
		r.wantStatus(domain.StatusProcessing, id)

		pass(5 * time.Minute)

		r.wantStatus(domain.StatusCompleted, id)
		if !slices.Equal(r.ends.list(), []domain.Status{domain.StatusCompleted}) {
			t.Errorf("told the ends %v, want completed", r.ends.list())
		}
	})
}

func TestWorker_ReadsTheTaskAgainWhenTheStoreIsBack(t *testing.T) {
	onRig(t, func(_ *testing.T, r *rig) {
		r.handles(returning(nil))
		id := r.enqueueOne()
		r.tasks.EXPECT().Save(anyArg, anyArg).Return(domain.ErrUnavailable).Times(1)
		r.tasks.EXPECT().Get(anyArg, id).Return(nil, domain.ErrUnavailable).Times(20)
		r.start()

		pass(5 * time.Minute)

		r.wantStatus(domain.StatusCompleted, id)
	})
}

func TestWorker_RecognisesASaveWhoseAnswerWasLost(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(returning(errBroken))
		id := r.enqueueOne()
		r.tasks.EXPECT().Save(anyArg, anyArg).DoAndReturn(func(ctx context.Context, task *domain.Task) error {
			must(t, r.store.save(ctx, task.Clone()))
			return domain.ErrUnavailable
		}).Times(1)
		r.start()

		pass(time.Minute)

		same(t, "failures", r.store.state(id).Failures, 1)
		same(t, "saves that were answered", slices.Contains(r.calls.list(), "save"), false)
		if !slices.Equal(r.ends.list(), []domain.Status{domain.StatusPending}) {
			t.Errorf("told the ends %v, want pending", r.ends.list())
		}
	})
}

func TestWorker_GivesUpWhatTheStoreRefusesForGood(t *testing.T) {
	for name, refuse := range map[string]func(r *rig, id domain.TaskID){
		"Save": func(r *rig, _ domain.TaskID) {
			r.tasks.EXPECT().Save(anyArg, anyArg).Return(errBroken).Times(5)
		},
		"Get": func(r *rig, id domain.TaskID) {
			r.tasks.EXPECT().Save(anyArg, anyArg).Return(domain.ErrConflict).Times(1)
			r.tasks.EXPECT().Get(anyArg, id).Return(nil, errBroken).Times(5)
		},
	} {
		t.Run(name, func(t *testing.T) {
			onRig(t, func(t *testing.T, r *rig) {
				r.handles(returning(nil))
				id := r.enqueueOne()
				refuse(r, id)
				r.events.EXPECT().OutcomeUnsaved(application.AttemptRef{Task: id, Attempt: 1}, errBroken)
				r.start()

				pass(time.Minute)

				r.wantStatus(domain.StatusProcessing, id)
				same(t, "attempts held", len(r.beats.last().Held), 0)
			})
		})
	}
}

// The task was rescued from this worker and claimed by another one before its
// handler returned.
func TestWorker_DropsTheOutcomeOfAnAttemptThatIsNoLongerTheOne(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(func(_ context.Context, task *domain.Task) error {
			must(t, r.store.change(task.ID(), claimedByAnother))
			return nil
		})
		id := r.enqueueOne()
		r.events.EXPECT().AttemptLost(application.AttemptRef{Task: id, Attempt: 1})
		r.start()

		s := r.store.state(id)
		same(t, "status", s.Status, domain.StatusProcessing)
		same(t, "worker", s.Worker, "another")
		same(t, "ends told", len(r.ends.list()), 0)
	})
}

// claimedByAnother makes a task that was lost by its worker another's.
func claimedByAnother(task *domain.Task) error {
	return errors.Join(
		task.Rescue(retryPolicy, now()),
		task.MarkQueued(now()),
		task.Claim(domain.Claim{Worker: "another", Timeout: time.Minute}, now()),
	)
}

func TestWorker_DropsTheOutcomeOfATaskThatIsGone(t *testing.T) {
	onRig(t, func(_ *testing.T, r *rig) {
		r.handles(returning(nil))
		id := r.enqueueOne()
		r.tasks.EXPECT().Save(anyArg, anyArg).Return(domain.ErrTaskNotFound).Times(1)
		r.events.EXPECT().AttemptLost(application.AttemptRef{Task: id, Attempt: 1})
		r.start()
	})
}
