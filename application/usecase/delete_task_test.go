package usecase_test

import (
	"context"
	"strings"
	"testing"

	"go.uber.org/mock/gomock"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

func deleteTask(p *apptest.Ports) *usecase.DeleteTask {
	return usecase.NewDeleteTask(p.Tasks, p.Signals)
}

func TestDeleteTask_RemovesATaskThatHasEnded(t *testing.T) {
	for _, task := range []*domain.Task{apptest.Canceled(t), apptest.Failed(t)} {
		p := apptest.NewPorts(t)
		p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(task, nil)
		p.Tasks.EXPECT().Delete(apptest.Any, task).DoAndReturn(func(_ context.Context, removed *domain.Task) error {
			apptest.Same(t, "the domain has let it go", removed.Deleted(), true)
			return nil
		})
		sends(p, application.SignalChanged, task.ID())

		apptest.Must(t, deleteTask(p).Run(t.Context(), usecase.DeleteTaskInput{ID: task.ID()}))
	}
}

func TestDeleteTask_SaysWhatToDoFirstWithOneThatHasNot(t *testing.T) {
	for task, first := range map[*domain.Task]string{apptest.NewTask(t): "cancel it first", apptest.Claimed(t): "stop it first"} {
		p := apptest.NewPorts(t)
		p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(task, nil)

		err := deleteTask(p).Run(t.Context(), usecase.DeleteTaskInput{ID: task.ID()})

		if e := apptest.WantCode(t, err, domain.CodeConflict); !strings.Contains(e.Message, first) {
			t.Errorf("message %q does not say: %s", e.Message, first)
		}
	}
}

// Somebody reopens the task between the load and the deletion: it stays.
func TestDeleteTask_IsAConflictWhenTheTaskIsReopenedMeanwhile(t *testing.T) {
	p, task := apptest.NewPorts(t), apptest.Failed(t)
	reopened := apptest.Changed(t, task, func(task *domain.Task) error { return task.Reopen(apptest.Now()) })
	gomock.InOrder(
		p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(task, nil),
		p.Tasks.EXPECT().Delete(apptest.Any, task).Return(domain.ErrConflict),
		p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(reopened, nil),
	)

	err := deleteTask(p).Run(t.Context(), usecase.DeleteTaskInput{ID: task.ID()})

	if e := apptest.WantCode(t, err, domain.CodeConflict); !strings.Contains(e.Message, "pending") {
		t.Errorf("message %q does not name pending", e.Message)
	}
}

func TestDeleteTask_JudgesThePreconditionFirst(t *testing.T) {
	p, task := apptest.NewPorts(t), apptest.NewTask(t)
	p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(task, nil)

	err := deleteTask(p).Run(t.Context(), usecase.DeleteTaskInput{ID: task.ID(), If: func(*domain.Task) bool { return false }})

	apptest.WantError(t, err, domain.ErrChanged)
}

func TestDeleteTask_PassesOnWhatTheStoreSays(t *testing.T) {
	for _, failure := range []error{domain.ErrUnavailable, domain.ErrRefused, domain.ErrTaskNotFound} {
		p, task := apptest.NewPorts(t), apptest.Failed(t)
		p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(task, nil)
		p.Tasks.EXPECT().Delete(apptest.Any, task).Return(failure)

		apptest.WantError(t, deleteTask(p).Run(t.Context(), usecase.DeleteTaskInput{ID: task.ID()}), failure)
	}
}
