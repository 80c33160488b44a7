package worker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/internal/loop"
	"github.com/millrace/millrace/domain"
)

// heart beats every interval until ctx ends, and closes first after the first
// beat that was answered. A beat does not wait for the one before it: one that
// is stuck on a stalled link must not cost the lease.
func (w *Worker) heart(ctx context.Context, first chan<- struct{}) {
	var beats sync.WaitGroup
	defer beats.Wait()
	var once sync.Once
	ticker := time.NewTicker(w.cfg.interval())
	defer ticker.Stop()
	w.pulse.within(application.LoopHeartbeat, w.clock.Now().Add(w.cfg.Lease))
	for {
		beats.Go(func() {
			if w.beat(ctx) == nil {
				once.Do(func() { close(first) })
			}
		})
		select {
		case <-ticker.C:
		case <-w.nudged:
			if !loop.Sleep(ctx, nudgeGather) {
				return
			}
			select {
			case <-w.nudged: // the beat comes after these hints too
			default:
			}
		case <-ctx.Done():
			return
		}
	}
}

// nudgeGather lets hints that arrive together cost one beat.
const nudgeGather = 20 * time.Millisecond

// listen has the heart beat at once when a task that the worker holds may have
// been asked to stop: the hint says no more than that, the beat's answer decides.
func (w *Worker) listen(ctx context.Context) {
	loop.Listen(ctx, w.signals, w.events, func(s application.Signal) {
		if s.Kind == application.SignalStop && w.holdings.holdsAny(s.Tasks) {
			select {
			case w.nudged <- struct{}{}:
			default:
			}
		}
	})
}

// beat sends one beat and does what its answer says.
func (w *Worker) beat(ctx context.Context) error {
	b := application.Beat{Worker: w.info, Interval: w.cfg.interval(), Release: w.release, TimeOut: w.timeOut}
	w.holdings.compose(&b)
	answer, err := w.workers.Beat(ctx, b)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	w.events.Turn(ctx, application.LoopHeartbeat, err)
	if err != nil {
		return fmt.Errorf("beat %d: %w", b.Number, err)
	}
	w.pulse.within(application.LoopHeartbeat, w.clock.Now().Add(w.cfg.Lease))
	for _, ref := range answer.Lost {
		w.holdings.end(ref, domain.ErrAttemptLost)
	}
	for _, ref := range answer.Stop {
		w.holdings.end(ref, errStopRequested)
	}
	return nil
}

// timeOut takes a task from an attempt that runs on although its deadline, which
// has the grace in it, has passed: whatever has become of the handler, the task goes on.
func (w *Worker) timeOut(t *domain.Task) error {
	f := domain.Failure{Reason: fmt.Sprintf("still running after %s", t.TimeoutOr(w.cfg.TaskTimeout)+2*w.cfg.HandlerGrace)}
	return t.Fail(t.Attempt(), f, w.cfg.Retry, rand.Float64(), w.clock.Now())
}
