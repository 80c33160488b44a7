package telemetry

import (
	"log/slog"
	"sync"
	"time"
)

// changes logs that something fails when it begins to fail, and that it works
// again, rather than a line for every try.
type changes struct {
	log     *slog.Logger
	mu      sync.Mutex
	failing map[string]time.Time // since when
}

func newChanges(log *slog.Logger) *changes {
	return &changes{log: log, failing: map[string]time.Time{}}
}

// report notes that what was tried with this result.
func (c *changes) report(what string, err error) {
	c.mu.Lock()
	since, was := c.failing[what]
	switch {
	case err != nil && !was:
		c.failing[what] = time.Now()
	case err == nil && was:
		delete(c.failing, what)
	}
	c.mu.Unlock()
	switch {
	case err != nil && !was:
		c.log.Warn(what+" fails; trying on", "error", err)
	case err == nil && was:
		c.log.Info(what+" works again", "after", time.Since(since).Round(time.Millisecond).String())
	}
}
