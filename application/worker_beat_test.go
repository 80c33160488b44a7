package application_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

func TestWorker_NumbersItsBeatsAndSaysWhoItIs(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.start()
		pass(2 * r.interval())

		for i, beat := range r.beats.list() {
			same(t, "number", beat.Number, int64(i+1))
			same(t, "interval", beat.Interval, r.cfg.Lease/10)
			queues := []domain.QueueName{domain.DefaultQueue}
			alike(t, "worker", beat.Worker, application.WorkerInfo{ID: "w", Queues: queues, Capacity: r.cfg.Capacity})
		}
		same(t, "beats", len(r.beats.list()), 3)
	})
}

func TestWorker_BeatsOnWhateverBecameOfTheLastBeat(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		var numbers record[int64]
		r.workers.EXPECT().Beat(anyArg, anyArg).DoAndReturn(func(ctx context.Context, beat application.Beat) (application.BeatAnswer, error) {
			numbers.add(beat.Number)
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
			same(t, "the last beat's number", numbers.last(), want)
			pass(r.interval())
		}
	})
}

func TestWorker_ABeatListsAClaimInFlight(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		ids := r.enqueue(2)
		r.tasks.EXPECT().Claim(anyArg, anyArg).DoAndReturn(
			func(ctx context.Context, c application.ClaimRequest) (application.Claimed, error) {
				time.Sleep(r.interval() + r.interval()/2)
				return r.store.claim(ctx, c)
			}).Times(1)
		r.handles(untilTold)
		r.start()

		pass(2 * r.interval())

		during, after := r.beats.list()[1], r.beats.list()[2]
		slices.SortFunc(during.Claiming, func(a, b domain.TaskID) int { return strings.Compare(a.String(), b.String()) })
		if !slices.Equal(during.Claiming, ids) {
			t.Errorf("claiming during the claim: got %v, want %v", during.Claiming, ids)
		}
		same(t, "held during the claim", len(during.Held), 0)
		same(t, "claiming after the claim", len(after.Claiming), 0)
		same(t, "held after the claim", len(after.Held), 2)
	})
}

func TestWorker_ABeatDoesNotListAClaimThatFailed(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.tasks.EXPECT().Claim(anyArg, anyArg).Return(application.Claimed{}, domain.ErrUnavailable).MinTimes(2)
		r.enqueue(1)
		r.start()

		pass(10 * r.interval())

		for _, beat := range r.beats.list() {
			same(t, "claiming between two claims", len(beat.Claiming), 0)
		}
	})
}

func TestWorker_ABeatListsWhatRunsAndWhatIsNotYetSaved(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(forTime(r.interval() + r.interval()/2))
		r.tasks.EXPECT().Save(anyArg, anyArg).DoAndReturn(func(ctx context.Context, task *domain.Task) error {
			time.Sleep(r.interval())
			return r.store.save(ctx, task)
		})
		ref := application.AttemptRef{Task: r.enqueueOne(), Attempt: 1}
		r.start()

		pass(3 * r.interval())

		for i, want := range []struct {
			held    []application.HeldAttempt
			running int
		}{
			{},
			{[]application.HeldAttempt{{AttemptRef: ref, Running: true}}, 1},
			{[]application.HeldAttempt{{AttemptRef: ref}}, 0},
			{},
		} {
			beat := r.beats.list()[i]
			if !slices.Equal(beat.Held, want.held) || beat.Worker.Running != want.running {
				t.Errorf("beat %d lists %v and counts %d, want %v and %d",
					i+1, beat.Held, beat.Worker.Running, want.held, want.running)
			}
		}
	})
}

// answering makes the second beat give this answer.
func (r *rig) answering(answer application.BeatAnswer) {
	r.workers.EXPECT().Beat(anyArg, anyArg).DoAndReturn(func(_ context.Context, beat application.Beat) (application.BeatAnswer, error) {
		if beat.Number == 2 {
			return answer, nil
		}
		return application.BeatAnswer{}, nil
	}).AnyTimes()
}

// causes notes why the handler's context ends.
func causes(noted *record[error]) work {
	return func(ctx context.Context, _ *domain.Task) error {
		<-ctx.Done()
		noted.add(context.Cause(ctx))
		return ctx.Err()
	}
}

func TestWorker_EndsTheHandlerOfALostAttemptAndDropsItsOutcome(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		var ended record[error]
		r.handles(causes(&ended))
		ref := application.AttemptRef{Task: r.enqueueOne(), Attempt: 1}
		r.answering(application.BeatAnswer{Lost: []application.AttemptRef{ref}})
		r.events.EXPECT().AttemptLost(ref)
		r.start()
		same(t, "contexts ended before the beat", len(ended.list()), 0)

		pass(r.interval())

		wantError(t, ended.last(), domain.ErrAttemptLost)
		same(t, "saved", slices.Contains(r.calls.list(), "save"), false)
	})
}

func TestWorker_StopsAHandlerOnRequest(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		var ended record[error]
		r.handles(causes(&ended))
		ids := r.enqueue(2)
		r.answering(application.BeatAnswer{Stop: []application.AttemptRef{{Task: ids[0], Attempt: 1}}})
		r.start()
		must(t, r.store.change(ids[0], func(task *domain.Task) error { return task.RequestStop(now()) }))

		pass(r.interval())

		r.wantStatus(domain.StatusCanceled, ids[0])
		r.wantStatus(domain.StatusProcessing, ids[1])
		if cause := ended.last(); cause == nil || errors.Is(cause, domain.ErrAttemptLost) {
			t.Errorf("got cause %v, want the request", cause)
		}
	})
}

// While the store is away a task is lost; its save must not be tried for ever.
func TestWorker_GivesUpAnUnsavedOutcomeWhenItsAttemptIsLost(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(returning(nil))
		ref := application.AttemptRef{Task: r.enqueueOne(), Attempt: 1}
		r.tasks.EXPECT().Save(anyArg, anyArg).Return(domain.ErrUnavailable).AnyTimes()
		r.tasks.EXPECT().Get(anyArg, anyArg).Return(nil, domain.ErrUnavailable).AnyTimes()
		r.answering(application.BeatAnswer{Lost: []application.AttemptRef{ref}})
		var lost record[time.Time]
		r.events.EXPECT().AttemptLost(ref).Do(func(application.AttemptRef) { lost.add(now()) })
		r.start()
		begun := now()

		pass(r.interval() + 5*time.Second)

		if took := lost.last().Sub(begun); took < r.interval() {
			t.Errorf("given up after %s, want not before the beat at %s", took, r.interval())
		}
	})
}

func TestWorker_ABeatLetsTheStoreGiveTasksBack(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.start()
		beat := r.beats.list()[0]

		released := changed(t, taken(t), beat.Release)
		same(t, "released", released.Status(), domain.StatusPending)
		wantUncharged(t, released.State())

		timedOut := changed(t, taken(t), beat.TimeOut).State()
		same(t, "timed out", timedOut.Status, domain.StatusPending)
		same(t, "failures", timedOut.Failures, 1)
		same(t, "last error", timedOut.LastError, "still running after 5m6s")
	})
}
