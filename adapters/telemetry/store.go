package telemetry

import (
	"context"
	"errors"
	"log/slog"

	"github.com/millrace/millrace/domain"
)

// Store logs that the store becomes unavailable for clients, and that it is back,
// rather than every request that is refused meanwhile. What workers meet is told by
// Events.
type Store struct{ calls *outages }

// NewStore makes a Store that writes to log.
func NewStore(log *slog.Logger) *Store {
	return &Store{calls: newOutages(log, "store failing, answering 503", "store working again")}
}

// StoreCalled notes the result of a call. Only what the store itself decided shows
// that it is there: a client that disconnects says nothing about the store.
func (s *Store) StoreCalled(ctx context.Context, err error) {
	_, decided := errors.AsType[*domain.Error](err)
	switch {
	case errors.Is(err, domain.ErrUnavailable):
		s.calls.report(ctx, "", err)
	case err == nil || decided:
		s.calls.report(ctx, "", nil)
	}
}
