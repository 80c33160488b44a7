package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"sync/atomic"

	"github.com/gofrs/flock"
	"github.com/jmoiron/sqlx"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/millrace/millrace/adapters/internal/group"
	"github.com/millrace/millrace/application"
)

// ErrInUse says that another process, or another Open, has the file.
var ErrInUse = errors.New("the database is in use by another process")

// readers bounds how many reads go on side by side; they never wait for the writer.
const readers = 4

// DB is an open file of tasks. It is safe for concurrent use.
type DB struct {
	writer *sqlx.DB // one connection: whoever holds it is the one who writes
	reader *sqlx.DB // cannot write
	lock   *flock.Flock
	closed atomic.Bool

	reads      reads                 // of reader
	statements statements            // of writer; both last as long as their connections do
	together   *group.Group[*change] // what writeTogether was asked for
}

var _ application.Probe = (*DB)(nil)

// Open opens the file, creating it if there is none, and closes it by the
// function that it returns, after which every call is domain.ErrUnavailable.
// While it is open, any other Open of the file fails with ErrInUse, wrapped; the
// kernel ends that when the process dies, however it does. Call Migrate before
// anything else.
func Open(path string) (*DB, func(), error) {
	given := path
	path, err := canonical(path)
	if err != nil {
		return nil, nil, fmt.Errorf("open database %s: %w", given, err)
	}
	lock := flock.New(path + ".lock")
	locked, err := lock.TryLock()
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("lock database %s: %w", path, err)
	case !locked:
		return nil, nil, fmt.Errorf("open database %s: %w", path, ErrInUse)
	}
	db := &DB{
		lock: lock, reads: reads{stmts: map[string]*sqlx.Stmt{}},
		statements: statements{plain: map[string]*sqlx.Stmt{}, named: map[string]*sqlx.NamedStmt{}},
	}
	db.together = group.New(group.Config[*change]{
		Commit: db.commit, Size: (*change).size, MaxCount: sharedTasks, MaxWeight: sharedBytes, MaxStall: sharedMaxStall,
	})
	if err := db.connect(path); err != nil {
		db.close()
		return nil, nil, fmt.Errorf("open database %s: %w", path, err)
	}
	return db, db.close, nil
}

// canonical makes the path absolute and free of links, so that a file has one
// lock by whatever name it is opened.
func canonical(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	target, err := filepath.EvalSymlinks(abs)
	if errors.Is(err, fs.ErrNotExist) { // it is about to be created
		dir, dirErr := filepath.EvalSymlinks(filepath.Dir(abs))
		return filepath.Join(dir, filepath.Base(abs)), dirErr
	}
	return target, err
}

// connect opens both pools and sees that the file can be written ahead.
func (db *DB) connect(path string) error {
	var err error
	// Immediate: a transaction that is going to write says so at its start, and never
	// fails half-way because of another.
	if db.writer, err = pool(path, 1, url.Values{"_txlock": {"immediate"},
		"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)"}}); err != nil {
		return err
	}
	if db.reader, err = pool(path, readers, url.Values{
		"_pragma": {"busy_timeout(5000)", "synchronous(FULL)", "foreign_keys(1)", "query_only(1)"}}); err != nil {
		return err
	}
	var mode string
	if err := db.writer.Get(&mode, "PRAGMA journal_mode"); err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("the file system does not allow write-ahead logging (journal mode %s)", mode)
	}
	return nil
}

// pool opens up to n connections, which stay open.
func pool(path string, n int, settings url.Values) (*sqlx.DB, error) {
	name := (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: settings.Encode()}).String()
	pool, err := sqlx.Open("sqlite", name)
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(n)
	pool.SetMaxIdleConns(n)
	return pool, nil
}

func (db *DB) close() {
	if db.closed.Swap(true) {
		return
	}
	db.together.Close()
	for _, pool := range []*sqlx.DB{db.reader, db.writer} { // the last to go writes the log back
		if pool != nil {
			_ = pool.Close()
		}
	}
	_ = db.lock.Close() // the lock file stays: to remove it would race with who opens it next
}
