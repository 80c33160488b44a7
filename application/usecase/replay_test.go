package usecase_test

import (
	"slices"
	"testing"

	"go.uber.org/mock/gomock"

	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

// sortedTasks are tasks in the order of their ids, as those of a request are.
func sortedTasks(t *testing.T, n int) (tasks []*domain.Task, ids []domain.TaskID) {
	t.Helper()
	tasks = apptest.NewTasks(t, n)
	slices.SortFunc(tasks, func(a, b *domain.Task) int { return apptest.ByID(a.ID(), b.ID()) })
	for _, task := range tasks {
		ids = append(ids, task.ID())
	}
	return tasks, ids
}

func TestSubmitTasks_ReplaysTheRestInOrder(t *testing.T) {
	p := apptest.NewPorts(t)
	tasks, ids := sortedTasks(t, 4)
	p.Tasks.EXPECT().AddOnce(apptest.Any, apptest.Any, apptest.Any).Return(tasks[:1], ids[1:], nil)
	gomock.InOrder(
		p.Tasks.EXPECT().GetMany(apptest.Any, ids[1], ids[2], ids[3]).Return(tasks[1:2], ids[2:], nil),
		p.Tasks.EXPECT().GetMany(apptest.Any, ids[2], ids[3]).Return(tasks[3:], nil, nil), // one was deleted
		p.Tasks.EXPECT().Get(apptest.Any, ids[2]).Return(nil, domain.ErrTaskNotFound),
	)
	uc := submitTasks(p)
	got, err := uc.Run(t.Context(), keyed(batch("a", "b", "c", "d")))
	apptest.Must(t, err)
	apptest.Same(t, "left", len(got.Rest), 3)
	next, rest, err := uc.Replay(t.Context(), got.Rest)
	apptest.Must(t, err)
	if !slices.Equal(next, tasks[1:2]) || !slices.Equal(rest, ids[2:]) {
		t.Errorf("%d tasks, %v left; want one, %v left", len(next), rest, ids[2:])
	}
	_, _, err = uc.Replay(t.Context(), rest)
	apptest.Equal(t, "error", domain.Public(err), domain.TaskGone(ids[2]))
}

// What comes in another order than that of ids is read one by one.
func TestSubmitTasks_ReplaysInTheOrderOfTheRequest(t *testing.T) {
	p := apptest.NewPorts(t)
	tasks, ids := sortedTasks(t, 2)
	slices.Reverse(tasks)
	slices.Reverse(ids)
	p.Tasks.EXPECT().GetMany(apptest.Any, ids[0]).Return(tasks[:1], nil, nil)
	got, rest, err := submitTasks(p).Replay(t.Context(), ids)
	apptest.Must(t, err)
	if !slices.Equal(got, tasks[:1]) || !slices.Equal(rest, ids[1:]) {
		t.Errorf("%d tasks, %v left", len(got), rest)
	}
}
