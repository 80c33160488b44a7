package domain

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Keep is how long a task is kept after it has ended. The zero value does not say.
type Keep time.Duration

// KeepForever keeps a task until somebody deletes it.
const KeepForever Keep = math.MaxInt64

// The bounds of a Keep that ends.
const (
	MinKeep = time.Second
	MaxKeep = 10 * 365 * 24 * time.Hour
)

const (
	day   = 24 * time.Hour
	never = "never"
)

// keepUnits are the units of a Keep, in the order in which they are spelled.
var keepUnits = []struct {
	size   time.Duration
	letter string
}{{day, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}}

var keepSpelled = regexp.MustCompile(`^(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?$`)

// ParseKeep reads whole days, hours, minutes and seconds, such as 7d, 36h or 1d12h, or
// never; otherwise CodeInvalid.
func ParseKeep(s string) (Keep, error) {
	if s == never {
		return KeepForever, nil
	}
	var k Keep
	for i, digits := range keepSpelled.FindStringSubmatch(s) {
		if i == 0 || digits == "" {
			continue
		}
		n, err := strconv.Atoi(digits)
		if size := keepUnits[i-1].size; err != nil || n > int(MaxKeep/size) {
			n = int(MaxKeep/size) + 1 // too long, and no overflow
		}
		k += Keep(n) * Keep(keepUnits[i-1].size)
	}
	if err := k.Check(); err != nil {
		return 0, Invalid("retention", "invalid length of time %s; want %s", Quoted(s), KeepRule)
	}
	return k, nil
}

// KeepRule says what ParseKeep reads.
const KeepRule = "days, hours, minutes and seconds such as 7d, 36h or 1d12h, from 1s to 3650d, or never"

// Check says whether a task can be kept for so long: CodeInvalid if not.
func (k Keep) Check() error {
	if k != KeepForever && (k < Keep(MinKeep) || k > Keep(MaxKeep)) {
		return Invalid("retention", "must be from %g to %g seconds", MinKeep.Seconds(), MaxKeep.Seconds())
	}
	return nil
}

// String spells k as ParseKeep reads it; empty if it does not say.
func (k Keep) String() string {
	if k == KeepForever {
		return never
	}
	var b strings.Builder
	for _, unit := range keepUnits {
		if n := time.Duration(k) / unit.size; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, unit.letter)
			k %= Keep(unit.size)
		}
	}
	return b.String()
}

// Retention is how long tasks are kept, by the status that they have ended with.
type Retention struct {
	Completed, Canceled, Failed Keep
}

// ParseRetention reads statuses with a Keep each, such as completed=7d,failed=never, or
// one Keep for all. What it does not name does not say. CodeInvalid otherwise.
func ParseRetention(s string) (Retention, error) {
	var r Retention
	if k, err := ParseKeep(s); err == nil {
		return Retention{k, k, k}, nil
	}
	for part := range strings.SplitSeq(s, ",") {
		name, text, _ := strings.Cut(strings.TrimSpace(part), "=")
		keep := r.of(Status(name))
		if keep == nil {
			return Retention{}, Invalid("retention", "%s is not completed, canceled or failed", Quoted(name))
		}
		if *keep != 0 {
			return Retention{}, Invalid("retention", "%s is named twice", name)
		}
		var err error
		if *keep, err = ParseKeep(text); err != nil {
			return Retention{}, err
		}
	}
	return r, nil
}

// of is where r says how long tasks of the status are kept; nil: they have not ended.
func (r *Retention) of(s Status) *Keep {
	switch s {
	case StatusCompleted:
		return &r.Completed
	case StatusCanceled:
		return &r.Canceled
	case StatusFailed:
		return &r.Failed
	}
	return nil
}

// Or is r, and other for what r does not say.
func (r Retention) Or(other Retention) Retention {
	for _, s := range Statuses() {
		if keep := r.of(s); keep != nil && *keep == 0 {
			*keep = *other.of(s)
		}
	}
	return r
}

// RetentionRules are what says when tasks expire that do not say it themselves.
type RetentionRules struct {
	Default Retention
	Queues  map[QueueName]Retention // what is set of queues, before the default
}

// Shortest is the shortest time for which any task is kept that does not say it itself.
func (r RetentionRules) Shortest() Keep {
	shortest := KeepForever
	note := func(q Retention) {
		for _, k := range []Keep{q.Completed, q.Canceled, q.Failed} {
			if k != 0 {
				shortest = min(shortest, k)
			}
		}
	}
	note(r.Default)
	for _, q := range r.Queues {
		note(q)
	}
	return shortest
}

// PurgeCandidate is what decides when a task expires.
type PurgeCandidate struct {
	ID         TaskID
	Version    int64
	Queue      QueueName
	Status     Status
	UpdatedAt  time.Time     // when it has ended, if it has
	Retention  time.Duration // its own; 0: the queue's, or the default
	KeyedUntil time.Time     // as of the task
}

// ExpiresAt is when the task is purged: once it has been kept for as long as it says
// itself, or else its queue, or else the default; but not as long as its idempotency key
// is remembered, because a repeat of the request is answered with it. False: never, or
// not as it is now. A task that has not ended never expires, and neither does one whose
// times cannot be read.
func (r RetentionRules) ExpiresAt(c PurgeCandidate) (time.Time, bool) {
	queue := r.Queues[c.Queue].Or(r.Default)
	keep := queue.of(c.Status)
	if keep == nil || c.UpdatedAt.IsZero() || !TimesInRange(c.UpdatedAt, c.KeyedUntil) {
		return time.Time{}, false
	}
	if c.Retention > 0 {
		*keep = Keep(c.Retention)
	}
	if *keep <= 0 || *keep > Keep(MaxKeep) {
		return time.Time{}, false
	}
	at := c.UpdatedAt.Add(time.Duration(*keep))
	if c.KeyedUntil.After(at) {
		at = c.KeyedUntil
	}
	return Moment(at), true
}

// PurgeCandidate is what decides when the task expires.
func (t *Task) PurgeCandidate() PurgeCandidate {
	return PurgeCandidate{
		ID: t.s.ID, Version: t.s.Version, Queue: t.s.Queue, Status: t.s.Status, UpdatedAt: t.s.UpdatedAt,
		Retention: t.s.Retention, KeyedUntil: t.s.KeyedUntil,
	}
}
