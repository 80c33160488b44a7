package usecase_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/mock/gomock"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

func cancelTask(p *apptest.Ports) *usecase.CancelTask {
	return usecase.NewCancelTask(p.Tasks, p.Signals, p.Clock, application.NoEvents{})
}

func reopenTask(p *apptest.Ports) *usecase.ReopenTask {
	return usecase.NewReopenTask(p.Tasks, p.Queue, p.Signals, p.Clock, application.NoEvents{})
}

// sends expects a hint for the task.
func sends(p *apptest.Ports, kind application.SignalKind, id domain.TaskID) {
	p.Signals.EXPECT().Send(application.Signal{Kind: kind, Tasks: []domain.TaskID{id}})
}

func TestCancelTask_CancelsATaskThatWaits(t *testing.T) {
	p, task := apptest.NewPorts(t), apptest.NewTask(t)
	p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(task, nil)
	p.Tasks.EXPECT().Save(apptest.Any, task).DoAndReturn(func(_ context.Context, saved *domain.Task) error {
		apptest.Same(t, "status when saved", saved.Status(), domain.StatusCanceled)
		return nil
	})
	sends(p, application.SignalChanged, task.ID())

	got, err := cancelTask(p).Run(t.Context(), usecase.CancelTaskInput{ID: task.ID()})

	apptest.Must(t, err)
	apptest.Same(t, "status", got.Status(), domain.StatusCanceled)
}

func TestCancelTask_ReturnsACanceledTaskAsItIsAndStoresNothing(t *testing.T) {
	p, task := apptest.NewPorts(t), apptest.Canceled(t)
	before := task.State()
	p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(task, nil)
	sends(p, application.SignalChanged, task.ID())

	got, err := cancelTask(p).Run(t.Context(), usecase.CancelTaskInput{ID: task.ID()})

	apptest.Must(t, err)
	apptest.Equal(t, "task", got.State(), before)
}

func TestCancelTask_NamesTheStatusOfATaskThatCannotBeCanceled(t *testing.T) {
	for _, task := range []*domain.Task{apptest.Claimed(t), apptest.Failed(t)} {
		p := apptest.NewPorts(t)
		p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(task, nil)

		_, err := cancelTask(p).Run(t.Context(), usecase.CancelTaskInput{ID: task.ID()})

		if e := apptest.WantCode(t, err, domain.CodeConflict); !strings.Contains(e.Message, string(task.Status())) {
			t.Errorf("message %q does not name %s", e.Message, task.Status())
		}
	}
}

// A worker claims the task and gives it back between the load and the save: the
// task can still be canceled.
func TestCancelTask_DecidesAgainAfterALostRace(t *testing.T) {
	p, task := apptest.NewPorts(t), apptest.NewTask(t)
	released := apptest.Changed(t, apptest.Changed(t, task, func(task *domain.Task) error {
		return task.Claim(domain.Claim{Worker: "w"}, apptest.Now())
	}), func(task *domain.Task) error { return task.Release(1, apptest.Now()) })
	gomock.InOrder(
		p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(task, nil),
		p.Tasks.EXPECT().Save(apptest.Any, task).Return(domain.ErrConflict),
		p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(released, nil),
		p.Tasks.EXPECT().Save(apptest.Any, released).Return(nil),
	)
	sends(p, application.SignalChanged, task.ID())

	got, err := cancelTask(p).Run(t.Context(), usecase.CancelTaskInput{ID: task.ID()})

	apptest.Must(t, err)
	apptest.Same(t, "status", got.Status(), domain.StatusCanceled)
	apptest.Same(t, "attempt", got.Attempt(), 1)
}

func TestCancelTask_IsAConflictWhenTheRaceWasLostToAClaim(t *testing.T) {
	p, task := apptest.NewPorts(t), apptest.NewTask(t)
	claimed := apptest.Changed(t, task, func(task *domain.Task) error { return task.Claim(domain.Claim{Worker: "w"}, apptest.Now()) })
	gomock.InOrder(
		p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(task, nil),
		p.Tasks.EXPECT().Save(apptest.Any, task).Return(domain.ErrConflict),
		p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(claimed, nil),
	)

	_, err := cancelTask(p).Run(t.Context(), usecase.CancelTaskInput{ID: task.ID()})

	if e := apptest.WantCode(t, err, domain.CodeConflict); !strings.Contains(e.Message, "processing") {
		t.Errorf("message %q does not name processing", e.Message)
	}
}

func TestCancelTask_GivesUpAfterTenLostRaces(t *testing.T) {
	p, task := apptest.NewPorts(t), apptest.NewTask(t)
	p.Tasks.EXPECT().Get(apptest.Any, task.ID()).DoAndReturn(func(context.Context, domain.TaskID) (*domain.Task, error) {
		return task.Clone(), nil
	}).Times(10)
	p.Tasks.EXPECT().Save(apptest.Any, apptest.Any).Return(domain.ErrConflict).Times(10)

	_, err := cancelTask(p).Run(t.Context(), usecase.CancelTaskInput{ID: task.ID()})

	apptest.WantError(t, err, domain.ErrConflict)
}

func TestCancelTask_PassesOnThatTheStoreIsAway(t *testing.T) {
	t.Run("Get", func(t *testing.T) {
		p, task := apptest.NewPorts(t), apptest.NewTask(t)
		p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(nil, domain.ErrUnavailable)

		_, err := cancelTask(p).Run(t.Context(), usecase.CancelTaskInput{ID: task.ID()})

		apptest.WantError(t, err, domain.ErrUnavailable)
	})
	t.Run("Save", func(t *testing.T) {
		p, task := apptest.NewPorts(t), apptest.NewTask(t)
		p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(task, nil)
		p.Tasks.EXPECT().Save(apptest.Any, task).Return(domain.ErrUnavailable)

		_, err := cancelTask(p).Run(t.Context(), usecase.CancelTaskInput{ID: task.ID()})

		apptest.WantError(t, err, domain.ErrUnavailable)
	})
}

func TestReopenTask_PushesTheTaskOnceItIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, task := apptest.NewPorts(t), apptest.Failed(t)
		gomock.InOrder(
			p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(task, nil),
			p.Tasks.EXPECT().Save(apptest.Any, task).Return(nil),
			p.Queue.EXPECT().Push(apptest.Any, apptest.Entry(task.ID(), apptest.Now())).Return(nil),
		)
		sends(p, application.SignalChanged, task.ID())

		got, err := reopenTask(p).Run(t.Context(), usecase.ReopenTaskInput{ID: task.ID()})

		apptest.Must(t, err)
		apptest.Same(t, "status", got.Status(), domain.StatusPending)
		apptest.Same(t, "failures", got.State().Failures, 0)
	})
}

func TestReopenTask_PushesNothingWhenTheTaskCannotBeStored(t *testing.T) {
	p, task := apptest.NewPorts(t), apptest.Failed(t)
	p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(task, nil)
	p.Tasks.EXPECT().Save(apptest.Any, task).Return(domain.ErrUnavailable)

	_, err := reopenTask(p).Run(t.Context(), usecase.ReopenTaskInput{ID: task.ID()})

	apptest.WantError(t, err, domain.ErrUnavailable)
}

func TestReopenTask_SucceedsWhenThePushFails(t *testing.T) {
	p, task := apptest.NewPorts(t), apptest.Failed(t)
	p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(task, nil)
	p.Tasks.EXPECT().Save(apptest.Any, task).Return(nil)
	p.Queue.EXPECT().Push(apptest.Any, apptest.Any).Return(domain.ErrUnavailable)
	sends(p, application.SignalChanged, task.ID())

	_, err := reopenTask(p).Run(t.Context(), usecase.ReopenTaskInput{ID: task.ID()})

	apptest.Must(t, err)
}

func TestReopenTask_NamesTheStatusOfATaskThatHasNotFailed(t *testing.T) {
	for _, task := range []*domain.Task{apptest.NewTask(t), apptest.Claimed(t), apptest.Canceled(t)} {
		p := apptest.NewPorts(t)
		p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(task, nil)

		_, err := reopenTask(p).Run(t.Context(), usecase.ReopenTaskInput{ID: task.ID()})

		if e := apptest.WantCode(t, err, domain.CodeConflict); !strings.Contains(e.Message, string(task.Status())) {
			t.Errorf("message %q does not name %s", e.Message, task.Status())
		}
	}
}
