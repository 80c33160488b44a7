package domain

import "time"

// QueueSettings are what an operator has set for a queue, and how much of its rate
// is spent.
type QueueSettings struct {
	Name       QueueName
	Paused     bool      // accepts tasks and runs none
	MaxRunning int       // most tasks that are processing, over all workers; 0: no limit
	Rate       Rate      // at which tasks start, over all workers
	Retention  Retention // of its tasks, before the default
	FullAt     time.Time // when the rate's bucket is full again: its theoretical arrival time
}

// Limited reports whether a claim has to ask for the queue's capacity.
func (q QueueSettings) Limited() bool { return q.Paused || q.MaxRunning > 0 || q.Rate.Count > 0 }

// QueueChange is what an operator asks of a queue's settings; nil leaves one as it is.
type QueueChange struct {
	Paused     *bool
	MaxRunning *int            // 0: no limit
	Rate       *Rate           // zero: no limit
	Retention  map[Status]Keep // by the status that tasks end with; 0: the default
}

// CheckMaxRunning says whether a queue can have this limit: CodeInvalid if not.
func CheckMaxRunning(n int) error {
	if n < 1 || n > maxRate {
		return Invalid("max_running", "must be from 1 to %d, or null for no limit", maxRate)
	}
	return nil
}

// Change sets what c names. A new rate starts with a full bucket. CodeInvalid if
// a limit is out of range.
func (q *QueueSettings) Change(c QueueChange) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.Paused != nil {
		q.Paused = *c.Paused
	}
	if c.MaxRunning != nil {
		q.MaxRunning = *c.MaxRunning
	}
	if c.Rate != nil && *c.Rate != q.Rate {
		q.Rate, q.FullAt = *c.Rate, time.Time{}
	}
	for s, keep := range c.Retention {
		*q.Retention.of(s) = keep
	}
	return nil
}

func (c QueueChange) check() error {
	if c.MaxRunning != nil && *c.MaxRunning != 0 {
		if err := CheckMaxRunning(*c.MaxRunning); err != nil {
			return err
		}
	}
	if c.Rate != nil && *c.Rate != (Rate{}) {
		if _, err := ParseRate(c.Rate.String()); err != nil {
			return err
		}
	}
	for s, keep := range c.Retention {
		if !s.Ended() {
			return Invalid("retention", "a %s task has not ended", s)
		}
		if keep != 0 {
			if err := keep.Check(); err != nil {
				return err
			}
		}
	}
	return nil
}
