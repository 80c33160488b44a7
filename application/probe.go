package application

import (
	"context"
	"errors"

	"github.com/millrace/millrace/domain"
)

// Probe tells whether something that a program needs answers.
type Probe interface {
	Probe(ctx context.Context) error
}

// Told is an error that can tell operators why, in a line for readiness and explanations:
// what a server has answered, say. It holds no secret and no data of a task. Clients whose
// call failed get the message of its domain.Error instead.
type Told interface {
	error
	Reason() string
}

// ReasonOf returns why something fails, as far as it may be shown; "" if nothing is known.
func ReasonOf(err error) string {
	if told, ok := errors.AsType[Told](err); ok {
		return told.Reason()
	}
	public := domain.Public(err)
	if public.Code == domain.CodeInternal || public == domain.ErrUnavailable {
		return ""
	}
	return public.Message
}
