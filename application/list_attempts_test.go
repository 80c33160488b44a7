package application_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/mock/gomock"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// again makes the task's next attempt, after its first has failed.
func again(t *testing.T, task *domain.Task) *domain.Task {
	t.Helper()
	return changed(t, task, func(task *domain.Task) error {
		must(t, task.Fail(task.Attempt(), domain.Failure{Reason: "no"}, domain.RetryPolicy{}, 0, now()))
		must(t, task.MarkQueued(now()))
		return task.Claim(domain.Claim{Worker: "w2"}, now())
	})
}

// ended is the record of an attempt that failed.
func ended(number int) domain.Attempt {
	return domain.Attempt{Number: number, Worker: "w", StartedAt: now(), EndedAt: now(), Outcome: domain.OutcomeFailed, Error: "no"}
}

func TestListAttempts_ListsTheRecordsAndWhatTheTaskItselfTells(t *testing.T) {
	first, second := ended(1), ended(2)
	running, done, waits, stopped := taken(t), completed(t), newTask(t), canceled(t)
	secondRuns := again(t, taken(t))
	lost := failed(t)
	latest := func(task *domain.Task) domain.Attempt {
		a, ok := task.LatestAttempt()
		same(t, "there is a latest attempt", ok, true)
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
			p := newPorts(t)
			gomock.InOrder( // the other way round an attempt that ends in between is in neither
				p.tasks.EXPECT().Get(anyArg, c.task.ID()).Return(c.task, nil),
				p.tasks.EXPECT().Attempts(anyArg, c.task.ID()).Return(c.recorded, nil),
			)

			got, err := application.NewListAttempts(p.tasks).Run(t.Context(), c.task.ID())

			must(t, err)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("attempts (-want +got):\n%s", diff)
			}
		})
	}
}

func TestListAttempts_SaysThatThereIsNoSuchTask(t *testing.T) {
	p, id := newPorts(t), newTask(t).ID()
	p.tasks.EXPECT().Get(anyArg, id).Return(nil, domain.ErrTaskNotFound)

	_, err := application.NewListAttempts(p.tasks).Run(t.Context(), id)

	wantError(t, err, domain.ErrTaskNotFound)
}

func TestListAttempts_SaysThatTheStoreIsAway(t *testing.T) {
	p, task := newPorts(t), taken(t)
	p.tasks.EXPECT().Get(anyArg, task.ID()).Return(task, nil)
	p.tasks.EXPECT().Attempts(anyArg, task.ID()).Return(nil, domain.ErrUnavailable)

	_, err := application.NewListAttempts(p.tasks).Run(t.Context(), task.ID())

	wantError(t, err, domain.ErrUnavailable)
}
