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

// nudgeGather is how long hints are gathered before a beat.
const nudgeGather = 20 * time.Millisecond

// stopsRequested makes every beat name those of the attempts it lists that a
// client asked to stop, as a store does.
func (r *rig) stopsRequested() {
	r.Workers.EXPECT().Beat(apptest.Any, apptest.Any).DoAndReturn(func(_ context.Context, beat application.Beat) (application.BeatAnswer, error) {
		r.beats.Add(beat)
		var answer application.BeatAnswer
		for _, held := range beat.Held {
			if s := r.store.State(held.Task); held.Running && s.Attempt == held.Attempt && !s.StopRequestedAt.IsZero() {
				answer.Stop = append(answer.Stop, held.AttemptRef)
			}
		}
		return answer, nil
	}).AnyTimes()
}

// requestStop is what CancelTask does with Stop, its hint excepted.
func (r *rig) requestStop(id domain.TaskID) {
	r.t.Helper()
	apptest.Must(r.t, r.store.Change(id, func(task *domain.Task) error { return task.RequestStop(apptest.Now()) }))
}

func (r *rig) hintStop(ids ...domain.TaskID) {
	r.air.Send(application.Signal{Kind: application.SignalStop, Tasks: ids})
}

func TestWorker_StopsAHandlerAtOnceWhenItHearsOfTheRequest(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.stopsRequested()
		r.handles(untilTold)
		ids := r.enqueue(2)
		r.start()
		apptest.Pass(time.Second)
		r.requestStop(ids[0])

		r.hintStop(ids[0])
		apptest.Pass(nudgeGather - 1)
		apptest.Same(t, "beats before the hints are gathered", len(r.beats.List()), 1)
		apptest.Pass(1)

		apptest.Same(t, "beats", len(r.beats.List()), 2)
		r.wantStatus(domain.StatusCanceled, ids[0])
		r.wantStatus(domain.StatusProcessing, ids[1])
		wantAttempt(t, r, ids[0], domain.OutcomeStopped, "")
	})
}

// wantAttempt fails the test unless the one record of the task's attempts says so.
func wantAttempt(t *testing.T, r *rig, id domain.TaskID, outcome domain.AttemptOutcome, reason string) {
	t.Helper()
	attempts := r.store.Attempts[id]
	if len(attempts) != 1 {
		t.Fatalf("recorded %v, want one attempt", attempts)
	}
	got := attempts[0]
	if got.Outcome != outcome || got.Error != reason || got.Number != 1 || got.Worker != "w" {
		t.Errorf("recorded %+v, want %s, %q", got, outcome, reason)
	}
}

func TestWorker_RecordsTheAttemptsThatFail(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(returning(apptest.ErrBroken))
		id := r.enqueueOne()
		r.start()

		wantAttempt(t, r, id, domain.OutcomeFailed, apptest.ErrBroken.Error())
	})
}

func TestWorker_RecordsTheAttemptsThatItReleases(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(untilTold)
		id := r.enqueueOne()
		r.start()

		r.stopAndWait()

		wantAttempt(t, r, id, domain.OutcomeReleased, "")
	})
}

// The save that meets the request to stop decides again: one attempt, one record.
func TestWorker_RecordsAnAttemptOnceWhoeverElseChangesItsTask(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(func(_ context.Context, task *domain.Task) error {
			apptest.Must(t, r.store.Change(task.ID(), func(task *domain.Task) error { return task.RequestStop(apptest.Now()) }))
			return apptest.ErrBroken
		})
		id := r.enqueueOne()
		r.start()

		wantAttempt(t, r, id, domain.OutcomeStopped, apptest.ErrBroken.Error())
	})
}

func TestWorker_StopsAHandlerAtItsNextBeatWhenTheHintIsLost(t *testing.T) {
	onRig(t, func(_ *testing.T, r *rig) {
		r.stopsRequested()
		r.handles(untilTold)
		id := r.enqueueOne()
		r.start()
		r.requestStop(id)

		apptest.Pass(r.interval() - 1)
		r.wantStatus(domain.StatusProcessing, id)
		apptest.Pass(1)

		r.wantStatus(domain.StatusCanceled, id)
	})
}

func TestWorker_AHandlerThatFinishesBeforeItsStopHasFinished(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.stopsRequested()
		r.handles(func(ctx context.Context, _ *domain.Task) error {
			<-ctx.Done()
			return nil // it was just about to
		})
		id := r.enqueueOne()
		r.start()
		r.requestStop(id)
		r.hintStop(id)
		apptest.Pass(nudgeGather)

		r.wantStatus(domain.StatusCompleted, id)
		apptest.Same(t, "result", r.store.State(id).Result, "done")
	})
}

func TestWorker_AHandlerThatIgnoresItsStopIsLeftBehindAndItsTaskCanceled(t *testing.T) {
	onRig(t, func(_ *testing.T, r *rig) {
		r.stopsRequested()
		freed := make(chan struct{})
		defer close(freed)
		r.handles(func(context.Context, *domain.Task) error {
			<-freed
			return nil
		})
		id := r.enqueueOne()
		r.Events.EXPECT().HandlerAbandoned(apptest.Any, application.AttemptRef{Task: id, Attempt: 1})
		r.start()
		r.requestStop(id)
		r.hintStop(id)

		apptest.Pass(nudgeGather + r.cfg.HandlerGrace)

		r.wantStatus(domain.StatusCanceled, id)
	})
}

func TestWorker_HintsThatComeTogetherCostOneBeat(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.stopsRequested()
		r.handles(untilTold)
		r.cfg.Capacity = 10
		ids := r.enqueue(10)
		r.start()
		for _, id := range ids {
			r.requestStop(id)
			r.hintStop(id)
			apptest.Pass(time.Millisecond)
		}

		apptest.Pass(time.Second)

		apptest.Same(t, "beats", len(r.beats.List()), 2)
		r.wantStatus(domain.StatusCanceled, ids...)
	})
}

func TestWorker_HintsThatAreNoneOfItsBusinessDoNothing(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.stopsRequested()
		r.handles(untilTold)
		id := r.enqueueOne()
		r.start()

		r.hintStop(apptest.NewTask(t).ID())
		r.air.Send(application.Signal{Kind: application.SignalChanged, Tasks: []domain.TaskID{id}})
		r.hintStop()
		apptest.Pass(time.Second)

		apptest.Same(t, "beats", len(r.beats.List()), 1)
		r.wantStatus(domain.StatusProcessing, id)
	})
}

func TestWorker_ListensAgainWhenTheConnectionIsLost(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		var tries apptest.Record[time.Time]
		r.Signals.EXPECT().Listen(apptest.Any, apptest.Any, apptest.Any).DoAndReturn(
			func(context.Context, func(), func(application.Signal)) error {
				tries.Add(apptest.Now())
				return domain.ErrUnavailable
			}).Times(12)
		var turns apptest.Record[bool]
		r.Events.EXPECT().Turn(apptest.Any, application.LoopListen, apptest.Any).Do(func(_ context.Context, _ application.Loop, err error) { turns.Add(err == nil) }).AnyTimes()
		r.stopsRequested()
		r.handles(untilTold)
		id := r.enqueueOne()
		r.start()

		apptest.Pass(20 * time.Second)

		at := tries.List()
		apptest.Same(t, "tries", len(at), 12)
		if first, last := at[1].Sub(at[0]), at[11].Sub(at[10]); first > 100*time.Millisecond || last < 500*time.Millisecond || last > 3*time.Second {
			t.Errorf("waits %s after the first try and %s after the eleventh: no backoff", first, last)
		}
		if want := append(make([]bool, 12), true); !slices.Equal(turns.List(), want) {
			t.Errorf("told the turns %v, want %v", turns.List(), want)
		}
		before := len(r.beats.List())
		r.requestStop(id)
		r.hintStop(id)
		apptest.Pass(nudgeGather)
		apptest.Same(t, "beats after the hint", len(r.beats.List())-before, 1)
		r.wantStatus(domain.StatusCanceled, id)
	})
}

func TestWorker_AnEndTellsNothingOfTheListening(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.Events.EXPECT().Turn(apptest.Any, application.LoopListen, nil).Times(1)
		r.start()

		r.stopAndWait()

		synctest.Wait()
		apptest.Same(t, "listeners left", r.air.Listening(), 0)
	})
}

func TestWorker_KeepsTheResultOfItsHandler(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(returning(nil))
		id := r.enqueueOne()
		r.start()

		apptest.Same(t, "result", r.store.State(id).Result, "done")
	})
}

func TestWorker_KeepsNoResultOfAnAttemptThatFailed(t *testing.T) {
	for name, err := range map[string]error{"Retried": apptest.ErrBroken, "ForGood": application.Permanent(apptest.ErrBroken)} {
		t.Run(name, func(t *testing.T) {
			onRig(t, func(t *testing.T, r *rig) {
				r.handles(returning(err))
				id := r.enqueueOne()
				r.start()

				apptest.Same(t, "result", r.store.State(id).Result, "")
			})
		})
	}
}

func TestWorker_TellsWhoeverWaitsOfClaimsAndOutcomes(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(forTime(time.Minute))
		ids := r.enqueue(2)
		r.start()

		if sent := r.air.Sent.List(); len(sent) != 1 || sent[0].Kind != application.SignalChanged || !slices.Equal(sent[0].Tasks, ids) {
			t.Errorf("sent %v, want one signal of the claim", sent)
		}
		apptest.Pass(time.Minute)
		told := map[domain.TaskID]int{}
		for _, s := range r.air.Sent.List()[1:] {
			apptest.Same(t, "kind", s.Kind, application.SignalChanged)
			for _, id := range s.Tasks {
				told[id]++
			}
		}
		if len(told) != 2 || told[ids[0]] != 1 || told[ids[1]] != 1 {
			t.Errorf("told of %v, want each outcome once", told)
		}
	})
}

func TestWorker_TellsNobodyOfAnOutcomeThatIsNotStored(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(func(_ context.Context, task *domain.Task) error {
			return r.store.Change(task.ID(), claimedByAnother)
		})
		id := r.enqueueOne()
		r.Events.EXPECT().AttemptLost(apptest.Any, application.AttemptRef{Task: id, Attempt: 1})
		r.start()

		apptest.Same(t, "signals after that of the claim", len(r.air.Sent.List())-1, 0)
	})
}
