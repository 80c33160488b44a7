package usecase_test

import (
	"testing"

	"go.uber.org/mock/gomock"

	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

// submitting makes the use case that tells p's Events.
func submitting(p *apptest.Ports) *usecase.SubmitTasks {
	return usecase.NewSubmitTasks(p.Tasks, p.Queue, p.Clock, p.Events, submitLimits)
}

func TestSubmitTasks_TellsWhatIsStoredOnceAndBeforeThePush(t *testing.T) {
	p := apptest.NewPorts(t)
	three := gomock.Cond(func(tasks []*domain.Task) bool { return len(tasks) == 3 })
	gomock.InOrder(
		p.Tasks.EXPECT().Add(apptest.Any, apptest.Any, apptest.Any, apptest.Any).Return(nil),
		p.Events.EXPECT().TasksSubmitted(apptest.Any, three),
		p.Queue.EXPECT().Push(apptest.Any, apptest.Any).Return(domain.ErrUnavailable), // accepted all the same
	)
	_, err := submitting(p).Run(t.Context(), batch("a", "b", "c"))
	apptest.Must(t, err)
}

func TestSubmitTasks_TellsNothingOfWhatItDoesNotStore(t *testing.T) {
	for name, c := range map[string]struct {
		in    usecase.SubmitTasksInput
		stub  func(p *apptest.Ports)
		fails bool
	}{
		"Replay": {keyed(one("m")), func(p *apptest.Ports) {
			p.Tasks.EXPECT().AddOnce(apptest.Any, apptest.Any, apptest.Any).Return([]*domain.Task{apptest.NewTask(t)}, nil, nil)
		}, false},
		"KeyReused": {keyed(one("m")), func(p *apptest.Ports) {
			p.Tasks.EXPECT().AddOnce(apptest.Any, apptest.Any, apptest.Any).Return(nil, nil, domain.ErrKeyReused)
		}, true},
		"StoreAway": {one("m"), func(p *apptest.Ports) {
			p.Tasks.EXPECT().Add(apptest.Any, apptest.Any).Return(domain.ErrUnavailable)
		}, true},
		"Refused": {one(""), func(*apptest.Ports) {}, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := apptest.NewPorts(t) // no event is expected
			c.stub(p)
			_, err := submitting(p).Run(t.Context(), c.in)
			apptest.Same(t, "failed", err != nil, c.fails)
		})
	}
}

func TestCancelTask_TellsOfWhatItHasEndedAndOfNothingElse(t *testing.T) {
	for name, c := range map[string]struct {
		task  *domain.Task
		saved error
		saves bool
		told  bool
	}{
		"Pending":        {apptest.NewTask(t), nil, true, true},
		"CanceledBefore": {apptest.Canceled(t), nil, false, false},
		"AskedToStop":    {apptest.Claimed(t), nil, true, false}, // whoever gives it back tells
		"StoreAway":      {apptest.NewTask(t), domain.ErrUnavailable, true, false},
		"EndedAsFailed":  {apptest.Failed(t), nil, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := apptest.NewPorts(t)
			p.Tasks.EXPECT().Get(apptest.Any, c.task.ID()).Return(c.task, nil)
			if c.saves {
				p.Tasks.EXPECT().Save(apptest.Any, c.task).Return(c.saved)
			}
			if c.told {
				p.Events.EXPECT().TasksCanceled(apptest.Any, []*domain.Task{c.task})
			}
			p.Signals.EXPECT().Send(apptest.Any).AnyTimes()
			cancel := usecase.NewCancelTask(p.Tasks, p.Signals, p.Clock, p.Events)
			_, err := cancel.Run(t.Context(), usecase.CancelTaskInput{ID: c.task.ID(), Stop: true})
			apptest.Same(t, "failed", err != nil, c.saved != nil || c.task.Status() == domain.StatusFailed)
		})
	}
}

func TestReopenTask_TellsOfTheTaskOnceItIsStored(t *testing.T) {
	p, task := apptest.NewPorts(t), apptest.Failed(t)
	gomock.InOrder(
		p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(task, nil),
		p.Tasks.EXPECT().Save(apptest.Any, task).Return(nil),
		p.Events.EXPECT().TasksReopened(apptest.Any, []*domain.Task{task}),
		p.Queue.EXPECT().Push(apptest.Any, apptest.Any).Return(nil),
		p.Signals.EXPECT().Send(apptest.Any),
	)
	_, err := usecase.NewReopenTask(p.Tasks, p.Queue, p.Signals, p.Clock, p.Events).Run(t.Context(), usecase.ReopenTaskInput{ID: task.ID()})
	apptest.Must(t, err)
}
