package worker

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/internal/loop"
	"github.com/millrace/millrace/domain"
)

// stopHintDebounce lets hints to stop that arrive together cost one beat.
const stopHintDebounce = 20 * time.Millisecond

// heartbeat renews the lease of all that the worker holds, and ends the attempts
// that the answers name.
type heartbeat struct {
	Deps
	cfg      Config
	info     application.WorkerInfo
	leases   *leases
	slots    *slots
	watchdog *watchdog
	portion  *loop.Portion // of what the worker owns, for one statement

	registered chan struct{} // closed after the first beat that succeeded
	once       sync.Once
	wakeBeat   chan struct{} // holds a token after a hint to stop
}

func newHeartbeat(deps Deps, cfg Config, info application.WorkerInfo, l *leases, s *slots, w *watchdog) *heartbeat {
	return &heartbeat{
		Deps: deps, cfg: cfg, info: info, leases: l, slots: s, watchdog: w, portion: loop.NewPortion(application.BeatPortion),
		registered: make(chan struct{}), wakeBeat: make(chan struct{}, 1),
	}
}

// Run beats every interval, and at once after a hint to stop, until ctx ends and
// the beats in flight have ended too. A beat does not wait for the one before it:
// one that is stuck on a stalled link must not cost the lease.
func (h *heartbeat) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { h.listen(ctx) })
	ticker := time.NewTicker(h.cfg.interval())
	defer ticker.Stop()
	h.watchdog.progress(application.LoopHeartbeat, h.Clock.Now().Add(h.cfg.Lease))
	for {
		running.Go(func() {
			if h.beat(ctx) == nil {
				h.once.Do(func() { close(h.registered) })
			}
		})
		select {
		case <-ticker.C:
		case <-h.wakeBeat:
			if !loop.Sleep(ctx, stopHintDebounce) {
				return
			}
			select {
			case <-h.wakeBeat: // the beat comes after these hints too
			default:
			}
		case <-ctx.Done():
			return
		}
	}
}

// listen makes the loop beat at once when a task that the worker holds may have
// been asked to stop: the hint says no more than that, the beat's answer decides.
func (h *heartbeat) listen(ctx context.Context) {
	loop.Listen(ctx, h.Signals, h.Events, func(s application.Signal) {
		if s.Kind == application.SignalStop && h.leases.holdsAny(s.Tasks) {
			notify(h.wakeBeat)
		}
	})
}

// beat sends one beat and does what its answer says. After one that took too long the
// next has smaller portions.
func (h *heartbeat) beat(ctx context.Context) error {
	b := application.Beat{
		Worker: h.info, Interval: h.cfg.interval(), Portion: h.portion.Size(), Release: h.release, TimeOut: h.timeOut, GiveUp: h.giveUp,
	}
	b.Worker.Abandoned, b.Worker.Stuck = h.slots.stuck()
	h.leases.compose(&b)
	answer, err := h.Workers.Beat(ctx, b)
	for _, t := range answer.GaveBack {
		h.Events.AttemptEnded(ctx, t, application.AttemptEnd{Outcome: t.LastOutcome()})
	}
	h.portion.Note(b.Portion, b.Portion, cmp.Or(err, answer.Kept))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	h.Events.LoopRan(ctx, application.LoopHeartbeat, err)
	if err != nil {
		return fmt.Errorf("beat %d: %w", b.Number, err)
	}
	h.Events.LoopRan(ctx, application.LoopGiveBack, answer.Kept) // the lease is renewed all the same
	h.watchdog.progress(application.LoopHeartbeat, h.Clock.Now().Add(h.cfg.Lease))
	for _, ref := range answer.Lost {
		h.leases.end(ref, domain.ErrAttemptLost)
	}
	for _, ref := range answer.Stop {
		h.leases.end(ref, errStopRequested)
	}
	return nil
}

// leave removes the worker from the record. A last beat, which lists nothing, gives
// back a claim whose answer was lost. If that takes too long, its lease runs out.
func (h *heartbeat) leave(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := h.beat(ctx); err != nil {
		return err
	}
	return h.Workers.Leave(ctx, h.info.ID)
}

func (h *heartbeat) release(t *domain.Task) error { return t.Release(t.Attempt(), h.Clock.Now()) }

// giveUp takes a task from an attempt whose outcome this worker could not store.
func (h *heartbeat) giveUp(t *domain.Task) error {
	return t.GiveUp(t.Attempt(), h.cfg.Retry, h.Clock.Now())
}

// timeOut takes a task from an attempt that runs on although its deadline, which
// includes the grace, has passed: whatever has become of the handler, the task goes on.
func (h *heartbeat) timeOut(t *domain.Task) error {
	f := domain.Failure{Reason: fmt.Sprintf("still running after %s", t.TimeoutOr(h.cfg.TaskTimeout)+h.cfg.claimGrace())}
	return t.Fail(t.Attempt(), f, h.cfg.Retry, rand.Float64(), h.Clock.Now())
}
