package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/millrace/millrace/adapters/postgres/internal/pgconn"
	"github.com/millrace/millrace/adapters/postgres/internal/pgenc"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// claimable is what a claim may take: $1 the ids, $2 the statuses. The CASE hides
// from the planner that an index holds just what is queued: as long as the
// statistics do not know of a million tasks there, it would go through all of them.
const claimable = "t.id = ANY($1::uuid[]) AND CASE WHEN t.status = ANY($2::text[]) THEN t.queued_at IS NOT NULL ELSE false END "

// unlimited is true of a task whose queue has no limit: by the index queues_limited,
// word for word, as the cost of a table that is read whole against enable_seqscan
// would hide from the planner what the rest of its plans costs.
const unlimited = `AND t.queue NOT IN (
	SELECT q.name FROM queues AS q WHERE q.paused OR q.max_running IS NOT NULL OR q.rate_count IS NOT NULL
) `

var (
	// claimSQL claims what is in queues without limits.
	claimSQL = pgconn.Prepared(claimWhere(claimable + unlimited))
	// claimAllSQL claims whatever is claimable: a claim that holds the limited queues uses it.
	claimAllSQL = pgconn.Prepared(claimWhere(claimable))

	// returnedColumns are those that a claim has not set to an argument of its own,
	// or to NULL: see asClaimed.
	returnedColumns = slices.DeleteFunc(slices.Clone(insertColumns), func(c pgenc.Column[written]) bool {
		return slices.Contains([]string{
			"status", "queued_at", "worker", "claim_beat", "stop_requested_at", "result", "result_truncated",
		}, c.Name())
	})
)

// claimWhere does to the rows of that condition what domain.Task.Claim does to a
// task. The rows are locked in the order of their ids, so that two claims of the
// same batch do not deadlock; the waits are over when all are counted, and then the
// worker is asked for. (Of ANY see updateOf.)
func claimWhere(condition string) string {
	return `
WITH locked AS MATERIALIZED (
	SELECT t.id FROM tasks AS t WHERE ` + condition + ` ORDER BY t.id FOR UPDATE
), fresh AS MATERIALIZED (
	SELECT FROM workers AS w WHERE w.id = $5::text AND CASE WHEN (SELECT count(*) FROM locked) > 0 THEN ` + isFresh + `END
)
UPDATE tasks AS t SET
	status = $3, version = t.version + 1, updated_at = greatest(t.updated_at, $4::timestamptz),
	attempt = t.attempt + 1, worker = $5::text, claim_beat = $6,
	deadline = greatest(t.updated_at, $4::timestamptz) + coalesce(t.timeout + $8, $7::bigint) * interval '1 microsecond',
	started_at = greatest(t.updated_at, $4::timestamptz), queued_at = NULL, stop_requested_at = NULL
FROM locked, fresh
WHERE t.id = ANY(ARRAY[locked.id])
RETURNING ` + qualified(returnedColumns)
}

// asClaimed adds the arguments that the statement has stored as they are.
func (r row) asClaimed(c application.ClaimRequest) row {
	r.Status, r.Worker, r.ClaimBeat = string(domain.StatusProcessing), sql.NullString{String: string(c.Worker), Valid: true}, c.Beat
	return r
}

// isFresh is domain.Heartbeat.Fresh of a worker.
var isFresh = fmt.Sprintf("w.seen_at > clock_timestamp() - %d * w.beat_interval ", domain.FreshBeats)

// leftSQL asks why a claim left some out: whether the worker ($3) may claim, which
// of the tasks there are, and which queues those are in that are claimable all the same.
var leftSQL = pgconn.Prepared("SELECT EXISTS (SELECT FROM workers AS w WHERE w.id = $3 AND " + isFresh + ") AS fresh, " +
	"array(SELECT t.id FROM tasks AS t WHERE t.id = ANY($1::uuid[])) AS known, " +
	"array(SELECT DISTINCT t.queue FROM tasks AS t WHERE " + claimable + ") AS queues")

// Claim makes tasks the worker's: with one statement, as long as no limit is set
// for their queues. What that leaves out because of a limit is claimed in a
// transaction of its own, which locks the queues.
func (r *TaskRepository) Claim(ctx context.Context, c application.ClaimRequest) (application.ClaimResult, error) {
	var rows []row
	var left left
	err := r.db.calls.Write(ctx, func(ctx context.Context, x *sqlx.Conn) error {
		rows = make([]row, 0, len(c.IDs))
		err := claimSQL.Select(ctx, x, &rows, claimArgs(c, c.IDs)...)
		if err != nil {
			return err
		}
		left, err = whyLeft(ctx, x, c, rows)
		return err
	})
	if err != nil {
		return application.ClaimResult{}, err
	}
	result := application.ClaimResult{Unknown: left.unknown}
	if len(left.queues) > 0 {
		var more []row
		if more, result.Limited, err = r.claimLimited(ctx, c, left); err != nil {
			// Nobody hears of the tasks that are claimed: the worker's beat gives them back.
			return application.ClaimResult{}, fmt.Errorf("claim from limited queues: %w", err)
		}
		rows = append(rows, more...)
		left.without(more, result.Limited)
	}
	result.Tasks, result.Skipped = inOrder(rows, c), left.known
	return result, nil
}

func claimArgs(c application.ClaimRequest, ids []domain.TaskID) []any {
	return []any{
		pgenc.UUIDs(ids), pgenc.Texts(domain.Before(domain.StatusProcessing)), string(domain.StatusProcessing),
		domain.Moment(c.Now), string(c.Worker), c.Beat, (c.Timeout + c.Grace).Microseconds(), c.Grace.Microseconds(),
	}
}

// left is what a claim of unlimited queues has left out.
type left struct {
	known   []domain.TaskID // in the order of the request
	unknown []domain.TaskID // that name no task
	queues  []string        // of the known that are claimable
}

// without drops what was claimed or refused in a second attempt.
func (l *left) without(claimed []row, limited []application.LimitedQueue) {
	done := make(map[domain.TaskID]bool, len(l.known))
	for i := range claimed {
		done[domain.TaskID(claimed[i].ID)] = true
	}
	for _, q := range limited {
		for _, id := range q.Refused {
			done[id] = true
		}
	}
	l.known = slices.DeleteFunc(l.known, func(id domain.TaskID) bool { return done[id] })
}

// whyLeft finds out what is left of a claim that got these rows. A worker that may
// not claim gets domain.ErrWorkerStale.
func whyLeft(ctx context.Context, x *sqlx.Conn, c application.ClaimRequest, got []row) (left, error) {
	ids := notIn(got, c.IDs)
	if len(ids) == 0 && len(got) > 0 {
		return left{}, nil
	}
	var answer struct {
		Fresh  bool
		Known  pq.StringArray
		Queues pq.StringArray
	}
	err := leftSQL.Get(ctx, x, &answer, pgenc.UUIDs(ids), pgenc.Texts(domain.Before(domain.StatusProcessing)), string(c.Worker))
	if err == nil && !answer.Fresh && len(got) == 0 {
		err = domain.ErrWorkerStale
	}
	known := make(map[string]bool, len(answer.Known))
	for _, id := range answer.Known {
		known[id] = true
	}
	l := left{queues: answer.Queues}
	for _, id := range ids {
		if known[id.String()] {
			l.known = append(l.known, id)
		} else {
			l.unknown = append(l.unknown, id)
		}
	}
	return l, err
}

// notIn are the ids that have no row, each once, in their order.
func notIn(rows []row, ids []domain.TaskID) []domain.TaskID {
	if len(rows) > 0 && len(rows) == len(ids) {
		return nil
	}
	seen := make(map[domain.TaskID]bool, len(ids))
	for i := range rows {
		seen[domain.TaskID(rows[i].ID)] = true
	}
	var left []domain.TaskID
	for _, id := range ids {
		if !seen[id] {
			seen[id] = true
			left = append(left, id)
		}
	}
	return left
}

// inOrder makes the tasks that were claimed, in the order of the request. A row that cannot be
// read is left out, as an error would lose sight of all the others: the next
// beat finds it held by the worker and not listed.
func inOrder(rows []row, c application.ClaimRequest) []*domain.Task {
	byID := make(map[domain.TaskID]int, len(rows))
	for i := range rows {
		byID[domain.TaskID(rows[i].ID)] = i
	}
	tasks := make([]*domain.Task, 0, len(rows))
	for _, id := range c.IDs {
		i, ok := byID[id]
		if !ok {
			continue
		}
		delete(byID, id) // an id that is given twice was claimed once
		if t, err := rows[i].asClaimed(c).task(); err == nil {
			tasks = append(tasks, t)
		}
	}
	return tasks
}
