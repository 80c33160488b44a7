package worker_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/worker"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

func TestWorker_StartsAClaimedTaskAtOnceAndCompletesIt(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.handles(returning(nil))
		h.start()
		begun := time.Now()

		id := h.enqueueOne()
		apptest.Pass(0)

		h.wantStatus(domain.StatusCompleted, id)
		apptest.Same(t, "attempt", h.store.State(id).Attempt, 1)
		apptest.Same(t, "time taken", time.Since(begun), 0)
	})
}

func TestWorker_PullsOnlyAsManyAsThereAreFreeSlots(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.handles(forTime(time.Minute))
		ids := h.enqueue(2)
		h.start()

		ids = append(ids, h.enqueue(2)...)
		apptest.Pass(time.Minute - 1)

		if want := []int{3, 1}; !slices.Equal(h.asked.List(), want) {
			t.Errorf("the pulls asked for %v, want %v", h.asked.List(), want)
		}
		if want := ids[3:]; !slices.Equal(apptest.Queued(t, h.queue, domain.DefaultQueue), want) {
			t.Errorf("left on the queue: %v, want %v", apptest.Queued(t, h.queue, domain.DefaultQueue), want)
		}
		apptest.Pass(time.Minute + 1)
		h.wantStatus(domain.StatusCompleted, ids...)
	})
}

func TestWorker_NeverRunsMoreThanItsCapacity(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		var running, most, calls atomic.Int64
		h.handles(func(context.Context, *domain.Task) error {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			time.Sleep(time.Duration(1+calls.Add(1)%7) * 100 * time.Millisecond)
			return nil
		})
		ids := h.enqueue(100)
		h.start()

		apptest.Pass(time.Minute)

		apptest.Same(t, "most at once", most.Load(), int64(h.cfg.Capacity))
		apptest.Same(t, "calls", calls.Load(), 100)
		h.wantStatus(domain.StatusCompleted, ids...)
	})
}

func TestWorker_PullsAgainWhenTheQueueIsBack(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		all := application.PullRequest{Queues: []domain.QueueName{domain.DefaultQueue}, Max: h.cfg.Capacity, Wait: worker.PullWait}
		h.Queue.EXPECT().Pull(apptest.Any, all).Return(nil, domain.ErrUnavailable).Times(5)
		h.Events.EXPECT().LoopRan(apptest.Any, application.LoopPull, domain.ErrUnavailable).Times(5)
		h.handles(returning(nil))
		id := h.enqueueOne()
		h.start()
		h.wantStatus(domain.StatusPending, id)

		apptest.Pass(10 * time.Second)

		h.wantStatus(domain.StatusCompleted, id)
		apptest.Same(t, "first pull that is answered asks for", h.asked.List()[0], h.cfg.Capacity)
	})
}

func TestWorker_WaitsLongerFromTryToTryUntilAPullWorks(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		const pullsScripted, works = 20, 15 // the others fail
		var pulls apptest.Record[time.Time]
		h.Queue.EXPECT().Pull(apptest.Any, apptest.Any).DoAndReturn(func(context.Context, application.PullRequest) ([]application.Entry, error) {
			pulls.Add(apptest.Now())
			if len(pulls.List()) == works {
				return nil, nil
			}
			return nil, domain.ErrUnavailable
		}).Times(pullsScripted)
		h.start()
		apptest.Pass(time.Minute)

		at := pulls.List()
		if first := at[1].Sub(at[0]); first > 75*time.Millisecond {
			t.Errorf("the first wait is %s", first)
		}
		if late := at[works-1].Sub(at[works-2]); late < time.Second || late > 3*time.Second {
			t.Errorf("a late wait is %s", late)
		}
		if again := at[works+1].Sub(at[works]); again > 75*time.Millisecond {
			t.Errorf("the first wait after a success is %s", again)
		}
	})
}

func TestWorker_SkipsWhatTheClaimLeftOutAndReportsUnknownIDs(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.cfg.Capacity = 4
		ids := h.enqueue(2)
		unknown := apptest.NewTask(t).ID()
		apptest.Must(t, h.store.Change(ids[0], func(task *domain.Task) error { return task.Cancel(apptest.Now()) }))
		apptest.Must(t, h.queue.Push(t.Context(), apptest.Entry(unknown, apptest.Now()), apptest.Entry(ids[1], apptest.Now())))
		h.Events.EXPECT().EntryDropped(apptest.Any, unknown)
		h.Handler.EXPECT().Handle(apptest.Any, apptest.Any).DoAndReturn(forTime(time.Minute).handle).Times(1)

		h.start()

		h.wantStatus(domain.StatusCanceled, ids[0])
		h.wantStatus(domain.StatusProcessing, ids[1])
		apptest.Pass(worker.PullWait) // the slots of what was left out are free again
		apptest.Same(t, "the next pull asks for", h.asked.List()[1], 3)
	})
}

func TestWorker_RunsATaskOnceThatIsOnTheQueueTwice(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		id := h.enqueueOne()
		apptest.Must(t, h.queue.Push(t.Context(), apptest.Entry(id, apptest.Now())))
		h.Handler.EXPECT().Handle(apptest.Any, apptest.Any).DoAndReturn(forTime(2 * worker.PullWait).handle).Times(1)

		h.start()

		apptest.Same(t, "left on the queue", len(apptest.Queued(t, h.queue, domain.DefaultQueue)), 0)
		apptest.Pass(worker.PullWait)
		apptest.Same(t, "the next pull asks for", h.asked.Last(), h.cfg.Capacity-1)
		apptest.Pass(worker.PullWait)
		h.wantStatus(domain.StatusCompleted, id)
	})
}

func TestWorker_ClaimsTheSameIDsAgainBeforeItPullsMore(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		ids := h.enqueue(2)
		h.Tasks.EXPECT().Claim(apptest.Any, apptest.Any).DoAndReturn(
			func(_ context.Context, c application.ClaimRequest) (application.ClaimResult, error) {
				h.calls.Add("refused")
				if !slices.Equal(c.IDs, ids) {
					t.Errorf("claims %v, want %v", c.IDs, ids)
				}
				return application.ClaimResult{}, domain.ErrUnavailable
			}).Times(worker.MaxClaimTries - 1)
		h.handles(untilCanceled)
		h.start()

		apptest.Pass(worker.PullWait)

		if got, want := h.calls.List()[:5], []string{"pull", "refused", "refused", "claim", "pull"}; !slices.Equal(got, want) {
			t.Errorf("calls: got %v, want %v", got, want)
		}
		h.wantStatus(domain.StatusProcessing, ids...)
	})
}

func TestWorker_PullsNothingBeforeItsFirstBeatIsAnswered(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.Workers.EXPECT().Beat(apptest.Any, apptest.Any).Return(application.BeatAnswer{}, domain.ErrUnavailable).Times(2)
		h.handles(returning(nil))
		id := h.enqueueOne()
		h.start()

		apptest.Pass(2*h.interval() - 1)
		apptest.Same(t, "calls", len(h.calls.List()), 0)
		apptest.Pass(1)
		h.wantStatus(domain.StatusCompleted, id)
	})
}

func TestWorker_AClaimCarriesTheNumberOfTheLastBeatComposedBefore(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		var claims apptest.Record[domain.Claim]
		h.Tasks.EXPECT().Claim(apptest.Any, apptest.Any).DoAndReturn(
			func(_ context.Context, c application.ClaimRequest) (application.ClaimResult, error) {
				claims.Add(c.Claim)
				return application.ClaimResult{}, nil
			}).Times(2)
		h.start()
		h.enqueue(1)
		apptest.Pass(h.interval() + h.interval()/2)
		h.enqueue(1)
		apptest.Pass(0)

		timeout, grace := h.cfg.TaskTimeout, 2*h.cfg.HandlerGrace
		want := []domain.Claim{{Worker: "w", Beat: 1, Timeout: timeout, Grace: grace}, {Worker: "w", Beat: 2, Timeout: timeout, Grace: grace}}
		if !slices.Equal(claims.List(), want) {
			t.Errorf("claims: got %v, want %v", claims.List(), want)
		}
	})
}

// A beat that is composed counts, whether it was answered or not: it may reach
// the store after the claim, and does not list what the claim got.
func TestWorker_AClaimCarriesTheNumberOfABeatThatHangs(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		answered := h.Workers.EXPECT().Beat(apptest.Any, apptest.Any).DoAndReturn(h.beat).Times(1)
		h.Workers.EXPECT().Beat(apptest.Any, apptest.Any).DoAndReturn(hangingBeat).AnyTimes().After(answered)
		h.handles(untilCanceled)
		h.start()
		apptest.Pass(h.interval() + h.interval()/2)

		id := h.enqueueOne()
		apptest.Pass(0)

		apptest.Same(t, "number", h.store.State(id).ClaimBeat, 2)
	})
}

// hangingBeat is a beat on a stalled link.
func hangingBeat(ctx context.Context, _ application.Beat) (application.BeatAnswer, error) {
	return application.BeatAnswer{}, apptest.UntilEnded(ctx)
}
