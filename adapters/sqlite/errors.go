package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/millrace/millrace/adapters/internal/schema"
	"github.com/millrace/millrace/domain"
)

// translate turns what the driver reports into the errors that the ports name. What
// SQLite says is an outage unless it is about the data: whatever else is wrong with the
// file, its disk or its schema, somebody will put it right, and what is to be stored is
// kept until then.
func (db *DB) translate(err error) error {
	var known *domain.Error
	switch {
	case err == nil || errors.As(err, &known) || errors.Is(err, domain.ErrRefused):
		return err
	case errors.Is(err, sql.ErrNoRows):
		return domain.ErrTaskNotFound
	case damaged(err):
		db.damaged.Store(true)
		return schema.Unready(errDamaged, err)
	case db.closed.Load() || unavailable(err):
		return fmt.Errorf("%w: sqlite: %w", domain.ErrUnavailable, err)
	case aboutData(err):
		if ours := defect(err); ours != nil {
			return ours
		}
		return fmt.Errorf("%w: sqlite: %w", domain.ErrRefused, err)
	}
	return fmt.Errorf("sqlite: %w", err)
}

// errDamaged is why some calls fail, or all. It stays so until the file is replaced, which
// takes a restart.
var errDamaged = domain.Errorf(domain.CodeUnavailable, "the database file is damaged: stop the program, and restore the file from a backup")

// damaged reports whether SQLite cannot make sense of what is in the file.
func damaged(err error) bool {
	code := codeOf(err)
	return code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB
}

// codeOf is what SQLite calls the error, without what an extended code adds; 0 if it is
// not SQLite's.
func codeOf(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() & 0xff
	}
	return sqlite3.SQLITE_OK
}

// unavailable reports whether the same call may succeed later: SQLite refuses it for
// another reason than its data, or the caller's wait has ended.
func unavailable(err error) bool {
	if codeOf(err) != sqlite3.SQLITE_OK {
		return !aboutData(err)
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
	switch codeOf(err) {
	case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE:
		return true
	}
	return false
}

// lacks reports whether what SQLite writes to refuses it: the disk is full, failing or
// read-only, or the file is damaged.
func lacks(err error) bool {
	switch codeOf(err) {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM,
		sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_NOLFS, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return true
	}
	return false
}

// aboutStatement reports whether SQLite refused the statement itself and has undone
// nothing else: the file does not have a table that it names, say.
func aboutStatement(err error) bool { return codeOf(err) == sqlite3.SQLITE_ERROR }
