package postgres

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq/oid"

	"github.com/millrace/millrace/domain"
)

// column is one column of many things that are sent with one statement.
type column[S any] struct {
	name, sqlType string
	element       oid.Oid
	value         func(s *S, b []byte) (_ []byte, null bool) // appends it to b
	differs       bool                                       // from thing to thing, as a rule
}

func columnOf[S, T any](name string, t sqlType[T], of func(s *S) T) column[S] {
	return column[S]{name: name, sqlType: t.name, element: t.oid, value: func(s *S, b []byte) ([]byte, bool) {
		v := of(s)
		if t.null != nil && t.null(v) {
			return nil, true
		}
		return t.append(b, v), false
	}}
}

// differing marks a column in which no two things are alike. It is always sent as
// an array, so that there are fewer statements to be prepared.
func differing[S any](c column[S]) column[S] {
	c.differs = true
	return c
}

// of is the column as an argument: as an array, or as a single value if that is
// the same for all.
func (c column[S]) of(all []S) (arg []byte, same bool) {
	if !c.differs {
		if first, ok := c.same(all); ok {
			return first, true
		}
	}
	return arrayOf(c.element, len(all), func(i int, b []byte) ([]byte, bool) { return c.value(&all[i], b) }), false
}

// same returns the value that all have; nil: NULL.
func (c column[S]) same(all []S) (first []byte, ok bool) {
	var room []byte
	for i := range all {
		if i == 0 {
			first, _ = c.value(&all[0], []byte{})
			continue
		}
		v, null := c.value(&all[i], room[:0])
		if null != (first == nil) || !bytes.Equal(v, first) {
			return nil, false
		}
		room = v
	}
	return first, true
}

// equal reports whether two things have the same value. It writes them into room,
// so as not to make two buffers for each.
func (c column[S]) equal(a, b *S, room *[2][]byte) bool {
	x, noX := c.value(a, room[0][:0])
	y, noY := c.value(b, room[1][:0])
	if x != nil {
		room[0] = x
	}
	if y != nil {
		room[1] = y
	}
	return noX == noY && bytes.Equal(x, y)
}

// spread writes things as a source of rows: what differs is unnested from arrays,
// what is the same in all is a single value. The values are those of the columns,
// in a statement that calls the source alias.
func spread[S any](p *parameters, alias string, columns []column[S], all []S) (source string, values []string) {
	var arrays, names []string
	for _, c := range columns {
		arg, same := c.of(all)
		if same {
			values = append(values, p.add(arg, c.sqlType))
			continue
		}
		arrays, names = append(arrays, p.add(arg, c.sqlType+"[]")), append(names, c.name)
		values = append(values, alias+"."+c.name)
	}
	return fmt.Sprintf("unnest(%s) AS %s(%s)", strings.Join(arrays, ", "), alias, strings.Join(names, ", ")), values
}

// namesOf lists the columns.
func namesOf[S any](columns []column[S]) string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	return strings.Join(names, ", ")
}

// written is a task as a statement stores it.
type written struct {
	domain.TaskState
	loadedAt int64 // the version that it must have in the store
	key      int64 // the number of its idempotency key among those of the statement, from 1
}

func writtenOf(tasks []*domain.Task) []written {
	all := make([]written, len(tasks))
	for i, t := range tasks {
		all[i] = written{TaskState: t.State(), loadedAt: t.StoredVersion()}
	}
	return all
}

// born are the columns that never change after the insert, changing are the others.
var (
	idColumn       = differing(columnOf("id", typeUUID, func(s *written) uuid.UUID { return uuid.UUID(s.ID) }))
	loadedAtColumn = differing(columnOf("loaded_at", typeInt, func(s *written) int64 { return s.loadedAt }))
	keyColumn      = differing(columnOf("n", typeInt, func(s *written) int64 { return s.key }))

	born = []column[written]{
		idColumn,
		differing(columnOf("message", typeText, func(s *written) string { return s.Message })),
		columnOf("queue", typeText, func(s *written) string { return string(s.Queue) }),
		columnOf("priority", typeInt, func(s *written) int64 { return int64(s.Priority) }),
		columnOf("timeout", typeIntOrNull, func(s *written) int64 { return s.Timeout.Microseconds() }),
		columnOf("metadata", typePairs, func(s *written) map[string]string { return s.Metadata }),
		columnOf("trace_parent", typeTextOrNull, func(s *written) string { return s.TraceParent }),
		differing(columnOf("created_at", typeTimeOrNull, func(s *written) time.Time { return s.CreatedAt })),
	}
	changing = slices.Concat(always, []column[written]{
		columnOf("run_at", typeTimeOrNull, func(s *written) time.Time { return s.RunAt }),
		columnOf("max_attempts", typeInt, func(s *written) int64 { return int64(s.MaxAttempts) }),
		columnOf("attempt", typeInt, func(s *written) int64 { return int64(s.Attempt) }),
		columnOf("failures", typeInt, func(s *written) int64 { return int64(s.Failures) }),
		columnOf("rescues", typeInt, func(s *written) int64 { return int64(s.Rescues) }),
		columnOf("worker", typeTextOrNull, func(s *written) string { return string(s.Worker) }),
		columnOf("claim_beat", typeInt, func(s *written) int64 { return s.ClaimBeat }),
		columnOf("deadline", typeTimeOrNull, func(s *written) time.Time { return s.Deadline }),
		columnOf("started_at", typeTimeOrNull, func(s *written) time.Time { return s.StartedAt }),
		columnOf("last_error", typeText, func(s *written) string { return s.LastError }),
		columnOf("stop_requested_at", typeTimeOrNull, func(s *written) time.Time { return s.StopRequestedAt }),
		columnOf("result", typeText, func(s *written) string { return s.Result }),
		columnOf("result_truncated", typeBool, func(s *written) bool { return s.ResultTruncated }),
	})
	// always are the columns that every save stores. The mark is one of them, for it
	// comes and goes without a change of the version.
	always = []column[written]{
		columnOf("status", typeText, func(s *written) string { return string(s.Status) }),
		differing(columnOf("updated_at", typeTimeOrNull, func(s *written) time.Time { return s.UpdatedAt })),
		differing(columnOf("version", typeInt, func(s *written) int64 { return s.Version })),
		columnOf("queued_at", typeTimeOrNull, func(s *written) time.Time { return s.QueuedAt }),
	}
)
