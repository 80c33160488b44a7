package domain

import "time"

// The windows of a worker's heartbeat, in beats. The protocol was model-checked
// with these proportions: with a longer first, or a shorter second or third, a lease
// is taken from a worker that lives.
const (
	// FreshBeats: a heartbeat is fresh while it is younger than this. Only a worker
	// whose heartbeat is fresh may claim, and a gap over this breaks a stretch of beats.
	FreshBeats = 2
	// ObserverBeats: whoever takes tasks from other workers has beaten without a gap
	// for this long. Whatever kept all workers from beating is over for at least as
	// long, so that every worker that lives has beaten since.
	ObserverBeats = 3
	// BeatsPerLease is how often a worker beats within its lease; never under five.
	BeatsPerLease = 10
)

// Heartbeat is what a store knows of a worker's beats, in the time of the store.
// The zero Heartbeat is that of a worker that is unknown.
type Heartbeat struct {
	Last     time.Time     // the latest beat
	Since    time.Time     // the first beat of those without a gap up to the latest
	Interval time.Duration // how often the worker beats
}

// Alive reports whether a lease of that length holds: nobody may take the worker's tasks.
func (h Heartbeat) Alive(lease time.Duration, now time.Time) bool { return now.Sub(h.Last) < lease }

// Fresh reports whether the worker may claim.
func (h Heartbeat) Fresh(now time.Time) bool { return h.Alive(FreshBeats*h.Interval, now) }

// MayObserve reports whether the worker may take tasks from workers whose lease
// has lapsed: its own beats are fresh, and have been so for long enough. After an
// outage of the store every heartbeat is old and no worker is dead.
func (h Heartbeat) MayObserve(now time.Time) bool {
	return h.Fresh(now) && now.Sub(h.Since) >= ObserverBeats*h.Interval
}
