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
// something that was really done. It may be the only one, as that of who listens is, so
// the end of an outage is told when the time has passed, without another.
func (o *outages) report(ctx context.Context, subject string, err error, attrs ...slog.Attr) {
	now := time.Now()
	o.mu.Lock()
	current, was := o.failing[subject]
	waits := time.Duration(-1)
	switch {
	case err != nil && !was:
		o.failing[subject] = outage{since: now, lastFailure: now}
	case err != nil:
		o.failing[subject] = outage{since: current.since, lastFailure: now}
	case was && current.recovered.IsZero():
		current.recovered = now
		o.failing[subject] = current
		waits = max(0, holdTime-now.Sub(current.lastFailure))
	}
	o.mu.Unlock()
	switch {
	case err != nil && !was:
		o.log.LogAttrs(ctx, slog.LevelWarn, o.begins, append(attrs, slog.Any("error", err))...)
	case waits == 0:
		o.end(ctx, subject, attrs)
	case waits > 0:
		time.AfterFunc(waits, func() { o.end(context.WithoutCancel(ctx), subject, attrs) })
	}
}

// end logs the end of an outage, unless something has failed since.
func (o *outages) end(ctx context.Context, subject string, attrs []slog.Attr) {
	o.mu.Lock()
	current, was := o.failing[subject]
	over := was && !current.recovered.IsZero() && time.Since(current.lastFailure) >= holdTime
	if over {
		delete(o.failing, subject)
	}
	o.mu.Unlock()
	if over {
		after := current.recovered.Sub(current.since).Round(time.Millisecond)
		o.log.LogAttrs(ctx, slog.LevelInfo, o.ends, append(attrs, slog.String("after", after.String()))...)
	}
}
