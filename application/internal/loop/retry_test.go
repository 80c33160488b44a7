package loop_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/application/internal/loop"
)

var errAway = errors.New("away")

func TestRetry_TriesUntilItSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries, begun := 0, time.Now()
		got, err := loop.Retry(t.Context(), func() (int, error) {
			if tries++; tries < 100 {
				return 0, errAway
			}
			return 7, nil
		})
		if got != 7 || err != nil || tries != 100 {
			t.Errorf("got %d and %v after %d tries", got, err, tries)
		}
		if took := time.Since(begun); took < 90*time.Second || took > 300*time.Second {
			t.Errorf("a hundred tries took %s: want waits of up to about 2 s, and no limit", took)
		}
	})
}

func TestRetry_ReturnsTheErrorOfTheLastTry(t *testing.T) {
	for name, c := range map[string]struct {
		end  bool
		mark func(error) error
	}{
		"Stopped":             {false, loop.Stop},
		"AtTheEndOfItsCtx":    {true, func(err error) error { return err }},
		"StoppedByAnEndedOne": {true, loop.Stop},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, end := context.WithCancel(t.Context())
			defer end()
			tries := 0
			_, err := loop.Retry(ctx, func() (int, error) {
				tries++
				if c.end {
					end()
				}
				return 0, c.mark(errAway)
			})
			if err != errAway || tries != 1 {
				t.Errorf("got %v after %d tries, want the error itself after one", err, tries)
			}
		})
	}
}
