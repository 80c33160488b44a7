package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var _ application.Events = (*Events)(nil)

// Events logs what happens in the loops of a worker: normal work at level debug, what an
// operator has to know at a higher one.
type Events struct {
	log     *slog.Logger
	loops   *outages
	unknown *unknownEntries
	passed  told
}

// maxTold bounds what is remembered of tasks that were told of.
const maxTold = 10_000

// told remembers which tasks were told of lately. It is safe for concurrent use.
type told struct {
	mu  sync.Mutex
	ids map[domain.TaskID]bool
}

// isNew reports whether the task was not told of, and remembers it.
func (t *told) isNew(id domain.TaskID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ids[id] {
		return false
	}
	if t.ids == nil || len(t.ids) >= maxTold {
		t.ids = map[domain.TaskID]bool{}
	}
	t.ids[id] = true
	return true
}

// NewEvents makes an Events that writes to log.
func NewEvents(log *slog.Logger) *Events {
	return &Events{log: log, unknown: &unknownEntries{log: log}, loops: newOutages(log, "loop failing, retrying", "loop working again")}
}

// EntryDropped logs an entry that names no task; of many in a minute, what they look like.
func (e *Events) EntryDropped(ctx context.Context, id domain.TaskID) { e.unknown.add(ctx, id) }

// AttemptStarted logs that a handler was called.
func (e *Events) AttemptStarted(ctx context.Context, t *domain.Task) {
	if e.enabled(ctx, slog.LevelDebug) {
		e.log.DebugContext(ctx, "attempt started", "task", t.ID().String(), "attempt", t.Attempt())
	}
}

// AttemptEnded logs the outcome of an attempt.
func (e *Events) AttemptEnded(ctx context.Context, t *domain.Task, took time.Duration, err error) {
	level := slog.LevelDebug
	switch {
	case t.Status() == domain.StatusFailed:
		level = slog.LevelWarn
	case err != nil:
		level = slog.LevelInfo
	}
	if !e.enabled(ctx, level) {
		return
	}
	args := []any{"task", t.ID().String(), "attempt", t.Attempt(), "status", string(t.Status()), "took", took.String()}
	if err != nil {
		args = append(args, "error", err)
	}
	e.log.Log(ctx, level, "attempt ended", args...)
}

// enabled reports whether the log records that level: a method that is called for every
// task must not format attributes that are thrown away.
func (e *Events) enabled(ctx context.Context, level slog.Level) bool {
	return e.log.Enabled(ctx, level)
}

// AttemptLost logs that an attempt had lost its task before its outcome was saved.
func (e *Events) AttemptLost(ctx context.Context, ref application.AttemptRef) {
	e.log.WarnContext(ctx, "attempt lost its task: its outcome was dropped", "task", ref.Task.String(), "attempt", ref.Attempt)
}

// OutcomeRefused logs that the store did not take an outcome.
func (e *Events) OutcomeRefused(ctx context.Context, ref application.AttemptRef, err error) {
	e.log.ErrorContext(ctx, "outcome refused by the store: the task is to fail instead",
		"task", ref.Task.String(), "attempt", ref.Attempt, "error", err)
}

// OutcomeUnsaved logs that an outcome could not be saved.
func (e *Events) OutcomeUnsaved(ctx context.Context, ref application.AttemptRef, err error) {
	e.log.ErrorContext(ctx, "outcome not saved: the task was given back",
		"task", ref.Task.String(), "attempt", ref.Attempt, "error", err)
}

// HandlerPanicked logs a panic with its stack.
func (e *Events) HandlerPanicked(ctx context.Context, ref application.AttemptRef, value any, stack []byte) {
	e.log.ErrorContext(ctx, "handler panicked", "task", ref.Task.String(), "attempt", ref.Attempt, "panic", value, "stack", string(stack))
}

// HandlerAbandoned logs that a handler goes on after the end of its context.
func (e *Events) HandlerAbandoned(ctx context.Context, ref application.AttemptRef) {
	e.log.ErrorContext(ctx, "handler ignored the end of its context and was abandoned", "task", ref.Task.String(), "attempt", ref.Attempt)
}

// Swept logs what a sweep has changed. Due tasks are normal work.
func (e *Events) Swept(ctx context.Context, sweep application.Loop, n int) {
	level := slog.LevelInfo
	if sweep == application.SweepDue {
		level = slog.LevelDebug
	}
	e.log.Log(ctx, level, "swept", "sweep", string(sweep), "tasks", n)
}

// Purged logs what the purge has deleted.
func (e *Events) Purged(ctx context.Context, n int, late time.Duration) {
	if n > 0 {
		e.log.DebugContext(ctx, "tasks purged", "tasks", n, "late", late.String())
	}
}

// TaskPassed logs a task that a loop could not handle, once: the loop meets it again and
// again.
func (e *Events) TaskPassed(ctx context.Context, loop application.Loop, id domain.TaskID, err error) {
	if !e.passed.isNew(id) {
		return
	}
	e.log.ErrorContext(ctx, "loop skipped a task that it could not handle", "loop", string(loop), "task", id.String(), "error", err)
}

// BulkUnreadable logs a bulk action that is passed over.
func (e *Events) BulkUnreadable(ctx context.Context, id domain.BulkID, err error) {
	e.log.ErrorContext(ctx, "bulk action skipped: its record cannot be read or written", "bulk", id.String(), "error", err)
}

// LoopRan logs that a loop begins to fail, and that it works again.
func (e *Events) LoopRan(ctx context.Context, loop application.Loop, err error) {
	e.loops.report(ctx, string(loop), err, slog.String("loop", string(loop)))
}
