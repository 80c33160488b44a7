package application

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/millrace/millrace/domain"
)

// How often the dispatcher looks, and how much it takes at a time.
const (
	dueEvery      = 500 * time.Millisecond
	dueGather     = 100 * time.Millisecond // many that are due one by one cost few sweeps
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
	// keysAtOnce keeps the purge of idempotency keys out of everybody's way.
	keysAtOnce = 1000
	bulkEvery  = time.Second
)

// The sweeps, as Events names them.
const (
	sweepDue       = "due"
	sweepStranded  = "stranded"
	sweepAbandoned = "abandoned"
	loopForget     = "forget"
	loopKeys       = "forget keys"
	loopBulk       = "bulk actions"
)

// Dispatcher reconciles the queue with the record: it pushes what is due, pushes
// again what the queue has lost, takes back what dead workers held, and forgets
// those workers in the end. It does bulk actions, too. One runs in every worker, without a leader: a batch that one has locked the others pass over.
type Dispatcher struct {
	dispatch DispatchRepository
	workers  WorkerRepository
	bulks    BulkRepository
	queue    Queue
	signals  Signals
	clock    Clock
	events   Events
	judge    Judge
	retry    domain.RetryPolicy
}

// NewDispatcher makes the dispatcher that runs beside the worker.
func NewDispatcher(worker WorkerInfo, cfg WorkerConfig, dispatch DispatchRepository, workers WorkerRepository,
	bulks BulkRepository, queue Queue, signals Signals, clock Clock, events Events,
) *Dispatcher {
	return &Dispatcher{
		dispatch: dispatch, workers: workers, bulks: bulks, queue: queue, signals: signals, clock: clock, events: events, retry: cfg.Retry,
		judge: Judge{Worker: worker.ID, Interval: cfg.interval(), Lease: cfg.Lease},
	}
}

// Run sweeps until ctx ends.
func (d *Dispatcher) Run(ctx context.Context) {
	stranded := strandedMemory{}
	var loops sync.WaitGroup
	loops.Go(func() { d.dueLoop(ctx) })
	loops.Go(func() {
		d.every(ctx, strandedEvery, sweepStranded, func(ctx context.Context) error { return d.stranded(ctx, stranded) })
	})
	loops.Go(func() { d.every(ctx, abandonedEvery, sweepAbandoned, d.abandoned) })
	loops.Go(func() { d.every(ctx, forgetEvery, loopForget, d.forget) })
	loops.Go(func() { d.every(ctx, forgetEvery, loopKeys, d.forgetKeys) })
	loops.Go(func() { d.every(ctx, bulkEvery, loopBulk, d.Bulk) })
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

// dueLoop sweeps as soon as something is due. It asks when that is at least every
// dueEvery: what is submitted meanwhile may come sooner.
func (d *Dispatcher) dueLoop(ctx context.Context) {
	wait := dueEvery
	for sleep(ctx, wait) {
		next, err := d.due(ctx)
		if ctx.Err() == nil {
			d.events.Turn(sweepDue, err)
		}
		wait = dueEvery
		if err == nil && !next.IsZero() {
			wait = min(max(next.Sub(d.clock.Now()), 0), dueEvery)
		}
	}
}

// due sweeps if there is anything to sweep, and returns when there will be more,
// zero if that is not known. What is left over by the sweep is another's, or cannot
// be read: no reason to look again at once.
func (d *Dispatcher) due(ctx context.Context) (time.Time, error) {
	next, ok, err := d.dispatch.NextDue(ctx)
	if err != nil || !ok {
		return time.Time{}, err
	}
	if next.After(d.clock.Now()) {
		return next, nil
	}
	if err := d.Due(ctx); err != nil {
		return time.Time{}, err
	}
	next, ok, err = d.dispatch.NextDue(ctx)
	now := d.clock.Now()
	switch {
	case err != nil || !ok || !next.After(now):
		return time.Time{}, err
	case next.Before(now.Add(dueGather)):
		return now.Add(dueGather), nil
	}
	return next, nil
}

// Due pushes the tasks whose time has come: what was delayed, retries, and whatever
// was released.
func (d *Dispatcher) Due(ctx context.Context) error {
	now := d.clock.Now()
	return d.sweep(ctx, sweepDue, d.mark, func(b SweepBatch) (Swept, error) { return d.dispatch.Due(ctx, now, b) })
}

// Refill marks and pushes everything that is marked as queued, however lately:
// for a queue that is known to be empty.
func (d *Dispatcher) Refill(ctx context.Context) error {
	before := d.clock.Now().Add(time.Microsecond)
	lists, err := d.dispatch.QueuedBefore(ctx, before)
	if err != nil {
		return err
	}
	for _, l := range lists {
		if err := d.pushAgain(ctx, l, before); err != nil {
			return err
		}
	}
	return nil
}

// strandedMemory is what one sweep for stranded tasks leaves to the next: of each
// list that had any, the time before which what was marked was stranded.
type strandedMemory map[List]time.Time

// stranded pushes again what the queue has lost: each list is first in, first
// out, so what was marked before the oldest entry still in it, less a grace, is
// no longer there. It may just have been pulled, so only what two sweeps running
// have found counts: a mark that is older than both bounds and still stands. What
// is put back goes to the head, so that an older mark stands behind a younger one
// only where two workers put back across each other; one needless entry comes of it.
func (d *Dispatcher) stranded(ctx context.Context, last strandedMemory) error {
	now := d.clock.Now()
	bounds, err := d.strandedBounds(ctx, now.Add(-strandedGrace))
	if err != nil {
		clear(last)
		return err
	}
	before := maps.Clone(last)
	clear(last)
	maps.Copy(last, bounds)
	for l, bound := range bounds {
		earlier, twice := before[l]
		if !twice {
			continue
		}
		if earlier.Before(bound) {
			bound = earlier
		}
		if err := d.pushAgain(ctx, l, bound); err != nil {
			return err
		}
	}
	return nil
}

// strandedBounds are the lists in which something was marked before the given
// time, and the time before which what was marked is not on them any more.
func (d *Dispatcher) strandedBounds(ctx context.Context, bound time.Time) (strandedMemory, error) {
	lists, err := d.dispatch.QueuedBefore(ctx, bound)
	if err != nil || len(lists) == 0 {
		return nil, err
	}
	oldest, err := d.queue.Oldest(ctx, lists...)
	if err != nil {
		return nil, err
	}
	bounds := make(strandedMemory, len(lists))
	for _, l := range lists {
		bounds[l] = bound
		if head, ok := oldest[l]; ok && head.Add(-strandedGrace).Before(bound) {
			bounds[l] = head.Add(-strandedGrace)
		}
	}
	return bounds, nil
}

func (d *Dispatcher) pushAgain(ctx context.Context, l List, before time.Time) error {
	return d.sweep(ctx, sweepStranded, d.mark, func(b SweepBatch) (Swept, error) { return d.dispatch.Stranded(ctx, l, before, b) })
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

// forgetKeys removes idempotency keys whose time is over, a small batch at a time.
func (d *Dispatcher) forgetKeys(ctx context.Context) error {
	now := d.clock.Now()
	for {
		n, err := d.dispatch.ForgetKeys(ctx, now, keysAtOnce)
		if err != nil || n < keysAtOnce {
			return err
		}
	}
}

// Bulk does what there is to do of bulk actions, step by step.
func (d *Dispatcher) Bulk(ctx context.Context) error {
	for {
		step := BulkStep{Limit: bulkLimit, Window: SearchWindow, Now: d.clock.Now()}
		step.Decide = func(b Bulk, t *domain.Task) error { return b.Action.apply(t, d.clock.Now()) }
		b, changed, found, err := d.bulks.Step(ctx, step)
		if err != nil || !found {
			return err
		}
		if len(changed) == 0 {
			continue
		}
		d.events.Swept(loopBulk, len(changed))
		ids := make([]domain.TaskID, len(changed))
		for i, t := range changed {
			ids[i] = t.ID()
		}
		if b.Action == BulkStop {
			d.signals.Send(Signal{Kind: SignalStop, Tasks: ids})
		}
		d.signals.Send(Signal{Kind: SignalChanged, Tasks: ids})
		push(ctx, d.queue, changed...)
	}
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
	entries := markedOf(tasks)
	if len(entries) == 0 {
		return nil
	}
	return d.queue.Push(ctx, entries...)
}
