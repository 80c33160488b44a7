package worker

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/internal/loop"
	"github.com/millrace/millrace/domain"
)

// reserveWait is how long a pull into a reserved slot waits: after it, another queue
// may have no task running, or its gate may have opened.
const reserveWait = time.Second

// pullIntoReserve pulls a task at a time for queues that have none running, while all
// slots but the reserved ones are taken. It ends with ctx.
func (p *puller) pullIntoReserve(ctx context.Context) {
	wait, claimWait := loop.NewBackoff(), loop.NewBackoff()
	for {
		idle, err := p.slots.acquireReserved(ctx)
		if err != nil {
			return
		}
		if !p.shortage.pause(ctx, p.Clock.Now) {
			p.slots.releaseReserved()
			return
		}
		task, err := p.pullOne(ctx, idle, claimWait)
		if task == nil {
			p.slots.releaseReserved()
		} else {
			p.slots.occupyReserved(task.Queue())
			p.start([]*domain.Task{task})
		}
		if err == nil {
			wait.Reset()
		} else if !loop.Pause(ctx, wait) {
			return
		}
	}
}

// pullOne pulls one entry of the queues and claims its task; nil: there was none.
func (p *puller) pullOne(ctx context.Context, idle []domain.QueueName, wait *backoff.ExponentialBackOff) (task *domain.Task, err error) {
	queues := p.schedule.open(idle, p.Clock.Now())
	if len(queues) == 0 { // every gate is closed
		loop.Sleep(ctx, reserveWait)
		return nil, nil
	}
	entries, err := p.Queue.Pull(ctx, application.PullRequest{Queues: queues, Max: 1, Wait: reserveWait})
	if ctx.Err() == nil {
		p.Events.LoopRan(ctx, application.LoopPull, err)
	}
	if err != nil {
		return nil, err
	}
	p.schedule.pulled(queues, entries)
	err = p.claim(ctx, entries, wait, func(tasks []*domain.Task) { task = tasks[0] })
	return task, err
}
