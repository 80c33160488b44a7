package telemetry

import (
	"context"
	"errors"
	"log/slog"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// Store logs that the store becomes unavailable for clients, and that it is back,
// rather than every request that is refused meanwhile, for each kind of call. What workers
// meet is told by Events.
type Store struct {
	calls      *outages
	experience application.Experience
}

// NewStore makes a Store that writes to log. What becomes of calls is also noted as an
// experience.
func NewStore(log *slog.Logger, experience application.Experience) *Store {
	return &Store{newOutages(log, "store failing, answering 503", "store working again"), experience}
}

// StoreCalled notes the result of a call. Only what the store itself decided shows
// that it is there: a client that disconnects says nothing about the store.
func (s *Store) StoreCalled(ctx context.Context, call application.Loop, err error) {
	_, decided := errors.AsType[*domain.Error](err)
	switch {
	case errors.Is(err, domain.ErrUnavailable):
	case err == nil || decided:
		err = nil
	default:
		return
	}
	s.calls.report(ctx, string(call), err, slog.String("call", string(call)))
	s.experience.Note(call, err)
}
