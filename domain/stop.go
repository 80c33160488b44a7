package domain

import "time"

// A stop is a client's request to end the running attempt. It wins over whatever gives the
// task back, and loses against a handler that finishes first: see giveBack and Complete.
// The worker's half, which ends the handler's context, is in application/worker.

// StopRequested reports whether a client asked the running attempt to stop.
func (t *Task) StopRequested() bool { return !t.s.StopRequestedAt.IsZero() }

// Cancel ends a pending task. A canceled one stays as it is; any other answers
// a conflict that names its status.
func (t *Task) Cancel(now time.Time) error {
	switch t.s.Status {
	case StatusCanceled:
		return nil
	case StatusProcessing: // stopping what runs is a request of its own
		return t.refuse(StatusCanceled)
	}
	return t.moveTo(StatusCanceled, now)
}

// RequestStop asks that the running attempt end. What gives the task back after
// that cancels it; a handler that finishes first wins. A pending task is
// canceled at once; a repeated request changes nothing.
func (t *Task) RequestStop(now time.Time) error {
	if t.s.Status != StatusProcessing {
		return t.Cancel(now)
	}
	if t.StopRequested() {
		return nil
	}
	if err := t.touch(now); err != nil {
		return err
	}
	t.s.StopRequestedAt = t.s.UpdatedAt
	return nil
}

// giveBack takes the task from its attempt without success. Whatever gives back
// a task that was asked to stop makes it canceled: an error, also the last or a
// permanent one, a release, a rescue. Only success comes before a stop; see Complete.
func (t *Task) giveBack(attempt int, last bool, outcome AttemptOutcome, reason string, now time.Time) error {
	held, next := t.s, StatusPending
	switch {
	case t.StopRequested():
		next = StatusCanceled
	case last:
		next = StatusFailed
	}
	if err := t.endAttempt(attempt, next, now); err != nil {
		return err
	}
	t.s.RunAt = t.s.UpdatedAt
	t.note(held, outcome, reason)
	return nil
}
