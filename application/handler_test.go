package application_test

import (
	"context"
	"testing"

	"go.uber.org/mock/gomock"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/mocks"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

func TestHandlerByQueue_GivesEachTaskToTheHandlerOfItsQueue(t *testing.T) {
	ctrl := gomock.NewController(t)
	mail, rest := mocks.NewMockHandler(ctrl), mocks.NewMockHandler(ctrl)
	handler := application.HandlerByQueue{Queues: map[domain.QueueName]application.Handler{"mail": mail}, Rest: rest}
	for queue, want := range map[domain.QueueName]*mocks.MockHandler{"mail": mail, "other": rest, "default": rest} {
		task, err := domain.NewTask(domain.TaskSpec{Message: "m", MaxAttempts: new(1), Queue: new(queue)}, apptest.Now())
		apptest.Must(t, err)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		want.EXPECT().Handle(ctx, task).Return(string(queue), apptest.ErrBroken)

		result, err := handler.Handle(ctx, task)

		apptest.Same(t, "result", result, string(queue))
		apptest.WantError(t, err, apptest.ErrBroken)
	}
}
