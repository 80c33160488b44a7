// Package dispatch reconciles the queue with the record, for all workers: it
// pushes what is due and what the queue has lost, takes back what dead workers
// held, carries out bulk actions, and removes what has expired. Each of these is
// a sweep in a file of its own. It knows nothing of the API and of how a worker
// runs tasks.
package dispatch

import (
	"context"
	"sync"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// Deps are the ports that the sweeps use.
type Deps struct {
	Tasks      application.DispatchRepository
	Workers    application.WorkerRepository
	Bulks      application.BulkRepository
	Purges     application.PurgeRepository
	Queues     application.QueueRepository
	Queue      application.Queue
	Signals    application.Signals
	Clock      application.Clock
	Events     application.Events
	Statistics application.StatisticsRepository
}

// Config are the settings of a dispatcher.
type Config struct {
	Observer application.Observer // the worker beside the dispatcher
	Retry    domain.RetryPolicy
	// Retention is how long tasks are kept of which neither they nor their queues say it.
	Retention domain.Retention
}

// Dispatcher runs all sweeps. One runs in every worker, without a leader: a sweep
// skips the rows that another one has locked.
type Dispatcher struct {
	stranded *Stranded
	orphaned *Orphaned
	loops    []interface{ Run(ctx context.Context) }
}

// New makes a dispatcher.
func New(deps Deps, cfg Config) *Dispatcher {
	d := &Dispatcher{stranded: NewStranded(deps, cfg.Observer.Worker), orphaned: NewOrphaned(deps, cfg)}
	d.loops = []interface{ Run(ctx context.Context) }{
		NewDue(deps), d.stranded, d.orphaned, NewBulk(deps), NewKeys(deps), NewWorkers(deps, cfg.Observer.Lease),
		NewPurge(deps, cfg.Observer.Worker, cfg.Retention), NewStatistics(deps),
	}
	return d
}

// Run sweeps until ctx ends.
func (d *Dispatcher) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, l := range d.loops {
		running.Go(func() { l.Run(ctx) })
	}
	running.Wait()
}

// Refill marks and pushes all tasks that are marked as queued, however recently:
// for a queue that is known to be empty.
func (d *Dispatcher) Refill(ctx context.Context) error { return d.stranded.Refill(ctx) }

// Rescue takes a task from a worker that was lost.
func (d *Dispatcher) Rescue(t *domain.Task) error { return d.orphaned.Rescue(t) }

// TellRescued tells of the attempts that ended as Rescue took these tasks, once they are
// stored: for whoever rescues them in place of the sweep.
func (d *Dispatcher) TellRescued(ctx context.Context, tasks []*domain.Task) {
	d.orphaned.tellEnds(ctx, tasks)
}

// retryInterval is the longest pause after a sweep that has failed. /readyz tells what the
// last sweep experienced: one that runs once a minute would make a worker unready for a
// minute after an outage.
const retryInterval = 5 * time.Second

// every calls run at the interval until ctx ends, sooner after a failure, and reports each
// result.
func every(ctx context.Context, interval time.Duration, name application.Loop, events application.Events, run func(context.Context) error) {
	ticker, last := time.NewTicker(interval), interval
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		err := run(ctx)
		if ctx.Err() != nil {
			return
		}
		events.LoopRan(ctx, name, err)
		pause := interval
		if err != nil {
			pause = min(interval, retryInterval)
		}
		if pause != last {
			ticker.Reset(pause)
			last = pause
		}
	}
}
