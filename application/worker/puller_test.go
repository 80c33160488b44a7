package worker

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

// newPuller makes a puller of two slots between mocks, and the channel that it feeds.
func newPuller(p *apptest.Ports) (*puller, <-chan *domain.Task) {
	claimed := make(chan *domain.Task, 2)
	p.Events.EXPECT().LoopRan(apptest.Any, apptest.Any, nil).AnyTimes()
	return &puller{
		Deps:    Deps{Tasks: p.Tasks, Queue: p.Queue, Signals: p.Signals, Clock: p.Clock, Events: p.Events},
		claimAs: domain.Claim{Worker: "w", Timeout: time.Minute},
		slots:   newSlots(2, 0), schedule: newSchedule([]QueueWeight{{domain.DefaultQueue, 1}}), leases: newLeases(), shortage: newShortage(), watchdog: newWatchdog(),
		claimed: claimed, starting: new(sync.WaitGroup),
	}, claimed
}

func TestPuller_HandsOnWhatItClaimedAndClosesTheChannelWhenItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, task := apptest.NewPorts(t), apptest.Claimed(t)
		puller, claimed := newPuller(p)
		ctx, stop := context.WithCancel(t.Context())
		entry := apptest.Entry(task.ID(), apptest.Now())
		p.Queue.EXPECT().Pull(apptest.Any, apptest.Any).Return([]application.Entry{entry}, nil)
		p.Tasks.EXPECT().Claim(apptest.Any, application.ClaimRequest{Claim: puller.claimAs, IDs: []domain.TaskID{task.ID()}, Now: apptest.Now()}).
			Return(application.ClaimResult{Tasks: []*domain.Task{task}}, nil)
		p.Signals.EXPECT().Send(apptest.Any)
		p.Queue.EXPECT().Pull(apptest.Any, apptest.Any).DoAndReturn(func(ctx context.Context, _ application.PullRequest) ([]application.Entry, error) {
			return nil, apptest.UntilEnded(ctx)
		})
		go puller.Run(ctx)

		apptest.Same(t, "claimed", <-claimed, task)
		puller.starting.Done()
		synctest.Wait()
		apptest.Same(t, "held", puller.leases.holdsAny([]domain.TaskID{task.ID()}), true)
		stop()

		if left, open := <-claimed; open {
			t.Errorf("the channel is open, with %v", left)
		}
		apptest.Same(t, "slots that are free", puller.slots.available(), 1)
	})
}
