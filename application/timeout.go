package application

import (
	"context"
	"errors"
	"os"

	"github.com/millrace/millrace/domain"
)

// TookTooLong reports of an error of a store whether the call was not done in time: what
// it asked for may be too much, and is to be asked for in smaller parts.
func TookTooLong(err error) bool {
	return errors.Is(err, domain.ErrUnavailable) && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded))
}
