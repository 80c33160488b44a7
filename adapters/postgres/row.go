package postgres

import (
	"database/sql"
	"encoding/json"
	"fmt"
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
	Queue           string         `db:"queue"`
	Priority        int            `db:"priority"`
	Timeout         sql.NullInt64  `db:"timeout"` // microseconds
	Metadata        sql.NullString `db:"metadata"`
	TraceParent     sql.NullString `db:"trace_parent"`
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
	StartedAt       sql.NullTime   `db:"started_at"`
	LastError       string         `db:"last_error"`
	StopRequestedAt sql.NullTime   `db:"stop_requested_at"`
	Result          string         `db:"result"`
	ResultTruncated bool           `db:"result_truncated"`
}

func (r row) task() (*domain.Task, error) {
	metadata, err := metadataOf(r.Metadata)
	if err != nil {
		return nil, fmt.Errorf("metadata of task %s: %w", r.ID, err)
	}
	return domain.Restore(domain.TaskState{
		ID: domain.TaskID(r.ID), Message: r.Message, Status: domain.Status(r.Status),
		Queue: domain.QueueName(r.Queue), Priority: r.Priority, Timeout: time.Duration(r.Timeout.Int64) * time.Microsecond,
		Metadata: metadata, TraceParent: r.TraceParent.String,
		CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(), Version: r.Version,
		RunAt: r.RunAt.UTC(), QueuedAt: orZero(r.QueuedAt),
		MaxAttempts: r.MaxAttempts, Attempt: r.Attempt, Failures: r.Failures, Rescues: r.Rescues,
		Worker: domain.WorkerID(r.Worker.String), ClaimBeat: r.ClaimBeat, Deadline: orZero(r.Deadline),
		StartedAt: orZero(r.StartedAt), LastError: r.LastError, StopRequestedAt: orZero(r.StopRequestedAt),
		Result: r.Result, ResultTruncated: r.ResultTruncated,
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

// metadataOf reads what metadataText has written.
func metadataOf(text sql.NullString) (pairs map[string]string, err error) {
	if text.Valid {
		err = json.Unmarshal([]byte(text.String), &pairs)
	}
	return pairs, err
}

// metadataText is the pairs as a JSON object; NULL for none.
func metadataText(pairs map[string]string) sql.NullString {
	if len(pairs) == 0 {
		return sql.NullString{}
	}
	text, _ := json.Marshal(pairs) // there is nothing in strings that could fail
	return sql.NullString{String: string(text), Valid: true}
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

func textOrNull(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }

// column is how one column of many things is sent: as one array.
type column[S any] struct {
	name, sqlType string
	array         func(all []S) any
}

func columnOf[S, T any](name, sqlType string, value func(s S) T) column[S] {
	return column[S]{name, sqlType, func(all []S) any {
		values := make([]T, len(all))
		for i, s := range all {
			values[i] = value(s)
		}
		return pq.Array(values)
	}}
}

// born are the columns that never change after the insert, changing are the others.
var (
	idColumn = columnOf("id", "uuid", func(s domain.TaskState) string { return s.ID.String() })
	born     = []column[domain.TaskState]{
		idColumn,
		columnOf("message", "text", func(s domain.TaskState) string { return s.Message }),
		columnOf("queue", "text", func(s domain.TaskState) string { return string(s.Queue) }),
		columnOf("priority", "bigint", func(s domain.TaskState) int64 { return int64(s.Priority) }),
		columnOf("timeout", "bigint", func(s domain.TaskState) sql.NullInt64 {
			return sql.NullInt64{Int64: s.Timeout.Microseconds(), Valid: s.Timeout > 0}
		}),
		columnOf("metadata", "jsonb", func(s domain.TaskState) sql.NullString { return metadataText(s.Metadata) }),
		columnOf("trace_parent", "text", func(s domain.TaskState) sql.NullString { return textOrNull(s.TraceParent) }),
		columnOf("created_at", "timestamptz", func(s domain.TaskState) sql.NullTime { return orNull(s.CreatedAt) }),
	}
	changing = []column[domain.TaskState]{
		columnOf("status", "text", func(s domain.TaskState) string { return string(s.Status) }),
		columnOf("updated_at", "timestamptz", func(s domain.TaskState) sql.NullTime { return orNull(s.UpdatedAt) }),
		columnOf("version", "bigint", func(s domain.TaskState) int64 { return s.Version }),
		columnOf("run_at", "timestamptz", func(s domain.TaskState) sql.NullTime { return orNull(s.RunAt) }),
		columnOf("queued_at", "timestamptz", func(s domain.TaskState) sql.NullTime { return orNull(s.QueuedAt) }),
		columnOf("max_attempts", "bigint", func(s domain.TaskState) int64 { return int64(s.MaxAttempts) }),
		columnOf("attempt", "bigint", func(s domain.TaskState) int64 { return int64(s.Attempt) }),
		columnOf("failures", "bigint", func(s domain.TaskState) int64 { return int64(s.Failures) }),
		columnOf("rescues", "bigint", func(s domain.TaskState) int64 { return int64(s.Rescues) }),
		columnOf("worker", "text", func(s domain.TaskState) sql.NullString { return textOrNull(string(s.Worker)) }),
		columnOf("claim_beat", "bigint", func(s domain.TaskState) int64 { return s.ClaimBeat }),
		columnOf("deadline", "timestamptz", func(s domain.TaskState) sql.NullTime { return orNull(s.Deadline) }),
		columnOf("started_at", "timestamptz", func(s domain.TaskState) sql.NullTime { return orNull(s.StartedAt) }),
		columnOf("last_error", "text", func(s domain.TaskState) string { return s.LastError }),
		columnOf("stop_requested_at", "timestamptz", func(s domain.TaskState) sql.NullTime { return orNull(s.StopRequestedAt) }),
		columnOf("result", "text", func(s domain.TaskState) string { return s.Result }),
		columnOf("result_truncated", "bool", func(s domain.TaskState) bool { return s.ResultTruncated }),
	}
)

// listOf joins what each column contributes to a statement.
func listOf[S any](columns []column[S], part func(i int, c column[S]) string) string {
	parts := make([]string, len(columns))
	for i, c := range columns {
		parts[i] = part(i, c)
	}
	return strings.Join(parts, ", ")
}

func nameOf[S any](_ int, c column[S]) string { return c.name }

func statesOf(tasks []*domain.Task) []domain.TaskState {
	states := make([]domain.TaskState, len(tasks))
	for i, t := range tasks {
		states[i] = t.State()
	}
	return states
}

func arraysOf[S any](columns []column[S], all []S) []any {
	args := make([]any, len(columns))
	for i, c := range columns {
		args[i] = c.array(all)
	}
	return args
}

func namesOf(names []domain.QueueName) any {
	texts := make([]string, len(names)) // no nil, which would be NULL
	for i, n := range names {
		texts[i] = string(n)
	}
	return pq.Array(texts)
}

func uuidsOf(ids []domain.TaskID) any {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = id.String()
	}
	return pq.Array(texts)
}
