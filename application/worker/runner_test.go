package worker

import (
	"context"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// The ports of an attempt, no more of them than it needs: mocks would be an import
// cycle here.
type (
	savedTasks  struct{ application.TaskRepository }
	quietEvents struct{ application.Events }
	noSignals   struct{ application.Signals }
	wallClock   struct{}
	ranHandler  struct{ ran bool }
)

func (savedTasks) Save(context.Context, *domain.Task) error                          { return nil }
func (quietEvents) AttemptEnded(context.Context, *domain.Task, time.Duration, error) {}
func (quietEvents) AttemptStarted(context.Context, *domain.Task)                     {}
func (quietEvents) Turn(context.Context, application.Loop, error)                    {}
func (noSignals) Send(application.Signal)                                            {}
func (wallClock) Now() time.Time                                                     { return time.Now() }
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
	w := New(Deps{Tasks: savedTasks{}, Signals: noSignals{}, Handler: handler, Clock: wallClock{}, Events: quietEvents{}},
		application.WorkerInfo{ID: "w"}, Config{Capacity: 1, TaskTimeout: time.Hour, HandlerGrace: time.Second})
	w.holdings.endClaim(nil, []*domain.Task{task})
	w.holdings.end(application.RefOf(task), errStopRequested)

	w.attempts.Add(1)

	w.attempt(t.Context(), t.Context(), task)

	if handler.ran || task.Status() != domain.StatusPending {
		t.Errorf("the handler ran: %v, the task is %s", handler.ran, task.Status())
	}
}
