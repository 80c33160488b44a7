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

// maxSaveTries bounds the tries to store an outcome, or to read its task again,
// that the store refuses for a reason that waiting does not cure.
const maxSaveTries = 5

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
				r.slots.returned()
				r.store(saving, t, r.release, nil, 0)
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
	limit := time.AfterFunc(r.cfg.ShutdownTimeout+r.cfg.HandlerGrace+saveTimeout, endSaving)
	defer limit.Stop()
	r.attempts.Wait()
}

// store stores the outcome of an attempt, and drops its lease. While the store is
// away it tries again, for as long as the lease holds: the heartbeat's answer says
// when it does not.
func (r *runner) store(ctx context.Context, t *domain.Task, decide application.Decide, cause error, took time.Duration) {
	ref := application.RefOf(t)
	defer r.drop(ref, t.Queue())
	stored, err := r.save(ctx, ref, t, decide)
	switch {
	case err == nil:
		r.Signals.Send(application.Signal{Kind: application.SignalChanged, Tasks: []domain.TaskID{ref.Task}})
		r.Events.AttemptEnded(ctx, stored, took, cause)
	case errors.Is(err, domain.ErrAttemptLost), errors.Is(err, domain.ErrTaskNotFound):
		r.Events.AttemptLost(ctx, ref)
	default:
		r.Events.OutcomeUnsaved(ctx, ref, err)
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

// save stores what decide makes of the task, and returns it as it is stored. A save
// that met a conflict, or whose answer may be lost, is resolved before the next.
func (r *runner) save(ctx context.Context, ref application.AttemptRef, t *domain.Task, decide application.Decide) (*domain.Task, error) {
	tries, saved := refusals{}, false
	return loop.Retry(ctx, func() (*domain.Task, error) {
		for {
			if saved {
				now, done, err := r.resolveConflict(ctx, ref, t)
				if err != nil || done {
					return now, loop.Stop(err)
				}
				t = now
			}
			if t.Attempt() != ref.Attempt {
				return nil, loop.Stop(domain.ErrAttemptLost)
			}
			if err := decide(t); err != nil {
				return nil, loop.Stop(err)
			}
			err := r.Tasks.Save(ctx, t)
			saved = true
			switch {
			case err == nil:
				r.Events.Turn(ctx, application.LoopSave, nil)
				return t, nil
			case errors.Is(err, domain.ErrTaskNotFound):
				return nil, loop.Stop(err)
			case errors.Is(err, domain.ErrConflict): // a stop was requested, or the attempt is lost
				continue
			}
			r.Events.Turn(ctx, application.LoopSave, err)
			return nil, tries.count(err)
		}
	})
}

// resolveConflict reads the task again after a save that found another version, or
// whose answer was lost. It is done if the save did go through; otherwise the outcome
// has to be decided again on now.
func (r *runner) resolveConflict(ctx context.Context, ref application.AttemptRef, t *domain.Task) (now *domain.Task, done bool, err error) {
	now, err = r.reload(ctx, ref)
	if err != nil {
		return nil, false, err
	}
	return now, now.Version() == t.Version() && now.Status() == t.Status() && now.Attempt() == ref.Attempt, nil
}

// reload reads the task of an attempt that the worker still holds.
func (r *runner) reload(ctx context.Context, ref application.AttemptRef) (*domain.Task, error) {
	tries := refusals{}
	return loop.Retry(ctx, func() (*domain.Task, error) {
		if cause := r.leases.causeOf(ref); errors.Is(cause, domain.ErrAttemptLost) {
			return nil, loop.Stop(cause)
		}
		t, err := r.Tasks.Get(ctx, ref.Task)
		if errors.Is(err, domain.ErrTaskNotFound) {
			return nil, loop.Stop(err)
		}
		return t, tries.count(err)
	})
}

// refusals counts the tries that failed for another reason than that the store is
// away: maxSaveTries of them are enough.
type refusals struct{ n int }

// count returns err, marked as final if it is the last that is accepted.
func (r *refusals) count(err error) error {
	if err == nil || errors.Is(err, domain.ErrUnavailable) {
		return err
	}
	if r.n++; r.n >= maxSaveTries {
		return loop.Stop(err)
	}
	return err
}
