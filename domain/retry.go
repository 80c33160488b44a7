package domain

import "time"

// RetryPolicy says when a task is tried again, and how many workers it may lose. How many
// failures it may have is its own: TaskSpec.MaxAttempts. All are settings; the README says
// how long retries go on by default.
type RetryPolicy struct {
	Base       time.Duration // the longest wait before the first retry
	Cap        time.Duration // no wait is longer
	MaxRescues int           // a task that lost its worker this often has failed
}

// Backoff is the wait before the next try after so many failures: a part of
// min(Cap, Base * 2^(failures-1)), where part in [0, 1) is drawn by the caller.
// Exponential backoff with full jitter: M. Brooker, "Exponential Backoff And
// Jitter", AWS Architecture Blog, 2015.
func (p RetryPolicy) Backoff(failures int, part float64) time.Duration {
	ceiling := p.Base
	for range failures - 1 {
		if ceiling > p.Cap/2 { // twice that is over the cap, or no number at all
			ceiling = p.Cap
			break
		}
		ceiling *= 2
	}
	return time.Duration(part * float64(min(ceiling, p.Cap)))
}

// Failure is why an attempt did not succeed.
type Failure struct {
	Reason     string        // shown to clients as last_error
	Permanent  bool          // no retry can help
	RetryAfter time.Duration // the handler's own wish; 0: the policy's backoff decides
}
