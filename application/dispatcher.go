package application

import (
	"context"
	"sync"
	"time"

	"github.com/millrace/millrace/domain"
)

// How often the dispatcher looks, and how much it takes at a time.
const (
	dueEvery      = 500 * time.Millisecond
	strandedEvery = 3 * time.Second
	// Often enough that a rescue that just misses one sweep is done 5 s after the lease has lapsed.
	abandonedEvery = 4 * time.Second
	forgetEvery    = time.Minute
	// strandedGrace: a hint this young may still be on its way to the queue.
	strandedGrace = 5 * time.Second
	sweepLimit    = 500
	// The rows of dead workers are kept a while for operators to see, and longer
	// than any lease whose end is still to be judged.
	forgetAfter  = time.Hour
	forgetLeases = 10
)

// The sweeps, as Events names them.
const (
	sweepDue       = "due"
	sweepStranded  = "stranded"
	sweepAbandoned = "abandoned"
	loopForget     = "forget"
)

// Dispatcher reconciles the queue with the record: it pushes what is due, pushes
// again what the queue has lost, takes back what dead workers held, and forgets
// those workers in the end. One runs in every worker, without a leader: a batch that one has locked the others pass over.
type Dispatcher struct {
	dispatch DispatchRepository
	workers  WorkerRepository
	queue    Queue
	clock    Clock
	events   Events
	judge    Judge
	retry    domain.RetryPolicy
}

// NewDispatcher makes the dispatcher that runs beside the worker.
func NewDispatcher(worker WorkerInfo, cfg WorkerConfig, dispatch DispatchRepository, workers WorkerRepository,
	queue Queue, clock Clock, events Events,
) *Dispatcher {
	return &Dispatcher{
		dispatch: dispatch, workers: workers, queue: queue, clock: clock, events: events, retry: cfg.Retry,
		judge: Judge{Worker: worker.ID, Interval: cfg.interval(), Lease: cfg.Lease},
	}
}

// Run sweeps until ctx ends.
func (d *Dispatcher) Run(ctx context.Context) {
	var stranded strandedMemory
	var loops sync.WaitGroup
	loops.Go(func() { d.every(ctx, dueEvery, sweepDue, d.Due) })
	loops.Go(func() {
		d.every(ctx, strandedEvery, sweepStranded, func(ctx context.Context) error { return d.stranded(ctx, &stranded) })
	})
	loops.Go(func() { d.every(ctx, abandonedEvery, sweepAbandoned, d.abandoned) })
	loops.Go(func() { d.every(ctx, forgetEvery, loopForget, d.forget) })
	loops.Wait()
}

func (d *Dispatcher) every(ctx context.Context, interval time.Duration, sweep string, run func(context.Context) error) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if err := run(ctx); ctx.Err() == nil {
			d.events.Turn(sweep, err)
		}
	}
}

// Due pushes the tasks whose time has come: retries, and whatever was released.
func (d *Dispatcher) Due(ctx context.Context) error {
	now := d.clock.Now()
	return d.sweep(ctx, sweepDue, d.mark, func(b SweepBatch) (Swept, error) { return d.dispatch.Due(ctx, now, b) })
}

// Refill marks and pushes everything that is marked as queued, however lately:
// for a queue that is known to be empty.
func (d *Dispatcher) Refill(ctx context.Context) error {
	before := d.clock.Now().Add(time.Microsecond)
	return d.sweep(ctx, sweepStranded, d.mark, func(b SweepBatch) (Swept, error) { return d.dispatch.Stranded(ctx, before, b) })
}

// strandedMemory is what one sweep for stranded tasks leaves to the next.
type strandedMemory struct {
	before time.Time // tasks marked before this were stranded; zero: nothing was
}

// stranded pushes again what the queue has lost: each list is first in, first
// out, so what was marked before the oldest entry still in it, less a grace, is
// no longer there. It may just have been pulled, so only what two sweeps running
// have found counts: a mark that is older than both bounds and still stands.
func (d *Dispatcher) stranded(ctx context.Context, last *strandedMemory) error {
	now := d.clock.Now()
	bound := now.Add(-strandedGrace)
	found, err := d.dispatch.AnyQueuedBefore(ctx, bound)
	if err != nil || !found {
		last.before = time.Time{}
		return err
	}
	oldest, ok, err := d.queue.Oldest(ctx)
	if err != nil {
		last.before = time.Time{}
		return err
	}
	if ok && oldest.Add(-strandedGrace).Before(bound) {
		bound = oldest.Add(-strandedGrace)
	}
	before := bound
	if last.before.Before(before) {
		before = last.before
	}
	last.before = bound
	if before.IsZero() {
		return nil
	}
	return d.sweep(ctx, sweepStranded, d.mark, func(b SweepBatch) (Swept, error) { return d.dispatch.Stranded(ctx, before, b) })
}

// abandoned takes back what workers held whose lease has lapsed. What becomes
// pending by it is due, and is pushed as such.
func (d *Dispatcher) abandoned(ctx context.Context) error {
	return d.sweep(ctx, sweepAbandoned, d.Rescue, func(b SweepBatch) (Swept, error) { return d.dispatch.Abandoned(ctx, d.judge, b) })
}

// forget removes the rows of workers that died long ago.
func (d *Dispatcher) forget(ctx context.Context) error {
	_, err := d.workers.Forget(ctx, max(forgetAfter, forgetLeases*d.judge.Lease))
	return err
}

// Rescue takes a task from its lost worker.
func (d *Dispatcher) Rescue(t *domain.Task) error { return t.Rescue(d.retry, d.clock.Now()) }

func (d *Dispatcher) mark(t *domain.Task) error { return t.MarkQueued(d.clock.Now()) }

// sweep takes one batch after the other until there is no more. What was marked
// is pushed once its mark is committed; if the push fails, or a crash comes in
// between, the stranded sweep finds it.
func (d *Dispatcher) sweep(ctx context.Context, name string, decide Decide, step func(SweepBatch) (Swept, error)) error {
	b := SweepBatch{Limit: sweepLimit, Decide: decide}
	for {
		swept, err := step(b)
		if err != nil {
			return err
		}
		for id, err := range swept.Passed {
			b.Except = append(b.Except, id)
			d.events.TaskPassed(name, id, err)
		}
		if len(swept.Changed) > 0 {
			d.events.Swept(name, len(swept.Changed))
			if err := d.pushMarked(ctx, swept.Changed); err != nil {
				return err
			}
		}
		if swept.Found < b.Limit {
			return nil
		}
	}
}

func (d *Dispatcher) pushMarked(ctx context.Context, tasks []*domain.Task) error {
	var entries []Entry
	for _, t := range tasks {
		if e := EntryOf(t); !e.QueuedAt.IsZero() {
			entries = append(entries, e)
		}
	}
	if len(entries) == 0 {
		return nil
	}
	return d.queue.Push(ctx, entries...)
}
