package telemetry_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/mock/gomock"

	"github.com/millrace/millrace/adapters/telemetry"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/mocks"
	"github.com/millrace/millrace/domain"
)

type step struct{}

func TestJoin_TellsEachOfEverything(t *testing.T) {
	ctx, ctrl, task, wrong := t.Context(), gomock.NewController(t), claimed(t), errors.New("wrong")
	ref, tasks := application.RefOf(task), []*domain.Task{task}
	end := application.AttemptEnd{Outcome: domain.OutcomeCompleted, Began: true, Took: time.Second}
	bulk := domain.BulkID{1}
	var each []application.Events
	for range 2 { // a call that is not expected, or comes twice, fails the test, and so does one that is missing
		e := mocks.NewMockEvents(ctrl)
		e.EXPECT().TasksSubmitted(ctx, tasks)
		e.EXPECT().TasksCanceled(ctx, tasks)
		e.EXPECT().TasksReopened(ctx, tasks)
		e.EXPECT().AttemptEnded(ctx, task, end)
		e.EXPECT().AttemptLost(ctx, task.Queue(), ref)
		e.EXPECT().OutcomeRefused(ctx, task.Queue(), ref, wrong)
		e.EXPECT().OutcomeUnsaved(ctx, task.Queue(), ref, wrong)
		e.EXPECT().HandlerPanicked(ctx, task.Queue(), ref, "oh no", []byte("stack"))
		e.EXPECT().HandlerAbandoned(ctx, task.Queue(), ref)
		e.EXPECT().EntryDropped(ctx, task.ID())
		e.EXPECT().Swept(ctx, application.SweepDue, 3)
		e.EXPECT().DispatchLag(ctx, time.Minute)
		e.EXPECT().Purged(ctx, 5, time.Hour)
		e.EXPECT().TaskPassed(ctx, application.SweepDue, task.ID(), wrong)
		e.EXPECT().BulkUnreadable(ctx, bulk, wrong)
		e.EXPECT().LoopRan(ctx, application.LoopPull, wrong)
		each = append(each, e)
	}
	joined := telemetry.Join(each...)
	joined.TasksSubmitted(ctx, tasks)
	joined.TasksCanceled(ctx, tasks)
	joined.TasksReopened(ctx, tasks)
	joined.AttemptEnded(ctx, task, end)
	joined.AttemptLost(ctx, task.Queue(), ref)
	joined.OutcomeRefused(ctx, task.Queue(), ref, wrong)
	joined.OutcomeUnsaved(ctx, task.Queue(), ref, wrong)
	joined.HandlerPanicked(ctx, task.Queue(), ref, "oh no", []byte("stack"))
	joined.HandlerAbandoned(ctx, task.Queue(), ref)
	joined.EntryDropped(ctx, task.ID())
	joined.Swept(ctx, application.SweepDue, 3)
	joined.DispatchLag(ctx, time.Minute)
	joined.Purged(ctx, 5, time.Hour)
	joined.TaskPassed(ctx, application.SweepDue, task.ID(), wrong)
	joined.BulkUnreadable(ctx, bulk, wrong)
	joined.LoopRan(ctx, application.LoopPull, wrong)
}

func TestJoin_HandsTheContextOfAnAttemptFromOneToTheNext(t *testing.T) {
	ctrl, task := gomock.NewController(t), claimed(t)
	first, second := mocks.NewMockEvents(ctrl), mocks.NewMockEvents(ctrl)
	adds := func(n int) func(context.Context, *domain.Task, time.Duration) context.Context {
		return func(ctx context.Context, _ *domain.Task, _ time.Duration) context.Context {
			before, _ := ctx.Value(step{}).(int)
			return context.WithValue(ctx, step{}, before*10+n)
		}
	}
	first.EXPECT().AttemptStarting(gomock.Any(), task, time.Second).DoAndReturn(adds(1))
	second.EXPECT().AttemptStarting(gomock.Any(), task, time.Second).DoAndReturn(adds(2))

	got := telemetry.Join(first, second).AttemptStarting(t.Context(), task, time.Second)

	if n := got.Value(step{}); n != 12 {
		t.Errorf("the context is that of %v, want first 1, then 2", n)
	}
	if single := telemetry.Join(first); single != application.Events(first) {
		t.Errorf("one alone is %T, want itself", single)
	}
}
