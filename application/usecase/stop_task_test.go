package usecase_test

import (
	"strings"
	"testing"

	"go.uber.org/mock/gomock"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

// completed makes a task that its handler has finished.
func completed(t *testing.T) *domain.Task {
	t.Helper()
	return apptest.Changed(t, apptest.Claimed(t), func(task *domain.Task) error { return task.Complete(1, "done", apptest.Now()) })
}

// asked makes a running task that was asked to stop.
func asked(t *testing.T) *domain.Task {
	t.Helper()
	return apptest.Changed(t, apptest.Claimed(t), func(task *domain.Task) error { return task.RequestStop(apptest.Now()) })
}

func stopTask(t *testing.T, p *apptest.Ports, id domain.TaskID, is usecase.Precondition) (*domain.Task, error) {
	t.Helper()
	return cancelTask(p).Run(t.Context(), usecase.CancelTaskInput{ID: id, Stop: true, If: is})
}

func TestCancelTask_AsksATaskThatRunsToStop(t *testing.T) {
	p, task := apptest.NewPorts(t), apptest.Claimed(t)
	gomock.InOrder(
		p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(task, nil),
		p.Tasks.EXPECT().Save(apptest.Any, task).Return(nil),
		p.Signals.EXPECT().Send(application.Signal{Kind: application.SignalStop, Tasks: []domain.TaskID{task.ID()}}),
		p.Signals.EXPECT().Send(application.Signal{Kind: application.SignalChanged, Tasks: []domain.TaskID{task.ID()}}),
	)

	got, err := stopTask(t, p, task.ID(), nil)

	apptest.Must(t, err)
	apptest.Same(t, "status", got.Status(), domain.StatusProcessing)
	apptest.Same(t, "asked to stop", got.StopRequested(), true)
	apptest.Same(t, "version", got.Version(), int64(3))
}

func TestCancelTask_HintsAgainWhenATaskIsAskedAgainAndStoresNothing(t *testing.T) {
	p, task := apptest.NewPorts(t), asked(t)
	before := task.State()
	p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(task, nil)
	sends(p, application.SignalStop, task.ID())
	sends(p, application.SignalChanged, task.ID())

	got, err := stopTask(t, p, task.ID(), nil)

	apptest.Must(t, err)
	apptest.Equal(t, "task", got.State(), before)
}

func TestCancelTask_WithStopCancelsATaskThatWaits(t *testing.T) {
	p, task := apptest.NewPorts(t), apptest.NewTask(t)
	p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(task, nil)
	p.Tasks.EXPECT().Save(apptest.Any, task).Return(nil)
	sends(p, application.SignalChanged, task.ID())

	got, err := stopTask(t, p, task.ID(), nil)

	apptest.Must(t, err)
	apptest.Same(t, "status", got.Status(), domain.StatusCanceled)
	apptest.Same(t, "asked to stop", got.StopRequested(), false)
}

func TestCancelTask_WithStopReturnsACanceledTaskAsItIs(t *testing.T) {
	p, task := apptest.NewPorts(t), apptest.Canceled(t)
	before := task.State()
	p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(task, nil)
	sends(p, application.SignalChanged, task.ID())

	got, err := stopTask(t, p, task.ID(), nil)

	apptest.Must(t, err)
	apptest.Equal(t, "task", got.State(), before)
}

func TestCancelTask_WithStopNamesTheStatusOfATaskThatHasEnded(t *testing.T) {
	for _, task := range []*domain.Task{completed(t), apptest.Failed(t)} {
		p := apptest.NewPorts(t)
		p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(task, nil)

		_, err := stopTask(t, p, task.ID(), nil)

		if e := apptest.WantCode(t, err, domain.CodeConflict); !strings.Contains(e.Message, string(task.Status())) {
			t.Errorf("message %q does not name %s", e.Message, task.Status())
		}
	}
}

// The handler finishes between the load and the save.
func TestCancelTask_WithStopIsAConflictWhenTheHandlerFinishesFirst(t *testing.T) {
	p, task := apptest.NewPorts(t), apptest.Claimed(t)
	finished := apptest.Changed(t, task, func(task *domain.Task) error { return task.Complete(1, "done", apptest.Now()) })
	gomock.InOrder(
		p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(task, nil),
		p.Tasks.EXPECT().Save(apptest.Any, task).Return(domain.ErrConflict),
		p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(finished, nil),
	)

	_, err := stopTask(t, p, task.ID(), nil)

	if e := apptest.WantCode(t, err, domain.CodeConflict); !strings.Contains(e.Message, "completed") {
		t.Errorf("message %q does not name completed", e.Message)
	}
}

func TestCancelTask_SendsNothingOfWhatIsNotStored(t *testing.T) {
	p, task := apptest.NewPorts(t), apptest.Claimed(t)
	p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(task, nil)
	p.Tasks.EXPECT().Save(apptest.Any, task).Return(domain.ErrUnavailable)

	_, err := stopTask(t, p, task.ID(), nil) // no signal is expected

	apptest.WantError(t, err, domain.ErrUnavailable)
}

// atVersion is a precondition like that of If-Match.
func atVersion(version int64) usecase.Precondition {
	return func(t *domain.Task) bool { return t.Version() == version }
}

func TestCancelTask_HeedsItsPrecondition(t *testing.T) {
	p, task := apptest.NewPorts(t), apptest.Claimed(t)
	p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(task, nil)
	p.Tasks.EXPECT().Save(apptest.Any, task).Return(nil)
	sends(p, application.SignalStop, task.ID())
	sends(p, application.SignalChanged, task.ID())

	_, err := stopTask(t, p, task.ID(), atVersion(2))

	apptest.Must(t, err)
}

// The state would refuse these as well: the precondition is judged first.
func TestChange_ThePreconditionComesBeforeTheState(t *testing.T) {
	for _, task := range []*domain.Task{apptest.Claimed(t), completed(t), apptest.Canceled(t)} {
		is := atVersion(task.Version() - 1)
		for name, run := range map[string]func(p *apptest.Ports) error{
			"cancel": func(p *apptest.Ports) error {
				_, err := cancelTask(p).Run(t.Context(), usecase.CancelTaskInput{ID: task.ID(), If: is})
				return err
			},
			"stop": func(p *apptest.Ports) error {
				_, err := stopTask(t, p, task.ID(), is)
				return err
			},
			"reopen": func(p *apptest.Ports) error {
				_, err := reopenTask(p).Run(t.Context(), usecase.ReopenTaskInput{ID: task.ID(), If: is})
				return err
			},
		} {
			p := apptest.NewPorts(t)
			p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(task.Clone(), nil)
			if err := run(p); domain.Public(err) != domain.ErrChanged {
				t.Errorf("%s of a %s task: got %v, want %v", name, task.Status(), err, domain.ErrChanged)
			}
		}
	}
}

// Somebody else changes the task between the load and the save: what the caller
// has seen is no more so, whatever the state allows.
func TestChange_ThePreconditionIsJudgedAgainAfterALostRace(t *testing.T) {
	t.Run("Cancel", func(t *testing.T) {
		p, task := apptest.NewPorts(t), apptest.Claimed(t)
		gomock.InOrder(
			p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(task, nil),
			p.Tasks.EXPECT().Save(apptest.Any, task).Return(domain.ErrConflict),
			p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(
				apptest.Changed(t, task, func(task *domain.Task) error { return task.RequestStop(apptest.Now()) }), nil),
		)

		_, err := stopTask(t, p, task.ID(), atVersion(2))

		apptest.WantError(t, err, domain.ErrChanged)
	})
	t.Run("Reopen", func(t *testing.T) {
		p, task := apptest.NewPorts(t), apptest.Failed(t)
		gomock.InOrder(
			p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(task, nil),
			p.Tasks.EXPECT().Save(apptest.Any, task).Return(domain.ErrConflict),
			p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(
				apptest.Changed(t, task, func(task *domain.Task) error { return task.Reopen(apptest.Now()) }), nil),
		)

		_, err := reopenTask(p).Run(t.Context(), usecase.ReopenTaskInput{ID: task.ID(), If: atVersion(3)})

		apptest.WantError(t, err, domain.ErrChanged)
	})
}
