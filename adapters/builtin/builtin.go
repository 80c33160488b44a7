// Package builtin has the handlers that need nothing outside the process: one
// that logs, one that sleeps, and one that does nothing.
package builtin

import (
	"context"
	"log/slog"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var (
	_ application.Handler = (*Log)(nil)
	_ application.Handler = Sleep(0)
	_ application.Handler = Noop{}
)

// Log writes each message to the log. It is the default handler, to see that tasks arrive.
type Log struct {
	log  *slog.Logger
	work Sleep
}

// NewLog makes the handler, which takes as long as work for each task.
func NewLog(log *slog.Logger, work time.Duration) *Log { return &Log{log: log, work: Sleep(work)} }

// Handle logs the message, sleeps, and completes the task unless ctx ends first.
func (h *Log) Handle(ctx context.Context, t *domain.Task) (string, error) {
	h.log.InfoContext(ctx, "task", "task", t.ID().String(), "attempt", t.Attempt(), "message", t.Message())
	if h.work == 0 {
		return "", nil
	}
	return h.work.Handle(ctx, t)
}

// Sleep sleeps for each task: a demonstration of long work.
type Sleep time.Duration

// Handle sleeps, and completes the task unless ctx ends first.
func (h Sleep) Handle(ctx context.Context, _ *domain.Task) (string, error) {
	timer := time.NewTimer(time.Duration(h))
	defer timer.Stop()
	select {
	case <-timer.C:
		return "", nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// Noop completes each task at once, to measure everything else.
type Noop struct{}

// Handle does nothing.
func (Noop) Handle(context.Context, *domain.Task) (string, error) { return "", nil }
