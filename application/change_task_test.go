package application_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/mock/gomock"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

func cancelTask(p *ports) *application.CancelTask {
	return application.NewCancelTask(p.tasks, p.signals, p.clock)
}

func reopenTask(p *ports) *application.ReopenTask {
	return application.NewReopenTask(p.tasks, p.queue, p.signals, p.clock)
}

// sends expects a hint for the task.
func (p *ports) sends(kind application.SignalKind, id domain.TaskID) {
	p.signals.EXPECT().Send(application.Signal{Kind: kind, Tasks: []domain.TaskID{id}})
}

func TestCancelTask_CancelsATaskThatWaits(t *testing.T) {
	p, task := newPorts(t), newTask(t)
	p.tasks.EXPECT().Get(anyArg, task.ID()).Return(task, nil)
	p.tasks.EXPECT().Save(anyArg, task).DoAndReturn(func(_ context.Context, saved *domain.Task) error {
		same(t, "status when saved", saved.Status(), domain.StatusCanceled)
		return nil
	})
	p.sends(application.SignalChanged, task.ID())

	got, err := cancelTask(p).Run(t.Context(), application.CancelTaskInput{ID: task.ID()})

	must(t, err)
	same(t, "status", got.Status(), domain.StatusCanceled)
}

func TestCancelTask_ReturnsACanceledTaskAsItIsAndStoresNothing(t *testing.T) {
	p, task := newPorts(t), canceled(t)
	before := task.State()
	p.tasks.EXPECT().Get(anyArg, task.ID()).Return(task, nil)
	p.sends(application.SignalChanged, task.ID())

	got, err := cancelTask(p).Run(t.Context(), application.CancelTaskInput{ID: task.ID()})

	must(t, err)
	alike(t, "task", got.State(), before)
}

func TestCancelTask_NamesTheStatusOfATaskThatCannotBeCanceled(t *testing.T) {
	for _, task := range []*domain.Task{taken(t), failed(t)} {
		p := newPorts(t)
		p.tasks.EXPECT().Get(anyArg, task.ID()).Return(task, nil)

		_, err := cancelTask(p).Run(t.Context(), application.CancelTaskInput{ID: task.ID()})

		if e := wantCode(t, err, domain.CodeConflict); !strings.Contains(e.Message, string(task.Status())) {
			t.Errorf("message %q does not name %s", e.Message, task.Status())
		}
	}
}

// A worker claims the task and gives it back between the load and the save: the
// task can still be canceled.
func TestCancelTask_DecidesAgainAfterALostRace(t *testing.T) {
	p, task := newPorts(t), newTask(t)
	released := changed(t, changed(t, task, func(task *domain.Task) error {
		return task.Claim(domain.Claim{Worker: "w"}, now())
	}), func(task *domain.Task) error { return task.Release(1, now()) })
	gomock.InOrder(
		p.tasks.EXPECT().Get(anyArg, task.ID()).Return(task, nil),
		p.tasks.EXPECT().Save(anyArg, task).Return(domain.ErrConflict),
		p.tasks.EXPECT().Get(anyArg, task.ID()).Return(released, nil),
		p.tasks.EXPECT().Save(anyArg, released).Return(nil),
	)
	p.sends(application.SignalChanged, task.ID())

	got, err := cancelTask(p).Run(t.Context(), application.CancelTaskInput{ID: task.ID()})

	must(t, err)
	same(t, "status", got.Status(), domain.StatusCanceled)
	same(t, "attempt", got.Attempt(), 1)
}

func TestCancelTask_IsAConflictWhenTheRaceWasLostToAClaim(t *testing.T) {
	p, task := newPorts(t), newTask(t)
	claimed := changed(t, task, func(task *domain.Task) error { return task.Claim(domain.Claim{Worker: "w"}, now()) })
	gomock.InOrder(
		p.tasks.EXPECT().Get(anyArg, task.ID()).Return(task, nil),
		p.tasks.EXPECT().Save(anyArg, task).Return(domain.ErrConflict),
		p.tasks.EXPECT().Get(anyArg, task.ID()).Return(claimed, nil),
	)

	_, err := cancelTask(p).Run(t.Context(), application.CancelTaskInput{ID: task.ID()})

	if e := wantCode(t, err, domain.CodeConflict); !strings.Contains(e.Message, "processing") {
		t.Errorf("message %q does not name processing", e.Message)
	}
}

func TestCancelTask_GivesUpAfterTenLostRaces(t *testing.T) {
	p, task := newPorts(t), newTask(t)
	p.tasks.EXPECT().Get(anyArg, task.ID()).DoAndReturn(func(context.Context, domain.TaskID) (*domain.Task, error) {
		return task.Clone(), nil
	}).Times(10)
	p.tasks.EXPECT().Save(anyArg, anyArg).Return(domain.ErrConflict).Times(10)

	_, err := cancelTask(p).Run(t.Context(), application.CancelTaskInput{ID: task.ID()})

	wantError(t, err, domain.ErrConflict)
}

func TestCancelTask_PassesOnThatTheStoreIsAway(t *testing.T) {
	t.Run("Get", func(t *testing.T) {
		p, task := newPorts(t), newTask(t)
		p.tasks.EXPECT().Get(anyArg, task.ID()).Return(nil, domain.ErrUnavailable)

		_, err := cancelTask(p).Run(t.Context(), application.CancelTaskInput{ID: task.ID()})

		wantError(t, err, domain.ErrUnavailable)
	})
	t.Run("Save", func(t *testing.T) {
		p, task := newPorts(t), newTask(t)
		p.tasks.EXPECT().Get(anyArg, task.ID()).Return(task, nil)
		p.tasks.EXPECT().Save(anyArg, task).Return(domain.ErrUnavailable)

		_, err := cancelTask(p).Run(t.Context(), application.CancelTaskInput{ID: task.ID()})

		wantError(t, err, domain.ErrUnavailable)
	})
}

func TestReopenTask_PushesTheTaskOnceItIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, task := newPorts(t), failed(t)
		gomock.InOrder(
			p.tasks.EXPECT().Get(anyArg, task.ID()).Return(task, nil),
			p.tasks.EXPECT().Save(anyArg, task).Return(nil),
			p.queue.EXPECT().Push(anyArg, entry(task.ID(), now())).Return(nil),
		)
		p.sends(application.SignalChanged, task.ID())

		got, err := reopenTask(p).Run(t.Context(), application.ReopenTaskInput{ID: task.ID()})

		must(t, err)
		same(t, "status", got.Status(), domain.StatusPending)
		same(t, "failures", got.State().Failures, 0)
	})
}

func TestReopenTask_PushesNothingWhenTheTaskCannotBeStored(t *testing.T) {
	p, task := newPorts(t), failed(t)
	p.tasks.EXPECT().Get(anyArg, task.ID()).Return(task, nil)
	p.tasks.EXPECT().Save(anyArg, task).Return(domain.ErrUnavailable)

	_, err := reopenTask(p).Run(t.Context(), application.ReopenTaskInput{ID: task.ID()})

	wantError(t, err, domain.ErrUnavailable)
}

func TestReopenTask_SucceedsWhenThePushFails(t *testing.T) {
	p, task := newPorts(t), failed(t)
	p.tasks.EXPECT().Get(anyArg, task.ID()).Return(task, nil)
	p.tasks.EXPECT().Save(anyArg, task).Return(nil)
	p.queue.EXPECT().Push(anyArg, anyArg).Return(domain.ErrUnavailable)
	p.sends(application.SignalChanged, task.ID())

	_, err := reopenTask(p).Run(t.Context(), application.ReopenTaskInput{ID: task.ID()})

	must(t, err)
}

func TestReopenTask_NamesTheStatusOfATaskThatHasNotFailed(t *testing.T) {
	for _, task := range []*domain.Task{newTask(t), taken(t), canceled(t)} {
		p := newPorts(t)
		p.tasks.EXPECT().Get(anyArg, task.ID()).Return(task, nil)

		_, err := reopenTask(p).Run(t.Context(), application.ReopenTaskInput{ID: task.ID()})

		if e := wantCode(t, err, domain.CodeConflict); !strings.Contains(e.Message, string(task.Status())) {
			t.Errorf("message %q does not name %s", e.Message, task.Status())
		}
	}
}
