package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var _ application.Events = (*Logs)(nil)

// Logs logs what happens: normal work at level debug, what an operator has to know at a
// higher one. What clients do is in the log of requests.
type Logs struct {
	application.NoEvents
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

// NewLogs makes a Logs that writes to log.
func NewLogs(log *slog.Logger) *Logs {
	return &Logs{log: log, unknown: &unknownEntries{log: log}, loops: newOutages(log, "loop failing, retrying", "loop working again")}
}

// EntryDropped logs an entry that names no task; of many in a minute, what they look like.
func (l *Logs) EntryDropped(ctx context.Context, id domain.TaskID) { l.unknown.add(ctx, id) }

// AttemptStarting logs that a handler is called.
func (l *Logs) AttemptStarting(ctx context.Context, t *domain.Task, wait time.Duration) context.Context {
	if l.enabled(ctx, slog.LevelDebug) {
		l.log.DebugContext(ctx, "attempt started", "task", t.ID().String(), "attempt", t.Attempt(), "queue", string(t.Queue()), "wait", wait.String())
	}
	return ctx
}

// AttemptEnded logs the outcome of an attempt.
func (l *Logs) AttemptEnded(ctx context.Context, t *domain.Task, end application.AttemptEnd) {
	level := slog.LevelDebug
	switch {
	case t.Status() == domain.StatusFailed:
		level = slog.LevelWarn
	case end.Err != nil:
		level = slog.LevelInfo
	}
	if !l.enabled(ctx, level) {
		return
	}
	args := []any{"task", t.ID().String(), "attempt", t.Attempt(), "queue", string(t.Queue()), "status", string(t.Status()), "outcome", string(end.Outcome)}
	if end.Began {
		args = append(args, "took", end.Took.String())
	}
	if end.Err != nil {
		args = append(args, "error", end.Err)
	}
	l.log.Log(ctx, level, "attempt ended", args...)
}

// enabled reports whether the log records that level: a method that is called for every
// task must not format attributes that are thrown away.
func (l *Logs) enabled(ctx context.Context, level slog.Level) bool {
	return l.log.Enabled(ctx, level)
}

// AttemptLost logs that an attempt had lost its task before its outcome was saved.
func (l *Logs) AttemptLost(ctx context.Context, _ domain.QueueName, ref application.AttemptRef) {
	l.log.WarnContext(ctx, "attempt lost its task: its outcome was dropped", "task", ref.Task.String(), "attempt", ref.Attempt)
}

// OutcomeRefused logs that the store did not take an outcome.
func (l *Logs) OutcomeRefused(ctx context.Context, _ domain.QueueName, ref application.AttemptRef, err error) {
	l.log.ErrorContext(ctx, "outcome refused by the store: the task is to fail instead",
		"task", ref.Task.String(), "attempt", ref.Attempt, "error", err)
}

// OutcomeUnsaved logs that an outcome could not be saved.
func (l *Logs) OutcomeUnsaved(ctx context.Context, _ domain.QueueName, ref application.AttemptRef, err error) {
	l.log.ErrorContext(ctx, "outcome not saved: the task was given back",
		"task", ref.Task.String(), "attempt", ref.Attempt, "error", err)
}

// HandlerPanicked logs a panic with its stack.
func (l *Logs) HandlerPanicked(ctx context.Context, _ domain.QueueName, ref application.AttemptRef, value any, stack []byte) {
	l.log.ErrorContext(ctx, "handler panicked", "task", ref.Task.String(), "attempt", ref.Attempt, "panic", value, "stack", string(stack))
}

// HandlerAbandoned logs that a handler goes on after the end of its context.
func (l *Logs) HandlerAbandoned(ctx context.Context, _ domain.QueueName, ref application.AttemptRef) {
	l.log.ErrorContext(ctx, "handler ignored the end of its context and was abandoned", "task", ref.Task.String(), "attempt", ref.Attempt)
}

// Swept logs what a sweep has changed: tasks, or rows of what it is named after. Tasks that are due and keys that expire are normal.
func (l *Logs) Swept(ctx context.Context, sweep application.Loop, n int) {
	level := slog.LevelInfo
	switch sweep {
	case application.SweepDue, application.SweepKeys, application.SweepWorkers, application.SweepStatistics:
		level = slog.LevelDebug
	}
	l.log.Log(ctx, level, "swept", "sweep", string(sweep), "n", n)
}

// Purged logs that tasks were deleted, which is normal.
func (l *Logs) Purged(ctx context.Context, n int, lag time.Duration) {
	if n > 0 {
		l.log.DebugContext(ctx, "purged", "tasks", n, "lag", lag.String())
	}
}

// TaskPassed logs a task that a loop could not handle, once: the loop meets it again and
// again.
func (l *Logs) TaskPassed(ctx context.Context, loop application.Loop, id domain.TaskID, err error) {
	if !l.passed.isNew(id) {
		return
	}
	l.log.ErrorContext(ctx, "loop skipped a task that it could not handle", "loop", string(loop), "task", id.String(), "error", err)
}

// BulkUnreadable logs a bulk action that is passed over.
func (l *Logs) BulkUnreadable(ctx context.Context, id domain.BulkID, err error) {
	l.log.ErrorContext(ctx, "bulk action skipped: its record cannot be read or written", "bulk", id.String(), "error", err)
}

// LoopRan logs that a loop begins to fail, and that it works again.
func (l *Logs) LoopRan(ctx context.Context, loop application.Loop, err error) {
	l.loops.report(ctx, string(loop), err, slog.String("loop", string(loop)))
}
