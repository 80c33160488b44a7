package domain

import "time"

// resolution is how finely Millrace tells the time.
const resolution = time.Microsecond

// The bounds of every time that Millrace keeps. Others cannot be written as RFC 3339
// has it, or mean that there is none.
var (
	EarliestTime = time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC)
	LatestTime   = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
)

// TimesInRange reports whether each of the times is one that Millrace can keep, or zero.
func TimesInRange(times ...time.Time) bool {
	for _, t := range times {
		if !t.IsZero() && (t.Before(EarliestTime) || t.After(LatestTime)) {
			return false
		}
	}
	return true
}

// Moment is t as Millrace keeps every time: UTC, cut to whole microseconds, which
// is what PostgreSQL stores. Two times are the same to every store if their
// moments are.
func Moment(t time.Time) time.Time { return t.UTC().Truncate(resolution) }

// Span is d as Millrace keeps every length of time: cut to whole microseconds.
func Span(d time.Duration) time.Duration { return d.Truncate(resolution) }

// nextMoment is the first moment that is not before t. A bound that lies between
// two moments separates the same tasks as the later of them. Zero stays zero.
func nextMoment(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return Moment(t.Add(resolution - 1))
}
