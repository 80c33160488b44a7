package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/adapters/internal/room"
	"github.com/millrace/millrace/adapters/internal/schema"
	"github.com/millrace/millrace/adapters/postgres/internal/pgconn"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var (
	_ application.Probe = (*DB)(nil)
	_ application.Probe = sideProbe{}
)

// Probe reports whether the server answers, has the schema that this program needs, takes
// writes, grants the rights without which no task runs, and has room for tasks, within
// Limits.Probe. Whatever keeps it from that is an outage. Of all tables it touches tasks
// alone: a lock on another is told by the work that it is in the way of.
//
// All who ask meanwhile share one probe: behind a locked table each would hold a connection.
func (db *DB) Probe(ctx context.Context) error {
	answers := db.probing.DoChan("", func() (any, error) { return nil, db.probeAlone(context.WithoutCancel(ctx)) })
	select {
	case answer := <-answers:
		return answer.Err
	case <-ctx.Done():
		return pgconn.Translate(ctx.Err())
	}
}

func (db *DB) probeAlone(ctx context.Context) error {
	return db.probe(ctx, func(ctx context.Context) error {
		err := db.checkSchema(ctx)
		if err == nil {
			err = db.proveWrites(ctx)
		}
		if err == nil {
			err = db.proveRoom(ctx)
		}
		if pgconn.SQLState(err) != "" && !errors.Is(err, domain.ErrUnavailable) {
			err = pgconn.Outage(err)
		}
		return err
	})
}

// SideTables is the Probe of what tasks run without, most of them: the rights on the other
// tables.
func (db *DB) SideTables() application.Probe { return sideProbe{db} }

type sideProbe struct{ db *DB }

// Probe names the rights that are missing. A server that does not answer is none of its
// business.
func (s sideProbe) Probe(ctx context.Context) error {
	return s.db.probe(ctx, func(ctx context.Context) error {
		missing, err := s.db.missingRights(ctx, func(table string) bool { return sideTables[table] })
		if err == nil && missing != "" {
			return domain.Errorf(domain.CodeUnavailable, "%s", missing)
		}
		return nil
	})
}

// proveWriteSQL inserts no row into tasks, which needs the right to, a server that is not
// read-only and a table that nobody has locked, and writes an empty record to the log of
// the server, whose commit is flushed, and confirmed by a synchronous standby. It leaves
// no dead row. The server gives up before the probe does, and so says what is in the way.
const proveWriteSQL = `SET LOCAL lock_timeout = '1s';
WITH none AS (INSERT INTO tasks SELECT * FROM tasks WHERE false RETURNING 1)
SELECT (SELECT count(*) FROM none) FROM pg_logical_emit_message(true, 'millrace', '')`

// provenFor is how long a proof serves later probes, so that many who ask cost one flush.
const provenFor = 2 * time.Second

// proveWrites proves that the server takes our writes. Whether there is room for them is
// another question.
func (db *DB) proveWrites(ctx context.Context) error {
	if last, ok := db.proven.Load().(time.Time); ok && time.Since(last) < provenFor {
		return nil
	}
	if err := db.proveRights(ctx); err != nil {
		return err
	}
	err := db.calls.Read(ctx, func(ctx context.Context, _ sqlx.QueryerContext) error {
		_, err := db.calls.SQL.ExecContext(ctx, proveWriteSQL)
		return err
	})
	if pgconn.Locked(err) {
		return pgconn.OutageBecause("somebody has locked the table tasks: " + application.ReasonOf(err))
	}
	if err != nil {
		return fmt.Errorf("prove that the database takes writes: %w", err)
	}
	db.proven.Store(time.Now())
	return nil
}

// proveRoom proves that there is room for tasks, if that is in doubt: since a write has
// failed for what the server lacks, or because a temporary file finds no room. Then a
// task is stored and rolled back. The doubt after a failed write lasts until that works:
// the writes that go on, such as heartbeats, need no new page.
func (db *DB) proveRoom(ctx context.Context) error {
	doubt := db.calls.Shortage.Last()
	if doubt == nil {
		if err := db.spill(ctx); !pgconn.Lacks(err) {
			return err
		}
	}
	err := db.tryToStore(ctx)
	switch {
	case err == nil, pgconn.AboutData(err): // a trigger that refuses this task has had room for it
		db.calls.Shortage.Over(doubt)
		db.roomy.Store(time.Now()) // else each probe would store, as long as temporary files find no room
		return nil
	case pgconn.DiskFull(err):
		return schema.Unready(room.ErrDiskFull, err)
	case pgconn.Lacks(err):
		return schema.Unready(domain.Errorf(domain.CodeUnavailable,
			"the database cannot store a task, for what its server lacks (SQLSTATE %s)", pgconn.SQLState(err)), err)
	}
	return fmt.Errorf("try whether a task can be stored: %w", err)
}

// roomyFor is how long a spill that succeeded serves later probes.
const roomyFor = 5 * time.Second

// spillSQL has the server write a good MiB to a temporary file, which is on the disk of the
// database and leaves nothing there. Whoever has such files logged is spared the lines.
const spillSQL = `SET LOCAL work_mem = '64kB'; SET LOCAL temp_tablespaces = '';
WITH filler AS MATERIALIZED (SELECT repeat('x', 1000) FROM generate_series(1,
	CASE WHEN pg_size_bytes(current_setting('log_temp_files')) BETWEEN 0 AND 2000000 THEN 0 ELSE 1200 END))
SELECT count(*) FROM filler`

// spill finds out cheaply whether the disk is full, for a program that stores nothing just
// now. What else keeps a server from writing temporary files, such as temp_file_limit,
// says nothing of tasks.
func (db *DB) spill(ctx context.Context) error {
	if last, ok := db.roomy.Load().(time.Time); ok && time.Since(last) < roomyFor {
		return nil
	}
	err := db.calls.Read(ctx, func(ctx context.Context, _ sqlx.QueryerContext) error {
		_, err := db.calls.SQL.ExecContext(ctx, spillSQL)
		return err
	})
	if pgconn.Lacks(err) || pgconn.SQLState(err) == "" && err != nil {
		return err
	}
	db.roomy.Store(time.Now())
	return nil
}

// tryToStore stores a task and rolls that back. It leaves dead rows, unlike proveWrites.
func (db *DB) tryToStore(ctx context.Context) error {
	task, err := room.Task()
	if err != nil {
		return err
	}
	query, args := insertOf([]*domain.Task{task})
	return db.calls.Read(ctx, func(ctx context.Context, _ sqlx.QueryerContext) error {
		tx, err := db.calls.SQL.BeginTxx(ctx, nil)
		if err != nil {
			return err
		}
		return errors.Join(query.Exec(ctx, tx, args...), tx.Rollback())
	})
}

// probe leaves ask behind when the time is up: a stalled link holds its caller for
// CallTimeout, which may be longer.
func (db *DB) probe(ctx context.Context, ask func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, db.cfg.Limits().Probe)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- ask(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return pgconn.Translate(ctx.Err())
	}
}
