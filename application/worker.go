package application

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/millrace/millrace/domain"
)

// WorkerConfig are the settings of a worker.
type WorkerConfig struct {
	Queues          []QueueWeight // at least one
	Capacity        int           // tasks that run at once
	Lease           time.Duration // how old its heartbeat may get before its tasks are taken away
	TaskTimeout     time.Duration // how long an attempt may run, of a task that does not say
	HandlerGrace    time.Duration // how long a handler may take to return once its context has ended
	ShutdownTimeout time.Duration // how long a stop waits for what runs
	Retry           domain.RetryPolicy
}

// BeatsPerLease is how often a worker beats within its lease. The proportion is
// one of those that the model of the protocol was checked with; never under five.
const BeatsPerLease = 10

// interval is how often the worker beats.
func (c WorkerConfig) interval() time.Duration { return c.Lease / BeatsPerLease }

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
	info     WorkerInfo
	cfg      WorkerConfig
	tasks    TaskRepository
	workers  WorkerRepository
	queue    Queue
	handler  Handler
	clock    Clock
	signals  Signals
	events   Events
	slots    *slots
	turns    *turns
	holdings *holdings
	local    chan *domain.Task // claimed, to be started
	starting sync.WaitGroup    // what is claimed, until it is started
	attempts sync.WaitGroup
	pulse    pulse
	nudged   chan struct{} // holds a token after a hint that a beat has something to hear
}

// NewWorker makes a worker; info says who it is.
func NewWorker(info WorkerInfo, cfg WorkerConfig, tasks TaskRepository, workers WorkerRepository,
	queue Queue, signals Signals, handler Handler, clock Clock, events Events,
) *Worker {
	info.Capacity = cfg.Capacity
	for _, q := range cfg.Queues {
		info.Queues = append(info.Queues, q.Name)
	}
	return &Worker{
		info: info, cfg: cfg, tasks: tasks, workers: workers, queue: queue, signals: signals, handler: handler, clock: clock, events: events,
		slots: newSlots(cfg.Capacity), turns: newTurns(cfg.Queues), holdings: newHoldings(), local: make(chan *domain.Task, cfg.Capacity), nudged: make(chan struct{}, 1),
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
		w.events.Turn("leave", w.leave(context.WithoutCancel(ctx)))
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
func (w *Worker) letGo(ref AttemptRef, queue domain.QueueName) {
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

// newBackoff spaces the tries of a loop whose server is away.
func newBackoff() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = 50*time.Millisecond, 2*time.Second
	return b
}

// pause waits for the next try; false if ctx ended first.
func pause(ctx context.Context, b *backoff.ExponentialBackOff) bool {
	return sleep(ctx, b.NextBackOff())
}

// sleep waits; false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
