package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// changes logs that something begins to fail, and that it works again, rather than
// a line for every try.
type changes struct {
	log         *slog.Logger
	fails, ends string // messages
	mu          sync.Mutex
	failing     map[string]time.Time // by subject: since when
}

func newChanges(log *slog.Logger, fails, ends string) *changes {
	return &changes{log: log, fails: fails, ends: ends, failing: map[string]time.Time{}}
}

// report notes that the subject was tried with this result; attrs name it.
func (c *changes) report(ctx context.Context, subject string, err error, attrs ...slog.Attr) {
	c.mu.Lock()
	since, was := c.failing[subject]
	switch {
	case err != nil && !was:
		c.failing[subject] = time.Now()
	case err == nil && was:
		delete(c.failing, subject)
	}
	c.mu.Unlock()
	switch {
	case err != nil && !was:
		c.log.LogAttrs(ctx, slog.LevelWarn, c.fails, append(attrs, slog.Any("error", err))...)
	case err == nil && was:
		c.log.LogAttrs(ctx, slog.LevelInfo, c.ends, append(attrs, slog.String("after", time.Since(since).Round(time.Millisecond).String()))...)
	}
}
