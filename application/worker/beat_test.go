package worker_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/internal/apptest"
	"github.com/millrace/millrace/domain"
)

func TestWorker_NumbersItsBeatsAndSaysWhoItIs(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.start()
		apptest.Pass(2 * r.interval())

		for i, beat := range r.beats.List() {
			apptest.Same(t, "number", beat.Number, int64(i+1))
			apptest.Same(t, "interval", beat.Interval, r.cfg.Lease/10)
			queues := []domain.QueueName{domain.DefaultQueue}
			apptest.Equal(t, "worker", beat.Worker, application.WorkerInfo{ID: "w", Queues: queues, Capacity: r.cfg.Capacity})
		}
		apptest.Same(t, "beats", len(r.beats.List()), 3)
	})
}

func TestWorker_BeatsOnWhateverBecameOfTheLastBeat(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		var numbers apptest.Record[int64]
		r.Workers.EXPECT().Beat(apptest.Any, apptest.Any).DoAndReturn(func(ctx context.Context, beat application.Beat) (application.BeatAnswer, error) {
			numbers.Add(beat.Number)
			switch beat.Number {
			case 2:
				return hangingBeat(ctx, beat)
			case 3:
				return application.BeatAnswer{}, domain.ErrUnavailable
			}
			return application.BeatAnswer{}, nil
		}).AnyTimes()
		r.start()

		for want := int64(1); want <= 5; want++ {
			apptest.Same(t, "the last beat's number", numbers.Last(), want)
			apptest.Pass(r.interval())
		}
	})
}

func TestWorker_ABeatListsAClaimInFlight(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		ids := r.enqueue(2)
		r.Tasks.EXPECT().Claim(apptest.Any, apptest.Any).DoAndReturn(
			func(ctx context.Context, c application.ClaimRequest) (application.ClaimResult, error) {
				time.Sleep(r.interval() + r.interval()/2)
				return r.store.Claim(ctx, c)
			}).Times(1)
		r.handles(untilTold)
		r.start()

		apptest.Pass(2 * r.interval())

		during, after := r.beats.List()[1], r.beats.List()[2]
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
	onRig(t, func(t *testing.T, r *rig) {
		r.Tasks.EXPECT().Claim(apptest.Any, apptest.Any).Return(application.ClaimResult{}, domain.ErrUnavailable).MinTimes(2)
		r.enqueue(1)
		r.start()

		apptest.Pass(10 * r.interval())

		for _, beat := range r.beats.List() {
			apptest.Same(t, "claiming between two claims", len(beat.Claiming), 0)
		}
	})
}

func TestWorker_ABeatListsWhatRunsAndWhatIsNotYetSaved(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(forTime(r.interval() + r.interval()/2))
		r.Tasks.EXPECT().Save(apptest.Any, apptest.Any).DoAndReturn(func(ctx context.Context, task *domain.Task) error {
			time.Sleep(r.interval())
			return r.store.Save(ctx, task)
		})
		ref := application.AttemptRef{Task: r.enqueueOne(), Attempt: 1}
		r.start()

		apptest.Pass(3 * r.interval())

		for i, want := range []struct {
			held    []application.HeldAttempt
			running int
		}{
			{},
			{[]application.HeldAttempt{{AttemptRef: ref, Running: true}}, 1},
			{[]application.HeldAttempt{{AttemptRef: ref}}, 0},
			{},
		} {
			beat := r.beats.List()[i]
			if !slices.Equal(beat.Held, want.held) || beat.Worker.Running != want.running {
				t.Errorf("beat %d lists %v and counts %d, want %v and %d",
					i+1, beat.Held, beat.Worker.Running, want.held, want.running)
			}
		}
	})
}

// answering makes the second beat give this answer.
func (r *rig) answering(answer application.BeatAnswer) {
	r.Workers.EXPECT().Beat(apptest.Any, apptest.Any).DoAndReturn(func(_ context.Context, beat application.Beat) (application.BeatAnswer, error) {
		if beat.Number == 2 {
			return answer, nil
		}
		return application.BeatAnswer{}, nil
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
	onRig(t, func(t *testing.T, r *rig) {
		var ended apptest.Record[error]
		r.handles(causes(&ended))
		ref := application.AttemptRef{Task: r.enqueueOne(), Attempt: 1}
		r.answering(application.BeatAnswer{Lost: []application.AttemptRef{ref}})
		r.Events.EXPECT().AttemptLost(apptest.Any, ref)
		r.start()
		apptest.Same(t, "contexts ended before the beat", len(ended.List()), 0)

		apptest.Pass(r.interval())

		apptest.WantError(t, ended.Last(), domain.ErrAttemptLost)
		apptest.Same(t, "saved", slices.Contains(r.calls.List(), "save"), false)
	})
}

func TestWorker_StopsAHandlerOnRequest(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		var ended apptest.Record[error]
		r.handles(causes(&ended))
		ids := r.enqueue(2)
		r.answering(application.BeatAnswer{Stop: []application.AttemptRef{{Task: ids[0], Attempt: 1}}})
		r.start()
		apptest.Must(t, r.store.Change(ids[0], func(task *domain.Task) error { return task.RequestStop(apptest.Now()) }))

		apptest.Pass(r.interval())

		r.wantStatus(domain.StatusCanceled, ids[0])
		r.wantStatus(domain.StatusProcessing, ids[1])
		if cause := ended.Last(); cause == nil || errors.Is(cause, domain.ErrAttemptLost) {
			t.Errorf("got cause %v, want the request", cause)
		}
	})
}

// While the store is away a task is lost; its save must not be tried for ever.
func TestWorker_GivesUpAnUnsavedOutcomeWhenItsAttemptIsLost(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(returning(nil))
		ref := application.AttemptRef{Task: r.enqueueOne(), Attempt: 1}
		r.Tasks.EXPECT().Save(apptest.Any, apptest.Any).Return(domain.ErrUnavailable).AnyTimes()
		r.Tasks.EXPECT().Get(apptest.Any, apptest.Any).Return(nil, domain.ErrUnavailable).AnyTimes()
		r.answering(application.BeatAnswer{Lost: []application.AttemptRef{ref}})
		var lost apptest.Record[time.Time]
		r.Events.EXPECT().AttemptLost(apptest.Any, ref).Do(func(context.Context, application.AttemptRef) { lost.Add(apptest.Now()) })
		r.start()
		begun := apptest.Now()

		apptest.Pass(r.interval() + 5*time.Second)

		if took := lost.Last().Sub(begun); took < r.interval() {
			t.Errorf("given up after %s, want not before the beat at %s", took, r.interval())
		}
	})
}

func TestWorker_ABeatLetsTheStoreGiveTasksBack(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.start()
		beat := r.beats.List()[0]

		released := apptest.Changed(t, apptest.Claimed(t), beat.Release)
		apptest.Same(t, "released", released.Status(), domain.StatusPending)
		wantUncharged(t, released.State())

		timedOut := apptest.Changed(t, apptest.Claimed(t), beat.TimeOut).State()
		apptest.Same(t, "timed out", timedOut.Status, domain.StatusPending)
		apptest.Same(t, "failures", timedOut.Failures, 1)
		apptest.Same(t, "last error", timedOut.LastError, "still running after 5m6s")
	})
}
