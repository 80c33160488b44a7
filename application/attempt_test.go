package application

import (
	"context"
	"testing"
	"time"

	"github.com/millrace/millrace/domain"
)

// The ports of an attempt, no more of them than it needs: mocks would be an import
// cycle here.
type (
	savedTasks  struct{ TaskRepository }
	quietEvents struct{ Events }
	noSignals   struct{ Signals }
	wallClock   struct{}
	ranHandler  struct{ ran bool }
)

func (savedTasks) Save(context.Context, *domain.Task) error         { return nil }
func (quietEvents) AttemptEnded(*domain.Task, time.Duration, error) {}
func (quietEvents) AttemptStarted(*domain.Task)                     {}
func (quietEvents) Turn(string, error)                              {}
func (noSignals) Send(Signal)                                       {}
func (wallClock) Now() time.Time                                    { return time.Now() }
func (h *ranHandler) Handle(context.Context, *domain.Task) (string, error) {
	h.ran = true
	return "", nil
}

// A handler that ignores its context would complete what was asked to stop.
func TestAttempt_ThatHasToEndBeforeItBeginsCallsNoHandler(t *testing.T) {
	task, err := domain.NewTask(domain.TaskSpec{Message: "x", MaxAttempts: 1}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := task.Claim(domain.Claim{Worker: "w", Timeout: time.Hour}, time.Now()); err != nil {
		t.Fatal(err)
	}
	handler := &ranHandler{}
	w := NewWorker(WorkerInfo{ID: "w"}, WorkerConfig{Capacity: 1, TaskTimeout: time.Hour, HandlerGrace: time.Second},
		savedTasks{}, nil, nil, noSignals{}, handler, wallClock{}, quietEvents{})
	w.holdings.endClaim(nil, []*domain.Task{task})
	w.holdings.end(refOf(task), errStopRequested)

	w.attempts.Add(1)

	w.attempt(t.Context(), t.Context(), task)

	if handler.ran || task.Status() != domain.StatusPending {
		t.Errorf("the handler ran: %v, the task is %s", handler.ran, task.Status())
	}
}
