package application_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

func TestWorker_StartsAClaimedTaskAtOnceAndCompletesIt(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(returning(nil))
		r.start()
		begun := time.Now()

		id := r.enqueueOne()
		pass(0)

		r.wantStatus(domain.StatusCompleted, id)
		same(t, "attempt", r.store.state(id).Attempt, 1)
		same(t, "time taken", time.Since(begun), 0)
	})
}

func TestWorker_PullsOnlyAsManyAsThereAreFreeSlots(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(forTime(time.Minute))
		ids := r.enqueue(2)
		r.start()

		ids = append(ids, r.enqueue(2)...)
		pass(time.Minute - 1)

		if want := []int{3, 1}; !slices.Equal(r.asked.list(), want) {
			t.Errorf("the pulls asked for %v, want %v", r.asked.list(), want)
		}
		if want := ids[3:]; !slices.Equal(r.line.ids(domain.DefaultQueue), want) {
			t.Errorf("left on the queue: %v, want %v", r.line.ids(domain.DefaultQueue), want)
		}
		pass(time.Minute + 1)
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

		pass(time.Minute)

		same(t, "most at once", most.Load(), int64(r.cfg.Capacity))
		same(t, "calls", calls.Load(), 100)
		r.wantStatus(domain.StatusCompleted, ids...)
	})
}

func TestWorker_PullsAgainWhenTheQueueIsBack(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		all := application.PullRequest{Queues: []domain.QueueName{domain.DefaultQueue}, Max: r.cfg.Capacity, Wait: pullWait}
		r.queue.EXPECT().Pull(anyArg, all).Return(nil, domain.ErrUnavailable).Times(5)
		r.events.EXPECT().Turn("pull", domain.ErrUnavailable).Times(5)
		r.handles(returning(nil))
		id := r.enqueueOne()
		r.start()
		r.wantStatus(domain.StatusPending, id)

		pass(10 * time.Second)

		r.wantStatus(domain.StatusCompleted, id)
		same(t, "first pull that is answered asks for", r.asked.list()[0], r.cfg.Capacity)
	})
}

func TestWorker_WaitsLongerFromTryToTryUntilAPullWorks(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		const pullsScripted, works = 20, 15 // the others fail
		var pulls record[time.Time]
		r.queue.EXPECT().Pull(anyArg, anyArg).DoAndReturn(func(context.Context, application.PullRequest) ([]application.Entry, error) {
			pulls.add(now())
			if len(pulls.list()) == works {
				return nil, nil
			}
			return nil, domain.ErrUnavailable
		}).Times(pullsScripted)
		r.start()
		pass(time.Minute)

		at := pulls.list()
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
		unknown := newTask(t).ID()
		must(t, r.store.change(ids[0], func(task *domain.Task) error { return task.Cancel(now()) }))
		must(t, r.line.push(t.Context(), entry(unknown, now()), entry(ids[1], now())))
		r.events.EXPECT().EntryDropped(unknown)
		r.handler.EXPECT().Handle(anyArg, anyArg).DoAndReturn(forTime(time.Minute).handle).Times(1)

		r.start()

		r.wantStatus(domain.StatusCanceled, ids[0])
		r.wantStatus(domain.StatusProcessing, ids[1])
		pass(pullWait) // the slots of what was left out are free again
		same(t, "the next pull asks for", r.asked.list()[1], 3)
	})
}

func TestWorker_RunsATaskOnceThatIsOnTheQueueTwice(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		id := r.enqueueOne()
		must(t, r.line.push(t.Context(), entry(id, now())))
		r.handler.EXPECT().Handle(anyArg, anyArg).DoAndReturn(forTime(2 * pullWait).handle).Times(1)

		r.start()

		same(t, "left on the queue", len(r.line.ids(domain.DefaultQueue)), 0)
		pass(pullWait)
		same(t, "the next pull asks for", r.asked.last(), r.cfg.Capacity-1)
		pass(pullWait)
		r.wantStatus(domain.StatusCompleted, id)
	})
}

func TestWorker_ClaimsTheSameIDsAgainBeforeItPullsMore(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		ids := r.enqueue(2)
		r.tasks.EXPECT().Claim(anyArg, anyArg).DoAndReturn(
			func(_ context.Context, c application.ClaimRequest) (application.Claimed, error) {
				r.calls.add("refused")
				if !slices.Equal(c.IDs, ids) {
					t.Errorf("claims %v, want %v", c.IDs, ids)
				}
				return application.Claimed{}, domain.ErrUnavailable
			}).Times(3)
		r.handles(untilTold)
		r.start()

		pass(pullWait)

		if got, want := r.calls.list()[:6], []string{"pull", "refused", "refused", "refused", "claim", "pull"}; !slices.Equal(got, want) {
			t.Errorf("calls: got %v, want %v", got, want)
		}
		r.wantStatus(domain.StatusProcessing, ids...)
	})
}

func TestWorker_PullsNothingBeforeItsFirstBeatIsAnswered(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.workers.EXPECT().Beat(anyArg, anyArg).Return(application.BeatAnswer{}, domain.ErrUnavailable).Times(2)
		r.handles(returning(nil))
		id := r.enqueueOne()
		r.start()

		pass(2*r.interval() - 1)
		same(t, "calls", len(r.calls.list()), 0)
		pass(1)
		r.wantStatus(domain.StatusCompleted, id)
	})
}

func TestWorker_AClaimCarriesTheNumberOfTheLastBeatComposedBefore(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		var claims record[domain.Claim]
		r.tasks.EXPECT().Claim(anyArg, anyArg).DoAndReturn(
			func(_ context.Context, c application.ClaimRequest) (application.Claimed, error) {
				claims.add(c.Claim)
				return application.Claimed{}, nil
			}).Times(2)
		r.start()
		r.enqueue(1)
		pass(r.interval() + r.interval()/2)
		r.enqueue(1)
		pass(0)

		timeout, grace := r.cfg.TaskTimeout, 2*r.cfg.HandlerGrace
		want := []domain.Claim{{Worker: "w", Beat: 1, Timeout: timeout, Grace: grace}, {Worker: "w", Beat: 2, Timeout: timeout, Grace: grace}}
		if !slices.Equal(claims.list(), want) {
			t.Errorf("claims: got %v, want %v", claims.list(), want)
		}
	})
}

// A beat that is composed counts, whether it was answered or not: it may reach
// the store after the claim, and does not list what the claim got.
func TestWorker_AClaimCarriesTheNumberOfABeatThatHangs(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		answered := r.workers.EXPECT().Beat(anyArg, anyArg).Return(application.BeatAnswer{}, nil).Times(1)
		r.workers.EXPECT().Beat(anyArg, anyArg).DoAndReturn(hangingBeat).AnyTimes().After(answered)
		r.handles(untilTold)
		r.start()
		pass(2 * r.interval())

		id := r.enqueueOne()
		pass(0)

		same(t, "number", r.store.state(id).ClaimBeat, 3)
	})
}

// hangingBeat is a beat on a stalled link.
func hangingBeat(ctx context.Context, _ application.Beat) (application.BeatAnswer, error) {
	return application.BeatAnswer{}, untilEnded(ctx)
}
