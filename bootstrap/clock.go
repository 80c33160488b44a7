package bootstrap

import (
	"time"

	"github.com/millrace/millrace/domain"
)

// systemClock is the Clock of a process that shares its store with no other.
type systemClock struct{}

// Now tells the system's time.
func (systemClock) Now() time.Time { return domain.Moment(time.Now()) }
