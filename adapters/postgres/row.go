package postgres

import (
	"database/sql"
	"encoding/json"
	"fmt"
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
	TraceState      sql.NullString `db:"trace_state"`
	Status          string         `db:"status"`
	CreatedAt       instant        `db:"created_at"`
	UpdatedAt       instant        `db:"updated_at"`
	Version         int64          `db:"version"`
	RunAt           instant        `db:"run_at"`
	QueuedAt        instant        `db:"queued_at"`
	MaxAttempts     int            `db:"max_attempts"`
	Attempt         int            `db:"attempt"`
	Failures        int            `db:"failures"`
	Rescues         int            `db:"rescues"`
	Worker          sql.NullString `db:"worker"`
	ClaimBeat       int64          `db:"claim_beat"`
	Deadline        instant        `db:"deadline"`
	StartedAt       instant        `db:"started_at"`
	LastError       string         `db:"last_error"`
	StopRequestedAt instant        `db:"stop_requested_at"`
	Result          string         `db:"result"`
	ResultTruncated bool           `db:"result_truncated"`
	ResultAltered   bool           `db:"result_altered"`
}

// task makes the task of a row that was read whole.
func (r row) task() (*domain.Task, error) { return r.restore(domain.Restore) }

// withoutTexts makes the task of a row of decidingColumns.
func (r row) withoutTexts() (*domain.Task, error) { return r.restore(domain.RestoreWithoutTexts) }

func (r row) restore(restore func(domain.TaskState) (*domain.Task, error)) (*domain.Task, error) {
	metadata, err := metadataOf(r.Metadata)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", domain.TaskID(r.ID).Damaged("unreadable metadata"), err)
	}
	return restore(domain.TaskState{
		ID: domain.TaskID(r.ID), Message: r.Message, Status: domain.Status(r.Status),
		Queue: domain.QueueName(r.Queue), Priority: r.Priority, Timeout: time.Duration(r.Timeout.Int64) * time.Microsecond,
		Metadata: metadata, TraceParent: r.TraceParent.String, TraceState: r.TraceState.String,
		CreatedAt: r.CreatedAt.Time, UpdatedAt: r.UpdatedAt.Time, Version: r.Version,
		RunAt: r.RunAt.Time, QueuedAt: r.QueuedAt.Time,
		MaxAttempts: r.MaxAttempts, Attempt: r.Attempt, Failures: r.Failures, Rescues: r.Rescues,
		Worker: domain.WorkerID(r.Worker.String), ClaimBeat: r.ClaimBeat, Deadline: r.Deadline.Time,
		StartedAt: r.StartedAt.Time, LastError: r.LastError, StopRequestedAt: r.StopRequestedAt.Time,
		Result: r.Result, ResultTruncated: r.ResultTruncated, ResultAltered: r.ResultAltered,
	})
}

// instant is a time as it is read: UTC, zero for NULL. One that no time.Time can be,
// such as infinity, is out of range and no error: what is read along with it must not
// suffer.
type instant struct{ time.Time }

// Scan implements sql.Scanner.
func (i *instant) Scan(src any) error {
	switch src := src.(type) {
	case nil:
		i.Time = time.Time{}
	case time.Time:
		i.Time = src.UTC()
	default:
		i.Time = domain.LatestTime.Add(time.Hour)
	}
	return nil
}

// idList is an array of ids as it is read. What is no list of ids is noted, and is no
// error of the statement: that would be taken for an outage.
type idList struct {
	ids    []domain.TaskID
	damage error
}

// Scan implements sql.Scanner.
func (l *idList) Scan(src any) error {
	*l = idList{}
	var texts pq.StringArray
	l.damage = texts.Scan(src)
	for _, text := range texts {
		id, err := uuid.Parse(text)
		if err != nil {
			l.damage = err
		}
		l.ids = append(l.ids, domain.TaskID(id))
	}
	return nil
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

func orNull(t time.Time) sql.NullTime { return sql.NullTime{Time: t, Valid: !t.IsZero()} }
