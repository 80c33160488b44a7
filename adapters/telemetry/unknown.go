package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/millrace/millrace/domain"
)

const (
	// unknownAlone entries a minute are logged one by one: a deleted task leaves one.
	unknownAlone  = 2
	unknownWindow = time.Minute
)

// unknownEntries logs entries that name no task. Many of them are one fault, which costs
// those whose entries they are far more than the worker that meets them: so one line a
// minute says what it looks like.
type unknownEntries struct {
	log   *slog.Logger
	mu    sync.Mutex
	begun time.Time // of the window
	seen  int       // in the window
	last  int       // in the window before, beyond what was logged
}

// add logs the entry, or the fault, or nothing.
func (u *unknownEntries) add(ctx context.Context, id domain.TaskID) {
	u.mu.Lock()
	if now := time.Now(); now.Sub(u.begun) > unknownWindow {
		u.begun, u.last, u.seen = now, max(0, u.seen-unknownAlone-1), 0
	}
	u.seen++
	seen, last := u.seen, u.last
	u.mu.Unlock()
	switch {
	case seen <= unknownAlone:
		u.log.WarnContext(ctx, "dropped an entry that names no task", "task", id.String())
	case seen == unknownAlone+1:
		u.log.WarnContext(ctx, "dropped many entries that name no task: another database seems to use the same Redis and prefix",
			"example", id.String(), "in_the_minute_before", last, "hint", "set another ?prefix= in QUEUE_URL")
	}
}
