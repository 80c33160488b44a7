package application

import "context"

// Probe tells whether something that a program needs answers.
type Probe interface {
	Probe(ctx context.Context) error
}
