package sqlite

import (
	"database/sql/driver"
	"fmt"
	"time"

	"github.com/millrace/millrace/domain"
)

// instant is a time as the file has it: microseconds since 1970, NULL if zero.
type instant struct{ time.Time }

// Value implements driver.Valuer.
func (i instant) Value() (driver.Value, error) {
	if i.IsZero() {
		return nil, nil
	}
	return i.UnixMicro(), nil
}

// Scan implements sql.Scanner.
func (i *instant) Scan(src any) error {
	switch src := src.(type) {
	case nil:
		i.Time = time.Time{}
	case int64:
		i.Time = time.UnixMicro(src).UTC()
	default:
		return fmt.Errorf("a time is stored as %T", src)
	}
	return nil
}

// taskID is an id as the file has it: 16 bytes, which sort as ids do.
type taskID domain.TaskID

// Value implements driver.Valuer.
func (id taskID) Value() (driver.Value, error) { return id[:], nil }

// Scan implements sql.Scanner.
func (id *taskID) Scan(src any) error {
	b, ok := src.([]byte)
	if !ok || len(b) != len(id) {
		return fmt.Errorf("an id is stored as %T of %d bytes", src, len(b))
	}
	copy(id[:], b)
	return nil
}

// taskRow is a row of tasks. Stored is no column: it is the version that an
// update expects to find.
type taskRow struct {
	ID              taskID        `db:"id"`
	Status          domain.Status `db:"status"`
	CreatedAt       instant       `db:"created_at"`
	UpdatedAt       instant       `db:"updated_at"`
	Version         int64         `db:"version"`
	RunAt           instant       `db:"run_at"`
	QueuedAt        instant       `db:"queued_at"`
	MaxAttempts     int           `db:"max_attempts"`
	Attempt         int           `db:"attempt"`
	Failures        int           `db:"failures"`
	Rescues         int           `db:"rescues"`
	Worker          *string       `db:"worker"`
	ClaimBeat       int64         `db:"claim_beat"`
	Deadline        instant       `db:"deadline"`
	StartedAt       instant       `db:"started_at"`
	StopRequestedAt instant       `db:"stop_requested_at"`
	ResultTruncated bool          `db:"result_truncated"`
	LastError       string        `db:"last_error"`
	Result          string        `db:"result"`
	Message         string        `db:"message"`
	Stored          int64         `db:"stored"`
}

// taskColumns are the columns of a taskRow.
const taskColumns = `id, status, created_at, updated_at, version, run_at, queued_at, max_attempts, attempt,
	failures, rescues, worker, claim_beat, deadline, started_at, stop_requested_at, result_truncated, last_error, result, message`

func rowOf(t *domain.Task) *taskRow {
	s := t.State()
	row := &taskRow{
		ID: taskID(s.ID), Message: s.Message, Status: s.Status, CreatedAt: instant{s.CreatedAt}, UpdatedAt: instant{s.UpdatedAt},
		Version: s.Version, RunAt: instant{s.RunAt}, QueuedAt: instant{s.QueuedAt}, MaxAttempts: s.MaxAttempts, Attempt: s.Attempt,
		Failures: s.Failures, Rescues: s.Rescues, ClaimBeat: s.ClaimBeat, Deadline: instant{s.Deadline},
		StartedAt: instant{s.StartedAt}, LastError: s.LastError, StopRequestedAt: instant{s.StopRequestedAt},
		Result: s.Result, ResultTruncated: s.ResultTruncated, Stored: t.StoredVersion(),
	}
	if s.Worker != "" {
		worker := string(s.Worker)
		row.Worker = &worker
	}
	return row
}

// task makes the task again; it fails on a row that no task can be.
func (row *taskRow) task() (*domain.Task, error) {
	s := domain.TaskState{
		ID: domain.TaskID(row.ID), Message: row.Message, Status: row.Status, CreatedAt: row.CreatedAt.Time, UpdatedAt: row.UpdatedAt.Time,
		Version: row.Version, RunAt: row.RunAt.Time, QueuedAt: row.QueuedAt.Time, MaxAttempts: row.MaxAttempts, Attempt: row.Attempt,
		Failures: row.Failures, Rescues: row.Rescues, ClaimBeat: row.ClaimBeat, Deadline: row.Deadline.Time,
		StartedAt: row.StartedAt.Time, LastError: row.LastError, StopRequestedAt: row.StopRequestedAt.Time,
		Result: row.Result, ResultTruncated: row.ResultTruncated,
	}
	if row.Worker != nil {
		s.Worker = domain.WorkerID(*row.Worker)
	}
	return domain.Restore(s)
}
