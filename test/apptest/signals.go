package apptest

import (
	"context"
	"sync/atomic"

	"github.com/millrace/millrace/adapters/memory"
	"github.com/millrace/millrace/application"
)

// Signals are those of one process, through which mocks send, with a record.
type Signals struct {
	*memory.Signals
	Sent      Record[application.Signal]
	Listeners atomic.Int64
}

// NewSignals makes signals without listeners.
func NewSignals() *Signals { return &Signals{Signals: memory.NewSignals()} }

// Send records the signal and sends it.
func (s *Signals) Send(signal application.Signal) {
	s.Sent.Add(signal)
	s.Signals.Send(signal)
}

// Listen counts the listener while it listens.
func (s *Signals) Listen(ctx context.Context, ready func(), hear func(application.Signal)) error {
	s.Listeners.Add(1)
	defer s.Listeners.Add(-1)
	return s.Signals.Listen(ctx, ready, hear)
}
