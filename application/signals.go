package application

import (
	"context"

	"github.com/millrace/millrace/domain"
)

// Signal is a hint that passes between processes: look at these tasks again. It
// says nothing of what there is to see.
type Signal struct {
	Kind  SignalKind
	Tasks []domain.TaskID
}

// SignalKind says whom a signal concerns.
type SignalKind string

// The kinds of signals.
const (
	SignalChanged SignalKind = "changed" // whoever waits for the task
	SignalStop    SignalKind = "stop"    // the worker that runs it
)

// Signals carries signals to every process that listens, the sender included. It
// may lose, double or delay them: whoever listens also looks from time to time.
type Signals interface {
	// Send hands the signal on. It does not wait for anybody to hear it, nor for
	// a server: a signal that cannot be sent soon is lost.
	Send(s Signal)
	// Listen calls hear for every signal that arrives, one at a time, until ctx ends
	// or the connection is lost, and returns ctx's error or that of the connection.
	// It calls ready first, once signals that are sent from then on arrive.
	Listen(ctx context.Context, ready func(), hear func(Signal)) error
}
