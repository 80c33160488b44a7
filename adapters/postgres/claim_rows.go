package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/adapters/postgres/internal/pgconn"
	"github.com/millrace/millrace/adapters/postgres/internal/pgenc"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// returned is what a claim asks of its tasks: neither what it has set itself, nor what
// follows from the rest (see domain.RestoreClaimed). A time that is what it most often is,
// that of the claim or of the creation, is NULL. The rest of them, and the id, come in
// binary, which the driver would ask for as text.
const returned = ` RETURNING uuid_send(t.id), t.message, t.queue, t.priority, t.timeout, t.metadata, t.trace_parent, t.trace_state,
	timestamptz_send(t.created_at), timestamptz_send(nullif(t.updated_at, $4)), t.version,
	timestamptz_send(nullif(t.run_at, t.created_at)), t.max_attempts, t.attempt, t.failures, t.rescues, nullif(t.last_error, '')`

// claimedRow is a task that a statement has claimed, or why it cannot be read.
type claimedRow struct {
	id   domain.TaskID
	task *domain.Task
	err  error
}

func claimedIDs(rows []claimedRow) []domain.TaskID {
	ids := make([]domain.TaskID, len(rows))
	for i := range rows {
		ids[i] = rows[i].id
	}
	return ids
}

// bytesOf is how long the messages are.
func bytesOf(rows []claimedRow) (n int) {
	for i := range rows {
		if rows[i].err == nil {
			n += len(rows[i].task.Message())
		}
	}
	return n
}

// selectClaimed runs a statement that claims the ids.
func selectClaimed(ctx context.Context, x sqlx.QueryerContext, s pgconn.Stmt, c application.ClaimRequest, ids []domain.TaskID) ([]claimedRow, error) {
	rows := make([]claimedRow, 0, len(ids))
	var of rowReader
	dest := of.dest()
	now := domain.Moment(c.Now)
	err := s.Each(ctx, x, func(found *sql.Rows) error {
		if err := found.Scan(dest...); err != nil {
			return err
		}
		task, err := of.task(c.Claim, now)
		rows = append(rows, claimedRow{of.state.ID, task, err})
		return nil
	}, claimArgs(c, ids)...)
	return rows, err
}

// rowReader reads the rows of a claim, each into the same places: tens of thousands are
// read in a second, and reflection and a row type cost as much as the rest.
type rowReader struct {
	state    domain.TaskState
	metadata sql.NullString
}

// dest are the places of the columns that are returned.
func (r *rowReader) dest() []any {
	s := &r.state
	return []any{
		scanInto(&s.ID, idOf), scanInto(&s.Message, textOf), scanInto((*string)(&s.Queue), textOf), scanInto(&s.Priority, numberOf[int]),
		scanInto(&s.Timeout, microsecondsOf), &r.metadata, scanInto(&s.TraceParent, textOf), scanInto(&s.TraceState, textOf),
		scanInto(&s.CreatedAt, timeOf), scanInto(&s.UpdatedAt, timeOf), scanInto(&s.Version, numberOf[int64]),
		scanInto(&s.RunAt, timeOf), scanInto(&s.MaxAttempts, numberOf[int]), scanInto(&s.Attempt, numberOf[int]),
		scanInto(&s.Failures, numberOf[int]), scanInto(&s.Rescues, numberOf[int]), scanInto(&s.LastError, textOf),
	}
}

// task makes the task of the row that was read last.
func (r *rowReader) task(c domain.Claim, now time.Time) (_ *domain.Task, err error) {
	s := &r.state
	if s.Metadata, err = metadataOf(r.metadata); err != nil {
		return nil, fmt.Errorf("metadata of task %s: %w", s.ID, err)
	}
	if s.UpdatedAt.IsZero() {
		s.UpdatedAt = now
	}
	if s.RunAt.IsZero() {
		s.RunAt = s.CreatedAt
	}
	return domain.RestoreClaimed(*s, c)
}

// scanner is a place for a value of the driver.
type scanner func(src any) error

// Scan implements sql.Scanner.
func (s scanner) Scan(src any) error { return s(src) }

// scanInto reads a value with read; NULL is the zero value.
func scanInto[T any](to *T, read func(src any) (T, bool)) scanner {
	return func(src any) error {
		var ok bool
		if src == nil {
			var zero T
			*to = zero
		} else if *to, ok = read(src); !ok {
			return fmt.Errorf("a %T is no %T", src, *to)
		}
		return nil
	}
}

func textOf(src any) (string, bool) {
	text, ok := src.(string)
	return text, ok
}

func numberOf[N ~int | ~int64](src any) (N, bool) {
	n, ok := src.(int64)
	return N(n), ok
}

func microsecondsOf(src any) (time.Duration, bool) {
	n, ok := src.(int64)
	return time.Duration(n) * time.Microsecond, ok
}

func idOf(src any) (id domain.TaskID, ok bool) {
	b, _ := src.([]byte)
	return id, copy(id[:], b) == len(b) && len(b) == len(id)
}

// timeOf reads what timestamptz_send has sent. The first moment of all, which is the zero
// of time.Time, is no moment that a task can have, and must not pass for NULL.
func timeOf(src any) (time.Time, bool) {
	b, _ := src.([]byte)
	t, ok := pgenc.ReadTime(b)
	if t.IsZero() {
		t = domain.LatestTime.Add(time.Hour)
	}
	return t, ok
}
