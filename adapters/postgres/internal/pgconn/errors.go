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

	"github.com/lib/pq"

	"github.com/millrace/millrace/domain"
)

// The SQLSTATEs that mean something to us. Classes are their first two letters.
const (
	classConnection   = "08"
	classData         = "22"
	classIntegrity    = "23"
	classAuth         = "28"
	classResources    = "53"
	classLimits       = "54"
	classIntervention = "57"
	classRaised       = "P0" // by a trigger of the operator's

	codeReadOnly       = "25006" // this server has become a standby
	codeNotSupported   = "0A000" // a standby's answer to BEGIN READ WRITE, which is how lib/pq begins
	codeIdleInTx       = "25P03"
	codeNoDatabase     = "3D000"
	codeNoStatement    = "26000"
	codeUndefinedTable = "42P01"
	codeCanceled       = "57014"
	codeSerialization  = "40001"
	codeDeadlock       = "40P01"
)

// Translate turns what the driver reports into the errors that the ports name.
func Translate(err error) error {
	var known *domain.Error
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.Is(err, sql.ErrNoRows):
		return domain.ErrTaskNotFound
	case unavailable(err) || retryable(err):
		return Outage(err)
	case AboutData(err):
		return fmt.Errorf("%w: postgres: %w", domain.ErrRefused, err)
	case UndefinedTable(err):
		return Outage(fmt.Errorf("the schema is missing: run the migrations: %w", err))
	}
	return fmt.Errorf("postgres: %w", err)
}

// Outage makes err a domain.ErrUnavailable.
func Outage(err error) error {
	return fmt.Errorf("%w: postgres: %w", domain.ErrUnavailable, err)
}

// unavailable reports whether the server could not be reached, or its answer to
// a write is not known, or the connection is of no more use.
func unavailable(err error) bool {
	if err == nil {
		return false
	}
	if state := SQLState(err); state != "" {
		switch state[:2] {
		case classConnection, classResources, classIntervention:
			return true
		}
		return slices.Contains([]string{codeReadOnly, codeNotSupported, codeIdleInTx}, state) && !outlived(err)
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
	return state != "" && slices.Contains([]string{classData, classIntegrity, classLimits, classRaised}, state[:2])
}

// Canceled reports whether the server has given a statement up: at its own limit, as
// nobody else may cancel one here.
func Canceled(err error) bool { return SQLState(err) == codeCanceled }

// UndefinedTable reports whether the server does not know a table of a statement.
func UndefinedTable(err error) bool { return SQLState(err) == codeUndefinedTable }

// refused reports whether the server is there and does not want us.
func refused(err error) bool {
	state := SQLState(err)
	return state == codeNoDatabase || len(state) == 5 && state[:2] == classAuth
}

// SQLState returns the five letters that the server gave the error; "" if it is
// not the server's.
func SQLState(err error) string {
	if e, ok := errors.AsType[*pq.Error](err); ok && len(e.Code) == 5 {
		return string(e.Code)
	}
	return ""
}
