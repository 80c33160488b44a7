package worker_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

func TestWorker_NumbersItsBeatsAndSaysWhoItIs(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		begun := apptest.Now()
		h.start()
		apptest.Pass(2 * h.interval())

		for i, beat := range h.beats.List() {
			apptest.Same(t, "number", beat.Number, int64(i+1))
			apptest.Same(t, "interval", beat.Interval, h.interval())
			queues := []domain.QueueName{domain.DefaultQueue}
			apptest.Equal(t, "worker", beat.Worker, application.WorkerInfo{ID: "w", Started: begun, Queues: queues, Capacity: h.cfg.Capacity})
		}
		apptest.Same(t, "beats", len(h.beats.List()), 3)
	})
}

func TestWorker_BeatsOnWhateverBecameOfTheLastBeat(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		var numbers apptest.Record[int64]
		h.Workers.EXPECT().Beat(apptest.Any, apptest.Any).DoAndReturn(func(ctx context.Context, beat application.Beat) (application.BeatAnswer, error) {
			numbers.Add(beat.Number)
			switch beat.Number {
			case 2:
				return hangingBeat(ctx, beat)
			case 3:
				return application.BeatAnswer{}, domain.ErrUnavailable
			}
			return application.BeatAnswer{}, nil
		}).AnyTimes()
		h.start()

		for want := int64(1); want <= 5; want++ {
			apptest.Same(t, "the last beat's number", numbers.Last(), want)
			apptest.Pass(h.interval())
		}
	})
}

func TestWorker_ABeatListsAClaimInFlight(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		ids := h.enqueue(2)
		h.Tasks.EXPECT().Claim(apptest.Any, apptest.Any).DoAndReturn(
			func(ctx context.Context, c application.ClaimRequest) (application.ClaimResult, error) {
				time.Sleep(h.interval() + h.interval()/2)
				return h.store.Claim(ctx, c)
			}).Times(1)
		h.handles(untilCanceled)
		h.start()

		apptest.Pass(2 * h.interval())

		during, after := h.beats.List()[1], h.beats.List()[2]
		slices.SortFunc(during.Claiming, func(a, b domain.TaskID) int { return strings.Compare(a.String(), b.String()) })
		if !slices.Equal(during.Claiming, ids) {
			t.Errorf("claiming during the claim: got %v, want %v", during.Claiming, ids)
		}
		apptest.Same(t, "held during the claim", len(during.Held), 0)
		apptest.Same(t, "claiming after the claim", len(after.Claiming), 0)
		apptest.Same(t, "held after the claim", len(after.Held), 2)
	})
}

func TestWorker_ABeatDoesNotListAClaimThatFailed(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.Tasks.EXPECT().Claim(apptest.Any, apptest.Any).Return(application.ClaimResult{}, domain.ErrUnavailable).MinTimes(2)
		h.enqueue(1)
		h.start()

		apptest.Pass(10 * h.interval())

		for _, beat := range h.beats.List() {
			apptest.Same(t, "claiming between two claims", len(beat.Claiming), 0)
		}
	})
}

func TestWorker_ABeatListsWhatRunsAndWhatIsNotYetSaved(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.handles(forTime(h.interval() + h.interval()/2))
		h.Tasks.EXPECT().Save(apptest.Any, apptest.Any).DoAndReturn(func(ctx context.Context, task *domain.Task) error {
			time.Sleep(h.interval())
			return h.store.Save(ctx, task)
		})
		ref := application.AttemptRef{Task: h.enqueueOne(), Attempt: 1}
		h.start()

		apptest.Pass(3 * h.interval())

		for i, want := range []struct {
			held    []application.HeldAttempt
			running int
		}{
			{},
			{[]application.HeldAttempt{{AttemptRef: ref, Running: true}}, 1},
			{[]application.HeldAttempt{{AttemptRef: ref}}, 0},
			{},
		} {
			beat := h.beats.List()[i]
			if !slices.Equal(beat.Held, want.held) || beat.Worker.Running != want.running {
				t.Errorf("beat %d lists %v and counts %d, want %v and %d",
					i+1, beat.Held, beat.Worker.Running, want.held, want.running)
			}
		}
	})
}

// answering makes the second beat give this answer.
func (h *harness) answering(answer application.BeatAnswer) {
	h.Workers.EXPECT().Beat(apptest.Any, apptest.Any).DoAndReturn(func(ctx context.Context, beat application.Beat) (application.BeatAnswer, error) {
		if beat.Number == 2 {
			return answer, nil
		}
		return h.beat(ctx, beat)
	}).AnyTimes()
}

// causes notes why the handler's context ends.
func causes(noted *apptest.Record[error]) work {
	return func(ctx context.Context, _ *domain.Task) error {
		<-ctx.Done()
		noted.Add(context.Cause(ctx))
		return ctx.Err()
	}
}

func TestWorker_EndsTheHandlerOfALostAttemptAndDropsItsOutcome(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		var ended apptest.Record[error]
		h.handles(causes(&ended))
		ref := application.AttemptRef{Task: h.enqueueOne(), Attempt: 1}
		h.answering(application.BeatAnswer{Lost: []application.AttemptRef{ref}})
		h.Events.EXPECT().AttemptLost(apptest.Any, apptest.Any, ref)
		h.start()
		apptest.Same(t, "contexts ended before the beat", len(ended.List()), 0)

		apptest.Pass(h.interval())

		apptest.WantError(t, ended.Last(), domain.ErrAttemptLost)
		apptest.Same(t, "saved", slices.Contains(h.calls.List(), "save"), false)
	})
}

func TestWorker_StopsAHandlerOnRequest(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		var ended apptest.Record[error]
		h.handles(causes(&ended))
		ids := h.enqueue(2)
		h.answering(application.BeatAnswer{Stop: []application.AttemptRef{{Task: ids[0], Attempt: 1}}})
		h.start()
		apptest.Must(t, h.store.Change(ids[0], func(task *domain.Task) error { return task.RequestStop(apptest.Now()) }))

		apptest.Pass(h.interval())

		h.wantStatus(domain.StatusCanceled, ids[0])
		h.wantStatus(domain.StatusProcessing, ids[1])
		if cause := ended.Last(); cause == nil || errors.Is(cause, domain.ErrAttemptLost) {
			t.Errorf("got cause %v, want the request", cause)
		}
	})
}

// While the store is away a task is lost; its save must not be tried for ever.
func TestWorker_GivesUpAnUnsavedOutcomeWhenItsAttemptIsLost(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.handles(returning(nil))
		ref := application.AttemptRef{Task: h.enqueueOne(), Attempt: 1}
		h.Tasks.EXPECT().Save(apptest.Any, apptest.Any).Return(domain.ErrUnavailable).AnyTimes()
		h.Tasks.EXPECT().Get(apptest.Any, apptest.Any).Return(nil, domain.ErrUnavailable).AnyTimes()
		h.answering(application.BeatAnswer{Lost: []application.AttemptRef{ref}})
		var lost apptest.Record[time.Time]
		h.Events.EXPECT().AttemptLost(apptest.Any, apptest.Any, ref).Do(func(context.Context, domain.QueueName, application.AttemptRef) { lost.Add(apptest.Now()) })
		h.start()
		begun := apptest.Now()

		apptest.Pass(h.interval() + 5*time.Second)

		if took := lost.Last().Sub(begun); took < h.interval() {
			t.Errorf("given up after %s, want not before the beat at %s", took, h.interval())
		}
	})
}

func TestWorker_ABeatSaysHowTasksAreGivenBack(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.start()
		beat := h.beats.List()[0]

		released := apptest.Changed(t, apptest.Claimed(t), beat.Release)
		apptest.Same(t, "released", released.Status(), domain.StatusPending)
		wantUncharged(t, released.State())

		timedOut := apptest.Changed(t, apptest.Claimed(t), beat.TimeOut).State()
		apptest.Same(t, "timed out", timedOut.Status, domain.StatusPending)
		apptest.Same(t, "failures", timedOut.Failures, 1)
		apptest.Same(t, "last error", timedOut.LastError, "still running after 5m6s")
	})
}
