package usecase_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/mock/gomock"

	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

// again makes the task's next attempt, after its first has failed.
func again(t *testing.T, task *domain.Task) *domain.Task {
	t.Helper()
	return apptest.Changed(t, task, func(task *domain.Task) error {
		apptest.Must(t, task.Fail(task.Attempt(), domain.Failure{Reason: "no"}, domain.RetryPolicy{}, 0, apptest.Now()))
		apptest.Must(t, task.MarkQueued(apptest.Now()))
		return task.Claim(domain.Claim{Worker: "w2"}, apptest.Now())
	})
}

// ended is the record of an attempt that failed.
func ended(number int) domain.Attempt {
	return domain.Attempt{Number: number, Worker: "w", StartedAt: apptest.Now(), EndedAt: apptest.Now(), Outcome: domain.OutcomeFailed, Error: "no"}
}

func TestListAttempts_ListsTheRecordsAndWhatTheTaskItselfTells(t *testing.T) {
	first, second := ended(1), ended(2)
	running, done, waits, stopped := apptest.Claimed(t), completed(t), apptest.NewTask(t), apptest.Canceled(t)
	secondRuns := again(t, apptest.Claimed(t))
	lost := apptest.Failed(t)
	latest := func(task *domain.Task) domain.Attempt {
		a, ok := task.LatestAttempt()
		apptest.Same(t, "there is a latest attempt", ok, true)
		return a
	}
	for name, c := range map[string]struct {
		task           *domain.Task
		recorded, want []domain.Attempt
	}{
		"NeverClaimed":            {waits, nil, nil},
		"CanceledBeforeItsFirst":  {stopped, nil, nil},
		"TheFirstRuns":            {running, nil, []domain.Attempt{latest(running)}},
		"TheFirstCompletedIt":     {done, nil, []domain.Attempt{latest(done)}},
		"TheSecondRuns":           {secondRuns, []domain.Attempt{first}, []domain.Attempt{first, latest(secondRuns)}},
		"Failed":                  {lost, []domain.Attempt{first}, []domain.Attempt{first}},
		"ItEndedInBetween":        {running, []domain.Attempt{first}, []domain.Attempt{first}},
		"ItEndedAndTheNextOneToo": {running, []domain.Attempt{first, second}, []domain.Attempt{first, second}},
	} {
		t.Run(name, func(t *testing.T) {
			p := apptest.NewPorts(t)
			gomock.InOrder( // the other way round an attempt that ends in between is in neither
				p.Tasks.EXPECT().Get(apptest.Any, c.task.ID()).Return(c.task, nil),
				p.Tasks.EXPECT().Attempts(apptest.Any, c.task.ID()).Return(c.recorded, nil),
			)

			got, err := usecase.NewListAttempts(p.Tasks).Run(t.Context(), c.task.ID())

			apptest.Must(t, err)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("attempts (-want +got):\n%s", diff)
			}
		})
	}
}

func TestListAttempts_SaysThatThereIsNoSuchTask(t *testing.T) {
	p, id := apptest.NewPorts(t), apptest.NewTask(t).ID()
	p.Tasks.EXPECT().Get(apptest.Any, id).Return(nil, domain.ErrTaskNotFound)

	_, err := usecase.NewListAttempts(p.Tasks).Run(t.Context(), id)

	apptest.WantError(t, err, domain.ErrTaskNotFound)
}

func TestListAttempts_SaysThatTheStoreIsAway(t *testing.T) {
	p, task := apptest.NewPorts(t), apptest.Claimed(t)
	p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(task, nil)
	p.Tasks.EXPECT().Attempts(apptest.Any, task.ID()).Return(nil, domain.ErrUnavailable)

	_, err := usecase.NewListAttempts(p.Tasks).Run(t.Context(), task.ID())

	apptest.WantError(t, err, domain.ErrUnavailable)
}
