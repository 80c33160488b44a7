package worker

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/internal/loop"
	"github.com/millrace/millrace/domain"
)

// maxClaimTries bounds how often a claim that fails is tried again before its entries
// go back on the queue, for other workers and for the order of the queues.
const maxClaimTries = 3

// puller pulls entries for as many slots as are free, and claims their tasks.
type puller struct {
	Deps
	claimAs  domain.Claim // but for the number of the beat
	retry    domain.RetryPolicy
	slots    *slots
	schedule *schedule
	leases   *leases
	shortage *shortage
	watchdog *watchdog
	claimed  chan<- *domain.Task
	starts   sync.Mutex      // one pull's tasks are started at a time
	starting *sync.WaitGroup // claimed tasks whose goroutine does not run yet
}

// Run pulls until ctx ends, then closes the channel of claimed tasks.
func (p *puller) Run(ctx context.Context) {
	defer close(p.claimed)
	var reserve sync.WaitGroup
	defer reserve.Wait()
	reserve.Go(func() { p.pullIntoReserve(ctx) })
	wait, claimWait := loop.NewBackoff(), loop.NewBackoff()
	for {
		free, err := p.slots.acquireAll(ctx)
		if err != nil {
			return
		}
		if !p.shortage.pause(ctx, p.Clock.Now) {
			p.slots.release(free)
			return
		}
		limited := p.shortage.limit(free)
		p.slots.release(free - limited)
		free = limited
		p.watchdog.begin(application.LoopPull, p.Clock.Now().Add(pullTimeout))
		asked, entries, err := p.pull(ctx, free)
		p.slots.release(free - len(entries))
		if asked && ctx.Err() == nil {
			p.Events.LoopRan(ctx, application.LoopPull, err)
		}
		if err != nil {
			if !loop.Pause(ctx, wait) {
				return
			}
			continue
		}
		wait.Reset()
		started := 0
		err = p.claim(ctx, entries, claimWait, func(tasks []*domain.Task) {
			started += len(tasks)
			for _, t := range tasks {
				p.slots.occupy(t.Queue())
			}
			p.start(tasks)
		})
		p.slots.release(len(entries) - started)
		if err == nil {
			p.watchdog.idle(application.LoopPull) // a worker that is busy makes progress
		}
	}
}

// start hands the tasks on, and waits until their goroutines run. Handlers that return
// at once have given their slots back by then, so that the next claim is of 80 tasks
// instead of 25 with 100 slots, of 900 instead of 290 with 1000.
func (p *puller) start(tasks []*domain.Task) {
	p.starts.Lock()
	defer p.starts.Unlock()
	p.starting.Add(len(tasks))
	for _, t := range tasks {
		p.claimed <- t
	}
	p.starting.Wait()
}

// pull pulls from the queues that the schedule names; it has not asked the queue if that
// names none.
func (p *puller) pull(ctx context.Context, free int) (asked bool, entries []application.Entry, err error) {
	next := p.schedule.next(free, p.Clock.Now())
	if len(next.Queues) == 0 { // every gate is closed
		p.awaitGate(ctx, next.until)
		return false, nil, ctx.Err()
	}
	entries, err = p.Queue.Pull(ctx, next.PullRequest)
	if err == nil {
		p.schedule.pulled(next.Queues, entries)
	}
	return true, entries, err
}

// awaitGate waits until a gate opens: at the given time, or because an attempt has
// ended here.
func (p *puller) awaitGate(ctx context.Context, at time.Time) {
	timer := time.NewTimer(at.Sub(p.Clock.Now()))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.schedule.unblocked:
	case <-ctx.Done():
	}
}

// claim makes the entries' tasks the worker's, a portion at a time, and hands those that
// may start to start before it claims the next. While that fails it is tried again, a few
// times: then, or on a stop, the entries go back on the queue, like those that their queue
// has no room for.
func (p *puller) claim(ctx context.Context, entries []application.Entry, wait *backoff.ExponentialBackOff, start func(tasks []*domain.Task)) error {
	left := make(map[domain.TaskID][]application.Entry, len(entries)) // that no claim has asked for
	ids := make([]domain.TaskID, len(entries))
	for i, e := range entries {
		ids[i], left[e.ID] = e.ID, append(left[e.ID], e)
	}
	for len(ids) > 0 {
		result, err := p.retryClaim(ctx, ids, wait)
		if err != nil {
			application.PutBack(ctx, p.Queue, take(left, ids)...)
			return err
		}
		asked := take(left, notIn(ids, result.Rest))
		p.settle(ctx, asked, result)
		if tasks := p.admit(ctx, result.Tasks); len(tasks) > 0 {
			start(tasks)
		}
		ids = result.Rest
	}
	return nil
}

// retryClaim claims, and waits after each try that failed, for longer from claim to
// claim: what goes back on the queue must not be pulled again at once.
func (p *puller) retryClaim(ctx context.Context, ids []domain.TaskID, wait *backoff.ExponentialBackOff) (result application.ClaimResult, err error) {
	if ctx.Err() != nil {
		return result, ctx.Err()
	}
	for tries := 1; ; tries++ {
		result, err = p.tryClaim(ctx, ids)
		p.Events.LoopRan(ctx, application.LoopClaim, err)
		if err == nil {
			wait.Reset()
			return result, nil
		}
		if !loop.Pause(ctx, wait) || tries == maxClaimTries {
			return result, err
		}
	}
}

// take takes the entries of the ids out of left, in the order of the ids.
func take(left map[domain.TaskID][]application.Entry, ids []domain.TaskID) []application.Entry {
	taken := make([]application.Entry, 0, len(ids))
	for _, id := range ids {
		taken = append(taken, left[id]...)
		delete(left, id)
	}
	return taken
}

// notIn are the ids that are not in rest.
func notIn(ids, rest []domain.TaskID) []domain.TaskID {
	if len(rest) == 0 {
		return ids
	}
	in := make(map[domain.TaskID]bool, len(rest))
	for _, id := range rest {
		in[id] = true
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id domain.TaskID) bool { return in[id] })
}

// settle does what a claim that asked for the entries has come to.
func (p *puller) settle(ctx context.Context, asked []application.Entry, result application.ClaimResult) {
	p.schedule.claimed(asked, result.Limited, p.Clock.Now())
	p.signalClaimed(result.Tasks)
	p.putRefusedBack(ctx, asked, result.Limited)
	for _, id := range result.Unknown {
		p.Events.EntryDropped(ctx, id)
	}
	for id, err := range result.Refused {
		p.Events.TaskPassed(ctx, application.LoopClaim, id, err)
	}
}

func (p *puller) tryClaim(ctx context.Context, ids []domain.TaskID) (application.ClaimResult, error) {
	c := application.ClaimRequest{Claim: p.claimAs, IDs: ids, Now: p.Clock.Now()}
	c.Beat = p.leases.startClaim(ids)
	result, err := p.Tasks.Claim(ctx, c)
	again := p.leases.endClaim(ids, result.Tasks)
	if len(again) > 0 {
		result.Tasks = slices.DeleteFunc(result.Tasks, func(t *domain.Task) bool { return slices.Contains(again, t) })
		for _, t := range again {
			p.giveBack(ctx, t)
		}
	}
	return result, err
}

// giveBack releases a task that was claimed while the worker still held the same attempt.
// If that fails a heartbeat does it, once that attempt has ended.
func (p *puller) giveBack(ctx context.Context, t *domain.Task) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	if err := t.Release(t.Attempt(), p.Clock.Now()); err == nil {
		p.saveReleased(ctx, t)
	}
	p.schedule.attemptEnded(t.Queue(), p.Clock.Now())
}

// saveReleased stores a task that is given back, and tells of it.
func (p *puller) saveReleased(ctx context.Context, t *domain.Task) {
	if p.Tasks.Save(ctx, t) == nil {
		p.Events.AttemptEnded(ctx, t, application.AttemptEnd{Outcome: t.LastOutcome()})
	}
}

// putRefusedBack puts back the entries that were refused for want of capacity.
func (p *puller) putRefusedBack(ctx context.Context, entries []application.Entry, limited []application.LimitedQueue) {
	refused := map[domain.TaskID]bool{}
	for _, l := range limited {
		for _, id := range l.Refused {
			refused[id] = true
		}
	}
	back := slices.DeleteFunc(slices.Clone(entries), func(e application.Entry) bool { return !refused[e.ID] })
	if len(back) > 0 {
		application.PutBack(ctx, p.Queue, back...)
	}
}

// signalClaimed wakes callers that wait for any change of the tasks.
func (p *puller) signalClaimed(claimed []*domain.Task) {
	if len(claimed) == 0 {
		return
	}
	ids := make([]domain.TaskID, len(claimed))
	for i, t := range claimed {
		ids[i] = t.ID()
	}
	p.Signals.Send(application.Signal{Kind: application.SignalChanged, Tasks: ids})
}
