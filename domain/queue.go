package domain

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// QueueName names a queue: small letters, digits, and inside also dots,
// underscores and hyphens, at most 64 of them.
type QueueName string

// DefaultQueue takes the tasks that name none.
const DefaultQueue QueueName = "default"

const maxQueueName = 64

// ParseQueueName returns the queue that is spelled s, or a CodeInvalid error.
func ParseQueueName(s string) (QueueName, error) {
	if !QueueName(s).valid() {
		return "", Invalid("queue", "%.80q is not the name of a queue: %s", s, queueNameRule)
	}
	return QueueName(s), nil
}

const queueNameRule = "1 to 64 of a-z, 0-9 and . _ - which it does not begin with"

func (n QueueName) valid() bool {
	if n == "" || len(n) > maxQueueName {
		return false
	}
	for i := range len(n) {
		c := n[i]
		alnum := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		if !alnum && (i == 0 || !strings.ContainsRune("._-", rune(c))) {
			return false
		}
	}
	return true
}

// Rate is how many tasks may start in a time. The zero Rate is no limit.
type Rate struct {
	Count int
	Per   time.Duration // a second, a minute or an hour
}

// maxRate keeps the time between two tasks at a whole microsecond or more.
const maxRate = 1_000_000

var rateUnits = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}

// ParseRate reads a rate such as 100/s, 30/m or 5/h; otherwise CodeInvalid.
func ParseRate(s string) (Rate, error) {
	count, unit, _ := strings.Cut(s, "/")
	n, err := strconv.Atoi(count)
	per, known := rateUnits[unit]
	if err != nil || !known || n < 1 || n > maxRate || strconv.Itoa(n) != count {
		return Rate{}, Invalid("rate", "%.40q is not a rate such as 100/s, 30/m or 5/h, of 1 to %d", s, maxRate)
	}
	return Rate{Count: n, Per: per}, nil
}

// String spells the rate as ParseRate reads it; empty for no limit.
func (r Rate) String() string {
	for unit, per := range rateUnits {
		if r.Count > 0 && r.Per == per {
			return strconv.Itoa(r.Count) + "/" + unit
		}
	}
	return ""
}

// Burst is how many tasks may start at once after a pause: those of one second,
// at least one.
func (r Rate) Burst() int {
	if r.Count == 0 {
		return 0
	}
	return max(1, int(int64(r.Count)*int64(time.Second)/int64(r.Per)))
}

// spent is the time in which n tasks' worth of the rate comes back, rounded up to
// the resolution of a moment: the rate is never exceeded by rounding.
func (r Rate) spent(n int) time.Duration {
	micros := (int64(n)*r.Per.Microseconds() + int64(r.Count) - 1) / int64(r.Count)
	return time.Duration(micros) * time.Microsecond
}

// bucket is the time in which an empty bucket becomes full.
func (r Rate) bucket() time.Duration { return r.spent(r.Burst()) }

// Limit says which of a queue's limits is in the way.
type Limit string

// The limits. The spellings are part of the API.
const (
	LimitPaused     Limit = "paused"
	LimitMaxRunning Limit = "max_running"
	LimitRate       Limit = "rate"
)

// When it makes sense to ask a queue again that has no room.
const (
	pausedAgain  = 500 * time.Millisecond // it runs again within a second
	runningAgain = 250 * time.Millisecond // another worker may have ended a task of it
	rateAgain    = 20 * time.Millisecond  // at the least: one question for several tokens
)

// QueueState is what an operator has set of a queue, and how much of its rate is spent.
type QueueState struct {
	Name       QueueName
	Paused     bool // accepts tasks and runs none
	MaxRunning int  // most tasks that are processing, over all workers; 0: no limit
	Rate       Rate // at which tasks start, over all workers
	// FullAt is when the rate's bucket of tokens is full again; in the past: it is
	// full. One time says it all: the generic cell rate algorithm (ITU-T I.371).
	FullAt time.Time
}

// Room is how many tasks of a queue may start now.
type Room struct {
	Tasks int           // math.MaxInt: no limit
	By    Limit         // what keeps it from being more; empty: nothing
	Again time.Duration // when to ask again, if there is no room
}

// Limited reports whether anything is set that a claim has to ask.
func (q QueueState) Limited() bool { return q.Paused || q.MaxRunning > 0 || q.Rate.Count > 0 }

// Room says how many tasks may start, when so many of the queue are processing.
func (q QueueState) Room(running int, now time.Time) Room {
	if q.Paused {
		return Room{By: LimitPaused, Again: pausedAgain}
	}
	room := Room{Tasks: math.MaxInt}
	if q.MaxRunning > 0 {
		room = Room{Tasks: max(0, q.MaxRunning-running), By: LimitMaxRunning, Again: runningAgain}
	}
	if q.Rate.Count > 0 {
		if tokens, again := q.tokens(Moment(now)); tokens < room.Tasks {
			room = Room{Tasks: tokens, By: LimitRate, Again: max(again, rateAgain)}
		}
	}
	return room
}

// clockSlack is more than clocks of processes that share a store differ by, and
// more than a claim takes from when it was sent: one that a slow connection has
// delayed comes with a time that is long past, while others spend what there is.
const clockSlack = time.Minute

// tokens is how many tasks the rate lets start now, and how long it takes until
// it is one more.
func (q QueueState) tokens(now time.Time) (n int, again time.Duration) {
	burst, missing, bucket := q.Rate.Burst(), q.FullAt.Sub(now), q.Rate.bucket()
	switch {
	case missing <= 0:
		return burst, 0
	case missing > bucket+clockSlack: // the clock was stepped back: one start sets the bucket right again
		return 1, 0
	}
	micros, per, count := min(missing, bucket).Microseconds(), q.Rate.Per.Microseconds(), int64(q.Rate.Count)
	spent := (micros*count + per - 1) / per // tokens that are not whole again
	n = max(0, burst-int(spent))
	return n, missing - time.Duration(int64(burst-n-1)*per/count)*time.Microsecond
}

// Take notes that n tasks start now: no more than there is room for.
func (q *QueueState) Take(n int, now time.Time) {
	if q.Rate.Count == 0 || n == 0 {
		return
	}
	now = Moment(now)
	from := now
	if q.FullAt.After(now) {
		from = q.FullAt
	}
	q.FullAt = from.Add(q.Rate.spent(n))
	if empty := now.Add(q.Rate.bucket()); q.FullAt.After(empty) {
		q.FullAt = empty
	}
}

// QueueChange is what an operator asks of a queue's settings; nil leaves one as it is.
type QueueChange struct {
	Paused     *bool
	MaxRunning *int  // 0: no limit
	Rate       *Rate // zero: no limit
}

// Change sets what c names. A new rate starts with a full bucket. CodeInvalid if
// a limit is out of range.
func (q *QueueState) Change(c QueueChange) error {
	if c.MaxRunning != nil && (*c.MaxRunning < 0 || *c.MaxRunning > maxRate) {
		return Invalid("max_running", "must be from 1 to %d, or null for no limit", maxRate)
	}
	if c.Rate != nil && *c.Rate != (Rate{}) {
		if _, err := ParseRate(c.Rate.String()); err != nil {
			return err
		}
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
	return nil
}
