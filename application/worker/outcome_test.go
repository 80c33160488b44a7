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
	"github.com/millrace/millrace/application/worker"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

func TestWorker_TriesATaskAgainLaterWhenItsHandlerFails(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.handles(returning(apptest.ErrBroken))
		ids := h.enqueue(50)
		h.start()
		apptest.Pass(0)

		waits := map[time.Duration]bool{}
		for _, id := range ids {
			s := h.store.State(id)
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
			withHarness(t, func(t *testing.T, h *harness) {
				h.handles(returning(c.err))
				id := h.enqueueOne()
				h.start()

				s := h.store.State(id)
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
	withHarness(t, func(t *testing.T, h *harness) {
		h.Handler.EXPECT().Handle(apptest.Any, apptest.Any).DoAndReturn(work(panicking).handle)
		h.handles(returning(nil))
		id := h.enqueueOne()
		h.Events.EXPECT().HandlerPanicked(apptest.Any, apptest.Any, application.AttemptRef{Task: id, Attempt: 1}, "oh no", apptest.Any).Do(
			func(_ context.Context, _ domain.QueueName, _ application.AttemptRef, _ any, stack []byte) {
				if !strings.Contains(string(stack), "worker_test.panicking") {
					t.Errorf("the stack does not show where the panic was:\n%s", stack)
				}
			})
		h.start()

		s := h.store.State(id)
		apptest.Same(t, "status", s.Status, domain.StatusPending)
		apptest.Same(t, "failures", s.Failures, 1)
		if !strings.Contains(s.LastError, "oh no") || strings.Contains(s.LastError, "goroutine") {
			t.Errorf("last error %q does not show the panic alone", s.LastError)
		}
		next := h.enqueueOne()
		apptest.Pass(0)
		h.wantStatus(domain.StatusCompleted, next)
	})
}

func panicking(context.Context, *domain.Task) error { panic("oh no") }

func TestWorker_AnAttemptThatPassesItsTimeHasFailed(t *testing.T) {
	t.Run("HeedsItsContext", func(t *testing.T) {
		withHarness(t, func(t *testing.T, h *harness) {
			h.handles(func(ctx context.Context, task *domain.Task) error {
				return application.Permanent(untilCanceled(ctx, task)) // no matter
			})
			wantTimeout(t, h, h.enqueueOne(), h.cfg.TaskTimeout)
		})
	})
	t.Run("IgnoresItsContext", func(t *testing.T) {
		withHarness(t, func(t *testing.T, h *harness) {
			freed := make(chan struct{})
			defer close(freed)
			h.handles(func(context.Context, *domain.Task) error {
				<-freed
				return nil
			})
			id := h.enqueueOne()
			h.Events.EXPECT().HandlerAbandoned(apptest.Any, apptest.Any, application.AttemptRef{Task: id, Attempt: 1})
			wantTimeout(t, h, id, h.cfg.TaskTimeout+h.cfg.HandlerGrace)
		})
	})
}

// wantTimeout fails the test unless the task is given back when the time has
// passed, as a failure that names the timeout, and its slot is free.
func wantTimeout(t *testing.T, h *harness, id domain.TaskID, after time.Duration) {
	t.Helper()
	h.start()
	apptest.Pass(after - 1)
	h.wantStatus(domain.StatusProcessing, id)
	apptest.Pass(1)

	s := h.store.State(id)
	apptest.Same(t, "status", s.Status, domain.StatusPending)
	apptest.Same(t, "failures", s.Failures, 1)
	if !strings.Contains(s.LastError, h.cfg.TaskTimeout.String()) {
		t.Errorf("last error %q does not name the timeout", s.LastError)
	}
	apptest.Pass(2 * worker.PullWait)
	apptest.Same(t, "the last pull asks for", h.asked.Last(), h.cfg.Capacity)
}

func TestWorker_AHandlerThatFinishesInTheGraceHasFinished(t *testing.T) {
	withHarness(t, func(_ *testing.T, h *harness) {
		h.handles(func(context.Context, *domain.Task) error {
			time.Sleep(h.cfg.TaskTimeout + h.cfg.HandlerGrace/2)
			return nil
		})
		id := h.enqueueOne()
		h.start()

		apptest.Pass(h.cfg.TaskTimeout + h.cfg.HandlerGrace)

		h.wantStatus(domain.StatusCompleted, id)
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
			withHarness(t, func(t *testing.T, h *harness) {
				h.handles(func(_ context.Context, task *domain.Task) error {
					apptest.Must(t, h.store.Change(task.ID(), func(task *domain.Task) error { return task.RequestStop(apptest.Now()) }))
					return c.err
				})
				id := h.enqueueOne()
				h.start()

				h.wantStatus(c.want, id)
				apptest.Same(t, "failures", h.store.State(id).Failures, 0)
				if !slices.Equal(h.ends.List(), []domain.Status{c.want}) {
					t.Errorf("reported the ends %v, want %s", h.ends.List(), c.want)
				}
			})
		})
	}
}

func TestWorker_StoresAnOutcomeWhenTheStoreIsBack(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.handles(returning(nil))
		id := h.enqueueOne()
		h.Tasks.EXPECT().Save(apptest.Any, apptest.Any).Return(fmt.Errorf("save: %w", domain.ErrUnavailable)).Times(20)
		h.start()
		h.wantStatus(domain.StatusProcessing, id)

		apptest.Pass(5 * time.Minute)

		h.wantStatus(domain.StatusCompleted, id)
		if !slices.Equal(h.ends.List(), []domain.Status{domain.StatusCompleted}) {
			t.Errorf("reported the ends %v, want completed", h.ends.List())
		}
	})
}

func TestWorker_ReadsTheTaskAgainWhenTheStoreIsBack(t *testing.T) {
	withHarness(t, func(_ *testing.T, h *harness) {
		h.handles(returning(nil))
		id := h.enqueueOne()
		h.Tasks.EXPECT().Save(apptest.Any, apptest.Any).Return(domain.ErrUnavailable).Times(1)
		h.Tasks.EXPECT().Get(apptest.Any, id).Return(nil, domain.ErrUnavailable).Times(20)
		h.start()

		apptest.Pass(5 * time.Minute)

		h.wantStatus(domain.StatusCompleted, id)
	})
}

func TestWorker_RecognisesASaveWhoseAnswerWasLost(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.handles(returning(apptest.ErrBroken))
		id := h.enqueueOne()
		h.Tasks.EXPECT().Save(apptest.Any, apptest.Any).DoAndReturn(func(ctx context.Context, task *domain.Task) error {
			apptest.Must(t, h.store.Save(ctx, task.Clone()))
			return domain.ErrUnavailable
		}).Times(1)
		h.start()

		apptest.Pass(time.Minute)

		apptest.Same(t, "failures", h.store.State(id).Failures, 1)
		apptest.Same(t, "saves that were answered", slices.Contains(h.calls.List(), "save"), false)
		if !slices.Equal(h.ends.List(), []domain.Status{domain.StatusPending}) {
			t.Errorf("reported the ends %v, want pending", h.ends.List())
		}
	})
}

// Whatever the error, an outcome is kept for as long as the lease holds.
func TestWorker_KeepsAnOutcomeThroughAnyErrorThatIsNotAboutIt(t *testing.T) {
	for name, fail := range map[string]func(h *harness, id domain.TaskID){
		"Save": func(h *harness, _ domain.TaskID) {
			h.Tasks.EXPECT().Save(apptest.Any, apptest.Any).Return(apptest.ErrBroken).Times(20)
		},
		"Get": func(h *harness, id domain.TaskID) {
			h.Tasks.EXPECT().Save(apptest.Any, apptest.Any).Return(domain.ErrConflict).Times(1)
			h.Tasks.EXPECT().Get(apptest.Any, id).Return(nil, apptest.ErrBroken).Times(20)
		},
	} {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(t *testing.T, h *harness) {
				h.handles(returning(nil))
				id := h.enqueueOne()
				fail(h, id)
				h.start()
				apptest.Pass(10 * time.Second)
				h.wantStatus(domain.StatusProcessing, id)

				apptest.Pass(5 * time.Minute)

				h.wantStatus(domain.StatusCompleted, id)
				apptest.Same(t, "attempt", h.store.State(id).Attempt, 1)
			})
		})
	}
}

// errRefused is what a store answers that dislikes what is in a task.
var errRefused = fmt.Errorf("%w: the euro sign \u20ac has no equivalent in LATIN1\n%s", domain.ErrRefused, strings.Repeat("x", 1000))

func TestWorker_StoresASmallFailureInsteadOfAnOutcomeThatIsRefused(t *testing.T) {
	for name, handler := range map[string]error{"Finished": nil, "Failed": apptest.ErrBroken} {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(t *testing.T, h *harness) {
				h.handles(returning(handler))
				id := h.enqueueOne()
				h.Tasks.EXPECT().Save(apptest.Any, apptest.Any).Return(errRefused).Times(1)
				h.Events.EXPECT().OutcomeRefused(apptest.Any, apptest.Any, application.AttemptRef{Task: id, Attempt: 1}, errRefused)
				h.start()

				s := h.store.State(id)
				apptest.Same(t, "status", s.Status, domain.StatusFailed)
				apptest.Same(t, "failures", s.Failures, 1)
				if !strings.HasPrefix(s.LastError, "the store refused the outcome: ") || !strings.Contains(s.LastError, "LATIN1") {
					t.Errorf("last error %q does not say what the store disliked", s.LastError)
				}
				if len(s.LastError) > 300 || strings.ContainsFunc(s.LastError, func(c rune) bool { return c < ' ' || c > '~' }) {
					t.Errorf("last error %q is not small and plain", s.LastError)
				}
			})
		})
	}
}

// What had begun is charged when it is given back, so that it cannot run for ever.
func TestWorker_GivesUpAnOutcomeWhoseFailureIsRefusedToo(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.handles(returning(nil))
		id := h.enqueueOne()
		h.Tasks.EXPECT().Save(apptest.Any, apptest.Any).Return(errRefused).Times(2)
		ref := application.AttemptRef{Task: id, Attempt: 1}
		h.Events.EXPECT().OutcomeRefused(apptest.Any, apptest.Any, ref, errRefused)
		h.Events.EXPECT().OutcomeUnsaved(apptest.Any, apptest.Any, ref, errRefused)
		h.start()
		h.wantStatus(domain.StatusProcessing, id)
		apptest.Pass(h.interval())

		s := h.store.State(id)
		apptest.Same(t, "status", s.Status, domain.StatusPending)
		apptest.Same(t, "rescues", s.Rescues, 1)
		apptest.Same(t, "failures", s.Failures, 0)
		apptest.Pass(h.interval())
		apptest.Same(t, "attempts listed once it is given back", len(h.beats.Last().Held), 0)
	})
}

func TestWorker_IsNotChargedForARefusedRelease(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.handles(untilCanceled)
		id := h.enqueueOne()
		h.Tasks.EXPECT().Save(apptest.Any, apptest.Any).Return(errRefused).Times(1)
		h.Events.EXPECT().OutcomeUnsaved(apptest.Any, apptest.Any, application.AttemptRef{Task: id, Attempt: 1}, errRefused)
		h.start()

		h.stopAndWait()

		h.wantStatus(domain.StatusPending, id) // given back by the last beat
		wantUncharged(t, h.store.State(id))
	})
}

// A worker that ends with an outcome that it could not store gives the task back, and
// charges it.
func TestWorker_ChargesWhatItCouldNotStoreUntilItsEnd(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.handles(returning(nil))
		id := h.enqueueOne()
		h.Tasks.EXPECT().Save(apptest.Any, apptest.Any).Return(domain.ErrUnavailable).MinTimes(2)
		h.Events.EXPECT().OutcomeUnsaved(apptest.Any, apptest.Any, application.AttemptRef{Task: id, Attempt: 1}, domain.ErrUnavailable)
		h.start()

		h.stopAndWait()

		s := h.store.State(id)
		apptest.Same(t, "status", s.Status, domain.StatusPending)
		apptest.Same(t, "rescues", s.Rescues, 1)
	})
}

// The task was rescued from this worker and claimed by another one before its
// handler returned.
func TestWorker_DropsTheOutcomeOfAnAttemptThatIsNoLongerTheOne(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.handles(func(_ context.Context, task *domain.Task) error {
			apptest.Must(t, h.store.Change(task.ID(), claimedByAnother))
			return nil
		})
		id := h.enqueueOne()
		h.Events.EXPECT().AttemptLost(apptest.Any, apptest.Any, application.AttemptRef{Task: id, Attempt: 1})
		h.start()

		s := h.store.State(id)
		apptest.Same(t, "status", s.Status, domain.StatusProcessing)
		apptest.Same(t, "worker", s.Worker, "another")
		apptest.Same(t, "ends reported", len(h.ends.List()), 0)
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
	withHarness(t, func(_ *testing.T, h *harness) {
		h.handles(returning(nil))
		id := h.enqueueOne()
		h.Tasks.EXPECT().Save(apptest.Any, apptest.Any).Return(domain.ErrTaskNotFound).Times(1)
		h.Events.EXPECT().AttemptLost(apptest.Any, apptest.Any, application.AttemptRef{Task: id, Attempt: 1})
		h.start()
	})
}
