package worker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

func TestHeartbeat_IsRegisteredByTheFirstBeatThatSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, cfg := apptest.NewPorts(t), Config{Lease: 10 * time.Second}
		h := newHeartbeat(Deps{Workers: p.Workers, Signals: p.Signals, Clock: p.Clock, Events: p.Events}, cfg,
			application.WorkerInfo{ID: "w"}, newLeases(), newSlots(1, 0), newWatchdog())
		p.Events.EXPECT().LoopRan(apptest.Any, apptest.Any, apptest.Any).AnyTimes()
		p.Signals.EXPECT().Listen(apptest.Any, apptest.Any, apptest.Any).DoAndReturn(
			func(ctx context.Context, _ func(), _ func(application.Signal)) error { return apptest.UntilEnded(ctx) })
		away := p.Workers.EXPECT().Beat(apptest.Any, apptest.Any).Return(application.BeatAnswer{}, domain.ErrUnavailable)
		p.Workers.EXPECT().Beat(apptest.Any, apptest.Any).Return(application.BeatAnswer{}, nil).After(away.Call)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			h.Run(ctx)
		}()
		begun := time.Now()

		<-h.registered

		apptest.Same(t, "beats until then", time.Since(begun), cfg.interval())
		stop()
		<-ended
	})
}

func TestHeartbeat_HasSmallerPortionsAfterABeatThatTookTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, cfg := apptest.NewPorts(t), Config{Lease: 10 * time.Second}
		h := newHeartbeat(Deps{Workers: p.Workers, Signals: p.Signals, Clock: p.Clock, Events: p.Events}, cfg,
			application.WorkerInfo{ID: "w"}, newLeases(), newSlots(1, 0), newWatchdog())
		p.Events.EXPECT().LoopRan(apptest.Any, apptest.Any, apptest.Any).AnyTimes()
		var portions []int
		p.Workers.EXPECT().Beat(apptest.Any, apptest.Any).DoAndReturn(func(_ context.Context, b application.Beat) (application.BeatAnswer, error) {
			if portions = append(portions, b.Portion); b.Portion > application.BeatPortion/4 {
				return application.BeatAnswer{}, apptest.ErrTookTooLong
			}
			return application.BeatAnswer{}, nil
		}).Times(4)

		for range 4 {
			_ = h.beat(t.Context())
		}

		apptest.Equal(t, "portions", portions, []int{500, 250, 125, 250})
	})
}
