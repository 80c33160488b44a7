package worker

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/internal/loop"
	"github.com/millrace/millrace/domain"
)

// runner starts an attempt for every task that is claimed, and stores its outcome.
type runner struct {
	Deps
	cfg      Config
	slots    *slots
	schedule *schedule
	leases   *leases
	shortage *shortage
	claimed  <-chan *domain.Task
	starting *sync.WaitGroup // claimed tasks whose goroutine does not run yet
	attempts sync.WaitGroup
}

// Run starts each claimed task at once, in a goroutine of its own, until the
// channel is closed. Tasks that come after the end of ctx are released instead.
// It returns when every outcome is stored, or can no longer be.
func (r *runner) Run(ctx context.Context) {
	values := context.WithoutCancel(ctx)
	saving, endSaving := context.WithCancel(values)
	defer endSaving()
	for t := range r.claimed {
		r.attempts.Add(1)
		go func() {
			r.starting.Done()
			if ctx.Err() != nil {
				r.slots.returned(t.Queue())
				r.store(t, outcome{decide: r.release}, attemptEnding{saving: saving, told: values})
				return
			}
			r.attempt(values, saving, t)
		}()
	}
	r.drain(endSaving)
}

// drain waits for what runs: for ShutdownTimeout, then it ends the handlers'
// contexts. Those get the grace, and their outcomes saveTimeout.
func (r *runner) drain(endSaving func()) {
	stop := time.AfterFunc(r.cfg.ShutdownTimeout, func() { r.leases.endAll(errShutdown) })
	defer stop.Stop()
	limit := time.AfterFunc(r.cfg.drainLimit(), endSaving)
	defer limit.Stop()
	r.attempts.Wait()
}

// outcome is what is to become of a task.
type outcome struct {
	decide application.Decide
	// charged: the handler had begun and was not cut short by a stop, so that the task
	// is not given back free of charge if this cannot be stored.
	charged bool
}

// attemptEnding is how the end of an attempt is stored, and what to tell of it then.
type attemptEnding struct {
	saving context.Context // bounds the tries
	told   context.Context // of the events
	end    application.AttemptEnd
}

// store stores the outcome of an attempt, and drops its lease.
func (r *runner) store(t *domain.Task, o outcome, e attemptEnding) {
	ref := application.RefOf(t)
	defer r.drop(ref, t.Queue())
	save := outcomeSave{runner: r, ref: ref, task: t, outcome: o, attemptEnding: e}
	save.claim, _ = t.LatestAttempt()
	r.leases.saves(ref, true)
	stored, err := loop.Retry(e.saving, save.try)
	r.leases.saves(ref, false)
	switch {
	case err == nil:
		r.Signals.Send(application.Signal{Kind: application.SignalChanged, Tasks: []domain.TaskID{ref.Task}})
		r.Events.AttemptEnded(e.told, stored, save.end)
	case errors.Is(err, domain.ErrAttemptLost), errors.Is(err, domain.ErrTaskNotFound):
		r.Events.AttemptLost(e.told, t.Queue(), ref)
	default:
		r.Events.OutcomeUnsaved(e.told, t.Queue(), ref, err)
		if o.charged {
			r.leases.giveUp(ref)
		}
	}
}

// drop notes that an attempt is no longer the worker's: another task may be taken,
// and there is room under a limit, which counts what is processing in the store.
func (r *runner) drop(ref application.AttemptRef, queue domain.QueueName) {
	r.leases.drop(ref)
	r.schedule.attemptEnded(queue, r.Clock.Now())
	r.slots.stored()
	r.attempts.Done()
}
