package application_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/mock/gomock"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// scene is what an explanation looks at.
type scene struct {
	task  func(t *testing.T) *domain.Task
	after time.Duration // since the task was made
	queue application.QueueInfo
	head  time.Duration // age of the entry at the head of the task's list; 0: there is none
	away  bool          // the queue does not answer
	ahead int
}

// explained returns the reasons, the time of each as one from now.
func explained(t *testing.T, s scene) []application.Explanation {
	t.Helper()
	var got []application.Explanation
	synctest.Test(t, func(t *testing.T) {
		p, task := newPorts(t), s.task(t)
		time.Sleep(s.after)
		p.tasks.EXPECT().Get(anyArg, task.ID()).Return(task, nil)
		p.queues.EXPECT().Get(anyArg, domain.DefaultQueue).Return(s.queue, nil).AnyTimes()
		p.queues.EXPECT().Ahead(anyArg, task, application.MaxAhead).Return(s.ahead, nil).AnyTimes()
		oldest := map[application.List]time.Time{}
		if s.head != 0 {
			oldest[defaultList] = now().Add(-s.head)
		}
		var err error
		if s.away {
			oldest, err = nil, domain.ErrUnavailable
		}
		p.queue.EXPECT().Oldest(anyArg, defaultList).Return(oldest, err).AnyTimes()

		e, err := application.NewExplainTask(p.tasks, p.queues, p.queue, p.clock).Run(t.Context(), task.ID())

		must(t, err)
		same(t, "task", e.Task, task)
		got = e.Reasons
		for i := range got {
			if !got[i].At.IsZero() {
				got[i].At = time.Time{}.Add(got[i].At.Sub(now()))
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
	task, err := domain.NewTask(domain.TaskSpec{Message: "m", MaxAttempts: 3, Delay: time.Minute}, now())
	must(t, err)
	return task
}

// retried makes a task that has failed once and is tried again in a minute.
func retried(t *testing.T) *domain.Task {
	t.Helper()
	return changed(t, taken(t), func(task *domain.Task) error {
		return task.Fail(1, domain.Failure{Reason: "no", RetryAfter: time.Minute}, retryPolicy, 0, now())
	})
}

func TestExplainTask_TellsEveryReason(t *testing.T) {
	served := application.QueueInfo{Workers: 1}
	with := func(q domain.QueueState, processing int) application.QueueInfo {
		return application.QueueInfo{QueueState: q, Processing: processing, Workers: 1}
	}
	perMinute := domain.Rate{Count: 1, Per: time.Minute}
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // of a bubble
	for name, c := range map[string]struct {
		scene scene
		want  []application.Explanation
	}{
		"Ended": {
			scene{task: canceled, after: time.Hour},
			[]application.Explanation{{Reason: application.ReasonEnded, At: in(-time.Hour)}},
		},
		"Running": {
			scene{task: taken, after: time.Second},
			[]application.Explanation{{Reason: application.ReasonRunning, At: in(59 * time.Second)}},
		},
		"Scheduled": {
			scene{task: delayed, after: time.Second, queue: served},
			[]application.Explanation{{Reason: application.ReasonScheduled, At: in(59 * time.Second)}},
		},
		"Retry": {
			scene{task: retried, after: time.Second, queue: served},
			[]application.Explanation{{Reason: application.ReasonRetry, At: in(59 * time.Second)}},
		},
		"Due": {
			scene{task: delayed, after: time.Minute, queue: served},
			[]application.Explanation{{Reason: application.ReasonDue, At: in(dueEvery)}},
		},
		"NoWorker": {
			scene{task: newTask, queue: application.QueueInfo{}},
			[]application.Explanation{{Reason: application.ReasonNoWorker}},
		},
		"Paused": {
			scene{task: newTask, queue: with(domain.QueueState{Paused: true}, 0)},
			[]application.Explanation{{Reason: application.ReasonPaused}},
		},
		"MaxRunning": {
			scene{task: newTask, queue: with(domain.QueueState{MaxRunning: 5}, 5)},
			[]application.Explanation{{Reason: application.ReasonLimit, Limit: "5"}},
		},
		"RoomUnderMaxRunning": {
			scene{task: newTask, queue: with(domain.QueueState{MaxRunning: 5}, 4)},
			[]application.Explanation{{Reason: application.ReasonNext}},
		},
		"Rate": {
			scene{task: newTask, queue: with(domain.QueueState{Rate: perMinute, FullAt: start.Add(40 * time.Second)}, 0)},
			[]application.Explanation{{Reason: application.ReasonRate, Limit: "1/m", At: in(40 * time.Second)}},
		},
		"Behind": {
			scene{task: newTask, queue: served, ahead: 17},
			[]application.Explanation{{Reason: application.ReasonBehind, Ahead: 17}},
		},
		"Stranded": {
			scene{task: newTask, after: 6 * time.Second, queue: served},
			[]application.Explanation{{Reason: application.ReasonStranded, At: in(2 * strandedEvery)}},
		},
		"StrandedBehindAYoungerHead": {
			scene{task: newTask, after: time.Minute, queue: served, head: 50 * time.Second},
			[]application.Explanation{{Reason: application.ReasonStranded, At: in(2 * strandedEvery)}},
		},
		"NotStrandedInTheGrace": {
			scene{task: newTask, after: strandedGrace, queue: served},
			[]application.Explanation{{Reason: application.ReasonNext}},
		},
		"NotStrandedAtTheHead": {
			scene{task: newTask, after: time.Minute, queue: served, head: time.Minute},
			[]application.Explanation{{Reason: application.ReasonNext}},
		},
		"QueueAway": {
			scene{task: newTask, queue: served, away: true},
			[]application.Explanation{{Reason: application.ReasonQueueAway}},
		},
		"NotKnownToBeStranded": {
			scene{task: newTask, after: time.Minute, queue: served, away: true, ahead: 3},
			[]application.Explanation{{Reason: application.ReasonQueueAway}, {Reason: application.ReasonBehind, Ahead: 3}},
		},
		"Next": {
			scene{task: newTask, queue: served},
			[]application.Explanation{{Reason: application.ReasonNext}},
		},
		"SeveralTheStrongestFirst": {
			scene{task: newTask, queue: application.QueueInfo{QueueState: domain.QueueState{Paused: true}}, ahead: 2},
			[]application.Explanation{{Reason: application.ReasonNoWorker}, {Reason: application.ReasonPaused}, {Reason: application.ReasonBehind, Ahead: 2}},
		},
		"ScheduledAndPaused": {
			scene{task: delayed, queue: with(domain.QueueState{Paused: true}, 0)},
			[]application.Explanation{{Reason: application.ReasonScheduled, At: in(time.Minute)}, {Reason: application.ReasonPaused}},
		},
	} {
		t.Run(name, func(t *testing.T) { alike(t, "reasons", explained(t, c.scene), c.want) })
	}
}

// Whoever asks why nothing runs must not wait for what is the reason.
func TestExplainTask_WaitsASecondForAQueueThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, task := newPorts(t), newTask(t)
		p.tasks.EXPECT().Get(anyArg, anyArg).Return(task, nil)
		p.queues.EXPECT().Get(anyArg, anyArg).Return(application.QueueInfo{Workers: 1}, nil)
		p.queue.EXPECT().Oldest(anyArg, anyArg).DoAndReturn(
			func(ctx context.Context, _ ...application.List) (map[application.List]time.Time, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			})
		p.queues.EXPECT().Ahead(anyArg, anyArg, anyArg).Return(0, nil)
		begun := now()

		got, err := application.NewExplainTask(p.tasks, p.queues, p.queue, p.clock).Run(t.Context(), task.ID())

		must(t, err)
		same(t, "waited", now().Sub(begun), time.Second)
		alike(t, "reasons", got.Reasons, []application.Explanation{{Reason: application.ReasonQueueAway}})
	})
}

func TestExplainTask_SaysThatThereIsNoTask(t *testing.T) {
	p := newPorts(t)
	p.tasks.EXPECT().Get(anyArg, anyArg).Return(nil, domain.ErrTaskNotFound)

	_, err := application.NewExplainTask(p.tasks, p.queues, p.queue, p.clock).Run(t.Context(), newTask(t).ID())

	wantError(t, err, domain.ErrTaskNotFound)
}

// The last task of a queue that nobody has set up ends between two looks: its
// queue is gone, the task is not.
func TestExplainTask_LooksAgainWhenTheQueueIsGone(t *testing.T) {
	p, task := newPorts(t), newTask(t)
	done := changed(t, task, func(task *domain.Task) error { return task.Cancel(now()) })
	gomock.InOrder(
		p.tasks.EXPECT().Get(anyArg, task.ID()).Return(task, nil),
		p.queues.EXPECT().Get(anyArg, anyArg).Return(application.QueueInfo{}, domain.ErrQueueNotFound),
		p.tasks.EXPECT().Get(anyArg, task.ID()).Return(done, nil),
	)

	got, err := application.NewExplainTask(p.tasks, p.queues, p.queue, p.clock).Run(t.Context(), task.ID())

	must(t, err)
	same(t, "reason", got.Reasons[0].Reason, application.ReasonEnded)
}

func TestExplainTask_SaysThatTheStoreIsAway(t *testing.T) {
	for name, expect := range map[string]func(*ports){
		"TheQueues": func(p *ports) {
			p.queues.EXPECT().Get(anyArg, anyArg).Return(application.QueueInfo{}, domain.ErrUnavailable)
		},
		"WhatIsAhead": func(p *ports) {
			p.queues.EXPECT().Get(anyArg, anyArg).Return(application.QueueInfo{}, nil)
			p.queue.EXPECT().Oldest(anyArg, anyArg).Return(nil, nil)
			p.queues.EXPECT().Ahead(anyArg, anyArg, anyArg).Return(0, domain.ErrUnavailable)
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, task := newPorts(t), newTask(t)
			p.tasks.EXPECT().Get(anyArg, anyArg).Return(task, nil)
			expect(p)

			_, err := application.NewExplainTask(p.tasks, p.queues, p.queue, p.clock).Run(t.Context(), task.ID())

			wantError(t, err, domain.ErrUnavailable)
		})
	}
}
