package application

import "time"

// Clock tells the time: UTC, whole microseconds. Processes that share a store
// agree on it to within a tenth of a second.
type Clock interface {
	Now() time.Time
}
