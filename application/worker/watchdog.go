package worker

import (
	"sync"
	"time"

	"github.com/millrace/millrace/application"
)

// pullTimeout is how long one run of the puller may take: a Pull returns every few
// seconds, with or without entries, and a claim takes milliseconds.
const pullTimeout = 15 * time.Second

// watchdog has a deadline for each loop, by which it has to make progress.
type watchdog struct {
	mu        sync.Mutex
	deadlines map[application.Loop]time.Time
}

func newWatchdog() *watchdog {
	return &watchdog{deadlines: map[application.Loop]time.Time{}}
}

// progress says that the loop has made progress, and sets its next deadline.
func (w *watchdog) progress(loop application.Loop, deadline time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadlines[loop] = deadline
}

// begin sets a deadline, unless an earlier one still has to be met: a try that
// fails is no progress.
func (w *watchdog) begin(loop application.Loop, deadline time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, pending := w.deadlines[loop]; !pending {
		w.deadlines[loop] = deadline
	}
}

// idle says that the loop waits for something that may take any time.
func (w *watchdog) idle(loop application.Loop) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.deadlines, loop)
}

// overdue names a loop that has missed its deadline.
func (w *watchdog) overdue(now time.Time) (application.Loop, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for loop, deadline := range w.deadlines {
		if now.After(deadline) {
			return loop, true
		}
	}
	return "", false
}
