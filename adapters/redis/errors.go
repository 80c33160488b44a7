package redis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	redigo "github.com/gomodule/redigo/redis"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// translate turns what redigo reports into the errors that the port names.
func translate(err error) error {
	switch {
	case err == nil:
		return nil
	case unavailable(err):
		return &outage{err}
	}
	return fmt.Errorf("redis: %w", err)
}

// outage is a domain.ErrUnavailable, whose cause is the text: Redis is not the store.
type outage struct{ cause error }

var _ application.Told = (*outage)(nil)

func (e *outage) Error() string   { return "redis: " + e.cause.Error() }
func (e *outage) Reason() string  { return explain(e.cause) }
func (e *outage) Unwrap() []error { return []error{domain.ErrUnavailable, e.cause} }

// unavailable reports whether err is a failure of the connection or of the server, rather
// than of this key. Whatever else a server answers with an error - it is full, a replica,
// loading, has other passwords or rights now - it or its successor may accept later.
func unavailable(err error) bool {
	if _, ok := errors.AsType[redigo.Error](err); ok {
		return !wrongType(err)
	}
	// A malformed reply is not a failure of the connection.
	_, network := errors.AsType[net.Error](err)
	_, system := errors.AsType[syscall.Errno](err)
	return network || system || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// wrongType reports whether err says that a key holds something other than a list.
func wrongType(err error) bool {
	answer, ok := errors.AsType[redigo.Error](err)
	return ok && starts(answer, "WRONGTYPE")
}

// lost reports whether err says that the other side has closed the connection.
func lost(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// contextErr returns ctx's error. The network sees a deadline pass a moment before ctx does.
func contextErr(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		<-ctx.Done()
	}
	return ctx.Err()
}

func starts(answer redigo.Error, word string) bool { return strings.HasPrefix(string(answer), word) }
