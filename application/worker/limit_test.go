package worker_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/internal/apptest"
	"github.com/millrace/millrace/application/worker"
	"github.com/millrace/millrace/domain"
)

// takes has the worker take these queues, each with the same weight.
func (r *rig) takes(queues ...domain.QueueName) {
	r.cfg.Queues = nil
	for _, q := range queues {
		r.cfg.Queues = append(r.cfg.Queues, worker.QueueWeight{Name: q, Weight: 1})
	}
}

// pullsIn returns how many pulls are made while the time passes.
func (r *rig) pullsIn(d time.Duration) int {
	before := len(r.pulls.List())
	apptest.Pass(d)
	return len(r.pulls.List()) - before
}

// completed counts those of the tasks that are.
func (r *rig) completed(ids []domain.TaskID) (n int) {
	for _, id := range ids {
		if r.store.State(id).Status == domain.StatusCompleted {
			n++
		}
	}
	return n
}

func TestWorker_PutsBackInOrderWhatItsQueueHasNoRoomFor(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.takes("mail")
		r.cfg.Capacity = 10
		r.store.Limit(domain.QueueSettings{Name: "mail", MaxRunning: 2})
		r.handles(forTime(time.Hour))
		ids := r.enqueueIn("mail", 20)

		r.start()

		r.wantStatus(domain.StatusProcessing, ids[:2]...)
		if got := r.line.IDs("mail"); !slices.Equal(got, ids[2:]) {
			t.Errorf("on the queue are %d, in order: %t; want the other 18 in order", len(got), slices.IsSortedFunc(got, apptest.ByID))
		}
		apptest.Pass(time.Minute)
		if got := r.line.IDs("mail"); !slices.Equal(got, ids[2:]) {
			t.Errorf("a minute later are on the queue %d, in order: %t", len(got), slices.IsSortedFunc(got, apptest.ByID))
		}
	})
}

func TestWorker_PullsFromAPausedQueueOnlyAFewTimesASecond(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.takes("mail")
		r.store.Limit(domain.QueueSettings{Name: "mail", Paused: true})
		ids := r.enqueueIn("mail", 10)
		r.start() // the handler is not expected

		if got := r.pullsIn(time.Minute); got < 60 || got > 150 {
			t.Errorf("%d pulls in a minute, want about two a second", got)
		}
		for _, p := range r.pulls.List()[1:] {
			apptest.Same(t, "entries to look at", p.Max, 1)
		}
		r.wantStatus(domain.StatusPending, ids...)
	})
}

func TestWorker_RunsAQueueWithinASecondOfItsPausesEnd(t *testing.T) {
	for name, others := range map[string][]domain.QueueName{"Alone": nil, "BesideAQuietOne": {"quiet"}} {
		t.Run(name, func(t *testing.T) {
			onRig(t, func(_ *testing.T, r *rig) {
				r.takes(append(others, "mail")...)
				r.store.Limit(domain.QueueSettings{Name: "mail", Paused: true})
				r.handles(returning(nil))
				ids := r.enqueueIn("mail", 3)
				r.start()
				apptest.Pass(time.Minute + 7*time.Millisecond)

				r.store.Limit(domain.QueueSettings{Name: "mail"})
				apptest.Pass(time.Second)

				r.wantStatus(domain.StatusCompleted, ids...)
			})
		})
	}
}

// The settings of a queue may change while its rate is spent for hours.
func TestWorker_RunsAQueueWithinASecondOfItsRatesEnd(t *testing.T) {
	onRig(t, func(_ *testing.T, r *rig) {
		r.takes("mail")
		r.store.Limit(domain.QueueSettings{Name: "mail", Rate: domain.Rate{Count: 1, Per: time.Hour}})
		r.handles(returning(nil))
		ids := r.enqueueIn("mail", 3)
		r.start()
		apptest.Pass(time.Minute)
		r.wantStatus(domain.StatusPending, ids[1:]...)

		r.store.Limit(domain.QueueSettings{Name: "mail"})
		apptest.Pass(time.Second)

		r.wantStatus(domain.StatusCompleted, ids...)
	})
}

func TestWorker_PullsAtOnceWhenAnEndMakesRoomUnderMaxRunning(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.takes("mail")
		r.store.Limit(domain.QueueSettings{Name: "mail", MaxRunning: 2})
		r.handles(forTime(10 * time.Second))
		ids := r.enqueueIn("mail", 10)
		r.start()
		begun := time.Now()

		apptest.Pass(50*time.Second - 1)

		apptest.Same(t, "completed", r.completed(ids), 8)
		apptest.Pass(1)
		apptest.Same(t, "completed in the time that two at a time take", r.completed(ids), 10)
		apptest.Same(t, "time taken", time.Since(begun), 50*time.Second)
	})
}

func TestWorker_NeverRunsMoreThanMaxRunningAndKeepsItUp(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.takes("mail", "quiet")
		r.cfg.Capacity = 50
		r.store.Limit(domain.QueueSettings{Name: "mail", MaxRunning: 5})
		var running, most, calls atomic.Int64
		r.handles(func(context.Context, *domain.Task) error {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			time.Sleep(time.Duration(50+calls.Add(1)*37%100) * time.Millisecond) // 0.1 s on the average
			return nil
		})
		ids := r.enqueueIn("mail", 1000)
		r.start()

		apptest.Pass(30 * time.Second) // 20 s of work for five, and as much again for the pulls' waits

		apptest.Same(t, "most at once", most.Load(), 5)
		apptest.Same(t, "completed", r.completed(ids), 1000)
	})
}

func TestWorker_StartsTasksAtTheRateOfTheirQueue(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.takes("mail")
		r.cfg.Capacity = 50
		r.store.Limit(domain.QueueSettings{Name: "mail", Rate: domain.Rate{Count: 20, Per: time.Second}})
		r.handles(returning(nil))
		ids := r.enqueueIn("mail", 1000)
		r.start()
		apptest.Same(t, "completed at once", r.completed(ids), 20)

		pulls := r.pullsIn(10 * time.Second)

		if got := r.completed(ids); got < 218 || got > 220 {
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
			onRig(t, func(t *testing.T, r *rig) {
				r.takes("slow", "fast")
				r.store.Limit(limit)
				r.handles(func(ctx context.Context, task *domain.Task) error {
					if task.Queue() == "slow" {
						return untilTold(ctx, task)
					}
					return forTime(100*time.Millisecond)(ctx, task)
				})
				r.enqueueIn("slow", 100)
				r.start()
				apptest.Pass(time.Minute)
				ids := r.enqueueIn("fast", 100) // at least two at a time: 5 s

				if got := r.pullsIn(6 * time.Second); got > 300 {
					t.Errorf("%d pulls in 6 s", got)
				}

				apptest.Same(t, "completed", r.completed(ids), 100)
				if got := r.pullsIn(10 * time.Second); got > 300 {
					t.Errorf("%d pulls in 10 s while only the limited queue has entries", got)
				}
			})
		})
	}
}

func TestWorker_TakesTheHighestPriorityOfAQueueFirst(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.cfg.Capacity = 1
		var order apptest.Record[domain.TaskID]
		r.handles(func(_ context.Context, task *domain.Task) error {
			order.Add(task.ID())
			return nil
		})
		var want []domain.TaskID
		for _, priority := range []int{0, 9, 5} {
			spec := domain.TaskSpec{Message: "m", MaxAttempts: 1, Priority: priority}
			want = append(want, r.submit(1, spec)...)
		}
		want[0], want[1], want[2] = want[1], want[2], want[0]

		r.start()

		if got := order.List(); !slices.Equal(got, want) {
			t.Errorf("the tasks ran in the order %v, want %v", got, want)
		}
	})
}

func TestWorker_PutsBackOnAStopToTheHeadOfTheList(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.Tasks.EXPECT().Claim(apptest.Any, apptest.Any).Return(application.ClaimResult{}, domain.ErrUnavailable).MinTimes(2)
		ids := r.enqueue(5) // of which three are pulled
		r.start()
		apptest.Pass(time.Second)

		r.stopAndWait()

		if got := r.line.IDs(domain.DefaultQueue); !slices.Equal(got, ids) {
			t.Errorf("on the queue are %v, want %v", got, ids)
		}
	})
}

func TestWorker_ARefusedEntryThatCannotBePutBackHoldsNothingUp(t *testing.T) {
	onRig(t, func(_ *testing.T, r *rig) {
		r.takes("mail", "other")
		r.store.Limit(domain.QueueSettings{Name: "mail", Paused: true})
		r.Queue.EXPECT().PutBack(apptest.Any, apptest.Any).Return(domain.ErrUnavailable).MinTimes(1)
		r.handles(returning(nil))
		r.enqueueIn("mail", 3)
		ids := r.enqueueIn("other", 3)

		r.start()
		apptest.Pass(time.Second)

		r.wantStatus(domain.StatusCompleted, ids...)
	})
}

// An attempt of a task with a timeout of its own ends with that.
func TestWorker_EndsAnAttemptAfterTheTasksOwnTimeout(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(untilTold)
		id := r.submit(1, domain.TaskSpec{Message: "m", MaxAttempts: 3, Timeout: 2 * time.Second})[0]
		r.start()

		apptest.Pass(2*time.Second - 1)
		r.wantStatus(domain.StatusProcessing, id)
		apptest.Same(t, "deadline", r.store.State(id).Deadline, r.store.State(id).StartedAt.Add(2*time.Second+2*r.cfg.HandlerGrace))
		apptest.Pass(1)

		s := r.store.State(id)
		apptest.Same(t, "status", s.Status, domain.StatusPending)
		apptest.Same(t, "failures", s.Failures, 1)
		apptest.Same(t, "last error", s.LastError, "not finished within 2s: context deadline exceeded")
	})
}

func TestWorker_ABeatsTimeOutNamesTheTasksOwnTimeout(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.start()
		apptest.Pass(0)
		task, err := domain.NewTask(domain.TaskSpec{Message: "m", MaxAttempts: 3, Timeout: 2 * time.Second}, apptest.Now())
		apptest.Must(t, err)
		apptest.Must(t, task.Claim(domain.Claim{Worker: "w"}, apptest.Now()))

		apptest.Must(t, r.beats.Last().TimeOut(task))

		apptest.Same(t, "last error", task.State().LastError, "still running after 8s")
	})
}

func TestWorker_SaysWhichQueuesItTakes(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.takes("mail", "default")
		r.start()
		apptest.Equal(t, "queues", r.beats.Last().Worker.Queues, []domain.QueueName{"mail", "default"})
	})
}
