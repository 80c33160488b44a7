// Package worker is what a worker does: it pulls entries, claims their tasks, runs
// the handler, stores outcomes, and beats to keep its leases. It knows nothing of
// the API and of the dispatcher.
package worker

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// Config are the settings of a worker.
type Config struct {
	Queues          []QueueWeight // at least one
	Capacity        int           // tasks that run at once
	Lease           time.Duration // how old its heartbeat may get before its tasks are taken away
	TaskTimeout     time.Duration // how long an attempt may run, of a task that does not say
	HandlerGrace    time.Duration // how long a handler may take to return once its context has ended
	MaxAbandoned    int           // handlers left behind after the grace at which no task is taken; 0: Capacity
	ShutdownTimeout time.Duration // how long a stop waits for what runs
	Retry           domain.RetryPolicy
}

// interval is the time between two heartbeats.
func (c Config) interval() time.Duration { return c.Lease / domain.BeatsPerLease }

// Observer says on whose word the dispatcher beside the worker takes tasks from others.
func (c Config) Observer(id domain.WorkerID) application.Observer {
	return application.Observer{Worker: id, Interval: c.interval(), Lease: c.Lease}
}

// claimGrace is what a task's deadline adds to its timeout: the handler's grace, and
// as much again for its outcome.
func (c Config) claimGrace() time.Duration { return 2 * c.HandlerGrace }

// saveTimeout bounds how long a worker that ends tries to store outcomes.
const saveTimeout = 5 * time.Second

// leaveTimeout is how long a worker whose stop has taken as long as it may tries to leave.
const leaveTimeout = 500 * time.Millisecond

// drainLimit bounds the part of a stop in which tasks end and are stored.
func (c Config) drainLimit() time.Duration { return c.ShutdownTimeout + c.HandlerGrace + saveTimeout }

// StopLimit bounds a stop, whatever becomes of the handlers and of the store.
func (c Config) StopLimit() time.Duration { return c.drainLimit() + leaveTimeout }

// Why a handler's context ends; domain.ErrAttemptLost is another reason.
var (
	errStopRequested = errors.New("stop requested")
	errTimedOut      = errors.New("attempt timed out")
	errShutdown      = errors.New("worker is shutting down")
)

// Deps are the ports that a worker uses.
type Deps struct {
	Tasks   application.TaskRepository
	Workers application.WorkerRepository
	Queue   application.Queue
	Signals application.Signals
	Handler application.Handler
	Clock   application.Clock
	Events  application.Events
}

// Worker processes tasks in three loops: the puller takes entries for as many slots
// as are free and claims their tasks, the runner starts each claimed task at once,
// and the heartbeat keeps the lease of all that the worker holds. Any number of
// workers run side by side. A Worker runs once.
type Worker struct {
	puller     *puller
	runner     *runner
	heartbeat  *heartbeat
	slots      *slots
	leases     *leases
	grace      time.Duration
	drainLimit time.Duration
	shortage   *shortage
	watchdog   *watchdog
	clock      application.Clock
	events     application.Events
}

// New makes a worker; info says who it is.
func New(deps Deps, info application.WorkerInfo, cfg Config) *Worker {
	info.Capacity = cfg.Capacity
	for _, q := range cfg.Queues {
		info.Queues = append(info.Queues, q.Name)
	}
	var (
		slots    = newSlots(cfg.Capacity, cfg.MaxAbandoned, info.Queues...)
		schedule = newSchedule(cfg.Queues)
		leases   = newLeases()
		shortage = newShortage()
		watchdog = newWatchdog()
		claimed  = make(chan *domain.Task, cfg.Capacity)
		starting = new(sync.WaitGroup)
	)
	return &Worker{
		puller: &puller{
			Deps: deps, claimAs: domain.Claim{Worker: info.ID, Timeout: cfg.TaskTimeout, Grace: cfg.claimGrace()}, retry: cfg.Retry,
			slots: slots, schedule: schedule, leases: leases, shortage: shortage, watchdog: watchdog, claimed: claimed, starting: starting,
		},
		runner: &runner{
			Deps: deps, cfg: cfg, slots: slots, schedule: schedule, leases: leases, shortage: shortage, claimed: claimed, starting: starting,
		},
		heartbeat: newHeartbeat(deps, cfg, info, leases, slots, watchdog),
		slots:     slots, leases: leases, grace: cfg.HandlerGrace, drainLimit: cfg.drainLimit(), shortage: shortage, watchdog: watchdog, clock: deps.Clock, events: deps.Events,
	}
}

// Run works until ctx ends. Then it stops pulling, releases what it has claimed
// and not started, waits up to ShutdownTimeout for what runs, ends the contexts
// of what is left, releases those tasks, and returns.
func (w *Worker) Run(ctx context.Context) {
	alive, endBeats := context.WithCancel(context.WithoutCancel(ctx))
	var beats sync.WaitGroup
	beats.Go(func() { w.heartbeat.Run(alive) })
	registered := false
	select {
	case <-w.heartbeat.registered: // the store grants no claim before
		registered = true
	case <-ctx.Done():
	}

	stopped := sync.OnceValue(time.Now)
	defer context.AfterFunc(ctx, func() { stopped() })()
	go w.puller.Run(ctx)
	w.runner.Run(ctx)
	endBeats()
	beats.Wait()

	if registered {
		left := time.Until(stopped().Add(w.drainLimit))
		w.events.LoopRan(ctx, application.LoopLeave, w.heartbeat.leave(context.WithoutCancel(ctx), min(max(left, leaveTimeout), saveTimeout)))
	}
}

// Slots tells how the slots are in use.
func (w *Worker) Slots() Slots { return w.slots.inUse() }

// Probe fails when a loop makes no progress, when attempts do not end though their
// deadline and the grace have passed, when MaxAbandoned handlers are left behind and no
// task is taken, or when the worker lacks what handlers need to begin: a worker that lives
// and consumes nothing is not ready.
func (w *Worker) Probe(context.Context) error {
	now := w.clock.Now()
	if loop, ok := w.watchdog.overdue(now); ok {
		return domain.Errorf(domain.CodeUnavailable, "the worker's %s loop makes no progress", loop)
	}
	if n := w.leases.overdue(now.Add(-w.grace)); n > 0 {
		return domain.Errorf(domain.CodeUnavailable, "the worker does not end its attempts: %d are past their deadline and the grace", n)
	}
	if n, full := w.slots.stuck(); full {
		return domain.Errorf(domain.CodeUnavailable,
			"the worker takes no tasks: %d handlers have not returned although their context has ended", n)
	}
	if err := w.shortage.lacks(now); err != nil {
		return domain.Errorf(domain.CodeUnavailable, "the worker cannot start the work of tasks: %v", err)
	}
	return nil
}
