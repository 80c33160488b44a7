package pgconn

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/lib/pq"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// The SQLSTATEs that mean something to us. Classes are their first two letters.
const (
	classConnection   = "08"
	classData         = "22"
	classIntegrity    = "23"
	classAuth         = "28"
	classNoDatabase   = "3D"
	classNoSchema     = "3F"
	classMistake      = "42" // a missing right is one too
	classCheckOption  = "44"
	classIntervention = "57"
	classTrigger      = "P0" // what a trigger raises, of a row that it refuses

	codeCheck            = "23514"
	codeReadOnly         = "25006" // this server has become a standby
	codeNotSupported     = "0A000" // also a standby's answer to what it cannot do
	codeIdleInTx         = "25P03"
	codeTxTimeout        = "25P04"
	codeNoStatement      = "26000"
	codeDoubledStatement = "42P05"
	codeUndefinedTable   = "42P01"
	codeSerialization    = "40001"
	codeDeadlock         = "40P01"
	codeCanceled         = "57014"
	codeLocked           = "55P03" // a wait for a lock took longer than lock_timeout
	codeLimit            = "54000" // such as a value that is too long for an index
	codeTooComplex       = "54001"
	codeProtocol         = "08P01" // also all that PgBouncer says
)

// Translate turns what the driver reports into the errors that the ports name. What
// the server says is an outage unless it is about the data: whatever else is wrong,
// somebody will put it right, and what is to be stored is kept until then.
func Translate(err error) error {
	var known *domain.Error
	switch {
	case err == nil || errors.As(err, &known) || errors.Is(err, domain.ErrRefused):
		return err
	case errors.Is(err, sql.ErrNoRows):
		return domain.ErrTaskNotFound
	case UndefinedTable(err):
		return Outage(fmt.Errorf("the schema is missing: run the migrations: %w", err))
	case !permanent(err) && (lost(err) || SQLState(err) != "" && !AboutData(err)):
		return Outage(err)
	case AboutData(err):
		if ours := defect(err); ours != nil {
			return ours
		}
		return fmt.Errorf("%w: postgres: %w", domain.ErrRefused, err)
	}
	return fmt.Errorf("postgres: %w", err)
}

// Outage makes err a domain.ErrUnavailable, whose reason is what the server has answered.
func Outage(err error) error {
	if _, ok := errors.AsType[*outage](err); ok {
		return err
	}
	reason := "PostgreSQL does not answer"
	if e := serverError(err); e != nil {
		reason = fmt.Sprintf("PostgreSQL refuses: %s (SQLSTATE %s)", strings.ToValidUTF8(e.Message[:min(len(e.Message), maxReason)], ""), e.Code)
	}
	return &outage{reason, err}
}

// OutageBecause is an Outage of which we know the reason.
func OutageBecause(reason string) error { return &outage{reason, errors.New(reason)} }

// maxReason bounds what is shown of an answer of the server.
const maxReason = 200

// outage is a domain.ErrUnavailable, whose cause is the text.
type outage struct {
	reason string
	cause  error
}

var _ application.Told = (*outage)(nil)

func (e *outage) Error() string   { return "postgres: " + e.cause.Error() }
func (e *outage) Reason() string  { return e.reason }
func (e *outage) Unwrap() []error { return []error{domain.ErrUnavailable, e.cause} }

// AtStart is err for a program that has not yet worked: no outage if waiting does not
// help, as with a missing right.
func AtStart(err error) error {
	state := SQLState(err)
	if state == "" || UndefinedTable(err) || retryable(err) {
		return err
	}
	if slices.Contains([]string{classAuth, classNoDatabase, classNoSchema, classMistake}, state[:2]) {
		return fmt.Errorf("postgres: %w", serverError(err))
	}
	return err
}

// UnfitError reports at the start of a program that it must not run on what the
// database's URL leads to.
type UnfitError struct {
	Want string // what the URL has to be instead, and what to set for that
}

// Error returns a line that says so.
func (e *UnfitError) Error() string { return "the database's URL must be " + e.Want }

// refusedError reports that the server is there and refuses us, and has never done otherwise.
type refusedError struct{ error }

func (e *refusedError) Unwrap() error { return e.error }

// permanent reports whether waiting does not help, as the settings have never worked.
func permanent(err error) bool {
	_, refused := errors.AsType[*refusedError](err)
	_, unfit := errors.AsType[*UnfitError](err)
	return refused || unfit
}

// lost reports whether the server could not be reached, or its answer to a write is
// not known, or the connection is of no more use.
func lost(err error) bool {
	if err == nil {
		return false
	}
	if state := SQLState(err); state != "" {
		switch state[:2] {
		case classConnection:
			return true
		case classIntervention:
			return state != codeCanceled
		}
		return slices.Contains([]string{codeReadOnly, codeNotSupported, codeIdleInTx, codeTxTimeout}, state) && !outlived(err)
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	for _, lost := range []error{
		domain.ErrUnavailable, driver.ErrBadConn, sql.ErrConnDone, sql.ErrTxDone, io.EOF, io.ErrUnexpectedEOF,
		net.ErrClosed, os.ErrDeadlineExceeded, context.DeadlineExceeded,
	} {
		if errors.Is(err, lost) {
			return true
		}
	}
	return false
}

// timedOut reports whether a call has ended because it took too long.
func timedOut(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

// retryable reports whether the server undid everything for the sake of another
// transaction, or for want of a prepared statement, so that trying again is safe.
func retryable(err error) bool {
	state := SQLState(err)
	return state == codeSerialization || state == codeDeadlock || outlived(err)
}

// AboutData reports whether the server refused a statement, and did nothing of it,
// because of what it was to store. What a trigger raises is about the row, too.
func AboutData(err error) bool {
	state := SQLState(err)
	return state == codeLimit || state == codeTooComplex ||
		state != "" && slices.Contains([]string{classData, classIntegrity, classCheckOption, classTrigger}, state[:2])
}

// Canceled reports whether the server has given a statement up: at its own limit, as
// nobody else may cancel one here.
func Canceled(err error) bool { return SQLState(err) == codeCanceled }

// Locked reports whether a wait for a lock was given up by the server.
func Locked(err error) bool { return SQLState(err) == codeLocked }

// UndefinedTable reports whether a table of a statement does not exist.
func UndefinedTable(err error) bool { return SQLState(err) == codeUndefinedTable }

// refused reports whether the server is there and refuses us.
func refused(err error) bool {
	e := serverError(err)
	if e == nil {
		return false
	}
	switch string(e.Code.Class()) {
	case classAuth, classNoDatabase:
		return true
	case codeProtocol[:2]: // PgBouncer
		for _, text := range []string{"no such database", "no such user", "password authentication failed", "SASL authentication failed"} {
			if strings.HasPrefix(e.Message, text) {
				return true
			}
		}
	}
	return false
}

// unsupportedParameter reports whether PgBouncer refuses one of the settings of a
// session, and which.
func unsupportedParameter(err error) (message string, ok bool) {
	e := serverError(err)
	if e == nil || string(e.Code) != codeProtocol || !strings.HasPrefix(e.Message, "unsupported startup parameter") {
		return "", false
	}
	return e.Message, true
}

// SQLState returns the five letters that the server gave the error; "" if it is
// not the server's.
func SQLState(err error) string {
	if e := serverError(err); e != nil {
		return string(e.Code)
	}
	return ""
}

// serverError is what the server said; nil if it said nothing.
func serverError(err error) *pq.Error {
	if e, ok := errors.AsType[*pq.Error](err); ok && len(e.Code) == 5 {
		return e
	}
	return nil
}
