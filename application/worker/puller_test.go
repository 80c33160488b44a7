package worker

import (
	"context"
	"slices"
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

func TestPuller_StartsAPortionBeforeItClaimsTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, first, second := apptest.NewPorts(t), apptest.Claimed(t), apptest.Claimed(t)
		puller, claimed := newPuller(p)
		ctx, stop := context.WithCancel(t.Context())
		p.Queue.EXPECT().Pull(apptest.Any, apptest.Any).
			Return([]application.Entry{apptest.Entry(first.ID(), apptest.Now()), apptest.Entry(second.ID(), apptest.Now())}, nil)
		var started []domain.TaskID
		p.Tasks.EXPECT().Claim(apptest.Any, apptest.Any).
			Return(application.ClaimResult{Tasks: []*domain.Task{first}, Rest: []domain.TaskID{second.ID()}}, nil)
		p.Tasks.EXPECT().Claim(apptest.Any, apptest.Any).DoAndReturn(func(_ context.Context, c application.ClaimRequest) (application.ClaimResult, error) {
			apptest.Same(t, "asked for with the second claim", slices.Equal(c.IDs, []domain.TaskID{second.ID()}), true)
			apptest.Same(t, "the first is started before it", slices.Equal(started, []domain.TaskID{first.ID()}), true)
			return application.ClaimResult{Tasks: []*domain.Task{second}}, nil
		})
		p.Signals.EXPECT().Send(apptest.Any).Times(2)
		go puller.Run(ctx)

		for range 2 {
			task := <-claimed
			started = append(started, task.ID())
			puller.starting.Done()
		}
		synctest.Wait()
		apptest.Same(t, "both are started", slices.Equal(started, []domain.TaskID{first.ID(), second.ID()}), true)
		stop()
	})
}
