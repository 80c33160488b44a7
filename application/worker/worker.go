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
	ShutdownTimeout time.Duration // how long a stop waits for what runs
	Retry           domain.RetryPolicy
}

// interval is the time between two heartbeats.
func (c Config) interval() time.Duration { return c.Lease / domain.BeatsPerLease }

// Observer says on whose word the dispatcher beside the worker judges leases.
func (c Config) Observer(id domain.WorkerID) application.Observer {
	return application.Observer{Worker: id, Interval: c.interval(), Lease: c.Lease}
}

// saveTimeout bounds how long a worker that ends tries to store outcomes.
const saveTimeout = 5 * time.Second

// Why a handler's context ends; domain.ErrAttemptLost is another reason.
var (
	errStopRequested = errors.New("the task is asked to stop")
	errDeadline      = errors.New("the attempt's time is over")
	errShutdown      = errors.New("the worker ends")
)

// Worker processes tasks in two loops around a bounded local queue: pull takes
// entries for as many slots as are free and claims their tasks, schedule starts
// each claimed task at once. Beside them beats its heart, which keeps the lease
// of all that it holds. Any number of workers run side by side. A Worker runs once.
type Worker struct {
	info     application.WorkerInfo
	cfg      Config
	tasks    application.TaskRepository
	workers  application.WorkerRepository
	queue    application.Queue
	handler  application.Handler
	clock    application.Clock
	signals  application.Signals
	events   application.Events
	slots    *slots
	turns    *turns
	holdings *holdings
	local    chan *domain.Task // claimed, to be started
	starting sync.WaitGroup    // what is claimed, until it is started
	attempts sync.WaitGroup
	pulse    pulse
	nudged   chan struct{} // holds a token after a hint that a beat has something to hear
}

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

// New makes a worker; info says who it is.
func New(deps Deps, info application.WorkerInfo, cfg Config) *Worker {
	info.Capacity = cfg.Capacity
	for _, q := range cfg.Queues {
		info.Queues = append(info.Queues, q.Name)
	}
	return &Worker{
		info: info, cfg: cfg, tasks: deps.Tasks, workers: deps.Workers, queue: deps.Queue, signals: deps.Signals,
		handler: deps.Handler, clock: deps.Clock, events: deps.Events,
		slots: newSlots(cfg.Capacity), turns: newTurns(cfg.Queues), holdings: newHoldings(),
		local: make(chan *domain.Task, cfg.Capacity), nudged: make(chan struct{}, 1),
	}
}

// Run works until ctx ends. Then it stops pulling, releases what it has claimed
// and not started, waits up to ShutdownTimeout for what runs, ends the contexts
// of what is left, releases those tasks, and returns.
func (w *Worker) Run(ctx context.Context) {
	alive, die := context.WithCancel(context.WithoutCancel(ctx))
	var heart sync.WaitGroup
	firstBeat := make(chan struct{})
	heart.Go(func() { w.heart(alive, firstBeat) })
	heart.Go(func() { w.listen(alive) })
	known := false // to the store
	select {
	case <-firstBeat: // no claim is granted before it
		known = true
	case <-ctx.Done():
	}

	saving, endSaving := context.WithCancel(alive)
	go w.pull(ctx)
	w.schedule(ctx, saving)

	patience := time.AfterFunc(w.cfg.ShutdownTimeout, func() { w.holdings.endAll(errShutdown) })
	limit := time.AfterFunc(w.cfg.ShutdownTimeout+w.cfg.HandlerGrace+saveTimeout, endSaving)
	w.attempts.Wait()
	patience.Stop()
	limit.Stop()
	endSaving()
	die()
	heart.Wait()

	if known {
		w.events.Turn(ctx, application.LoopLeave, w.leave(context.WithoutCancel(ctx)))
	}
}

// leave takes the worker off the record. A last beat, which lists nothing, gives
// back a claim whose answer was lost.
func (w *Worker) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	if err := w.beat(ctx); err != nil {
		return err
	}
	return w.workers.Leave(ctx, w.info.ID)
}

// schedule starts each claimed task in its own goroutine. Once ctx has ended it
// releases them instead.
func (w *Worker) schedule(ctx, saving context.Context) {
	values := context.WithoutCancel(ctx)
	for t := range w.local {
		w.attempts.Add(1)
		go func() {
			w.starting.Done()
			if ctx.Err() != nil {
				w.slots.returned()
				w.store(saving, t, w.release, nil, 0)
				return
			}
			w.attempt(values, saving, t)
		}()
	}
}

// letGo notes that an attempt is no longer the worker's: there is a place for
// another, and room under a limit, which counts what is processing in the store.
func (w *Worker) letGo(ref application.AttemptRef, queue domain.QueueName) {
	w.holdings.drop(ref)
	w.turns.freed(queue, w.clock.Now())
	w.slots.stored()
	w.attempts.Done()
}

// Probe fails when a loop makes no progress: a worker that lives and consumes
// nothing is not ready.
func (w *Worker) Probe(context.Context) error {
	if loop, ok := w.pulse.overdue(w.clock.Now()); ok {
		return domain.Errorf(domain.CodeUnavailable, "the worker's %s loop makes no progress", loop)
	}
	return nil
}
