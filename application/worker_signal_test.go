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

// nudgeGather is how long hints are gathered before a beat.
const nudgeGather = 20 * time.Millisecond

// stopsRequested makes every beat name those of the attempts it lists that a
// client asked to stop, as a store does.
func (r *rig) stopsRequested() {
	r.workers.EXPECT().Beat(anyArg, anyArg).DoAndReturn(func(_ context.Context, beat application.Beat) (application.BeatAnswer, error) {
		r.beats.add(beat)
		var answer application.BeatAnswer
		for _, held := range beat.Held {
			if s := r.store.state(held.Task); held.Running && s.Attempt == held.Attempt && !s.StopRequestedAt.IsZero() {
				answer.Stop = append(answer.Stop, held.AttemptRef)
			}
		}
		return answer, nil
	}).AnyTimes()
}

// requestStop is what CancelTask does with Stop, its hint excepted.
func (r *rig) requestStop(id domain.TaskID) {
	r.t.Helper()
	must(r.t, r.store.change(id, func(task *domain.Task) error { return task.RequestStop(now()) }))
}

func (r *rig) hintStop(ids ...domain.TaskID) {
	r.air.send(application.Signal{Kind: application.SignalStop, Tasks: ids})
}

func TestWorker_StopsAHandlerAtOnceWhenItHearsOfTheRequest(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.stopsRequested()
		r.handles(untilTold)
		ids := r.enqueue(2)
		r.start()
		pass(time.Second)
		r.requestStop(ids[0])

		r.hintStop(ids[0])
		pass(nudgeGather - 1)
		same(t, "beats before the hints are gathered", len(r.beats.list()), 1)
		pass(1)

		same(t, "beats", len(r.beats.list()), 2)
		r.wantStatus(domain.StatusCanceled, ids[0])
		r.wantStatus(domain.StatusProcessing, ids[1])
		wantAttempt(t, r, ids[0], domain.OutcomeStopped, "")
	})
}

// wantAttempt fails the test unless the one record of the task's attempts says so.
func wantAttempt(t *testing.T, r *rig, id domain.TaskID, outcome domain.AttemptOutcome, reason string) {
	t.Helper()
	attempts := r.store.attempts[id]
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
		r.handles(returning(errBroken))
		id := r.enqueueOne()
		r.start()

		wantAttempt(t, r, id, domain.OutcomeFailed, errBroken.Error())
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
			must(t, r.store.change(task.ID(), func(task *domain.Task) error { return task.RequestStop(now()) }))
			return errBroken
		})
		id := r.enqueueOne()
		r.start()

		wantAttempt(t, r, id, domain.OutcomeStopped, errBroken.Error())
	})
}

func TestWorker_StopsAHandlerAtItsNextBeatWhenTheHintIsLost(t *testing.T) {
	onRig(t, func(_ *testing.T, r *rig) {
		r.stopsRequested()
		r.handles(untilTold)
		id := r.enqueueOne()
		r.start()
		r.requestStop(id)

		pass(r.interval() - 1)
		r.wantStatus(domain.StatusProcessing, id)
		pass(1)

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
		pass(nudgeGather)

		r.wantStatus(domain.StatusCompleted, id)
		same(t, "result", r.store.state(id).Result, "done")
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
		r.events.EXPECT().HandlerAbandoned(application.AttemptRef{Task: id, Attempt: 1})
		r.start()
		r.requestStop(id)
		r.hintStop(id)

		pass(nudgeGather + r.cfg.HandlerGrace)

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
			pass(time.Millisecond)
		}

		pass(time.Second)

		same(t, "beats", len(r.beats.list()), 2)
		r.wantStatus(domain.StatusCanceled, ids...)
	})
}

func TestWorker_HintsThatAreNoneOfItsBusinessDoNothing(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.stopsRequested()
		r.handles(untilTold)
		id := r.enqueueOne()
		r.start()

		r.hintStop(newTask(t).ID())
		r.air.send(application.Signal{Kind: application.SignalChanged, Tasks: []domain.TaskID{id}})
		r.hintStop()
		pass(time.Second)

		same(t, "beats", len(r.beats.list()), 1)
		r.wantStatus(domain.StatusProcessing, id)
	})
}

func TestWorker_ListensAgainWhenTheConnectionIsLost(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		var tries record[time.Time]
		r.signals.EXPECT().Listen(anyArg, anyArg, anyArg).DoAndReturn(
			func(context.Context, func(), func(application.Signal)) error {
				tries.add(now())
				return domain.ErrUnavailable
			}).Times(12)
		var turns record[bool]
		r.events.EXPECT().Turn("listen to signals", anyArg).Do(func(_ string, err error) { turns.add(err == nil) }).AnyTimes()
		r.stopsRequested()
		r.handles(untilTold)
		id := r.enqueueOne()
		r.start()

		pass(20 * time.Second)

		at := tries.list()
		same(t, "tries", len(at), 12)
		if first, last := at[1].Sub(at[0]), at[11].Sub(at[10]); first > 100*time.Millisecond || last < 500*time.Millisecond || last > 3*time.Second {
			t.Errorf("waits %s after the first try and %s after the eleventh: no backoff", first, last)
		}
		if want := append(make([]bool, 12), true); !slices.Equal(turns.list(), want) {
			t.Errorf("told the turns %v, want %v", turns.list(), want)
		}
		before := len(r.beats.list())
		r.requestStop(id)
		r.hintStop(id)
		pass(nudgeGather)
		same(t, "beats after the hint", len(r.beats.list())-before, 1)
		r.wantStatus(domain.StatusCanceled, id)
	})
}

func TestWorker_AnEndTellsNothingOfTheListening(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.events.EXPECT().Turn("listen to signals", nil).Times(1)
		r.start()

		r.stopAndWait()

		synctest.Wait()
		same(t, "listeners left", len(r.air.listening), 0)
	})
}

func TestWorker_KeepsTheResultOfItsHandler(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(returning(nil))
		id := r.enqueueOne()
		r.start()

		same(t, "result", r.store.state(id).Result, "done")
	})
}

func TestWorker_KeepsNoResultOfAnAttemptThatFailed(t *testing.T) {
	for name, err := range map[string]error{"Retried": errBroken, "ForGood": application.Permanent(errBroken)} {
		t.Run(name, func(t *testing.T) {
			onRig(t, func(t *testing.T, r *rig) {
				r.handles(returning(err))
				id := r.enqueueOne()
				r.start()

				same(t, "result", r.store.state(id).Result, "")
			})
		})
	}
}

func TestWorker_TellsWhoeverWaitsOfClaimsAndOutcomes(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(forTime(time.Minute))
		ids := r.enqueue(2)
		r.start()

		if sent := r.air.sent.list(); len(sent) != 1 || sent[0].Kind != application.SignalChanged || !slices.Equal(sent[0].Tasks, ids) {
			t.Errorf("sent %v, want one signal of the claim", sent)
		}
		pass(time.Minute)
		told := map[domain.TaskID]int{}
		for _, s := range r.air.sent.list()[1:] {
			same(t, "kind", s.Kind, application.SignalChanged)
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
			return r.store.change(task.ID(), claimedByAnother)
		})
		id := r.enqueueOne()
		r.events.EXPECT().AttemptLost(application.AttemptRef{Task: id, Attempt: 1})
		r.start()

		same(t, "signals after that of the claim", len(r.air.sent.list())-1, 0)
	})
}
