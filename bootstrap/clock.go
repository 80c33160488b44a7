package bootstrap

import "time"

// systemClock is the Clock of a process that shares its store with no other.
type systemClock struct{}

// Now tells the system's time.
func (systemClock) Now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
