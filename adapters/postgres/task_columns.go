package postgres

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/adapters/postgres/internal/pgenc"
	"github.com/millrace/millrace/domain"
)

// written is a task as a statement stores it: what its columns are made of.
type written struct {
	domain.TaskState
	loaded loadedAs // what it must be in the store
	key    int64    // the number of its idempotency key among those of the statement, from 1
}

func writtenOf(tasks []*domain.Task) []written {
	all := make([]written, len(tasks))
	for i, t := range tasks {
		all[i] = written{TaskState: t.State(), loaded: loadedAsOf(t)}
	}
	return all
}

// insertOnlyColumns never change after the insert, mutableColumns are all others.
var (
	idColumn  = pgenc.PerRow(pgenc.ColumnOf("id", pgenc.UUID, func(s *written) uuid.UUID { return uuid.UUID(s.ID) }))
	keyColumn = pgenc.PerRow(pgenc.ColumnOf("n", pgenc.Int, func(s *written) int64 { return s.key }))

	insertOnlyColumns = []pgenc.Column[written]{
		idColumn,
		pgenc.PerRow(pgenc.ColumnOf("message", pgenc.Text, func(s *written) string { return s.Message })),
		pgenc.ColumnOf("queue", pgenc.Text, func(s *written) string { return string(s.Queue) }),
		pgenc.ColumnOf("priority", pgenc.Int, func(s *written) int64 { return int64(s.Priority) }),
		pgenc.ColumnOf("timeout", pgenc.IntOrNull, func(s *written) int64 { return s.Timeout.Microseconds() }),
		pgenc.ColumnOf("metadata", pgenc.PairsOrNull, func(s *written) map[string]string { return s.Metadata }),
		pgenc.ColumnOf("trace_parent", pgenc.TextOrNull, func(s *written) string { return s.TraceParent }),
		pgenc.ColumnOf("trace_state", pgenc.TextOrNull, func(s *written) string { return s.TraceState }),
		pgenc.PerRow(pgenc.ColumnOf("created_at", pgenc.TimeOrNull, func(s *written) time.Time { return s.CreatedAt })),
	}
	mutableColumns = slices.Concat(alwaysUpdated, []pgenc.Column[written]{
		pgenc.ColumnOf("run_at", pgenc.TimeOrNull, func(s *written) time.Time { return s.RunAt }),
		pgenc.ColumnOf("max_attempts", pgenc.Int, func(s *written) int64 { return int64(s.MaxAttempts) }),
		pgenc.ColumnOf("attempt", pgenc.Int, func(s *written) int64 { return int64(s.Attempt) }),
		pgenc.ColumnOf("failures", pgenc.Int, func(s *written) int64 { return int64(s.Failures) }),
		pgenc.ColumnOf("rescues", pgenc.Int, func(s *written) int64 { return int64(s.Rescues) }),
		pgenc.ColumnOf("worker", pgenc.TextOrNull, func(s *written) string { return string(s.Worker) }),
		pgenc.ColumnOf("claim_beat", pgenc.Int, func(s *written) int64 { return s.ClaimBeat }),
		pgenc.ColumnOf("deadline", pgenc.TimeOrNull, func(s *written) time.Time { return s.Deadline }),
		pgenc.ColumnOf("started_at", pgenc.TimeOrNull, func(s *written) time.Time { return s.StartedAt }),
		pgenc.ColumnOf("last_error", pgenc.Text, func(s *written) string { return s.LastError }),
		pgenc.ColumnOf("stop_requested_at", pgenc.TimeOrNull, func(s *written) time.Time { return s.StopRequestedAt }),
		pgenc.ColumnOf("result", pgenc.Text, func(s *written) string { return s.Result }),
		pgenc.ColumnOf("result_truncated", pgenc.Bool, func(s *written) bool { return s.ResultTruncated }),
		pgenc.ColumnOf("result_altered", pgenc.Bool, func(s *written) bool { return s.ResultAltered }),
	})
	// alwaysUpdated are the columns that every save stores. queued_at is one of them, as
	// it comes and goes without a change of the version.
	alwaysUpdated = []pgenc.Column[written]{
		pgenc.ColumnOf("status", pgenc.Text, func(s *written) string { return string(s.Status) }),
		pgenc.PerRow(pgenc.ColumnOf("updated_at", pgenc.TimeOrNull, func(s *written) time.Time { return s.UpdatedAt })),
		pgenc.PerRow(pgenc.ColumnOf("version", pgenc.Int, func(s *written) int64 { return s.Version })),
		pgenc.ColumnOf("queued_at", pgenc.TimeOrNull, func(s *written) time.Time { return s.QueuedAt }),
	}
)
