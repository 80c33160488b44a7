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

// takes has the worker take these queues, each with the same weight.
func (h *harness) takes(queues ...domain.QueueName) {
	h.cfg.Queues = nil
	for _, q := range queues {
		h.cfg.Queues = append(h.cfg.Queues, worker.QueueWeight{Name: q, Weight: 1})
	}
}

// pullsIn returns how many pulls are made while the time passes.
func (h *harness) pullsIn(d time.Duration) int {
	before := len(h.pulls.List())
	apptest.Pass(d)
	return len(h.pulls.List()) - before
}

// completed counts those of the tasks that are.
func (h *harness) completed(ids []domain.TaskID) (n int) {
	for _, id := range ids {
		if h.store.State(id).Status == domain.StatusCompleted {
			n++
		}
	}
	return n
}

func TestWorker_PutsBackInOrderWhatItsQueueHasNoRoomFor(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.takes("mail")
		h.cfg.Capacity = 10
		h.store.Limit(domain.QueueSettings{Name: "mail", MaxRunning: 2})
		h.handles(forTime(time.Hour))
		ids := h.enqueueIn("mail", 20)

		h.start()

		h.wantStatus(domain.StatusProcessing, ids[:2]...)
		if got := apptest.Queued(t, h.queue, "mail"); !slices.Equal(got, ids[2:]) {
			t.Errorf("on the queue are %d, in order: %t; want the other 18 in order", len(got), slices.IsSortedFunc(got, apptest.ByID))
		}
		apptest.Pass(time.Minute)
		if got := apptest.Queued(t, h.queue, "mail"); !slices.Equal(got, ids[2:]) {
			t.Errorf("a minute later are on the queue %d, in order: %t", len(got), slices.IsSortedFunc(got, apptest.ByID))
		}
	})
}

func TestWorker_PullsFromAPausedQueueOnlyAFewTimesASecond(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.takes("mail")
		h.store.Limit(domain.QueueSettings{Name: "mail", Paused: true})
		ids := h.enqueueIn("mail", 10)
		h.start() // the handler is not expected

		if got := h.pullsIn(time.Minute); got < 60 || got > 150 {
			t.Errorf("%d pulls in a minute, want about two a second", got)
		}
		for _, p := range h.pulls.List()[1:] {
			apptest.Same(t, "entries to look at", p.Max, 1)
		}
		h.wantStatus(domain.StatusPending, ids...)
	})
}

func TestWorker_RunsAQueueWithinASecondOfItsPausesEnd(t *testing.T) {
	for name, others := range map[string][]domain.QueueName{"Alone": nil, "BesideAQuietOne": {"quiet"}} {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(_ *testing.T, h *harness) {
				h.takes(append(others, "mail")...)
				h.store.Limit(domain.QueueSettings{Name: "mail", Paused: true})
				h.handles(returning(nil))
				ids := h.enqueueIn("mail", 3)
				h.start()
				apptest.Pass(time.Minute + 7*time.Millisecond)

				h.store.Limit(domain.QueueSettings{Name: "mail"})
				apptest.Pass(time.Second)

				h.wantStatus(domain.StatusCompleted, ids...)
			})
		})
	}
}

// The settings of a queue may change while its rate is spent for hours.
func TestWorker_RunsAQueueWithinASecondOfItsRatesEnd(t *testing.T) {
	withHarness(t, func(_ *testing.T, h *harness) {
		h.takes("mail")
		h.store.Limit(domain.QueueSettings{Name: "mail", Rate: domain.Rate{Count: 1, Per: time.Hour}})
		h.handles(returning(nil))
		ids := h.enqueueIn("mail", 3)
		h.start()
		apptest.Pass(time.Minute)
		h.wantStatus(domain.StatusPending, ids[1:]...)

		h.store.Limit(domain.QueueSettings{Name: "mail"})
		apptest.Pass(time.Second)

		h.wantStatus(domain.StatusCompleted, ids...)
	})
}

func TestWorker_PullsAtOnceWhenAnEndMakesRoomUnderMaxRunning(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.takes("mail")
		h.store.Limit(domain.QueueSettings{Name: "mail", MaxRunning: 2})
		h.handles(forTime(10 * time.Second))
		ids := h.enqueueIn("mail", 10)
		h.start()

		apptest.Pass(50*time.Second - 1)
		if n := h.completed(ids); n > 8 {
			t.Errorf("%d are completed in less than the time that two at a time take", n)
		}
		// A claim that comes between the ends of two tasks counts one of them as running,
		// and the next one comes soon after: at most once in each of the five rounds.
		apptest.Pass(1 + 5*worker.RetrySoon)
		apptest.Same(t, "completed", h.completed(ids), 10)
	})
}

func TestWorker_NeverRunsMoreThanMaxRunningAndKeepsItUp(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.takes("mail", "quiet")
		h.cfg.Capacity = 50
		h.store.Limit(domain.QueueSettings{Name: "mail", MaxRunning: 5})
		var running, most, calls atomic.Int64
		h.handles(func(context.Context, *domain.Task) error {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			time.Sleep(time.Duration(50+calls.Add(1)*37%100) * time.Millisecond) // 0.1 s on the average
			return nil
		})
		ids := h.enqueueIn("mail", 1000)
		h.start()

		apptest.Pass(30 * time.Second) // 20 s of work for five, and as much again for the pulls' waits

		apptest.Same(t, "most at once", most.Load(), 5)
		apptest.Same(t, "completed", h.completed(ids), 1000)
	})
}

func TestWorker_StartsTasksAtTheRateOfTheirQueue(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.takes("mail")
		h.cfg.Capacity = 50
		h.store.Limit(domain.QueueSettings{Name: "mail", Rate: domain.Rate{Count: 20, Per: time.Second}})
		h.handles(returning(nil))
		ids := h.enqueueIn("mail", 1000)
		h.start()
		apptest.Same(t, "completed at once", h.completed(ids), 20)

		pulls := h.pullsIn(10 * time.Second)

		if got := h.completed(ids); got < 218 || got > 220 {
			t.Errorf("%d tasks have started in 10 s at 20/s after a burst of 20", got)
		}
		if pulls > 500 {
			t.Errorf("%d pulls in 10 s", pulls)
		}
	})
}

// One queue's limit is no other queue's business.
func TestWorker_RunsOtherQueuesWhileOneHasNoRoom(t *testing.T) {
	for name, limit := range map[string]domain.QueueSettings{
		"Paused":     {Name: "slow", Paused: true},
		"MaxRunning": {Name: "slow", MaxRunning: 1},
		"Rate":       {Name: "slow", Rate: domain.Rate{Count: 1, Per: time.Hour}},
	} {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(t *testing.T, h *harness) {
				h.takes("slow", "fast")
				h.store.Limit(limit)
				h.handles(func(ctx context.Context, task *domain.Task) error {
					if task.Queue() == "slow" {
						return untilCanceled(ctx, task)
					}
					return forTime(100*time.Millisecond)(ctx, task)
				})
				h.enqueueIn("slow", 100)
				h.start()
				apptest.Pass(time.Minute)
				ids := h.enqueueIn("fast", 100) // at least two at a time: 5 s

				if got := h.pullsIn(6 * time.Second); got > 300 {
					t.Errorf("%d pulls in 6 s", got)
				}

				apptest.Same(t, "completed", h.completed(ids), 100)
				if got := h.pullsIn(10 * time.Second); got > 300 {
					t.Errorf("%d pulls in 10 s while only the limited queue has entries", got)
				}
			})
		})
	}
}

func TestWorker_TakesTheHighestPriorityOfAQueueFirst(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.cfg.Capacity = 1
		var order apptest.Record[domain.TaskID]
		h.handles(func(_ context.Context, task *domain.Task) error {
			order.Add(task.ID())
			return nil
		})
		var want []domain.TaskID
		for _, priority := range []int{0, 9, 5} {
			spec := domain.TaskSpec{Message: "m", MaxAttempts: new(1), Priority: priority}
			want = append(want, h.submit(1, spec)...)
		}
		want[0], want[1], want[2] = want[1], want[2], want[0]

		h.start()

		if got := order.List(); !slices.Equal(got, want) {
			t.Errorf("the tasks ran in the order %v, want %v", got, want)
		}
	})
}

func TestWorker_PutsBackOnAStopToTheHeadOfTheList(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.Tasks.EXPECT().Claim(apptest.Any, apptest.Any).Return(application.ClaimResult{}, domain.ErrUnavailable).MinTimes(2)
		ids := h.enqueue(5) // of which three are pulled
		h.start()
		apptest.Pass(time.Second)

		h.stopAndWait()

		if got := apptest.Queued(t, h.queue, domain.DefaultQueue); !slices.Equal(got, ids) {
			t.Errorf("on the queue are %v, want %v", got, ids)
		}
	})
}

func TestWorker_ARefusedEntryThatCannotBePutBackHoldsNothingUp(t *testing.T) {
	withHarness(t, func(_ *testing.T, h *harness) {
		h.takes("mail", "other")
		h.store.Limit(domain.QueueSettings{Name: "mail", Paused: true})
		h.Queue.EXPECT().PutBack(apptest.Any, apptest.Any).Return(domain.ErrUnavailable).MinTimes(1)
		h.handles(returning(nil))
		h.enqueueIn("mail", 3)
		ids := h.enqueueIn("other", 3)

		h.start()
		apptest.Pass(time.Second)

		h.wantStatus(domain.StatusCompleted, ids...)
	})
}

// An attempt of a task with a timeout of its own ends with that.
func TestWorker_EndsAnAttemptAfterTheTasksOwnTimeout(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.handles(untilCanceled)
		id := h.submit(1, domain.TaskSpec{Message: "m", MaxAttempts: new(3), Timeout: new(2 * time.Second)})[0]
		h.start()

		apptest.Pass(2*time.Second - 1)
		h.wantStatus(domain.StatusProcessing, id)
		apptest.Same(t, "deadline", h.store.State(id).Deadline, h.store.State(id).StartedAt.Add(2*time.Second+2*h.cfg.HandlerGrace))
		apptest.Pass(1)

		s := h.store.State(id)
		apptest.Same(t, "status", s.Status, domain.StatusPending)
		apptest.Same(t, "failures", s.Failures, 1)
		apptest.Same(t, "last error", s.LastError, "not finished within 2s: context deadline exceeded")
	})
}

func TestWorker_ABeatsTimeOutNamesTheTasksOwnTimeout(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.start()
		apptest.Pass(0)
		task, err := domain.NewTask(domain.TaskSpec{Message: "m", MaxAttempts: new(3), Timeout: new(2 * time.Second)}, apptest.Now())
		apptest.Must(t, err)
		apptest.Must(t, task.Claim(domain.Claim{Worker: "w"}, apptest.Now()))

		apptest.Must(t, h.beats.Last().TimeOut(task))

		apptest.Same(t, "last error", task.State().LastError, "still running after 8s")
	})
}

func TestWorker_SaysWhichQueuesItTakes(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.takes("mail", "default")
		h.start()
		apptest.Equal(t, "queues", h.beats.Last().Worker.Queues, []domain.QueueName{"mail", "default"})
	})
}
