package domain

import "time"

// resolution is how finely Millrace tells the time.
const resolution = time.Microsecond

// Moment is t as Millrace keeps every time: UTC, cut to whole microseconds, which
// is what PostgreSQL stores. Two times are the same to every store if their
// moments are.
func Moment(t time.Time) time.Time { return t.UTC().Truncate(resolution) }

// nextMoment is the first moment that is not before t. A bound that lies between
// two moments separates the same tasks as the later of them. Zero stays zero.
func nextMoment(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return Moment(t.Add(resolution - 1))
}
