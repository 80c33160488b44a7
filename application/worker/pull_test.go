package worker_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/internal/apptest"
	"github.com/millrace/millrace/domain"
)

func TestWorker_StartsAClaimedTaskAtOnceAndCompletesIt(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(returning(nil))
		r.start()
		begun := time.Now()

		id := r.enqueueOne()
		apptest.Pass(0)

		r.wantStatus(domain.StatusCompleted, id)
		apptest.Same(t, "attempt", r.store.State(id).Attempt, 1)
		apptest.Same(t, "time taken", time.Since(begun), 0)
	})
}

func TestWorker_PullsOnlyAsManyAsThereAreFreeSlots(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(forTime(time.Minute))
		ids := r.enqueue(2)
		r.start()

		ids = append(ids, r.enqueue(2)...)
		apptest.Pass(time.Minute - 1)

		if want := []int{3, 1}; !slices.Equal(r.asked.List(), want) {
			t.Errorf("the pulls asked for %v, want %v", r.asked.List(), want)
		}
		if want := ids[3:]; !slices.Equal(r.line.IDs(domain.DefaultQueue), want) {
			t.Errorf("left on the queue: %v, want %v", r.line.IDs(domain.DefaultQueue), want)
		}
		apptest.Pass(time.Minute + 1)
		r.wantStatus(domain.StatusCompleted, ids...)
	})
}

func TestWorker_NeverRunsMoreThanItsCapacity(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		var running, most, calls atomic.Int64
		r.handles(func(context.Context, *domain.Task) error {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			time.Sleep(time.Duration(1+calls.Add(1)%7) * 100 * time.Millisecond)
			return nil
		})
		ids := r.enqueue(100)
		r.start()

		apptest.Pass(time.Minute)

		apptest.Same(t, "most at once", most.Load(), int64(r.cfg.Capacity))
		apptest.Same(t, "calls", calls.Load(), 100)
		r.wantStatus(domain.StatusCompleted, ids...)
	})
}

func TestWorker_PullsAgainWhenTheQueueIsBack(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		all := application.PullRequest{Queues: []domain.QueueName{domain.DefaultQueue}, Max: r.cfg.Capacity, Wait: apptest.PullWait}
		r.Queue.EXPECT().Pull(apptest.Any, all).Return(nil, domain.ErrUnavailable).Times(5)
		r.Events.EXPECT().Turn(apptest.Any, application.LoopPull, domain.ErrUnavailable).Times(5)
		r.handles(returning(nil))
		id := r.enqueueOne()
		r.start()
		r.wantStatus(domain.StatusPending, id)

		apptest.Pass(10 * time.Second)

		r.wantStatus(domain.StatusCompleted, id)
		apptest.Same(t, "first pull that is answered asks for", r.asked.List()[0], r.cfg.Capacity)
	})
}

func TestWorker_WaitsLongerFromTryToTryUntilAPullWorks(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		const pullsScripted, works = 20, 15 // the others fail
		var pulls apptest.Record[time.Time]
		r.Queue.EXPECT().Pull(apptest.Any, apptest.Any).DoAndReturn(func(context.Context, application.PullRequest) ([]application.Entry, error) {
			pulls.Add(apptest.Now())
			if len(pulls.List()) == works {
				return nil, nil
			}
			return nil, domain.ErrUnavailable
		}).Times(pullsScripted)
		r.start()
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

func TestWorker_SkipsWhatTheClaimLeftOutAndTellsOfUnknownIDs(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.cfg.Capacity = 4
		ids := r.enqueue(2)
		unknown := apptest.NewTask(t).ID()
		apptest.Must(t, r.store.Change(ids[0], func(task *domain.Task) error { return task.Cancel(apptest.Now()) }))
		apptest.Must(t, r.line.Push(t.Context(), apptest.Entry(unknown, apptest.Now()), apptest.Entry(ids[1], apptest.Now())))
		r.Events.EXPECT().EntryDropped(apptest.Any, unknown)
		r.Handler.EXPECT().Handle(apptest.Any, apptest.Any).DoAndReturn(forTime(time.Minute).handle).Times(1)

		r.start()

		r.wantStatus(domain.StatusCanceled, ids[0])
		r.wantStatus(domain.StatusProcessing, ids[1])
		apptest.Pass(apptest.PullWait) // the slots of what was left out are free again
		apptest.Same(t, "the next pull asks for", r.asked.List()[1], 3)
	})
}

func TestWorker_RunsATaskOnceThatIsOnTheQueueTwice(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		id := r.enqueueOne()
		apptest.Must(t, r.line.Push(t.Context(), apptest.Entry(id, apptest.Now())))
		r.Handler.EXPECT().Handle(apptest.Any, apptest.Any).DoAndReturn(forTime(2 * apptest.PullWait).handle).Times(1)

		r.start()

		apptest.Same(t, "left on the queue", len(r.line.IDs(domain.DefaultQueue)), 0)
		apptest.Pass(apptest.PullWait)
		apptest.Same(t, "the next pull asks for", r.asked.Last(), r.cfg.Capacity-1)
		apptest.Pass(apptest.PullWait)
		r.wantStatus(domain.StatusCompleted, id)
	})
}

func TestWorker_ClaimsTheSameIDsAgainBeforeItPullsMore(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		ids := r.enqueue(2)
		r.Tasks.EXPECT().Claim(apptest.Any, apptest.Any).DoAndReturn(
			func(_ context.Context, c application.ClaimRequest) (application.ClaimResult, error) {
				r.calls.Add("refused")
				if !slices.Equal(c.IDs, ids) {
					t.Errorf("claims %v, want %v", c.IDs, ids)
				}
				return application.ClaimResult{}, domain.ErrUnavailable
			}).Times(3)
		r.handles(untilTold)
		r.start()

		apptest.Pass(apptest.PullWait)

		if got, want := r.calls.List()[:6], []string{"pull", "refused", "refused", "refused", "claim", "pull"}; !slices.Equal(got, want) {
			t.Errorf("calls: got %v, want %v", got, want)
		}
		r.wantStatus(domain.StatusProcessing, ids...)
	})
}

func TestWorker_PullsNothingBeforeItsFirstBeatIsAnswered(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.Workers.EXPECT().Beat(apptest.Any, apptest.Any).Return(application.BeatAnswer{}, domain.ErrUnavailable).Times(2)
		r.handles(returning(nil))
		id := r.enqueueOne()
		r.start()

		apptest.Pass(2*r.interval() - 1)
		apptest.Same(t, "calls", len(r.calls.List()), 0)
		apptest.Pass(1)
		r.wantStatus(domain.StatusCompleted, id)
	})
}

func TestWorker_AClaimCarriesTheNumberOfTheLastBeatComposedBefore(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		var claims apptest.Record[domain.Claim]
		r.Tasks.EXPECT().Claim(apptest.Any, apptest.Any).DoAndReturn(
			func(_ context.Context, c application.ClaimRequest) (application.ClaimResult, error) {
				claims.Add(c.Claim)
				return application.ClaimResult{}, nil
			}).Times(2)
		r.start()
		r.enqueue(1)
		apptest.Pass(r.interval() + r.interval()/2)
		r.enqueue(1)
		apptest.Pass(0)

		timeout, grace := r.cfg.TaskTimeout, 2*r.cfg.HandlerGrace
		want := []domain.Claim{{Worker: "w", Beat: 1, Timeout: timeout, Grace: grace}, {Worker: "w", Beat: 2, Timeout: timeout, Grace: grace}}
		if !slices.Equal(claims.List(), want) {
			t.Errorf("claims: got %v, want %v", claims.List(), want)
		}
	})
}

// A beat that is composed counts, whether it was answered or not: it may reach
// the store after the claim, and does not list what the claim got.
func TestWorker_AClaimCarriesTheNumberOfABeatThatHangs(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		answered := r.Workers.EXPECT().Beat(apptest.Any, apptest.Any).Return(application.BeatAnswer{}, nil).Times(1)
		r.Workers.EXPECT().Beat(apptest.Any, apptest.Any).DoAndReturn(hangingBeat).AnyTimes().After(answered)
		r.handles(untilTold)
		r.start()
		apptest.Pass(2 * r.interval())

		id := r.enqueueOne()
		apptest.Pass(0)

		apptest.Same(t, "number", r.store.State(id).ClaimBeat, 3)
	})
}

// hangingBeat is a beat on a stalled link.
func hangingBeat(ctx context.Context, _ application.Beat) (application.BeatAnswer, error) {
	return application.BeatAnswer{}, apptest.UntilEnded(ctx)
}
