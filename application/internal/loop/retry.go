package loop

import (
	"context"
	"errors"

	"github.com/cenkalti/backoff/v5"
)

// Retry calls try until it succeeds, it returns an error that Stop has marked, or
// ctx ends: then the error of the last try is Retry's. It tries at least once.
func Retry[T any](ctx context.Context, try func() (T, error)) (T, error) {
	var last error
	result, err := backoff.Retry(ctx, func() (T, error) {
		result, err := try()
		last = err
		return result, err
	}, backoff.WithBackOff(NewBackoff()), backoff.WithMaxElapsedTime(0))
	if err == nil {
		return result, nil
	}
	if stopped, ok := errors.AsType[*backoff.PermanentError](last); ok {
		last = stopped.Err
	}
	return result, last // backoff returns that of ctx
}

// Stop marks an error that no further try can help.
func Stop(err error) error { return backoff.Permanent(err) }
