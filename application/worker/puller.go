package worker

import (
	"context"
	"slices"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/internal/loop"
	"github.com/millrace/millrace/domain"
)

// pull fills the local queue until ctx ends, then closes it.
func (w *Worker) pull(ctx context.Context) {
	defer close(w.local)
	wait := loop.NewBackoff()
	for {
		free, err := w.slots.takeAll(ctx)
		if err != nil {
			return
		}
		w.pulse.begin(application.LoopPull, w.clock.Now().Add(pullPatience)) // a try that fails is no progress
		entries, err := w.pullSome(ctx, free)
		w.slots.release(free - len(entries))
		if ctx.Err() == nil {
			w.events.Turn(ctx, application.LoopPull, err)
		}
		if err != nil {
			if !loop.Pause(ctx, wait) {
				return
			}
			continue
		}
		wait.Reset()
		claimed := w.claim(ctx, entries)
		w.slots.release(len(entries) - len(claimed))
		w.starting.Add(len(claimed))
		for _, t := range claimed {
			w.local <- t
		}
		w.starting.Wait()                  // the slots of handlers that return at once are free for the next pull
		w.pulse.rest(application.LoopPull) // a worker that is busy makes progress
	}
}

// pullSome pulls from the queues whose turn it is.
func (w *Worker) pullSome(ctx context.Context, free int) ([]application.Entry, error) {
	p := w.turns.next(free, w.clock.Now())
	if len(p.Queues) == 0 { // every queue is closed
		w.awaitGate(ctx, p.until)
		return nil, ctx.Err()
	}
	entries, err := w.queue.Pull(ctx, p.PullRequest)
	if err == nil {
		w.turns.pulled(p.Queues, entries)
	}
	return entries, err
}

// awaitGate waits until a gate may be tried: at the given time, or because an
// attempt has ended here.
func (w *Worker) awaitGate(ctx context.Context, at time.Time) {
	timer := time.NewTimer(at.Sub(w.clock.Now()))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.turns.opened:
	case <-ctx.Done():
	}
}

// claim makes the entries' tasks the worker's. While the store is away it tries
// again, before anything more is pulled; on a stop it puts the entries back, as it
// does with those that their queue has no room for.
func (w *Worker) claim(ctx context.Context, entries []application.Entry) []*domain.Task {
	if len(entries) == 0 {
		return nil
	}
	ids := make([]domain.TaskID, len(entries))
	for i, e := range entries {
		ids[i] = e.ID
	}
	wait := loop.NewBackoff()
	for ctx.Err() == nil {
		claimed, err := w.tryClaim(ctx, ids)
		w.events.Turn(ctx, application.LoopClaim, err)
		if err == nil {
			w.turns.claimed(entries, claimed.Limited, w.clock.Now())
			w.tellClaimed(claimed.Tasks)
			w.putRefusedBack(ctx, entries, claimed.Limited)
			for _, id := range claimed.Unknown {
				w.events.EntryDropped(ctx, id)
			}
			return claimed.Tasks
		}
		if !loop.Pause(ctx, wait) {
			break
		}
	}
	application.PutBack(ctx, w.queue, entries...)
	return nil
}

func (w *Worker) tryClaim(ctx context.Context, ids []domain.TaskID) (application.ClaimResult, error) {
	beat := w.holdings.startClaim(ids)
	claimed, err := w.tasks.Claim(ctx, application.ClaimRequest{
		Claim: domain.Claim{Worker: w.info.ID, Beat: beat, Timeout: w.cfg.TaskTimeout, Grace: 2 * w.cfg.HandlerGrace},
		IDs:   ids,
		Now:   w.clock.Now(),
	})
	w.holdings.endClaim(ids, claimed.Tasks)
	return claimed, err
}

// putRefusedBack puts back the entries that were refused for want of capacity.
func (w *Worker) putRefusedBack(ctx context.Context, entries []application.Entry, limited []application.LimitedQueue) {
	refused := map[domain.TaskID]bool{}
	for _, l := range limited {
		for _, id := range l.Refused {
			refused[id] = true
		}
	}
	back := slices.DeleteFunc(slices.Clone(entries), func(e application.Entry) bool { return !refused[e.ID] })
	if len(back) > 0 {
		application.PutBack(ctx, w.queue, back...)
	}
}

// tellClaimed tells whoever waits for any change of the tasks.
func (w *Worker) tellClaimed(claimed []*domain.Task) {
	if len(claimed) == 0 {
		return
	}
	ids := make([]domain.TaskID, len(claimed))
	for i, t := range claimed {
		ids[i] = t.ID()
	}
	w.signals.Send(application.Signal{Kind: application.SignalChanged, Tasks: ids})
}
