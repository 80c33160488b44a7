package worker_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/worker"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

func TestWorker_EndsAtOnceOnAStopWhenItHoldsNothing(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.start()
		apptest.Pass(time.Second)

		apptest.Same(t, "time taken", h.stopAndWait(), 0)
	})
}

func TestWorker_EndsOnAStopBeforeItsFirstBeatIsAnswered(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.Workers.EXPECT().Beat(apptest.Any, apptest.Any).DoAndReturn(hangingBeat).AnyTimes()
		h.start()
		apptest.Pass(time.Minute)

		apptest.Same(t, "time taken", h.stopAndWait(), 0)
	})
}

func TestWorker_PutsBackOnAStopWhatItPulledAndCouldNotClaim(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.Tasks.EXPECT().Claim(apptest.Any, apptest.Any).Return(application.ClaimResult{}, domain.ErrUnavailable).MinTimes(2)
		ids := h.enqueue(2)
		h.start()
		apptest.Pass(time.Second)
		apptest.Same(t, "left on the queue", len(apptest.Queued(t, h.queue, domain.DefaultQueue)), 0)

		apptest.Same(t, "time taken", h.stopAndWait(), 0)

		if got := apptest.Queued(t, h.queue, domain.DefaultQueue); !slices.Equal(got, ids) {
			t.Errorf("put back: got %v, want %v", got, ids)
		}
	})
}

func TestWorker_PutsBackWhatAPullTookWhenTheStopCame(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		ids := h.enqueue(2)
		h.Queue.EXPECT().Pull(apptest.Any, apptest.Any).DoAndReturn(func(ctx context.Context, p application.PullRequest) ([]application.Entry, error) {
			<-ctx.Done()
			return h.queue.Pull(context.WithoutCancel(ctx), p)
		})
		h.start()

		h.stopAndWait()

		if got := apptest.Queued(t, h.queue, domain.DefaultQueue); !slices.Equal(got, ids) {
			t.Errorf("put back: got %v, want %v", got, ids)
		}
		if got, want := h.calls.List(), []string{"leave"}; !slices.Equal(got, want) {
			t.Errorf("calls: got %v, want %v", got, want)
		}
	})
}

func TestWorker_AQueueThatHangsDoesNotHoldUpTheStop(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.Tasks.EXPECT().Claim(apptest.Any, apptest.Any).Return(application.ClaimResult{}, domain.ErrUnavailable).MinTimes(1)
		h.Queue.EXPECT().PutBack(apptest.Any, apptest.Any).DoAndReturn(func(ctx context.Context, _ ...application.Entry) error {
			return apptest.UntilEnded(ctx)
		})
		h.enqueue(1)
		h.start()

		apptest.Same(t, "time taken", h.stopAndWait(), 2*time.Second)
	})
}

func TestWorker_ReleasesOnAStopWhatItClaimedAndDidNotStart(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		ids := h.enqueue(2)
		h.Tasks.EXPECT().Claim(apptest.Any, apptest.Any).DoAndReturn(
			func(ctx context.Context, c application.ClaimRequest) (application.ClaimResult, error) {
				h.stop()
				return h.store.Claim(context.WithoutCancel(ctx), c)
			})

		h.start() // the handler is not expected
		<-h.ended

		h.wantStatus(domain.StatusPending, ids...)
		wantUncharged(t, h.store.State(ids[0]))
	})
}

// wantUncharged fails the test unless the task was given back as if its attempt
// had never been.
func wantUncharged(t *testing.T, s domain.TaskState) {
	t.Helper()
	apptest.Same(t, "attempt", s.Attempt, 1)
	apptest.Same(t, "failures", s.Failures, 0)
	apptest.Same(t, "rescues", s.Rescues, 0)
	apptest.Same(t, "due at", s.RunAt, s.UpdatedAt)
}

func TestWorker_FinishesOnAStopWhatRuns(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.handles(forTime(10 * time.Second))
		ids := h.enqueue(2)
		h.start()
		later := h.enqueue(3)[1:] // the first gets the slot that is free
		apptest.Pass(time.Second)
		before := len(h.asked.List())

		apptest.Same(t, "time taken", h.stopAndWait(), 9*time.Second)

		h.wantStatus(domain.StatusCompleted, ids...)
		apptest.Same(t, "pulls after the stop", len(h.asked.List())-before, 0)
		h.wantStatus(domain.StatusPending, later...)
	})
}

func TestWorker_EndsAfterTheShutdownTimeoutWhatStillRunsAndReleasesIt(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.handles(untilCanceled)
		ids := h.enqueue(2)
		h.start()

		apptest.Same(t, "time taken", h.stopAndWait(), h.cfg.ShutdownTimeout)

		h.wantStatus(domain.StatusPending, ids...)
		wantUncharged(t, h.store.State(ids[0]))
	})
}

// Whoever stops a program kills it in the end.
func TestWorker_AStoreThatHangsHoldsUpTheStopNoLongerThanItsLimit(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		freed, hangs := make(chan struct{}), false
		defer close(freed)
		h.handles(func(context.Context, *domain.Task) error { <-freed; return nil })
		h.Workers.EXPECT().Beat(apptest.Any, apptest.Any).DoAndReturn(func(ctx context.Context, b application.Beat) (application.BeatAnswer, error) {
			if hangs {
				return hangingBeat(ctx, b)
			}
			return h.beat(ctx, b)
		}).AnyTimes()
		h.Tasks.EXPECT().Save(apptest.Any, apptest.Any).DoAndReturn(func(ctx context.Context, _ *domain.Task) error {
			return apptest.UntilEnded(ctx)
		}).MinTimes(1)
		h.Events.EXPECT().HandlerAbandoned(apptest.Any, apptest.Any, apptest.Any)
		h.Events.EXPECT().OutcomeUnsaved(apptest.Any, apptest.Any, apptest.Any, apptest.Any)
		h.enqueueOne()
		h.start()
		hangs = true

		apptest.Same(t, "time taken", h.stopAndWait(), h.cfg.StopLimit())
	})
}

func TestWorker_LeavesAHandlerBehindThatIgnoresTheStop(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		freed := make(chan struct{})
		var seen apptest.Record[domain.Status]
		h.handles(func(_ context.Context, task *domain.Task) error {
			<-freed
			seen.Add(task.Status())
			return nil
		})
		id := h.enqueueOne()
		h.Events.EXPECT().HandlerAbandoned(apptest.Any, apptest.Any, application.AttemptRef{Task: id, Attempt: 1})
		h.start()

		apptest.Same(t, "time taken", h.stopAndWait(), h.cfg.ShutdownTimeout+h.cfg.HandlerGrace)

		h.wantStatus(domain.StatusPending, id)
		wantUncharged(t, h.store.State(id))
		close(freed)
		synctest.Wait()
		apptest.Same(t, "status that the handler still sees", seen.Last(), domain.StatusProcessing)
	})
}

func TestWorker_GivesUpAfterABoundedTimeWhatCannotBeSavedOnAStop(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.handles(untilCanceled)
		id := h.enqueueOne()
		h.Tasks.EXPECT().Save(apptest.Any, apptest.Any).Return(domain.ErrUnavailable).MinTimes(2)
		h.Events.EXPECT().OutcomeUnsaved(apptest.Any, apptest.Any, application.AttemptRef{Task: id, Attempt: 1}, domain.ErrUnavailable)
		h.start()

		took := h.stopAndWait()

		apptest.Same(t, "time taken", took, h.cfg.ShutdownTimeout+h.cfg.HandlerGrace+worker.SaveTimeout)
		h.wantStatus(domain.StatusPending, id) // given back by the last beat
	})
}

func TestWorker_KeepsBeatingUntilAllIsSavedAndThenLeaves(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.handles(forTime(14 * time.Second))
		h.enqueue(2)
		h.start()

		h.stopAndWait()

		beats := h.beats.List()
		apptest.Same(t, "beats", len(beats), 6) // at 0, 3, … 12 seconds, and at the end
		apptest.Same(t, "held at the last beat", len(beats[5].Held)+len(beats[5].Claiming), 0)
		calls := h.calls.List()
		if want := []string{"save", "save", "leave"}; !slices.Equal(calls[len(calls)-3:], want) {
			t.Errorf("calls: got %v, want %v last", calls, want)
		}
		apptest.Same(t, "calls to leave", len(slices.DeleteFunc(calls, func(c string) bool { return c != "leave" })), 1)
	})
}

// A beat that reached the store after the worker has left would register it again.
func TestWorker_LeavesOnlyWhenNoBeatIsInFlight(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		answered := h.Workers.EXPECT().Beat(apptest.Any, apptest.Any).Return(application.BeatAnswer{}, nil).Times(1)
		h.Workers.EXPECT().Beat(apptest.Any, apptest.Any).DoAndReturn(func(ctx context.Context, _ application.Beat) (application.BeatAnswer, error) {
			<-ctx.Done()
			time.Sleep(time.Second)
			h.calls.Add("beat ended")
			return application.BeatAnswer{}, ctx.Err()
		}).Times(1).After(answered)
		h.start()
		apptest.Pass(h.interval())

		apptest.Same(t, "time taken", h.stopAndWait(), time.Second)

		got := slices.DeleteFunc(h.calls.List(), func(call string) bool { return call == "pull" })
		if want := []string{"beat ended", "leave"}; !slices.Equal(got, want) {
			t.Errorf("calls: got %v, want %v", got, want)
		}
	})
}

func TestWorker_ReportsThatItCouldNotLeave(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.Workers.EXPECT().Leave(apptest.Any, domain.WorkerID("w")).DoAndReturn(func(ctx context.Context, _ domain.WorkerID) error {
			return apptest.UntilEnded(ctx)
		})
		h.Events.EXPECT().LoopRan(apptest.Any, application.LoopLeave, context.DeadlineExceeded)
		h.start()

		apptest.Same(t, "time taken", h.stopAndWait(), worker.SaveTimeout)
	})
}
