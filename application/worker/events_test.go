package worker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/mock/gomock"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

// traceKey is that of a value which an event puts in the context of an attempt.
type traceKey struct{}

func TestWorker_TellsHowLongATaskWaitedAndHowItsAttemptEnded(t *testing.T) {
	for name, c := range map[string]struct {
		err     error
		outcome domain.AttemptOutcome
		told    error // of the error
	}{
		"Completed":  {nil, domain.OutcomeCompleted, nil},
		"Failed":     {apptest.ErrBroken, domain.OutcomeFailed, apptest.ErrBroken},
		"NotStarted": {application.NotStarted(errors.New("no memory")), domain.OutcomeReleased, nil}, // LoopRan tells of it
	} {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(t *testing.T, h *harness) {
				h.handles(func(ctx context.Context, _ *domain.Task) error {
					apptest.Same(t, "the handler's context", ctx.Value(traceKey{}), any("trace"))
					time.Sleep(2 * time.Second)
					return c.err
				})
				h.Events.EXPECT().AttemptStarting(apptest.Any, apptest.Any, 3*time.Second).DoAndReturn(
					func(ctx context.Context, task *domain.Task, _ time.Duration) context.Context {
						apptest.Same(t, "status at the start", task.Status(), domain.StatusProcessing)
						return context.WithValue(ctx, traceKey{}, "trace")
					})
				h.Events.EXPECT().AttemptEnded(apptest.Any, apptest.Any, apptest.Any).Do(
					func(ctx context.Context, _ *domain.Task, end application.AttemptEnd) {
						apptest.Same(t, "the event's context", ctx.Value(traceKey{}), any("trace"))
						apptest.WantError(t, end.Err, c.told)
						end.Err = nil
						apptest.Same(t, "end", end, application.AttemptEnd{Outcome: c.outcome, Began: true, Took: 2 * time.Second})
						h.stop() // one attempt is enough
					})
				h.enqueueOne()
				apptest.Pass(3 * time.Second)
				h.start()
				apptest.Pass(2 * time.Second)
				<-h.ended
			})
		})
	}
}

func TestWorker_TellsHowLongAnAbandonedHandlerTook(t *testing.T) {
	withHarness(t, func(_ *testing.T, h *harness) {
		h.handles(func(ctx context.Context, _ *domain.Task) error {
			time.Sleep(time.Minute) // beyond its time
			return ctx.Err()
		})
		h.cfg.TaskTimeout = time.Second
		h.Events.EXPECT().HandlerAbandoned(apptest.Any, domain.DefaultQueue, apptest.Any)
		h.Events.EXPECT().AttemptEnded(apptest.Any, apptest.Any, gomock.Cond(func(end application.AttemptEnd) bool {
			return end.Outcome == domain.OutcomeFailed && end.Began && end.Took == h.cfg.TaskTimeout+h.cfg.HandlerGrace
		}))
		h.enqueueOne()
		h.start()
		apptest.Pass(time.Minute) // the handler returns, and nothing more is told
	})
}

func TestWorker_TellsOfWhatABeatGaveBack(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		task := apptest.Claimed(t)
		apptest.Must(t, task.Release(task.Attempt(), apptest.Now()))
		gomock.InOrder(
			h.Workers.EXPECT().Beat(apptest.Any, apptest.Any).Return(application.BeatAnswer{GaveBack: []*domain.Task{task}}, nil),
			// Part of the work of a beat that failed is done all the same.
			h.Workers.EXPECT().Beat(apptest.Any, apptest.Any).Return(application.BeatAnswer{GaveBack: []*domain.Task{task}}, domain.ErrUnavailable),
		)
		h.Events.EXPECT().AttemptEnded(apptest.Any, task, application.AttemptEnd{Outcome: domain.OutcomeReleased}).Times(2)
		h.start()
		apptest.Pass(h.interval())
	})
}
