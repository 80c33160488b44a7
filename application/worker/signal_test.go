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

// requestStop is what CancelTask does with Stop, its hint excepted.
func (h *harness) requestStop(id domain.TaskID) {
	h.t.Helper()
	apptest.Must(h.t, h.store.Change(id, func(task *domain.Task) error { return task.RequestStop(apptest.Now()) }))
}

func (h *harness) hintStop(ids ...domain.TaskID) {
	h.sent.Send(application.Signal{Kind: application.SignalStop, Tasks: ids})
}

func TestWorker_StopsAHandlerAtOnceOnAHint(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.handles(untilCanceled)
		ids := h.enqueue(2)
		h.start()
		apptest.Pass(time.Second)
		h.requestStop(ids[0])

		h.hintStop(ids[0])
		apptest.Pass(worker.StopHintDebounce - 1)
		apptest.Same(t, "beats before the hints are gathered", len(h.beats.List()), 1)
		apptest.Pass(1)

		apptest.Same(t, "beats", len(h.beats.List()), 2)
		h.wantStatus(domain.StatusCanceled, ids[0])
		h.wantStatus(domain.StatusProcessing, ids[1])
		wantAttempt(t, h, ids[0], domain.OutcomeStopped, "")
	})
}

// wantAttempt fails the test unless the one record of the task's attempts says so.
func wantAttempt(t *testing.T, h *harness, id domain.TaskID, outcome domain.AttemptOutcome, reason string) {
	t.Helper()
	attempts, err := h.store.Attempts(t.Context(), id)
	apptest.Must(t, err)
	if len(attempts) != 1 {
		t.Fatalf("recorded %v, want one attempt", attempts)
	}
	got := attempts[0]
	if got.Outcome != outcome || got.Error != reason || got.Number != 1 || got.Worker != "w" {
		t.Errorf("recorded %+v, want %s, %q", got, outcome, reason)
	}
}

func TestWorker_RecordsTheAttemptsThatFail(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.handles(returning(apptest.ErrBroken))
		id := h.enqueueOne()
		h.start()

		wantAttempt(t, h, id, domain.OutcomeFailed, apptest.ErrBroken.Error())
	})
}

func TestWorker_RecordsTheAttemptsThatItReleases(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.handles(untilCanceled)
		id := h.enqueueOne()
		h.start()

		h.stopAndWait()

		wantAttempt(t, h, id, domain.OutcomeReleased, "")
	})
}

// The save that meets the request to stop decides again: one attempt, one record.
func TestWorker_RecordsAnAttemptOnceWhoeverElseChangesItsTask(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.handles(func(_ context.Context, task *domain.Task) error {
			apptest.Must(t, h.store.Change(task.ID(), func(task *domain.Task) error { return task.RequestStop(apptest.Now()) }))
			return apptest.ErrBroken
		})
		id := h.enqueueOne()
		h.start()

		wantAttempt(t, h, id, domain.OutcomeStopped, apptest.ErrBroken.Error())
	})
}

func TestWorker_StopsAHandlerAtItsNextBeatWhenTheHintIsLost(t *testing.T) {
	withHarness(t, func(_ *testing.T, h *harness) {
		h.handles(untilCanceled)
		id := h.enqueueOne()
		h.start()
		h.requestStop(id)

		apptest.Pass(h.interval() - 1)
		h.wantStatus(domain.StatusProcessing, id)
		apptest.Pass(1)

		h.wantStatus(domain.StatusCanceled, id)
	})
}

func TestWorker_AHandlerThatFinishesBeforeItsStopHasFinished(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.handles(func(ctx context.Context, _ *domain.Task) error {
			<-ctx.Done()
			return nil // it was just about to
		})
		id := h.enqueueOne()
		h.start()
		h.requestStop(id)
		h.hintStop(id)
		apptest.Pass(worker.StopHintDebounce)

		h.wantStatus(domain.StatusCompleted, id)
		apptest.Same(t, "result", h.store.State(id).Result, "done")
	})
}

func TestWorker_AHandlerThatIgnoresItsStopIsLeftBehindAndItsTaskCanceled(t *testing.T) {
	withHarness(t, func(_ *testing.T, h *harness) {
		freed := make(chan struct{})
		defer close(freed)
		h.handles(func(context.Context, *domain.Task) error {
			<-freed
			return nil
		})
		id := h.enqueueOne()
		h.Events.EXPECT().HandlerAbandoned(apptest.Any, apptest.Any, application.AttemptRef{Task: id, Attempt: 1})
		h.start()
		h.requestStop(id)
		h.hintStop(id)

		apptest.Pass(worker.StopHintDebounce + h.cfg.HandlerGrace)

		h.wantStatus(domain.StatusCanceled, id)
	})
}

func TestWorker_HintsThatComeTogetherCostOneBeat(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.handles(untilCanceled)
		h.cfg.Capacity = 10
		ids := h.enqueue(10)
		h.start()
		for _, id := range ids {
			h.requestStop(id)
			h.hintStop(id)
			apptest.Pass(time.Millisecond)
		}

		apptest.Pass(time.Second)

		apptest.Same(t, "beats", len(h.beats.List()), 2)
		h.wantStatus(domain.StatusCanceled, ids...)
	})
}

func TestWorker_IgnoresHintsForOtherTasksAndOfOtherKinds(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.handles(untilCanceled)
		id := h.enqueueOne()
		h.start()

		h.hintStop(apptest.NewTask(t).ID())
		h.sent.Send(application.Signal{Kind: application.SignalChanged, Tasks: []domain.TaskID{id}})
		h.hintStop()
		apptest.Pass(time.Second)

		apptest.Same(t, "beats", len(h.beats.List()), 1)
		h.wantStatus(domain.StatusProcessing, id)
	})
}

func TestWorker_ListensAgainWhenTheConnectionIsLost(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		var tries apptest.Record[time.Time]
		h.Signals.EXPECT().Listen(apptest.Any, apptest.Any, apptest.Any).DoAndReturn(
			func(context.Context, func(), func(application.Signal)) error {
				tries.Add(apptest.Now())
				return domain.ErrUnavailable
			}).Times(12)
		var turns apptest.Record[bool]
		h.Events.EXPECT().LoopRan(apptest.Any, application.LoopListen, apptest.Any).Do(func(_ context.Context, _ application.Loop, err error) { turns.Add(err == nil) }).AnyTimes()
		h.handles(untilCanceled)
		id := h.enqueueOne()
		h.start()

		apptest.Pass(20 * time.Second)

		at := tries.List()
		apptest.Same(t, "tries", len(at), 12)
		if first, last := at[1].Sub(at[0]), at[11].Sub(at[10]); first > 100*time.Millisecond || last < 500*time.Millisecond || last > 3*time.Second {
			t.Errorf("waits %s after the first try and %s after the eleventh: no backoff", first, last)
		}
		if want := append(make([]bool, 12), true); !slices.Equal(turns.List(), want) {
			t.Errorf("reported the turns %v, want %v", turns.List(), want)
		}
		before := len(h.beats.List())
		h.requestStop(id)
		h.hintStop(id)
		apptest.Pass(worker.StopHintDebounce)
		apptest.Same(t, "beats after the hint", len(h.beats.List())-before, 1)
		h.wantStatus(domain.StatusCanceled, id)
	})
}

func TestWorker_AStopReportsNothingOfTheListening(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.Events.EXPECT().LoopRan(apptest.Any, application.LoopListen, nil).Times(1)
		h.start()

		h.stopAndWait()

		synctest.Wait()
		apptest.Same(t, "listeners left", h.sent.Listeners.Load(), 0)
	})
}

func TestWorker_KeepsTheResultOfItsHandler(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.handles(returning(nil))
		id := h.enqueueOne()
		h.start()

		apptest.Same(t, "result", h.store.State(id).Result, "done")
	})
}

func TestWorker_KeepsNoResultOfAnAttemptThatFailed(t *testing.T) {
	for name, err := range map[string]error{"Retried": apptest.ErrBroken, "ForGood": application.Permanent(apptest.ErrBroken)} {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(t *testing.T, h *harness) {
				h.handles(returning(err))
				id := h.enqueueOne()
				h.start()

				apptest.Same(t, "result", h.store.State(id).Result, "")
			})
		})
	}
}

func TestWorker_SignalsClaimsAndOutcomes(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.handles(forTime(time.Minute))
		ids := h.enqueue(2)
		h.start()

		if sent := h.sent.Sent.List(); len(sent) != 1 || sent[0].Kind != application.SignalChanged || !slices.Equal(sent[0].Tasks, ids) {
			t.Errorf("sent %v, want one signal of the claim", sent)
		}
		apptest.Pass(time.Minute)
		signaled := map[domain.TaskID]int{}
		for _, s := range h.sent.Sent.List()[1:] {
			apptest.Same(t, "kind", s.Kind, application.SignalChanged)
			for _, id := range s.Tasks {
				signaled[id]++
			}
		}
		if len(signaled) != 2 || signaled[ids[0]] != 1 || signaled[ids[1]] != 1 {
			t.Errorf("signaled %v, want each outcome once", signaled)
		}
	})
}

func TestWorker_SignalsNoOutcomeThatIsNotStored(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.handles(func(_ context.Context, task *domain.Task) error {
			return h.store.Change(task.ID(), claimedByAnother)
		})
		id := h.enqueueOne()
		h.Events.EXPECT().AttemptLost(apptest.Any, apptest.Any, application.AttemptRef{Task: id, Attempt: 1})
		h.start()

		apptest.Same(t, "signals after that of the claim", len(h.sent.Sent.List())-1, 0)
	})
}
