package application_test

import (
	"strings"
	"testing"

	"go.uber.org/mock/gomock"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// completed makes a task that its handler has finished.
func completed(t *testing.T) *domain.Task {
	t.Helper()
	return changed(t, taken(t), func(task *domain.Task) error { return task.Complete(1, "done", now()) })
}

// asked makes a running task that was asked to stop.
func asked(t *testing.T) *domain.Task {
	t.Helper()
	return changed(t, taken(t), func(task *domain.Task) error { return task.RequestStop(now()) })
}

func stopTask(t *testing.T, p *ports, id domain.TaskID, is application.Precondition) (*domain.Task, error) {
	t.Helper()
	return cancelTask(p).Run(t.Context(), application.CancelTaskInput{ID: id, Stop: true, If: is})
}

func TestCancelTask_AsksATaskThatRunsToStop(t *testing.T) {
	p, task := newPorts(t), taken(t)
	gomock.InOrder(
		p.tasks.EXPECT().Get(anyArg, task.ID()).Return(task, nil),
		p.tasks.EXPECT().Save(anyArg, task).Return(nil),
		p.signals.EXPECT().Send(application.Signal{Kind: application.SignalStop, Tasks: []domain.TaskID{task.ID()}}),
		p.signals.EXPECT().Send(application.Signal{Kind: application.SignalChanged, Tasks: []domain.TaskID{task.ID()}}),
	)

	got, err := stopTask(t, p, task.ID(), nil)

	must(t, err)
	same(t, "status", got.Status(), domain.StatusProcessing)
	same(t, "asked to stop", got.StopRequested(), true)
	same(t, "version", got.Version(), int64(3))
}

func TestCancelTask_HintsAgainWhenATaskIsAskedAgainAndStoresNothing(t *testing.T) {
	p, task := newPorts(t), asked(t)
	before := task.State()
	p.tasks.EXPECT().Get(anyArg, task.ID()).Return(task, nil)
	p.sends(application.SignalStop, task.ID())
	p.sends(application.SignalChanged, task.ID())

	got, err := stopTask(t, p, task.ID(), nil)

	must(t, err)
	alike(t, "task", got.State(), before)
}

func TestCancelTask_WithStopCancelsATaskThatWaits(t *testing.T) {
	p, task := newPorts(t), newTask(t)
	p.tasks.EXPECT().Get(anyArg, task.ID()).Return(task, nil)
	p.tasks.EXPECT().Save(anyArg, task).Return(nil)
	p.sends(application.SignalChanged, task.ID())

	got, err := stopTask(t, p, task.ID(), nil)

	must(t, err)
	same(t, "status", got.Status(), domain.StatusCanceled)
	same(t, "asked to stop", got.StopRequested(), false)
}

func TestCancelTask_WithStopReturnsACanceledTaskAsItIs(t *testing.T) {
	p, task := newPorts(t), canceled(t)
	before := task.State()
	p.tasks.EXPECT().Get(anyArg, task.ID()).Return(task, nil)
	p.sends(application.SignalChanged, task.ID())

	got, err := stopTask(t, p, task.ID(), nil)

	must(t, err)
	alike(t, "task", got.State(), before)
}

func TestCancelTask_WithStopNamesTheStatusOfATaskThatHasEnded(t *testing.T) {
	for _, task := range []*domain.Task{completed(t), failed(t)} {
		p := newPorts(t)
		p.tasks.EXPECT().Get(anyArg, task.ID()).Return(task, nil)

		_, err := stopTask(t, p, task.ID(), nil)

		if e := wantCode(t, err, domain.CodeConflict); !strings.Contains(e.Message, string(task.Status())) {
			t.Errorf("message %q does not name %s", e.Message, task.Status())
		}
	}
}

// The handler finishes between the load and the save.
func TestCancelTask_WithStopIsAConflictWhenTheHandlerFinishesFirst(t *testing.T) {
	p, task := newPorts(t), taken(t)
	finished := changed(t, task, func(task *domain.Task) error { return task.Complete(1, "done", now()) })
	gomock.InOrder(
		p.tasks.EXPECT().Get(anyArg, task.ID()).Return(task, nil),
		p.tasks.EXPECT().Save(anyArg, task).Return(domain.ErrConflict),
		p.tasks.EXPECT().Get(anyArg, task.ID()).Return(finished, nil),
	)

	_, err := stopTask(t, p, task.ID(), nil)

	if e := wantCode(t, err, domain.CodeConflict); !strings.Contains(e.Message, "completed") {
		t.Errorf("message %q does not name completed", e.Message)
	}
}

func TestCancelTask_SendsNothingOfWhatIsNotStored(t *testing.T) {
	p, task := newPorts(t), taken(t)
	p.tasks.EXPECT().Get(anyArg, task.ID()).Return(task, nil)
	p.tasks.EXPECT().Save(anyArg, task).Return(domain.ErrUnavailable)

	_, err := stopTask(t, p, task.ID(), nil) // no signal is expected

	wantError(t, err, domain.ErrUnavailable)
}

// atVersion is a precondition like that of If-Match.
func atVersion(version int64) application.Precondition {
	return func(t *domain.Task) bool { return t.Version() == version }
}

func TestCancelTask_HeedsItsPrecondition(t *testing.T) {
	p, task := newPorts(t), taken(t)
	p.tasks.EXPECT().Get(anyArg, task.ID()).Return(task, nil)
	p.tasks.EXPECT().Save(anyArg, task).Return(nil)
	p.sends(application.SignalStop, task.ID())
	p.sends(application.SignalChanged, task.ID())

	_, err := stopTask(t, p, task.ID(), atVersion(2))

	must(t, err)
}

// The state would refuse these as well: the precondition is judged first.
func TestChange_ThePreconditionComesBeforeTheState(t *testing.T) {
	for _, task := range []*domain.Task{taken(t), completed(t), canceled(t)} {
		is := atVersion(task.Version() - 1)
		for name, run := range map[string]func(p *ports) error{
			"cancel": func(p *ports) error {
				_, err := cancelTask(p).Run(t.Context(), application.CancelTaskInput{ID: task.ID(), If: is})
				return err
			},
			"stop": func(p *ports) error {
				_, err := stopTask(t, p, task.ID(), is)
				return err
			},
			"reopen": func(p *ports) error {
				_, err := reopenTask(p).Run(t.Context(), application.ReopenTaskInput{ID: task.ID(), If: is})
				return err
			},
		} {
			p := newPorts(t)
			p.tasks.EXPECT().Get(anyArg, task.ID()).Return(task.Clone(), nil)
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
		p, task := newPorts(t), taken(t)
		gomock.InOrder(
			p.tasks.EXPECT().Get(anyArg, task.ID()).Return(task, nil),
			p.tasks.EXPECT().Save(anyArg, task).Return(domain.ErrConflict),
			p.tasks.EXPECT().Get(anyArg, task.ID()).Return(
				changed(t, task, func(task *domain.Task) error { return task.RequestStop(now()) }), nil),
		)

		_, err := stopTask(t, p, task.ID(), atVersion(2))

		wantError(t, err, domain.ErrChanged)
	})
	t.Run("Reopen", func(t *testing.T) {
		p, task := newPorts(t), failed(t)
		gomock.InOrder(
			p.tasks.EXPECT().Get(anyArg, task.ID()).Return(task, nil),
			p.tasks.EXPECT().Save(anyArg, task).Return(domain.ErrConflict),
			p.tasks.EXPECT().Get(anyArg, task.ID()).Return(
				changed(t, task, func(task *domain.Task) error { return task.Reopen(now()) }), nil),
		)

		_, err := reopenTask(p).Run(t.Context(), application.ReopenTaskInput{ID: task.ID(), If: atVersion(3)})

		wantError(t, err, domain.ErrChanged)
	})
}
