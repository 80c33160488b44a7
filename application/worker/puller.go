package worker

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/internal/loop"
	"github.com/millrace/millrace/domain"
)

// puller pulls entries for as many slots as are free, and claims their tasks.
type puller struct {
	Deps
	claimAs  domain.Claim // but for the number of the beat
	slots    *slots
	schedule *schedule
	leases   *leases
	watchdog *watchdog
	claimed  chan<- *domain.Task
	starting *sync.WaitGroup // claimed tasks whose goroutine does not run yet
}

// Run pulls until ctx ends, then closes the channel of claimed tasks.
func (p *puller) Run(ctx context.Context) {
	defer close(p.claimed)
	wait := loop.NewBackoff()
	for {
		free, err := p.slots.acquireAll(ctx)
		if err != nil {
			return
		}
		p.watchdog.begin(application.LoopPull, p.Clock.Now().Add(pullTimeout))
		entries, err := p.pull(ctx, free)
		p.slots.release(free - len(entries))
		if ctx.Err() == nil {
			p.Events.Turn(ctx, application.LoopPull, err)
		}
		if err != nil {
			if !loop.Pause(ctx, wait) {
				return
			}
			continue
		}
		wait.Reset()
		tasks := p.claim(ctx, entries)
		p.slots.release(len(entries) - len(tasks))
		p.starting.Add(len(tasks))
		for _, t := range tasks {
			p.claimed <- t
		}
		// Handlers that return at once have given their slots back by then, so that the
		// next claim is of 80 tasks instead of 25 with 100 slots, of 900 instead of 290
		// with 1000.
		p.starting.Wait()
		p.watchdog.idle(application.LoopPull) // a worker that is busy makes progress
	}
}

// pull pulls from the queues that the schedule names.
func (p *puller) pull(ctx context.Context, free int) ([]application.Entry, error) {
	next := p.schedule.next(free, p.Clock.Now())
	if len(next.Queues) == 0 { // every gate is closed
		p.awaitGate(ctx, next.until)
		return nil, ctx.Err()
	}
	entries, err := p.Queue.Pull(ctx, next.PullRequest)
	if err == nil {
		p.schedule.pulled(next.Queues, entries)
	}
	return entries, err
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

// claim makes the entries' tasks the worker's. While the store is away it tries
// again, before anything more is pulled; on a stop it puts the entries back, as it
// does with those that their queue has no room for.
func (p *puller) claim(ctx context.Context, entries []application.Entry) []*domain.Task {
	if len(entries) == 0 {
		return nil
	}
	if ctx.Err() != nil {
		application.PutBack(ctx, p.Queue, entries...)
		return nil
	}
	ids := make([]domain.TaskID, len(entries))
	for i, e := range entries {
		ids[i] = e.ID
	}
	result, err := loop.Retry(ctx, func() (application.ClaimResult, error) {
		result, err := p.tryClaim(ctx, ids)
		p.Events.Turn(ctx, application.LoopClaim, err)
		return result, err
	})
	if err != nil { // the worker stops
		application.PutBack(ctx, p.Queue, entries...)
		return nil
	}
	p.schedule.claimed(entries, result.Limited, p.Clock.Now())
	p.signalClaimed(result.Tasks)
	left := p.putRefusedBack(ctx, entries, result.Limited)
	p.reportUnknown(ctx, left, result.Tasks)
	return result.Tasks
}

func (p *puller) tryClaim(ctx context.Context, ids []domain.TaskID) (application.ClaimResult, error) {
	c := application.ClaimRequest{Claim: p.claimAs, IDs: ids, Now: p.Clock.Now()}
	c.Beat = p.leases.startClaim(ids)
	result, err := p.Tasks.Claim(ctx, c)
	p.leases.endClaim(ids, result.Tasks)
	return result, err
}

// putRefusedBack puts back the entries that were refused for want of room, and
// returns the ids of the others.
func (p *puller) putRefusedBack(ctx context.Context, entries []application.Entry, limited []application.LimitedQueue) []domain.TaskID {
	refused := map[domain.TaskID]bool{}
	for _, l := range limited {
		for _, id := range l.Refused {
			refused[id] = true
		}
	}
	var back []application.Entry
	var others []domain.TaskID
	for _, e := range entries {
		if refused[e.ID] {
			back = append(back, e)
		} else {
			others = append(others, e.ID)
		}
	}
	application.PutBack(ctx, p.Queue, back...)
	return others
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

// reportUnknown looks at what could not be claimed. A task that was canceled, or
// was claimed through another entry, is skipped; an id that names no task is
// reported.
func (p *puller) reportUnknown(ctx context.Context, ids []domain.TaskID, claimed []*domain.Task) {
	left := make(map[domain.TaskID]bool, len(ids))
	for _, id := range ids {
		left[id] = true
	}
	for _, t := range claimed {
		delete(left, t.ID())
	}
	if len(left) == 0 {
		return
	}
	known, err := p.Tasks.GetMany(ctx, slices.Collect(maps.Keys(left))...)
	if err != nil {
		return // they are dropped all the same, merely unreported
	}
	for _, t := range known {
		delete(left, t.ID())
	}
	for id := range left {
		p.Events.EntryDropped(ctx, id)
	}
}
