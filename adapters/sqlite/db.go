package sqlite

import (
	"fmt"
	"net/url"
	"sync/atomic"

	"github.com/jmoiron/sqlx"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/millrace/millrace/adapters/internal/group"
	"github.com/millrace/millrace/application"
)

// readers bounds how many reads go on side by side; they never wait for the writer.
const readers = 4

// DB is an open file of tasks. It is safe for concurrent use.
type DB struct {
	writer *sqlx.DB // one connection: whoever holds it is the one who writes
	reader *sqlx.DB // cannot write
	keeper *sqlx.DB // its one connection keeps the write-ahead log from being made anew
	file   *file
	closed atomic.Bool
	// damaged: SQLite has met something in the file that it cannot make sense of
	damaged atomic.Bool

	reads      reads                 // of reader
	statements statements            // of writer; both last as long as their connections do
	together   *group.Group[*change] // what writeTogether was asked for
	holders    sweepHolders
	room       roomProof
}

var _ application.Probe = (*DB)(nil)

// Option is something about Open that is not the same for all.
type Option func(*group.Config[*change])

// OnCommit has committed told how many writes of concurrent callers have shared a
// commit. It must not block.
func OnCommit(committed func(writes int)) Option {
	return func(c *group.Config[*change]) { c.Committed = committed }
}

// Open opens the file, creating it if there is none, and closes it by the
// function that it returns, after which every call is domain.ErrUnavailable.
// While it is open, any other Open of the file fails with ErrInUse, wrapped, by whatever
// path; the kernel ends that when the process dies, however it does. When the file is
// moved, removed or replaced, every call is domain.ErrUnavailable until it is back: what
// would be stored is lost with the process. Call Migrate before anything else.
func Open(path string, options ...Option) (*DB, func(), error) {
	given := path
	path, err := canonical(path)
	if err != nil {
		return nil, nil, fmt.Errorf("open database %s: %w", given, err)
	}
	f, err := openFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("open database %s: %w", path, err)
	}
	db := &DB{
		file: f, reads: reads{stmts: map[string]*sqlx.Stmt{}}, room: roomProof{proving: make(chan struct{}, 1)},
		statements: statements{plain: map[string]*sqlx.Stmt{}, named: map[string]*sqlx.NamedStmt{}},
	}
	shared := group.Config[*change]{
		Commit: db.commit, Size: (*change).size, MaxCount: sharedTasks, MaxWeight: sharedBytes, MaxStall: sharedMaxStall,
	}
	for _, option := range options {
		option(&shared)
	}
	db.together = group.New(shared)
	if err := db.connect(path); err != nil {
		db.close()
		return nil, nil, fmt.Errorf("open database %s: %w", path, err)
	}
	return db, db.close, nil
}

// connect opens the pools and sees that the file can be written ahead.
func (db *DB) connect(path string) error {
	var err error
	// Immediate: a transaction that is going to write says so at its start, and never
	// fails half-way because of another. What a burst or a long read has made of the
	// write-ahead log is given back to the disk by the next checkpoint, but for 16 MiB.
	if db.writer, err = pool(path, 1, url.Values{"_txlock": {"immediate"},
		"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
			"journal_size_limit(16777216)"}}); err != nil {
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
	if db.keeper, err = pool(path, 1, url.Values{"_pragma": {"busy_timeout(5000)", "query_only(1)"}}); err != nil {
		return err
	}
	var tables int
	if err := db.keeper.Get(&tables, "SELECT count(*) FROM sqlite_schema"); err != nil {
		return err
	}
	return db.file.opened()
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
	for _, pool := range []*sqlx.DB{db.keeper, db.reader, db.writer} { // the last to go writes the log back
		if pool != nil {
			_ = pool.Close()
		}
	}
	db.file.close()
}
