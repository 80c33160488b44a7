package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/millrace/millrace/domain"
)

// until tries until it works, for as long as what it needs is merely away, with
// one line when the wait begins and one when it is over. Any other failure, a
// refused password say, is returned at once.
func until(ctx context.Context, log *slog.Logger, what string, try func(context.Context) error) error {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 200*time.Millisecond, 5*time.Second
	begun, waiting := time.Now(), false
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := try(ctx)
		if err != nil && !errors.Is(err, domain.ErrUnavailable) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(wait), backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, _ time.Duration) {
		if !waiting {
			log.Warn("waiting for "+what, "error", err)
		}
		waiting = true
	}))
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if waiting {
		log.Info(what+" is there", "after", time.Since(begun).Round(time.Millisecond).String())
	}
	return nil
}
