package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// outages logs that something begins to fail and that it works again, rather than a line
// for every failure.
type outages struct {
	log          *slog.Logger
	begins, ends string // messages
	mu           sync.Mutex
	failing      map[string]time.Time // since when, by subject
}

func newOutages(log *slog.Logger, begins, ends string) *outages {
	return &outages{log: log, begins: begins, ends: ends, failing: map[string]time.Time{}}
}

// report notes a result of the subject; attrs name the subject in the log.
func (o *outages) report(ctx context.Context, subject string, err error, attrs ...slog.Attr) {
	o.mu.Lock()
	since, was := o.failing[subject]
	switch {
	case err != nil && !was:
		o.failing[subject] = time.Now()
	case err == nil && was:
		delete(o.failing, subject)
	}
	o.mu.Unlock()
	switch {
	case err != nil && !was:
		o.log.LogAttrs(ctx, slog.LevelWarn, o.begins, append(attrs, slog.Any("error", err))...)
	case err == nil && was:
		o.log.LogAttrs(ctx, slog.LevelInfo, o.ends, append(attrs, slog.String("after", time.Since(since).Round(time.Millisecond).String()))...)
	}
}
