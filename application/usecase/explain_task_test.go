package usecase_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/mock/gomock"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

// situation is what an explanation is about.
type situation struct {
	task    func(t *testing.T) *domain.Task
	after   time.Duration // since the task was made
	queue   application.QueueInfo
	takers  []application.Taker
	head    time.Duration // age of the entry at the head of the task's list; 0: there is none
	refuses error         // the queue answers, and does not do its work

	storeRefuses error // the store answers, and takes no writes
	blocked      error // the queue works, but for the task's lane
	away         bool  // the queue does not answer
	ahead        int
}

// explained returns the reasons, the time of each as one from now.
func explained(t *testing.T, s situation) []usecase.Explanation {
	t.Helper()
	var got []usecase.Explanation
	synctest.Test(t, func(t *testing.T) {
		p, task := apptest.NewPorts(t), s.task(t)
		time.Sleep(s.after)
		p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(task, nil)
		p.Queues.EXPECT().Get(apptest.Any, domain.DefaultQueue).Return(s.queue, nil).AnyTimes()
		p.Queues.EXPECT().Takers(apptest.Any, s.queue.Name).Return(s.takers, nil).AnyTimes()
		p.Queues.EXPECT().Ahead(apptest.Any, task, usecase.MaxAhead).Return(s.ahead, nil).AnyTimes()
		oldest := map[application.Lane]time.Time{}
		if s.head != 0 {
			oldest[apptest.DefaultLane] = apptest.Now().Add(-s.head)
		}
		var err error
		if s.away {
			oldest, err = nil, domain.ErrUnavailable
		}
		p.Queue.EXPECT().Oldest(apptest.Any, apptest.DefaultLane).Return(oldest, err).AnyTimes()

		e, err := usecase.NewExplainTask(p.Tasks, p.Queues, p.Queue, probing{err: s.storeRefuses}, probing{s.refuses, s.blocked}, p.Clock).Run(t.Context(), task.ID())

		apptest.Must(t, err)
		apptest.Same(t, "task", e.Task, task)
		got = e.Reasons
		for i := range got {
			if !got[i].At.IsZero() {
				got[i].At = time.Time{}.Add(got[i].At.Sub(apptest.Now()))
			}
		}
	})
	return got
}

// in is a time from now, as explained returns it.
func in(d time.Duration) time.Time { return time.Time{}.Add(d) }

// delayed makes a task that is to run in a minute.
func delayed(t *testing.T) *domain.Task {
	t.Helper()
	task, err := domain.NewTask(domain.TaskSpec{Message: "m", MaxAttempts: new(3), Delay: new(time.Minute)}, apptest.Now())
	apptest.Must(t, err)
	return task
}

// retried makes a task that has failed once and is tried again in a minute.
func retried(t *testing.T) *domain.Task {
	t.Helper()
	return apptest.Changed(t, apptest.Claimed(t), func(task *domain.Task) error {
		return task.Fail(1, domain.Failure{Reason: "no", RetryAfter: time.Minute}, apptest.RetryPolicy, 0, apptest.Now())
	})
}

// taker is a worker of ten slots that runs a task of the queue.
func taker(running, queues, busy int) application.Taker {
	return application.Taker{SlotUse: domain.SlotUse{Slots: 10, Running: running, Queues: queues, Busy: busy}}
}

func TestExplainTask_TellsEveryReason(t *testing.T) {
	served, oneStuck := application.QueueInfo{Workers: 1}, application.QueueInfo{Workers: 2, Stuck: 1, Abandoned: 7}
	full, free := taker(10, 1, 1), taker(9, 1, 1)
	allButKept, stuck := taker(8, 3, 1), application.Taker{SlotUse: free.SlotUse, Stuck: true}
	with := func(q domain.QueueSettings, processing int) application.QueueInfo {
		return application.QueueInfo{QueueSettings: q, Processing: processing, Workers: 1}
	}
	perMinute := domain.Rate{Count: 1, Per: time.Minute}
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // of a bubble
	readOnly := domain.Errorf(domain.CodeUnavailable, "the database is read-only")
	storeRefuses := usecase.Explanation{Reason: usecase.ReasonRefused, Detail: "the database is read-only"}
	for name, c := range map[string]struct {
		situation situation
		want      []usecase.Explanation
	}{
		"Ended": {
			situation{task: apptest.Canceled, after: time.Hour},
			[]usecase.Explanation{{Reason: usecase.ReasonEnded, At: in(-time.Hour)}},
		},
		"Running": {
			situation{task: apptest.Claimed, after: time.Second},
			[]usecase.Explanation{{Reason: usecase.ReasonRunning, At: in(59 * time.Second)}},
		},
		"Scheduled": {
			situation{task: delayed, after: time.Second, queue: served},
			[]usecase.Explanation{{Reason: usecase.ReasonScheduled, At: in(59 * time.Second)}},
		},
		"Retry": {
			situation{task: retried, after: time.Second, queue: served},
			[]usecase.Explanation{{Reason: usecase.ReasonRetry, At: in(59 * time.Second)}},
		},
		"Due": {
			situation{task: delayed, after: time.Minute, queue: served},
			[]usecase.Explanation{{Reason: usecase.ReasonDue, At: in(application.DueInterval)}},
		},
		"NoWorker": {
			situation{task: apptest.NewTask, queue: application.QueueInfo{}},
			[]usecase.Explanation{{Reason: usecase.ReasonNoWorker}},
		},
		"AllWorkersStuck": {
			situation{task: apptest.NewTask, queue: application.QueueInfo{Workers: 2, Stuck: 2, Abandoned: 7}},
			[]usecase.Explanation{{Reason: usecase.ReasonStuck, Stuck: 7}},
		},
		"AllSlotsInUse": {
			situation{task: apptest.NewTask, queue: served, takers: []application.Taker{full}},
			[]usecase.Explanation{{Reason: usecase.ReasonBusy, Slots: 10, Workers: 1}},
		},
		"AllSlotsInUseButTheKeptOnes": {
			situation{task: apptest.NewTask, queue: served, takers: []application.Taker{full, allButKept}},
			[]usecase.Explanation{{Reason: usecase.ReasonBusy, Slots: 18, Kept: 2, Workers: 2}},
		},
		"KeptSlotsAreForAQueueThatHasNothingRunning": {
			situation{task: apptest.NewTask, queue: served, takers: []application.Taker{{SlotUse: allButKept.SlotUse, Idle: true}}},
			[]usecase.Explanation{{Reason: usecase.ReasonNext}},
		},
		"OneOfTheWorkersHasASlot": {
			situation{task: apptest.NewTask, queue: served, takers: []application.Taker{full, free}},
			[]usecase.Explanation{{Reason: usecase.ReasonNext}},
		},
		"TheQueueRefuses": {
			situation{task: apptest.NewTask, queue: served, refuses: domain.Errorf(domain.CodeUnavailable, "Redis is full")},
			[]usecase.Explanation{{Reason: usecase.ReasonQueueAway, Detail: "Redis is full"}},
		},
		"TheLaneIsBlocked": {
			situation{task: apptest.NewTask, after: time.Minute, queue: served, blocked: domain.Errorf(domain.CodeUnavailable, "the key is no list")},
			[]usecase.Explanation{{Reason: usecase.ReasonQueueAway, Detail: "the key is no list"}},
		},
		"OneOfTheWorkersStuck": {
			situation{task: apptest.NewTask, queue: oneStuck, takers: []application.Taker{stuck, free}},
			[]usecase.Explanation{{Reason: usecase.ReasonNext}},
		},
		"OneOfTheWorkersStuckAndTheOtherFull": {
			situation{task: apptest.NewTask, queue: oneStuck, takers: []application.Taker{stuck, full}},
			[]usecase.Explanation{{Reason: usecase.ReasonBusy, Slots: 10, Workers: 1}},
		},
		"EveryWorkerStuckSinceTheFirstLook": {
			situation{task: apptest.NewTask, queue: oneStuck, takers: []application.Taker{stuck, stuck}},
			[]usecase.Explanation{{Reason: usecase.ReasonStuck, Stuck: 7}},
		},
		"Paused": {
			situation{task: apptest.NewTask, queue: with(domain.QueueSettings{Paused: true}, 0)},
			[]usecase.Explanation{{Reason: usecase.ReasonPaused}},
		},
		"MaxRunning": {
			situation{task: apptest.NewTask, queue: with(domain.QueueSettings{MaxRunning: 5}, 5)},
			[]usecase.Explanation{{Reason: usecase.ReasonLimit, Limit: "5"}},
		},
		"RoomUnderMaxRunning": {
			situation{task: apptest.NewTask, queue: with(domain.QueueSettings{MaxRunning: 5}, 4)},
			[]usecase.Explanation{{Reason: usecase.ReasonNext}},
		},
		"Rate": {
			situation{task: apptest.NewTask, queue: with(domain.QueueSettings{Rate: perMinute, FullAt: start.Add(40 * time.Second)}, 0)},
			[]usecase.Explanation{{Reason: usecase.ReasonRate, Limit: "1/m", At: in(40 * time.Second)}},
		},
		"Behind": {
			situation{task: apptest.NewTask, queue: served, ahead: 17},
			[]usecase.Explanation{{Reason: usecase.ReasonBehind, Ahead: 17}},
		},
		"Stranded": {
			situation{task: apptest.NewTask, after: 6 * time.Second, queue: served},
			[]usecase.Explanation{{Reason: usecase.ReasonStranded, At: in(2 * application.StrandedInterval)}},
		},
		"StrandedBehindAYoungerHead": {
			situation{task: apptest.NewTask, after: time.Minute, queue: served, head: 50 * time.Second},
			[]usecase.Explanation{{Reason: usecase.ReasonStranded, At: in(2 * application.StrandedInterval)}},
		},
		"NotStrandedInTheGrace": {
			situation{task: apptest.NewTask, after: domain.StrandedGrace, queue: served},
			[]usecase.Explanation{{Reason: usecase.ReasonNext}},
		},
		"NotStrandedAtTheHead": {
			situation{task: apptest.NewTask, after: time.Minute, queue: served, head: time.Minute},
			[]usecase.Explanation{{Reason: usecase.ReasonNext}},
		},
		"QueueAway": {
			situation{task: apptest.NewTask, queue: served, away: true},
			[]usecase.Explanation{{Reason: usecase.ReasonQueueAway}},
		},
		"NotKnownToBeStranded": {
			situation{task: apptest.NewTask, after: time.Minute, queue: served, away: true, ahead: 3},
			[]usecase.Explanation{{Reason: usecase.ReasonQueueAway}, {Reason: usecase.ReasonBehind, Ahead: 3}},
		},
		"DueInAStoreThatRefuses": {
			situation{task: delayed, after: time.Minute, queue: served, storeRefuses: readOnly},
			[]usecase.Explanation{storeRefuses},
		},
		"NextInAStoreThatRefuses": {
			situation{task: apptest.NewTask, queue: served, storeRefuses: readOnly}, []usecase.Explanation{storeRefuses},
		},
		"StrandedInAStoreThatRefuses": {
			situation{task: apptest.NewTask, after: time.Minute, queue: served, storeRefuses: readOnly}, []usecase.Explanation{storeRefuses},
		},
		"BehindInAStoreThatRefuses": {
			situation{task: apptest.NewTask, queue: served, ahead: 17, storeRefuses: readOnly},
			[]usecase.Explanation{storeRefuses, {Reason: usecase.ReasonBehind, Ahead: 17}},
		},
		"EndedInAStoreThatRefuses": {
			situation{task: apptest.Canceled, after: time.Hour, storeRefuses: readOnly},
			[]usecase.Explanation{{Reason: usecase.ReasonEnded, At: in(-time.Hour)}},
		},
		"Next": {
			situation{task: apptest.NewTask, queue: served},
			[]usecase.Explanation{{Reason: usecase.ReasonNext}},
		},
		"SeveralTheStrongestFirst": {
			situation{task: apptest.NewTask, queue: application.QueueInfo{QueueSettings: domain.QueueSettings{Paused: true}}, ahead: 2},
			[]usecase.Explanation{{Reason: usecase.ReasonNoWorker}, {Reason: usecase.ReasonPaused}, {Reason: usecase.ReasonBehind, Ahead: 2}},
		},
		"ScheduledAndPaused": {
			situation{task: delayed, queue: with(domain.QueueSettings{Paused: true}, 0)},
			[]usecase.Explanation{{Reason: usecase.ReasonScheduled, At: in(time.Minute)}, {Reason: usecase.ReasonPaused}},
		},
	} {
		t.Run(name, func(t *testing.T) { apptest.Equal(t, "reasons", explained(t, c.situation), c.want) })
	}
}

// Whoever asks why nothing runs must not wait for what is the reason.
func TestExplainTask_DoesNotWaitLongForAQueueThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, task := apptest.NewPorts(t), apptest.NewTask(t)
		p.Tasks.EXPECT().Get(apptest.Any, apptest.Any).Return(task, nil)
		p.Queues.EXPECT().Get(apptest.Any, apptest.Any).Return(application.QueueInfo{Workers: 1}, nil)
		p.Queue.EXPECT().Oldest(apptest.Any, apptest.Any).DoAndReturn(
			func(ctx context.Context, _ ...application.Lane) (map[application.Lane]time.Time, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			})
		p.Queues.EXPECT().Takers(apptest.Any, apptest.Any).Return(nil, nil).AnyTimes()
		p.Queues.EXPECT().Ahead(apptest.Any, apptest.Any, apptest.Any).Return(0, nil)
		begun := apptest.Now()

		got, err := usecase.NewExplainTask(p.Tasks, p.Queues, p.Queue, probing{}, probing{}, p.Clock).Run(t.Context(), task.ID())

		apptest.Must(t, err)
		apptest.Same(t, "waited", apptest.Now().Sub(begun), usecase.ExplainWait)
		apptest.Equal(t, "reasons", got.Reasons, []usecase.Explanation{{Reason: usecase.ReasonQueueAway}})
	})
}

// hanging is a probe that answers when its time is up.
type hanging struct{}

func (hanging) Probe(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

func (hanging) ProbeLane(ctx context.Context, _ application.Lane) error { return ctx.Err() }

// Both are asked at once: the time is that of one of them.
func TestExplainTask_DoesNotWaitLongForAStoreThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, task := apptest.NewPorts(t), apptest.NewTask(t)
		p.Tasks.EXPECT().Get(apptest.Any, apptest.Any).Return(task, nil)
		p.Queues.EXPECT().Get(apptest.Any, apptest.Any).Return(application.QueueInfo{Workers: 1}, nil)
		p.Queues.EXPECT().Takers(apptest.Any, apptest.Any).Return(nil, nil)
		p.Queues.EXPECT().Ahead(apptest.Any, apptest.Any, apptest.Any).Return(0, nil)
		begun := apptest.Now()

		got, err := usecase.NewExplainTask(p.Tasks, p.Queues, p.Queue, hanging{}, hanging{}, p.Clock).Run(t.Context(), task.ID())

		apptest.Must(t, err)
		apptest.Same(t, "waited", apptest.Now().Sub(begun), usecase.ExplainWait)
		apptest.Equal(t, "reasons", got.Reasons, []usecase.Explanation{{Reason: usecase.ReasonRefused}, {Reason: usecase.ReasonQueueAway}})
	})
}

func TestExplainTask_SaysThatThereIsNoTask(t *testing.T) {
	p := apptest.NewPorts(t)
	p.Tasks.EXPECT().Get(apptest.Any, apptest.Any).Return(nil, domain.ErrTaskNotFound)

	_, err := usecase.NewExplainTask(p.Tasks, p.Queues, p.Queue, probing{}, probing{}, p.Clock).Run(t.Context(), apptest.NewTask(t).ID())

	apptest.WantError(t, err, domain.ErrTaskNotFound)
}

// The last task of a queue that nobody has set up ends between two looks: its
// queue is gone, the task is not.
func TestExplainTask_LooksAgainWhenTheQueueIsGone(t *testing.T) {
	p, task := apptest.NewPorts(t), apptest.NewTask(t)
	done := apptest.Changed(t, task, func(task *domain.Task) error { return task.Cancel(apptest.Now()) })
	gomock.InOrder(
		p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(task, nil),
		p.Queues.EXPECT().Get(apptest.Any, apptest.Any).Return(application.QueueInfo{}, domain.ErrQueueNotFound),
		p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(done, nil),
	)

	got, err := usecase.NewExplainTask(p.Tasks, p.Queues, p.Queue, probing{}, probing{}, p.Clock).Run(t.Context(), task.ID())

	apptest.Must(t, err)
	apptest.Same(t, "reason", got.Reasons[0].Reason, usecase.ReasonEnded)
}

func TestExplainTask_SaysThatTheStoreIsAway(t *testing.T) {
	for name, expect := range map[string]func(*apptest.Ports){
		"TheQueues": func(p *apptest.Ports) {
			p.Queues.EXPECT().Get(apptest.Any, apptest.Any).Return(application.QueueInfo{}, domain.ErrUnavailable)
		},
		"WhatIsAhead": func(p *apptest.Ports) {
			p.Queues.EXPECT().Get(apptest.Any, apptest.Any).Return(application.QueueInfo{}, nil)
			p.Queue.EXPECT().Oldest(apptest.Any, apptest.Any).Return(nil, nil)
			p.Queues.EXPECT().Takers(apptest.Any, apptest.Any).Return(nil, nil).AnyTimes()
			p.Queues.EXPECT().Ahead(apptest.Any, apptest.Any, apptest.Any).Return(0, domain.ErrUnavailable)
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, task := apptest.NewPorts(t), apptest.NewTask(t)
			p.Tasks.EXPECT().Get(apptest.Any, apptest.Any).Return(task, nil)
			expect(p)

			_, err := usecase.NewExplainTask(p.Tasks, p.Queues, p.Queue, probing{}, probing{}, p.Clock).Run(t.Context(), task.ID())

			apptest.WantError(t, err, domain.ErrUnavailable)
		})
	}
}

// probing is a store or a queue that does its work, or says why not.
type probing struct{ err, lane error }

func (p probing) Probe(context.Context) error { return p.err }

func (p probing) ProbeLane(context.Context, application.Lane) error { return p.lane }
