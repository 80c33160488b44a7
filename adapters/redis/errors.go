package redis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	redigo "github.com/gomodule/redigo/redis"

	"github.com/millrace/millrace/domain"
)

// unavailableReplies begin the errors of a server that will accept the same command later,
// or whose successor will.
var unavailableReplies = []string{
	"LOADING", "READONLY", "MASTERDOWN", "OOM", "MISCONF", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN", "BUSY",
	"ERR max number of clients reached",
}

// translate turns what redigo reports into the errors that the port names.
func translate(err error) error {
	switch {
	case err == nil:
		return nil
	case unavailable(err):
		return fmt.Errorf("redis: %w: %w", domain.ErrUnavailable, err)
	}
	return fmt.Errorf("redis: %w", err)
}

// unavailable reports whether err is a failure of the connection or of the server, rather
// than of this command.
func unavailable(err error) bool {
	if answer, ok := errors.AsType[redigo.Error](err); ok {
		return slices.ContainsFunc(unavailableReplies, func(word string) bool { return starts(answer, word) })
	}
	// A malformed reply is not a failure of the connection.
	_, network := errors.AsType[net.Error](err)
	_, system := errors.AsType[syscall.Errno](err)
	return network || system || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// contextErr returns ctx's error. The network sees a deadline pass a moment before ctx does.
func contextErr(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		<-ctx.Done()
	}
	return ctx.Err()
}

func starts(answer redigo.Error, word string) bool { return strings.HasPrefix(string(answer), word) }
