package dispatch

import (
	"context"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/internal/loop"
)

const (
	keyInterval = time.Minute
	keyLimit    = 1000 // keys that one transaction removes: short enough to be in nobody's way
)

// Keys removes idempotency keys that have expired.
type Keys struct {
	Deps
	portion *loop.Portion // of one transaction
}

// NewKeys makes the sweep.
func NewKeys(deps Deps) *Keys { return &Keys{deps, loop.NewPortion(keyLimit)} }

// Run sweeps until ctx ends.
func (s *Keys) Run(ctx context.Context) {
	every(ctx, keyInterval, application.SweepKeys, s.Events, s.Sweep)
}

// Sweep removes all keys that have expired by now. A step that took too long is repeated
// smaller.
func (s *Keys) Sweep(ctx context.Context) error {
	now := s.Clock.Now()
	for {
		limit := s.portion.Size()
		n, err := s.Tasks.ForgetKeys(ctx, now, limit)
		if s.tooLong(ctx, application.SweepKeys, s.portion, limit, n, err) {
			continue
		}
		if n > 0 {
			s.Events.Swept(ctx, application.SweepKeys, n)
		}
		if err != nil || n < limit {
			return err
		}
	}
}
