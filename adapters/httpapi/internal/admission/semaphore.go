package admission

import "time"

// semaphore bounds how many do something at once.
type semaphore chan struct{}

func (s semaphore) tryAcquire() bool {
	select {
	case s <- struct{}{}:
		return true
	default:
		return false
	}
}

// acquireWithin waits at most d for a release.
func (s semaphore) acquireWithin(d time.Duration) bool {
	timeout := time.NewTimer(d)
	defer timeout.Stop()
	select {
	case s <- struct{}{}:
		return true
	case <-timeout.C:
		return false
	}
}

func (s semaphore) release() { <-s }
