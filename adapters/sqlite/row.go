package sqlite

import (
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"time"

	"github.com/millrace/millrace/application"
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

// orZero is the time, or zero if it is none that can be read.
func (i instant) orZero() time.Time {
	if !domain.TimesInRange(i.Time) {
		return time.Time{}
	}
	return i.Time
}

// span is a length of time as the file has it: microseconds, NULL if zero.
type span time.Duration

// Value implements driver.Valuer.
func (d span) Value() (driver.Value, error) {
	if d == 0 {
		return nil, nil
	}
	return time.Duration(d).Microseconds(), nil
}

// Scan implements sql.Scanner.
func (d *span) Scan(src any) error {
	switch src := src.(type) {
	case nil:
		*d = 0
	case int64:
		*d = span(time.Duration(src) * time.Microsecond)
	default:
		return fmt.Errorf("a length of time is stored as %T", src)
	}
	return nil
}

// optional is a text that is NULL if empty.
type optional string

// Value implements driver.Valuer.
func (s optional) Value() (driver.Value, error) {
	if s == "" {
		return nil, nil
	}
	return string(s), nil
}

// Scan implements sql.Scanner.
func (s *optional) Scan(src any) error {
	switch src := src.(type) {
	case nil:
		*s = ""
	case string:
		*s = optional(src)
	default:
		return fmt.Errorf("a text is stored as %T", src)
	}
	return nil
}

// pairs are metadata as the file has them: a JSON object, NULL if there are none.
type pairs struct {
	of     map[string]string
	damage error // what is read along with it must not suffer
}

// Value implements driver.Valuer.
func (p pairs) Value() (driver.Value, error) {
	if len(p.of) == 0 {
		return nil, nil
	}
	return toJSON(p.of)
}

// Scan implements sql.Scanner.
func (p *pairs) Scan(src any) error {
	*p = pairs{}
	switch src := src.(type) {
	case nil:
	case string:
		p.damage = json.Unmarshal([]byte(src), &p.of)
	default:
		return fmt.Errorf("metadata are stored as %T", src)
	}
	return nil
}

func toJSON(v any) (string, error) {
	text, err := json.Marshal(v)
	return string(text), err
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

// taskRow is a row of tasks as it is read.
type taskRow struct {
	ID              taskID           `db:"id"`
	Status          domain.Status    `db:"status"`
	Queue           domain.QueueName `db:"queue"`
	Priority        int              `db:"priority"`
	CreatedAt       instant          `db:"created_at"`
	UpdatedAt       instant          `db:"updated_at"`
	Version         int64            `db:"version"`
	RunAt           instant          `db:"run_at"`
	QueuedAt        instant          `db:"queued_at"`
	Timeout         span             `db:"timeout"`
	MaxAttempts     int              `db:"max_attempts"`
	Attempt         int              `db:"attempt"`
	Failures        int              `db:"failures"`
	Rescues         int              `db:"rescues"`
	Worker          optional         `db:"worker"`
	ClaimBeat       int64            `db:"claim_beat"`
	Deadline        instant          `db:"deadline"`
	StartedAt       instant          `db:"started_at"`
	StopRequestedAt instant          `db:"stop_requested_at"`
	ResultTruncated bool             `db:"result_truncated"`
	ResultAltered   bool             `db:"result_altered"`
	TraceParent     optional         `db:"trace_parent"`
	TraceState      optional         `db:"trace_state"`
	Metadata        pairs            `db:"metadata"`
	LastError       string           `db:"last_error"`
	Result          string           `db:"result"`
	Message         string           `db:"message"`
}

// size is about how many bytes the row takes.
func (row *taskRow) size() int {
	n := application.TaskOverhead + len(row.Message) + len(row.Result) + len(row.LastError)
	for key, value := range row.Metadata.of {
		n += len(key) + len(value)
	}
	return n
}

// taskColumns are the columns of a taskRow.
const taskColumns = decidingColumns + `, result, message, trace_state`

// decidingColumns are those that a rule may ask for: see taskRow.withoutTexts.
const decidingColumns = `id, status, queue, priority, created_at, updated_at, version, run_at, queued_at, timeout, max_attempts,
	attempt, failures, rescues, worker, claim_beat, deadline, started_at, stop_requested_at, result_truncated, result_altered,
	trace_parent, metadata, last_error`

// insertArgs are the arguments of insertTask, in the order of taskColumns. Neither
// they nor updateArgs go through sqlx: these two statements are most of the work.
func insertArgs(t *domain.Task) []any {
	s := t.State()
	return []any{
		taskID(s.ID), s.Status, s.Queue, s.Priority, instant{s.CreatedAt}, instant{s.UpdatedAt}, s.Version, instant{s.RunAt},
		instant{s.QueuedAt}, span(s.Timeout), s.MaxAttempts, s.Attempt, s.Failures, s.Rescues, optional(s.Worker), s.ClaimBeat,
		instant{s.Deadline}, instant{s.StartedAt}, instant{s.StopRequestedAt}, s.ResultTruncated, s.ResultAltered,
		optional(s.TraceParent), pairs{of: s.Metadata}, s.LastError, s.Result, s.Message, optional(s.TraceState),
	}
}

// updateArgs are the arguments of updateTask.
func updateArgs(t *domain.Task) []any {
	s, loaded := t.State(), t.Stored()
	return []any{
		s.Status, instant{s.UpdatedAt}, s.Version, instant{s.RunAt}, instant{s.QueuedAt}, s.Attempt, s.Failures, s.Rescues,
		optional(s.Worker), s.ClaimBeat, instant{s.Deadline}, instant{s.StartedAt}, instant{s.StopRequestedAt}, s.ResultTruncated,
		s.ResultAltered, s.LastError, s.Result, taskID(s.ID), t.StoredVersion(), loaded.Attempt, optional(loaded.Worker),
	}
}

// task makes the task again; it fails on a row that no task can be.
func (row *taskRow) task() (*domain.Task, error) { return row.restore(domain.Restore) }

// withoutTexts makes the task of a row of decidingColumns.
func (row *taskRow) withoutTexts() (*domain.Task, error) {
	return row.restore(domain.RestoreWithoutTexts)
}

func (row *taskRow) restore(restore func(domain.TaskState) (*domain.Task, error)) (*domain.Task, error) {
	if err := row.Metadata.damage; err != nil {
		return nil, fmt.Errorf("%w: %w", domain.TaskID(row.ID).Damaged("unreadable metadata"), err)
	}
	return restore(domain.TaskState{
		ID: domain.TaskID(row.ID), Message: row.Message, Queue: row.Queue, Priority: row.Priority, Status: row.Status,
		CreatedAt: row.CreatedAt.Time, UpdatedAt: row.UpdatedAt.Time, Version: row.Version, RunAt: row.RunAt.Time,
		QueuedAt: row.QueuedAt.Time, MaxAttempts: row.MaxAttempts, Timeout: time.Duration(row.Timeout), Metadata: row.Metadata.of,
		TraceParent: string(row.TraceParent), TraceState: string(row.TraceState), Attempt: row.Attempt, Failures: row.Failures, Rescues: row.Rescues,
		Worker: domain.WorkerID(row.Worker), ClaimBeat: row.ClaimBeat, Deadline: row.Deadline.Time, StartedAt: row.StartedAt.Time,
		LastError: row.LastError, StopRequestedAt: row.StopRequestedAt.Time,
		Result: row.Result, ResultTruncated: row.ResultTruncated, ResultAltered: row.ResultAltered,
	})
}
