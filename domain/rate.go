package domain

import (
	"strconv"
	"strings"
	"time"
)

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
		return Rate{}, Invalid("rate", "invalid rate %s; want N/s, N/m or N/h with N from 1 to %d", Quoted(s), maxRate)
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

// A rate is kept by the generic cell rate algorithm (ITU-T I.371): a bucket holds
// Burst tokens, a start takes one, and one comes back with every emission interval.
// One time says how full the bucket is: the theoretical arrival time, at which it is
// full again. In the past, it is full now.

// emission is n emission intervals, the time in which n tokens come back. It is
// rounded up to a moment, so that the rate is never exceeded by rounding.
func (r Rate) emission(n int) time.Duration {
	micros := (int64(n)*r.Per.Microseconds() + int64(r.Count) - 1) / int64(r.Count)
	return time.Duration(micros) * time.Microsecond
}

// clockSlack is more than clocks of processes that share a store differ by, and
// more than a claim takes from when it was sent: one that a slow connection has
// delayed comes with a time that is long past, while others spend what there is.
const clockSlack = time.Minute

// conforming is how many tasks may start now, by the theoretical arrival time, and
// how long it takes until it is one more.
func (r Rate) conforming(arrival, now time.Time) (n int, wait time.Duration) {
	burst, missing, bucket := r.Burst(), arrival.Sub(now), r.emission(r.Burst())
	switch {
	case missing <= 0:
		return burst, 0
	case missing > bucket+clockSlack: // the clock was stepped back: one start sets the bucket right again
		return 1, 0
	}
	micros, per, count := min(missing, bucket).Microseconds(), r.Per.Microseconds(), int64(r.Count)
	spent := (micros*count + per - 1) / per // tokens that are not whole again
	n = max(0, burst-int(spent))
	return n, missing - time.Duration(int64(burst-n-1)*per/count)*time.Microsecond
}

// spend is the theoretical arrival time after n tasks have started now.
func (r Rate) spend(arrival, now time.Time, n int) time.Time {
	if now.After(arrival) {
		arrival = now
	}
	arrival = arrival.Add(r.emission(n))
	if empty := now.Add(r.emission(r.Burst())); arrival.After(empty) {
		arrival = empty
	}
	return arrival
}
