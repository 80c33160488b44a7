package domain

import (
	"math"
	"time"
)

// Limit names one of a queue's limits.
type Limit string

// The limits. The spellings are part of the API.
const (
	LimitPaused     Limit = "paused"
	LimitMaxRunning Limit = "max_running"
	LimitRate       Limit = "rate"
)

// When it makes sense to ask a queue again that has no capacity.
const (
	retryPaused  = 500 * time.Millisecond // it runs again within a second
	retryRunning = 250 * time.Millisecond // another worker may have ended a task of it
	retryRate    = 20 * time.Millisecond  // at the least: one question for several tokens
	retryBusy    = 250 * time.Millisecond // whoever holds it has held it for longer than a claim does
)

// Capacity is how many tasks of a queue may start now.
type Capacity struct {
	Available int           // math.MaxInt: no limit
	LimitedBy Limit         // what keeps it from being more; empty: nothing
	RetryIn   time.Duration // when to ask again, if nothing is available
}

// BusyCapacity is that of a queue of which nobody knows how many may start, as
// somebody holds its settings.
func BusyCapacity() Capacity { return Capacity{RetryIn: retryBusy} }

// Capacity says how many tasks may start while running tasks of the queue are processing.
func (q QueueSettings) Capacity(running int, now time.Time) Capacity {
	if q.Paused {
		return Capacity{LimitedBy: LimitPaused, RetryIn: retryPaused}
	}
	c := Capacity{Available: math.MaxInt}
	if q.MaxRunning > 0 {
		c = Capacity{Available: max(0, q.MaxRunning-running), LimitedBy: LimitMaxRunning, RetryIn: retryRunning}
	}
	if q.Rate.Count > 0 {
		if tokens, wait := q.Rate.conforming(q.FullAt, Moment(now)); tokens < c.Available {
			c = Capacity{Available: tokens, LimitedBy: LimitRate, RetryIn: max(wait, retryRate)}
		}
	}
	return c
}

// Admission is what a claim gets of a queue's tasks.
type Admission struct {
	Admitted []TaskID // the first of those asked for
	Refused  []TaskID // the others: there is no capacity for them
	Left     Capacity // once the admitted are processing
	Spent    bool     // the settings have changed by it, and have to be stored
}

// Admit lets as many of the tasks start as the queue has capacity for, in their
// order, while running tasks of it are processing, and spends their part of the rate.
func (q *QueueSettings) Admit(ids []TaskID, running int, now time.Time) Admission {
	n := min(q.Capacity(running, now).Available, len(ids))
	before := q.FullAt
	if q.Rate.Count > 0 && n > 0 {
		q.FullAt = q.Rate.spend(before, Moment(now), n)
	}
	return Admission{
		Admitted: ids[:n], Refused: ids[n:], Left: q.Capacity(running+n, now), Spent: !q.FullAt.Equal(before),
	}
}
