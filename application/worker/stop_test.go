package worker_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/internal/apptest"
	"github.com/millrace/millrace/domain"
)

func TestWorker_EndsAtOnceOnAStopWhenItHoldsNothing(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.start()
		apptest.Pass(time.Second)

		apptest.Same(t, "time taken", r.stopAndWait(), 0)
	})
}

func TestWorker_EndsOnAStopBeforeItsFirstBeatIsAnswered(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.Workers.EXPECT().Beat(apptest.Any, apptest.Any).DoAndReturn(hangingBeat).AnyTimes()
		r.start()
		apptest.Pass(time.Minute)

		apptest.Same(t, "time taken", r.stopAndWait(), 0)
	})
}

func TestWorker_PutsBackOnAStopWhatItPulledAndCouldNotClaim(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.Tasks.EXPECT().Claim(apptest.Any, apptest.Any).Return(application.ClaimResult{}, domain.ErrUnavailable).MinTimes(2)
		ids := r.enqueue(2)
		r.start()
		apptest.Pass(time.Second)
		apptest.Same(t, "left on the queue", len(r.line.IDs(domain.DefaultQueue)), 0)

		apptest.Same(t, "time taken", r.stopAndWait(), 0)

		if got := r.line.IDs(domain.DefaultQueue); !slices.Equal(got, ids) {
			t.Errorf("put back: got %v, want %v", got, ids)
		}
	})
}

func TestWorker_PutsBackWhatAPullTookWhenTheStopCame(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		ids := r.enqueue(2)
		r.Queue.EXPECT().Pull(apptest.Any, apptest.Any).DoAndReturn(func(ctx context.Context, p application.PullRequest) ([]application.Entry, error) {
			<-ctx.Done()
			return r.line.Take(p), nil
		})
		r.start()

		r.stopAndWait()

		if got := r.line.IDs(domain.DefaultQueue); !slices.Equal(got, ids) {
			t.Errorf("put back: got %v, want %v", got, ids)
		}
		if got, want := r.calls.List(), []string{"leave"}; !slices.Equal(got, want) {
			t.Errorf("calls: got %v, want %v", got, want)
		}
	})
}

func TestWorker_AQueueThatHangsDoesNotHoldUpTheStop(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.Tasks.EXPECT().Claim(apptest.Any, apptest.Any).Return(application.ClaimResult{}, domain.ErrUnavailable).MinTimes(1)
		r.Queue.EXPECT().PutBack(apptest.Any, apptest.Any).DoAndReturn(func(ctx context.Context, _ ...application.Entry) error {
			return apptest.UntilEnded(ctx)
		})
		r.enqueue(1)
		r.start()

		apptest.Same(t, "time taken", r.stopAndWait(), 2*time.Second)
	})
}

func TestWorker_ReleasesOnAStopWhatItClaimedAndDidNotStart(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		ids := r.enqueue(2)
		r.Tasks.EXPECT().Claim(apptest.Any, apptest.Any).DoAndReturn(
			func(ctx context.Context, c application.ClaimRequest) (application.ClaimResult, error) {
				r.stop()
				return r.store.Claim(ctx, c)
			})

		r.start() // the handler is not expected
		<-r.ended

		r.wantStatus(domain.StatusPending, ids...)
		wantUncharged(t, r.store.State(ids[0]))
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
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(forTime(10 * time.Second))
		ids := r.enqueue(2)
		r.start()
		later := r.enqueue(3)[1:] // the first gets the slot that is free
		apptest.Pass(time.Second)
		before := len(r.asked.List())

		apptest.Same(t, "time taken", r.stopAndWait(), 9*time.Second)

		r.wantStatus(domain.StatusCompleted, ids...)
		apptest.Same(t, "pulls after the stop", len(r.asked.List())-before, 0)
		r.wantStatus(domain.StatusPending, later...)
	})
}

func TestWorker_EndsAfterTheShutdownTimeoutWhatStillRunsAndReleasesIt(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(untilTold)
		ids := r.enqueue(2)
		r.start()

		apptest.Same(t, "time taken", r.stopAndWait(), r.cfg.ShutdownTimeout)

		r.wantStatus(domain.StatusPending, ids...)
		wantUncharged(t, r.store.State(ids[0]))
	})
}

func TestWorker_LeavesAHandlerBehindThatIgnoresTheStop(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		freed := make(chan struct{})
		var seen apptest.Record[domain.Status]
		r.handles(func(_ context.Context, task *domain.Task) error {
			<-freed
			seen.Add(task.Status())
			return nil
		})
		id := r.enqueueOne()
		r.Events.EXPECT().HandlerAbandoned(apptest.Any, application.AttemptRef{Task: id, Attempt: 1})
		r.start()

		apptest.Same(t, "time taken", r.stopAndWait(), r.cfg.ShutdownTimeout+r.cfg.HandlerGrace)

		r.wantStatus(domain.StatusPending, id)
		wantUncharged(t, r.store.State(id))
		close(freed)
		synctest.Wait()
		apptest.Same(t, "status that the handler still sees", seen.Last(), domain.StatusProcessing)
	})
}

func TestWorker_GivesUpAfterABoundedTimeWhatCannotBeSavedOnAStop(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(untilTold)
		id := r.enqueueOne()
		r.Tasks.EXPECT().Save(apptest.Any, apptest.Any).Return(domain.ErrUnavailable).MinTimes(2)
		r.Events.EXPECT().OutcomeUnsaved(apptest.Any, application.AttemptRef{Task: id, Attempt: 1}, domain.ErrUnavailable)
		r.start()

		took := r.stopAndWait()

		apptest.Same(t, "time taken", took, r.cfg.ShutdownTimeout+r.cfg.HandlerGrace+5*time.Second)
		r.wantStatus(domain.StatusProcessing, id) // to be rescued
	})
}

func TestWorker_KeepsBeatingUntilAllIsSavedAndThenLeaves(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(forTime(14 * time.Second))
		r.enqueue(2)
		r.start()

		r.stopAndWait()

		beats := r.beats.List()
		apptest.Same(t, "beats", len(beats), 6) // at 0, 3, … 12 seconds, and at the end
		apptest.Same(t, "held at the last beat", len(beats[5].Held)+len(beats[5].Claiming), 0)
		calls := r.calls.List()
		if want := []string{"save", "save", "leave"}; !slices.Equal(calls[len(calls)-3:], want) {
			t.Errorf("calls: got %v, want %v last", calls, want)
		}
		apptest.Same(t, "calls to leave", len(slices.DeleteFunc(calls, func(c string) bool { return c != "leave" })), 1)
	})
}

// A beat that reached the store after the worker has left would register it again.
func TestWorker_LeavesOnlyWhenNoBeatIsInFlight(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		answered := r.Workers.EXPECT().Beat(apptest.Any, apptest.Any).Return(application.BeatAnswer{}, nil).Times(1)
		r.Workers.EXPECT().Beat(apptest.Any, apptest.Any).DoAndReturn(func(ctx context.Context, _ application.Beat) (application.BeatAnswer, error) {
			<-ctx.Done()
			time.Sleep(time.Second)
			r.calls.Add("beat ended")
			return application.BeatAnswer{}, ctx.Err()
		}).Times(1).After(answered)
		r.start()
		apptest.Pass(r.interval())

		apptest.Same(t, "time taken", r.stopAndWait(), time.Second)

		if got, want := r.calls.List(), []string{"pull", "beat ended", "leave"}; !slices.Equal(got, want) {
			t.Errorf("calls: got %v, want %v", got, want)
		}
	})
}

func TestWorker_TellsThatItCouldNotLeave(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.Workers.EXPECT().Leave(apptest.Any, domain.WorkerID("w")).DoAndReturn(func(ctx context.Context, _ domain.WorkerID) error {
			return apptest.UntilEnded(ctx)
		})
		r.Events.EXPECT().Turn(apptest.Any, application.LoopLeave, context.DeadlineExceeded)
		r.start()

		apptest.Same(t, "time taken", r.stopAndWait(), 5*time.Second)
	})
}
