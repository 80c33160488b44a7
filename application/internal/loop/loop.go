// Package loop has what the loops of usecase, worker and dispatch share: how they
// wait, and how they listen to signals.
package loop

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/millrace/millrace/application"
)

// NewBackoff spaces the tries of a loop whose server is away.
func NewBackoff() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = 50*time.Millisecond, 2*time.Second
	return b
}

// Pause waits for the next try; false if ctx ended first.
func Pause(ctx context.Context, b *backoff.ExponentialBackOff) bool {
	return Sleep(ctx, b.NextBackOff())
}

// Sleep waits; false if ctx ended first.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Listen listens until ctx ends, and again when the connection was lost.
func Listen(ctx context.Context, signals application.Signals, events application.Events, hear func(application.Signal)) {
	wait := NewBackoff()
	for {
		err := signals.Listen(ctx, func() {
			wait.Reset()
			events.LoopRan(ctx, application.LoopListen, nil)
		}, hear)
		if ctx.Err() != nil {
			return
		}
		events.LoopRan(ctx, application.LoopListen, err)
		if !Pause(ctx, wait) {
			return
		}
	}
}
