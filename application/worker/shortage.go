package worker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/millrace/millrace/application/internal/loop"
)

const (
	// The pauses after handlers that could not begin.
	shortagePause    = 250 * time.Millisecond
	shortagePauseMax = 5 * time.Second
	// shortageOver is how long no handler may have lacked anything before one that could
	// begin ends the shortage: while some can and some cannot, it goes on.
	shortageOver = 5 * time.Second
	// shortageMemory is how long after the last pause a worker is unready, if no handler
	// was called since.
	shortageMemory = 30 * time.Second
)

// shortage is that the worker lacks what handlers need to begin: their answer is
// NotStarted. Their tasks are released uncharged, and nothing is pulled for a while. Then
// tasks are pulled one by one at first, and twice as many with each pull, so that few are
// released again.
type shortage struct {
	exists atomic.Bool // for those who have no time to lock

	mu     sync.Mutex
	reason error // of the last handler that could not begin
	last   time.Time
	until  time.Time // nothing is pulled before
	room   int       // for the next pull
	wait   *backoff.ExponentialBackOff
}

func newShortage() *shortage {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = shortagePause, shortagePauseMax
	return &shortage{wait: wait}
}

// notStarted says that a handler could not begin. The many that a pull may bring are
// followed by one pause.
func (s *shortage) notStarted(reason error, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reason, s.last = reason, now
	s.exists.Store(true)
	if now.Before(s.until) {
		return
	}
	s.until, s.room = now.Add(s.wait.NextBackOff()), 1
}

// started says that a handler could begin at the given time, and reports whether that has
// ended the shortage.
func (s *shortage) started(begun, now time.Time) (ended bool) {
	if !s.exists.Load() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !begun.After(s.last) || now.Sub(s.last) < shortageOver {
		return false
	}
	s.exists.Store(false)
	s.wait.Reset()
	return true
}

// pause waits until tasks may be pulled; false if ctx ended first.
func (s *shortage) pause(ctx context.Context, now func() time.Time) bool {
	for s.exists.Load() {
		s.mu.Lock()
		left := s.until.Sub(now())
		s.mu.Unlock()
		if left <= 0 {
			break
		}
		if !loop.Sleep(ctx, left) {
			return false
		}
	}
	return true
}

// limit is how many of the free slots to pull for.
func (s *shortage) limit(free int) int {
	if !s.exists.Load() {
		return free
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(free, s.room)
	s.room = min(2*s.room, 1<<20)
	return n
}

// lacks returns why handlers cannot begin, or nil.
func (s *shortage) lacks(now time.Time) error {
	if !s.exists.Load() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.After(s.until.Add(shortageMemory)) {
		return nil
	}
	return s.reason
}
