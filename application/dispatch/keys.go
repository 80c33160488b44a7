package dispatch

import (
	"context"
	"time"

	"github.com/millrace/millrace/application"
)

const (
	keyInterval = time.Minute
	keyLimit    = 1000 // keys that one transaction removes: short enough to be in nobody's way
)

// Keys removes idempotency keys that have expired.
type Keys struct{ Deps }

// NewKeys makes the sweep.
func NewKeys(deps Deps) *Keys { return &Keys{deps} }

// Run sweeps until ctx ends.
func (s *Keys) Run(ctx context.Context) {
	every(ctx, keyInterval, application.SweepKeys, s.Events, s.Sweep)
}

// Sweep removes all keys that have expired by now.
func (s *Keys) Sweep(ctx context.Context) error {
	now := s.Clock.Now()
	for {
		n, err := s.Tasks.ForgetKeys(ctx, now, keyLimit)
		if err != nil || n < keyLimit {
			return err
		}
	}
}
