package postgres

import (
	"context"
	"database/sql"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var _ application.TaskSearch = (*TaskSearch)(nil)

// TaskSearch finds tasks. It walks the index that fits the filter best, newest
// first, and checks all else of the filter row by row: whatever is asked for, it
// reads no more than a window of that index. It is safe for concurrent use.
type TaskSearch struct {
	db *DB
}

// NewTaskSearch makes a search on db, whose schema Migrate has made.
func NewTaskSearch(db *DB) *TaskSearch { return &TaskSearch{db: db} }

// List returns tasks that match, newest first.
func (s *TaskSearch) List(ctx context.Context, q application.TaskQuery) (application.SearchResult, error) {
	var found hits
	if err := s.read(ctx, func(ctx context.Context, tx *sqlx.Tx) (err error) {
		found, err = list(ctx, tx, q, selectColumns+", ")
		return err
	}); err != nil {
		return application.SearchResult{}, err
	}
	result := application.SearchResult{Tasks: make([]*domain.Task, 0, len(found)), End: found.end(q)}
	for _, r := range found.rows() {
		if t, err := r.task(); err == nil {
			result.Tasks = append(result.Tasks, t)
		} else { // it must not hide the others
			result.Omitted = append(result.Omitted, domain.TaskID(r.ID))
		}
	}
	if found.full() {
		result.End, result.Full = domain.TaskID(found[len(found)-1].At), true
	}
	return result, nil
}

// Count counts what matches in the window.
func (s *TaskSearch) Count(ctx context.Context, q application.TaskQuery) (n int, all bool, err error) {
	err = s.read(ctx, func(ctx context.Context, tx *sqlx.Tx) (err error) {
		n, all, err = count(ctx, tx, q)
		return err
	})
	return n, all, err
}

// read is pool.Read in a transaction, for what keepToIndexes sets.
func (s *TaskSearch) read(ctx context.Context, search func(ctx context.Context, tx *sqlx.Tx) error) error {
	return s.db.calls.Read(ctx, func(ctx context.Context, _ sqlx.QueryerContext) error {
		tx, err := s.db.calls.SQL.BeginTxx(ctx, &sql.TxOptions{ReadOnly: true})
		if err != nil {
			return err
		}
		defer tx.Rollback()
		return search(ctx, tx)
	})
}

// keepToIndexes leaves the planner no plan but to walk an index in its order, so
// that a LIMIT bounds what is read. Left to itself it reads a whole table when its
// statistics are old or none, or when it expects to find enough soon.
const keepToIndexes = `SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off;
	SET LOCAL enable_sort = off; SET LOCAL jit = off`

// hit is a task that matches, or the last of the window.
type hit struct {
	row
	At      uuid.UUID `db:"at"`
	N       int       `db:"n"` // counts what was looked at; 0 if that was all there is
	More    bool      `db:"more"`
	Matched bool      `db:"matched"`
	Found   int       `db:"found"` // hits in all, of which those that are too large are left out; 0: none is
}

type hits []hit

// rows are those that match.
func (all hits) rows() []row {
	rows := make([]row, 0, len(all))
	for _, h := range all {
		if h.Matched {
			rows = append(rows, h.row)
		}
	}
	return rows
}

// ids are those of the tasks that match.
func (all hits) ids() []domain.TaskID {
	ids := make([]domain.TaskID, 0, len(all))
	for _, h := range all {
		if h.Matched {
			ids = append(ids, domain.TaskID(h.At))
		}
	}
	return ids
}

// full reports whether hits were left out because they are too large.
func (all hits) full() bool { return len(all) > 0 && len(all) < all[0].Found }

// end is where the search has stopped, as application.TaskList tells it.
func (all hits) end(q application.TaskQuery) domain.TaskID {
	if len(all) == 0 || len(all) == q.Limit && all[len(all)-1].Matched {
		return domain.TaskID{}
	}
	if last := all[len(all)-1]; last.N == q.Window && last.More {
		return domain.TaskID(last.At)
	}
	return domain.TaskID{}
}

// list finds tasks, of which it reads the given columns.
func list(ctx context.Context, tx *sqlx.Tx, q application.TaskQuery, columns string) (hits, error) {
	s, ok := searchOf(q)
	if !ok {
		return nil, nil
	}
	if err := s.prepare(ctx, tx); err != nil {
		return nil, err
	}
	var found hits
	query, args := s.listSQL(columns)
	err := tx.SelectContext(ctx, &found, query, args...)
	return found, err
}

func count(ctx context.Context, tx *sqlx.Tx, q application.TaskQuery) (n int, all bool, err error) {
	s, ok := searchOf(q)
	if !ok {
		return 0, true, nil
	}
	if err := s.prepare(ctx, tx); err != nil {
		return 0, false, err
	}
	query, args := s.countSQL()
	err = tx.QueryRowContext(ctx, query, args...).Scan(&n, &all)
	return n, all, err
}

// prepare readies the transaction for the search. Tasks that wait or run are
// usually few, and their indexes are in no order of ids: if there are no more of
// them than the window, the search looks at them all.
func (s *search) prepare(ctx context.Context, tx *sqlx.Tx) error {
	if _, err := tx.ExecContext(ctx, keepToIndexes); err != nil || !s.onlyLive() {
		return err
	}
	return tx.GetContext(ctx, &s.fewLive, fewLiveSQL, s.Window)
}
