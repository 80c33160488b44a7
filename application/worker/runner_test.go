package worker

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/mock/gomock"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

// newRunner makes a runner of one slot between mocks, and the channel that feeds it.
func newRunner(p *apptest.Ports) (*runner, chan<- *domain.Task) {
	claimed := make(chan *domain.Task, 1)
	return &runner{
		Deps: Deps{Tasks: p.Tasks, Signals: p.Signals, Handler: p.Handler, Clock: p.Clock, Events: p.Events},
		cfg: Config{
			Capacity: 1, TaskTimeout: time.Hour, HandlerGrace: time.Second, ShutdownTimeout: time.Minute, Retry: apptest.RetryPolicy,
		},
		slots: newSlots(1, 0), schedule: newSchedule(nil), leases: newLeases(), shortage: newShortage(), claimed: claimed, starting: new(sync.WaitGroup),
	}, claimed
}

// give hands the runner a task as the puller does.
func give(r *runner, claimed chan<- *domain.Task, task *domain.Task) {
	r.slots.tryAcquireAll()
	r.slots.occupy(task.Queue())
	r.leases.endClaim(nil, []*domain.Task{task})
	r.starting.Add(1)
	claimed <- task
}

// stores lets the one task be saved, and its end be reported.
func stores(p *apptest.Ports, status domain.Status) {
	p.Tasks.EXPECT().Save(apptest.Any, apptest.Any).Return(nil)
	p.Signals.EXPECT().Send(apptest.Any)
	p.Events.EXPECT().LoopRan(apptest.Any, application.LoopSave, nil)
	p.Events.EXPECT().AttemptEnded(apptest.Any, gomock.Cond(func(t *domain.Task) bool { return t.Status() == status }), apptest.Any)
}

func TestRunner_RunsWhatItIsGivenAndReturnsWhenItsOutcomeIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, task := apptest.NewPorts(t), apptest.Claimed(t)
		r, claimed := newRunner(p)
		p.Events.EXPECT().AttemptStarting(apptest.Any, task, apptest.Any).DoAndReturn(application.NoEvents{}.AttemptStarting)
		p.Handler.EXPECT().Handle(apptest.Any, task).Return("done", nil)
		stores(p, domain.StatusCompleted)
		give(r, claimed, task)
		close(claimed)

		r.Run(t.Context())

		apptest.Same(t, "result", task.State().Result, "done")
		apptest.Same(t, "slots that are free", r.slots.available(), 1)
		apptest.Same(t, "attempts held", len(r.leases.held), 0)
	})
}

func TestRunner_ReleasesWhatComesAfterTheEndOfItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, task := apptest.NewPorts(t), apptest.Claimed(t)
		r, claimed := newRunner(p)
		stores(p, domain.StatusPending)
		give(r, claimed, task)
		close(claimed)
		ended, end := context.WithCancel(t.Context())
		end()

		r.Run(ended) // the handler is not expected
	})
}

// A handler that ignores its context would complete what was asked to stop.
func TestRunner_CallsNoHandlerForAnAttemptThatHasToEndBeforeItBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, task := apptest.NewPorts(t), apptest.Claimed(t)
		r, claimed := newRunner(p)
		stores(p, domain.StatusPending)
		give(r, claimed, task)
		r.leases.end(application.RefOf(task), errStopRequested)
		close(claimed)

		r.Run(t.Context())

		apptest.Same(t, "status", task.Status(), domain.StatusPending)
	})
}
