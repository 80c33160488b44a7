package postgres

import (
	"database/sql"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"

	"github.com/millrace/millrace/domain"
)

// row is a task as PostgreSQL has it.
type row struct {
	ID              uuid.UUID      `db:"id"`
	Message         string         `db:"message"`
	Status          string         `db:"status"`
	CreatedAt       time.Time      `db:"created_at"`
	UpdatedAt       time.Time      `db:"updated_at"`
	Version         int64          `db:"version"`
	RunAt           time.Time      `db:"run_at"`
	QueuedAt        sql.NullTime   `db:"queued_at"`
	MaxAttempts     int            `db:"max_attempts"`
	Attempt         int            `db:"attempt"`
	Failures        int            `db:"failures"`
	Rescues         int            `db:"rescues"`
	Worker          sql.NullString `db:"worker"`
	ClaimBeat       int64          `db:"claim_beat"`
	Deadline        sql.NullTime   `db:"deadline"`
	LastError       string         `db:"last_error"`
	StopRequestedAt sql.NullTime   `db:"stop_requested_at"`
}

func (r row) task() (*domain.Task, error) {
	return domain.Restore(domain.TaskState{
		ID: domain.TaskID(r.ID), Message: r.Message, Status: domain.Status(r.Status),
		CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(), Version: r.Version,
		RunAt: r.RunAt.UTC(), QueuedAt: orZero(r.QueuedAt),
		MaxAttempts: r.MaxAttempts, Attempt: r.Attempt, Failures: r.Failures, Rescues: r.Rescues,
		Worker: domain.WorkerID(r.Worker.String), ClaimBeat: r.ClaimBeat, Deadline: orZero(r.Deadline),
		LastError: r.LastError, StopRequestedAt: orZero(r.StopRequestedAt),
	})
}

func restoreAll(rows []row) ([]*domain.Task, error) {
	tasks := make([]*domain.Task, 0, len(rows))
	for _, r := range rows {
		t, err := r.task()
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, t)
	}
	return tasks, nil
}

func orZero(t sql.NullTime) time.Time {
	if !t.Valid {
		return time.Time{}
	}
	return t.Time.UTC()
}

// moment is the resolution of timestamptz. The server would round, the domain truncates.
func moment(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

func orNull(t time.Time) sql.NullTime { return sql.NullTime{Time: t, Valid: !t.IsZero()} }

// column is how one column of many tasks is sent: as one array.
type column struct {
	name, sqlType string
	array         func(states []domain.TaskState) any
}

func columnOf[T any](name, sqlType string, value func(s domain.TaskState) T) column {
	return column{name, sqlType, func(states []domain.TaskState) any {
		values := make([]T, len(states))
		for i, s := range states {
			values[i] = value(s)
		}
		return pq.Array(values)
	}}
}

// born are the columns that never change after the insert, changing are the others.
var (
	idColumn = columnOf("id", "uuid", func(s domain.TaskState) string { return s.ID.String() })
	born     = []column{
		idColumn,
		columnOf("message", "text", func(s domain.TaskState) string { return s.Message }),
		columnOf("created_at", "timestamptz", func(s domain.TaskState) sql.NullTime { return orNull(s.CreatedAt) }),
	}
	changing = []column{
		columnOf("status", "text", func(s domain.TaskState) string { return string(s.Status) }),
		columnOf("updated_at", "timestamptz", func(s domain.TaskState) sql.NullTime { return orNull(s.UpdatedAt) }),
		columnOf("version", "bigint", func(s domain.TaskState) int64 { return s.Version }),
		columnOf("run_at", "timestamptz", func(s domain.TaskState) sql.NullTime { return orNull(s.RunAt) }),
		columnOf("queued_at", "timestamptz", func(s domain.TaskState) sql.NullTime { return orNull(s.QueuedAt) }),
		columnOf("max_attempts", "bigint", func(s domain.TaskState) int64 { return int64(s.MaxAttempts) }),
		columnOf("attempt", "bigint", func(s domain.TaskState) int64 { return int64(s.Attempt) }),
		columnOf("failures", "bigint", func(s domain.TaskState) int64 { return int64(s.Failures) }),
		columnOf("rescues", "bigint", func(s domain.TaskState) int64 { return int64(s.Rescues) }),
		columnOf("worker", "text", func(s domain.TaskState) sql.NullString {
			return sql.NullString{String: string(s.Worker), Valid: s.Worker != ""}
		}),
		columnOf("claim_beat", "bigint", func(s domain.TaskState) int64 { return s.ClaimBeat }),
		columnOf("deadline", "timestamptz", func(s domain.TaskState) sql.NullTime { return orNull(s.Deadline) }),
		columnOf("last_error", "text", func(s domain.TaskState) string { return s.LastError }),
		columnOf("stop_requested_at", "timestamptz", func(s domain.TaskState) sql.NullTime { return orNull(s.StopRequestedAt) }),
	}
)

// listOf joins what each column contributes to a statement.
func listOf(columns []column, part func(i int, c column) string) string {
	parts := make([]string, len(columns))
	for i, c := range columns {
		parts[i] = part(i, c)
	}
	return strings.Join(parts, ", ")
}

func nameOf(_ int, c column) string { return c.name }

func statesOf(tasks []*domain.Task) []domain.TaskState {
	states := make([]domain.TaskState, len(tasks))
	for i, t := range tasks {
		states[i] = t.State()
	}
	return states
}

func arraysOf(columns []column, states []domain.TaskState) []any {
	args := make([]any, len(columns))
	for i, c := range columns {
		args[i] = c.array(states)
	}
	return args
}

func uuidsOf(ids []domain.TaskID) any {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = id.String()
	}
	return pq.Array(texts)
}
