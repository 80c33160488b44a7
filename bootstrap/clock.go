package bootstrap

import (
	"context"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// systemClock is the Clock of a process that shares its store with no other.
type systemClock struct{}

// Now tells the system's time.
func (systemClock) Now() time.Time { return domain.Moment(time.Now()) }

// insideQueue is the probe of a queue inside the process, which does its work as long as
// the process lives.
type insideQueue struct{}

// Probe does not fail.
func (insideQueue) Probe(context.Context) error { return nil }

// ProbeLane does not fail.
func (insideQueue) ProbeLane(context.Context, application.Lane) error { return nil }
