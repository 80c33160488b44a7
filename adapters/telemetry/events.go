package telemetry

import (
	"context"
	"log/slog"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var _ application.Events = (*Events)(nil)

// Events logs what happens in the loops of a worker. What is as it should be is
// told at level debug, what an operator has to know at a higher one.
type Events struct {
	log   *slog.Logger
	turns *changes
}

// NewEvents makes an Events that writes to log.
func NewEvents(log *slog.Logger) *Events { return &Events{log: log, turns: newChanges(log)} }

// EntryDropped logs an entry that names no task.
func (e *Events) EntryDropped(id domain.TaskID) {
	e.log.Warn("an entry on the queue names no task; dropped", "task", id.String())
}

// AttemptStarted logs that a handler was called.
func (e *Events) AttemptStarted(t *domain.Task) {
	if e.tells(slog.LevelDebug) {
		e.log.Debug("attempt started", "task", t.ID().String(), "attempt", t.Attempt())
	}
}

// AttemptEnded logs the outcome of an attempt.
func (e *Events) AttemptEnded(t *domain.Task, took time.Duration, err error) {
	level := slog.LevelDebug
	switch {
	case t.Status() == domain.StatusFailed:
		level = slog.LevelWarn
	case err != nil:
		level = slog.LevelInfo
	}
	if !e.tells(level) {
		return
	}
	args := []any{"task", t.ID().String(), "attempt", t.Attempt(), "status", string(t.Status()), "took", took.String()}
	if err != nil {
		args = append(args, "error", err)
	}
	e.log.Log(context.Background(), level, "attempt ended", args...)
}

// tells reports whether the log takes that level: what every task calls must not
// write texts that nobody reads.
func (e *Events) tells(level slog.Level) bool { return e.log.Enabled(context.Background(), level) }

// AttemptLost logs that the outcome of an attempt came too late.
func (e *Events) AttemptLost(ref application.AttemptRef) {
	e.log.Warn("the attempt no longer holds its task; outcome dropped", "task", ref.Task.String(), "attempt", ref.Attempt)
}

// OutcomeUnsaved logs that an outcome could not be stored before the end.
func (e *Events) OutcomeUnsaved(ref application.AttemptRef, err error) {
	e.log.Error("the outcome of an attempt could not be stored; its task will be rescued",
		"task", ref.Task.String(), "attempt", ref.Attempt, "error", err)
}

// HandlerPanicked logs a panic with its stack.
func (e *Events) HandlerPanicked(ref application.AttemptRef, value any, stack []byte) {
	e.log.Error("the handler panicked", "task", ref.Task.String(), "attempt", ref.Attempt, "panic", value, "stack", string(stack))
}

// HandlerAbandoned logs that a handler ignores the end of its context.
func (e *Events) HandlerAbandoned(ref application.AttemptRef) {
	e.log.Error("the handler did not return after its context had ended; left behind", "task", ref.Task.String(), "attempt", ref.Attempt)
}

// Swept logs what a sweep has changed. Tasks that are merely due are everyday work.
func (e *Events) Swept(sweep string, n int) {
	level := slog.LevelInfo
	if sweep == "due" {
		level = slog.LevelDebug
	}
	e.log.Log(context.Background(), level, "swept", "sweep", sweep, "tasks", n)
}

// TaskPassed logs a task that a sweep could not handle.
func (e *Events) TaskPassed(sweep string, id domain.TaskID, err error) {
	e.log.Error("a sweep passed over a task that it could not handle", "sweep", sweep, "task", id.String(), "error", err)
}

// Turn logs that a loop begins to fail, and that it works again.
func (e *Events) Turn(loop string, err error) { e.turns.report(loop, err) }
