package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/millrace/millrace/domain"
)

// translate turns what the driver reports into the errors that the ports name.
func (db *DB) translate(err error) error {
	var known *domain.Error
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.Is(err, sql.ErrNoRows):
		return domain.ErrTaskNotFound
	case db.closed.Load() || unavailable(err):
		return fmt.Errorf("%w: sqlite: %w", domain.ErrUnavailable, err)
	case aboutData(err):
		return fmt.Errorf("%w: sqlite: %w", domain.ErrRefused, err)
	}
	return fmt.Errorf("sqlite: %w", err)
}

// unavailable reports whether the same call may succeed later: the file is
// locked, the disk is full or failing, or the caller's wait has ended.
func unavailable(err error) bool {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff { // without what an extended code adds
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR,
			sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT:
			return true
		}
		return false
	}
	for _, lost := range []error{
		context.Canceled, context.DeadlineExceeded, driver.ErrBadConn, sql.ErrConnDone, sql.ErrTxDone,
	} {
		if errors.Is(err, lost) {
			return true
		}
	}
	return false
}

// aboutData reports whether SQLite refused a row because of what is in it.
func aboutData(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return false
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE:
		return true
	}
	return false
}

// missingTable reports whether a statement names a table that the file does not have.
func missingTable(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && e.Code() == sqlite3.SQLITE_ERROR
}
