package application_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

func TestWorker_EndsAtOnceOnAStopWhenItHoldsNothing(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.start()
		pass(time.Second)

		same(t, "time taken", r.stopAndWait(), 0)
	})
}

func TestWorker_EndsOnAStopBeforeItsFirstBeatIsAnswered(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.workers.EXPECT().Beat(anyArg, anyArg).DoAndReturn(hangingBeat).AnyTimes()
		r.start()
		pass(time.Minute)

		same(t, "time taken", r.stopAndWait(), 0)
	})
}

func TestWorker_PutsBackOnAStopWhatItPulledAndCouldNotClaim(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.tasks.EXPECT().Claim(anyArg, anyArg).Return(application.Claimed{}, domain.ErrUnavailable).MinTimes(2)
		ids := r.enqueue(2)
		r.start()
		pass(time.Second)
		same(t, "left on the queue", len(r.line.ids(domain.DefaultQueue)), 0)

		same(t, "time taken", r.stopAndWait(), 0)

		if got := r.line.ids(domain.DefaultQueue); !slices.Equal(got, ids) {
			t.Errorf("put back: got %v, want %v", got, ids)
		}
	})
}

func TestWorker_PutsBackWhatAPullTookWhenTheStopCame(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		ids := r.enqueue(2)
		r.queue.EXPECT().Pull(anyArg, anyArg).DoAndReturn(func(ctx context.Context, p application.PullRequest) ([]application.Entry, error) {
			<-ctx.Done()
			return r.line.take(p), nil
		})
		r.start()

		r.stopAndWait()

		if got := r.line.ids(domain.DefaultQueue); !slices.Equal(got, ids) {
			t.Errorf("put back: got %v, want %v", got, ids)
		}
		if got, want := r.calls.list(), []string{"leave"}; !slices.Equal(got, want) {
			t.Errorf("calls: got %v, want %v", got, want)
		}
	})
}

func TestWorker_AQueueThatHangsDoesNotHoldUpTheStop(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.tasks.EXPECT().Claim(anyArg, anyArg).Return(application.Claimed{}, domain.ErrUnavailable).MinTimes(1)
		r.queue.EXPECT().PutBack(anyArg, anyArg).DoAndReturn(func(ctx context.Context, _ ...application.Entry) error {
			return untilEnded(ctx)
		})
		r.enqueue(1)
		r.start()

		same(t, "time taken", r.stopAndWait(), 2*time.Second)
	})
}

func TestWorker_ReleasesOnAStopWhatItClaimedAndDidNotStart(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		ids := r.enqueue(2)
		r.tasks.EXPECT().Claim(anyArg, anyArg).DoAndReturn(
			func(ctx context.Context, c application.ClaimRequest) (application.Claimed, error) {
				r.stop()
				return r.store.claim(ctx, c)
			})

		r.start() // the handler is not expected
		<-r.ended

		r.wantStatus(domain.StatusPending, ids...)
		wantUncharged(t, r.store.state(ids[0]))
	})
}

// wantUncharged fails the test unless the task was given back as if its attempt
// had never been.
func wantUncharged(t *testing.T, s domain.TaskState) {
	t.Helper()
	same(t, "attempt", s.Attempt, 1)
	same(t, "failures", s.Failures, 0)
	same(t, "rescues", s.Rescues, 0)
	same(t, "due at", s.RunAt, s.UpdatedAt)
}

func TestWorker_FinishesOnAStopWhatRuns(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(forTime(10 * time.Second))
		ids := r.enqueue(2)
		r.start()
		later := r.enqueue(3)[1:] // the first gets the slot that is free
		pass(time.Second)
		before := len(r.asked.list())

		same(t, "time taken", r.stopAndWait(), 9*time.Second)

		r.wantStatus(domain.StatusCompleted, ids...)
		same(t, "pulls after the stop", len(r.asked.list())-before, 0)
		r.wantStatus(domain.StatusPending, later...)
	})
}

func TestWorker_EndsAfterTheShutdownTimeoutWhatStillRunsAndReleasesIt(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(untilTold)
		ids := r.enqueue(2)
		r.start()

		same(t, "time taken", r.stopAndWait(), r.cfg.ShutdownTimeout)

		r.wantStatus(domain.StatusPending, ids...)
		wantUncharged(t, r.store.state(ids[0]))
	})
}

func TestWorker_LeavesAHandlerBehindThatIgnoresTheStop(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		freed := make(chan struct{})
		var seen record[domain.Status]
		r.handles(func(_ context.Context, task *domain.Task) error {
			<-freed
			seen.add(task.Status())
			return nil
		})
		id := r.enqueueOne()
		r.events.EXPECT().HandlerAbandoned(application.AttemptRef{Task: id, Attempt: 1})
		r.start()

		same(t, "time taken", r.stopAndWait(), r.cfg.ShutdownTimeout+r.cfg.HandlerGrace)

		r.wantStatus(domain.StatusPending, id)
		wantUncharged(t, r.store.state(id))
		close(freed)
		synctest.Wait()
		same(t, "status that the handler still sees", seen.last(), domain.StatusProcessing)
	})
}

func TestWorker_GivesUpAfterABoundedTimeWhatCannotBeSavedOnAStop(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(untilTold)
		id := r.enqueueOne()
		r.tasks.EXPECT().Save(anyArg, anyArg).Return(domain.ErrUnavailable).MinTimes(2)
		r.events.EXPECT().OutcomeUnsaved(application.AttemptRef{Task: id, Attempt: 1}, domain.ErrUnavailable)
		r.start()

		took := r.stopAndWait()

		same(t, "time taken", took, r.cfg.ShutdownTimeout+r.cfg.HandlerGrace+5*time.Second)
		r.wantStatus(domain.StatusProcessing, id) // to be rescued
	})
}

func TestWorker_KeepsBeatingUntilAllIsSavedAndThenLeaves(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(forTime(14 * time.Second))
		r.enqueue(2)
		r.start()

		r.stopAndWait()

		beats := r.beats.list()
		same(t, "beats", len(beats), 6) // at 0, 3, … 12 seconds, and at the end
		same(t, "held at the last beat", len(beats[5].Held)+len(beats[5].Claiming), 0)
		calls := r.calls.list()
		if want := []string{"save", "save", "leave"}; !slices.Equal(calls[len(calls)-3:], want) {
			t.Errorf("calls: got %v, want %v last", calls, want)
		}
		same(t, "calls to leave", len(slices.DeleteFunc(calls, func(c string) bool { return c != "leave" })), 1)
	})
}

// A beat that reached the store after the worker has left would register it again.
func TestWorker_LeavesOnlyWhenNoBeatIsInFlight(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		answered := r.workers.EXPECT().Beat(anyArg, anyArg).Return(application.BeatAnswer{}, nil).Times(1)
		r.workers.EXPECT().Beat(anyArg, anyArg).DoAndReturn(func(ctx context.Context, _ application.Beat) (application.BeatAnswer, error) {
			<-ctx.Done()
			time.Sleep(time.Second)
			r.calls.add("beat ended")
			return application.BeatAnswer{}, ctx.Err()
		}).Times(1).After(answered)
		r.start()
		pass(r.interval())

		same(t, "time taken", r.stopAndWait(), time.Second)

		if got, want := r.calls.list(), []string{"pull", "beat ended", "leave"}; !slices.Equal(got, want) {
			t.Errorf("calls: got %v, want %v", got, want)
		}
	})
}

func TestWorker_TellsThatItCouldNotLeave(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.workers.EXPECT().Leave(anyArg, domain.WorkerID("w")).DoAndReturn(func(ctx context.Context, _ domain.WorkerID) error {
			return untilEnded(ctx)
		})
		r.events.EXPECT().Turn("leave", context.DeadlineExceeded)
		r.start()

		same(t, "time taken", r.stopAndWait(), 5*time.Second)
	})
}
