package domain_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/domain"
)

// restored is a task of the status that somebody has changed in the store.
func restored(t *testing.T, status domain.Status, change func(s *domain.TaskState)) *domain.Task {
	t.Helper()
	s := taskIn(t, status).State()
	change(&s)
	task, err := domain.Restore(s)
	must(t, err)
	return task
}

// What is counted to the end is damaged: one more would be a negative number.
func TestTask_AtTheEndOfACounterStaysAsItIs(t *testing.T) {
	lastVersion := func(s *domain.TaskState) { s.Version = math.MaxInt64 }
	lastAttempt := func(s *domain.TaskState) { s.Attempt, s.StartedAt = math.MaxInt, start }
	for name, c := range map[string]struct {
		status domain.Status
		change func(*domain.TaskState)
		do     func(task *domain.Task) error
	}{
		"cancel":   {domain.StatusPending, lastVersion, func(task *domain.Task) error { return task.Cancel(at(1)) }},
		"stop":     {domain.StatusProcessing, lastVersion, func(task *domain.Task) error { return task.RequestStop(at(1)) }},
		"claim":    {domain.StatusPending, lastVersion, func(task *domain.Task) error { return task.Claim(claim, at(1)) }},
		"attempts": {domain.StatusPending, lastAttempt, func(task *domain.Task) error { return task.Claim(claim, at(1)) }},
		"complete": {domain.StatusProcessing, lastVersion, func(task *domain.Task) error { return task.Complete(1, "done", at(1)) }},
		"fail":     {domain.StatusProcessing, lastVersion, func(task *domain.Task) error { return task.Fail(1, broken, policy, 0, at(1)) }},
		"rescue":   {domain.StatusProcessing, lastVersion, func(task *domain.Task) error { return task.Rescue(policy, at(1)) }},
		"reopen":   {domain.StatusFailed, lastVersion, func(task *domain.Task) error { return task.Reopen(at(1)) }},
	} {
		task := restored(t, c.status, c.change)
		before := task.State()
		if err := c.do(task); domain.Public(err).Code != domain.CodeDamaged {
			t.Errorf("%s: %v, want it damaged", name, err)
		}
		if diff := cmp.Diff(before, task.State()); diff != "" {
			t.Errorf("%s (-before +after):\n%s", name, diff)
		}
		if task.Dirty() || len(task.EndedAttempts()) > 0 {
			t.Errorf("%s: there is something to save", name)
		}
	}
}

// The store takes no more failures and rescues than attempts: a running attempt with as
// many, which nobody leaves, must be given back all the same.
func TestTask_WithTooManyChargesIsGivenBack(t *testing.T) {
	for name, end := range map[string]func(task *domain.Task) error{
		"fail":   func(task *domain.Task) error { return task.Fail(1, broken, policy, 0, at(1)) },
		"rescue": func(task *domain.Task) error { return task.Rescue(policy, at(1)) },
	} {
		for budget, change := range map[string]func(*domain.TaskState){
			"failures": func(s *domain.TaskState) { s.Failures = 1 },
			"rescues":  func(s *domain.TaskState) { s.Rescues = 1 },
		} {
			task := restored(t, domain.StatusProcessing, change)
			must(t, end(task))
			if _, err := domain.Restore(task.State()); err != nil || task.Status() != domain.StatusPending {
				t.Errorf("%s with as many %s as attempts: %s, %v", name, budget, task.Status(), err)
			}
		}
	}
	odd := taskIn(t, domain.StatusPending).State()
	odd.Failures, odd.Rescues = math.MaxInt, math.MaxInt
	if _, err := domain.Restore(odd); domain.Public(err).Code != domain.CodeDamaged {
		t.Errorf("counters whose sum overflows: %v, want it damaged", err)
	}
}
