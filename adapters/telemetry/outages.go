package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// holdTime is how long nothing may fail before something works again: what fails and
// succeeds by turns fails.
const holdTime = 3 * time.Second

// outages logs that something begins to fail and that it works again, rather than a line
// for every failure. Subjects are told apart, so that reads that succeed do not end an
// outage of writes.
type outages struct {
	log          *slog.Logger
	begins, ends string // messages
	mu           sync.Mutex
	failing      map[string]outage // by subject
}

// outage is one that lasts.
type outage struct {
	since, lastFailure time.Time
	recovered          time.Time // the first success since the last failure; zero: none
}

func newOutages(log *slog.Logger, begins, ends string) *outages {
	return &outages{log: log, begins: begins, ends: ends, failing: map[string]outage{}}
}

// report notes a result of the subject; attrs name the subject in the log. A success is
// something that was really done.
func (o *outages) report(ctx context.Context, subject string, err error, attrs ...slog.Attr) {
	now := time.Now()
	o.mu.Lock()
	current, was := o.failing[subject]
	ended := false
	switch {
	case err != nil && !was:
		o.failing[subject] = outage{since: now, lastFailure: now}
	case err != nil:
		o.failing[subject] = outage{since: current.since, lastFailure: now}
	case was:
		if current.recovered.IsZero() {
			current.recovered = now
		}
		if ended = now.Sub(current.lastFailure) >= holdTime; ended {
			delete(o.failing, subject)
		} else {
			o.failing[subject] = current
		}
	}
	o.mu.Unlock()
	switch {
	case err != nil && !was:
		o.log.LogAttrs(ctx, slog.LevelWarn, o.begins, append(attrs, slog.Any("error", err))...)
	case ended:
		after := current.recovered.Sub(current.since).Round(time.Millisecond)
		o.log.LogAttrs(ctx, slog.LevelInfo, o.ends, append(attrs, slog.String("after", after.String()))...)
	}
}
