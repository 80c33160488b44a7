package postgres

import (
	"context"
	"fmt"
	"slices"
	"strconv"

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
const (
	claimable       = "t.id = ANY($1::uuid[]) AND " + claimableStatus
	claimableStatus = "CASE WHEN t.status = ANY($2::text[]) THEN t.queued_at IS NOT NULL ELSE false END "
)

// unlimited is true of a task whose queue has no limit: the condition is that of the index
// queues_limited, word for word. Without an index for it the planner would add the penalty
// that enable_seqscan = off puts on reading a table whole, beside which it no longer tells a
// cheap plan from a dear one.
const (
	unlimited = "AND t.queue NOT IN (" + limitedQueues + ") "

	limitedQueues = "SELECT q.name FROM queues AS q WHERE q.paused OR q.max_running IS NOT NULL OR q.rate_count IS NOT NULL"
)

var (
	// claimSQL is the first try to claim what is in queues without limits: it waits
	// briefly for what is locked, and fails if that stays so.
	claimSQL = pgconn.Prepared("UPDATE tasks AS t " + setClaimed + " WHERE " +
		claimable + unlimited + "AND " + isShort + "AND " + byFreshWorker + "AND " + pgconn.Briefly + returned)
	// claimFreeSQL claims what nobody has locked, up to the bytes of a portion: it is for
	// what the first try has failed with, or left out as long. The worker is asked for
	// when all are locked. (Of ANY see updateOf.)
	claimFreeSQL = pgconn.Prepared(`
WITH locked AS MATERIALIZED (
	SELECT t.id, octet_length(t.message) AS size FROM tasks AS t WHERE ` + claimable + unlimited + ` ORDER BY t.id FOR UPDATE SKIP LOCKED
), portion AS MATERIALIZED (
	SELECT id, sum(size) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) - size AS before FROM locked
)
UPDATE tasks AS t ` + setClaimed + `
FROM portion
WHERE t.id = ANY(ARRAY[portion.id]) AND portion.before < ` + strconv.Itoa(application.PortionBytes) + " AND " + byFreshWorker + returned)
	// claimOursSQL claims what this transaction has locked, and has counted the bytes of.
	claimOursSQL = pgconn.Prepared("UPDATE tasks AS t " + setClaimed + " WHERE " + claimable + "AND " + byFreshWorker + returned)
)

// setClaimed does to a task what domain.Task.Claim does.
const setClaimed = `SET
	status = $3, version = t.version + 1, updated_at = greatest(t.updated_at, $4::timestamptz),
	attempt = t.attempt + 1, worker = $5::text, claim_beat = $6,
	deadline = greatest(t.updated_at, $4::timestamptz) + coalesce(t.timeout + $8, $7::bigint) * interval '1 microsecond',
	started_at = greatest(t.updated_at, $4::timestamptz), queued_at = NULL, stop_requested_at = NULL`

// isShort is true of a task whose message leaves room in a portion's bytes for those of
// as many others as a portion has. The length of a message is known without reading it.
var isShort = fmt.Sprintf("octet_length(t.message) <= %d ", application.PortionBytes/application.ClaimPortion)

// byFreshWorker is true if the worker ($5) may claim. The time is looked at anew with
// each task, and again after a wait for one that somebody else has changed.
var byFreshWorker = "clock_timestamp() < (SELECT " + freshUntil + " FROM workers AS w WHERE w.id = $5::text) "

// freshUntil is the end of domain.Heartbeat.Fresh of a worker.
var freshUntil = fmt.Sprintf("w.seen_at + %d * w.beat_interval", domain.FreshBeats)

// leftSQL asks why a claim left some out: whether the worker ($3) may claim, which
// of the tasks there are, in which limited queues some are claimable, and which are
// claimable in the other queues, and long. What else is claimable there is locked, or a
// limit has just gone: it is skipped, and its entry is lost, which the sweep for stranded
// tasks puts right.
var leftSQL = pgconn.Prepared(`
SELECT
	EXISTS (SELECT FROM workers AS w WHERE w.id = $3 AND clock_timestamp() < ` + freshUntil + `) AS fresh,
	array_agg(found.id) AS known,
	array_agg(DISTINCT found.queue) FILTER (WHERE found.claimable AND found.limited) AS queues,
	array_agg(found.id) FILTER (WHERE found.claimable AND NOT found.limited AND NOT found.short) AS long
FROM (
	SELECT t.id, t.queue, ` + claimableStatus + ` AS claimable, t.queue IN (` + limitedQueues + `) AS limited, ` + isShort + ` AS short
	FROM tasks AS t WHERE t.id = ANY($1::uuid[])
) AS found`)

// Claim makes tasks the worker's: with one statement, as long as no limit is set
// for their queues. What that leaves out because of a limit is claimed in a
// transaction of its own, which locks the queues. That transaction comes first if the claim
// before has met limits: most likely they are there still.
//
// An error that comes after some are claimed is not returned: nobody would hear of
// them, and only the worker's next heartbeat would give them back. The others are left
// to the next claim, which meets it again.
func (r *TaskRepository) Claim(ctx context.Context, c application.ClaimRequest) (application.ClaimResult, error) {
	ids, beyond := portionOf(c.IDs)
	got, ids := r.claimLimitedFirst(ctx, c, ids)
	var l left
	if len(ids) > 0 || len(got.rows) == 0 {
		more, out, err := r.claimAny(ctx, c, ids)
		switch {
		case err == nil:
			got.add(more)
			l = out
		case len(got.rows) == 0:
			return application.ClaimResult{}, err
		default:
			got.rest = append(got.rest, ids...)
		}
	}
	r.rememberLimited(got.limited)
	tasks := inOrder(&got.claimed, c) // may refuse some
	return application.ClaimResult{
		Tasks: tasks, Limited: got.limited, Skipped: l.known, Unknown: l.unknown,
		Rest: append(got.rest, beyond...), Refused: got.refused,
	}, nil
}

// claimAny claims the ids, of which nothing is known. What it returns of l is skipped or
// unknown.
func (r *TaskRepository) claimAny(ctx context.Context, c application.ClaimRequest, ids []domain.TaskID) (got claimedLimited, l left, err error) {
	if got.claimed, err = r.claimUnlimited(ctx, c, ids, r.selectShort); err != nil {
		return got, l, err
	}
	asked := slices.DeleteFunc(slices.Clone(ids), got.isElsewhere())
	l, err = r.whyLeft(ctx, c, asked, got.rows)
	if err == nil && len(l.long) > 0 {
		err = r.claimLong(ctx, c, &l, &got.claimed)
	}
	switch {
	case err != nil && len(got.rows) == 0:
		return got, l, err
	case err != nil:
		got.rest = append(notIn(claimedIDs(got.rows), asked), got.rest...)
	case len(l.queues) > 0:
		more, err := r.claimLimited(ctx, c, l)
		if err != nil && len(got.rows)+len(more.rows)+len(more.limited) == 0 {
			return got, l, fmt.Errorf("claim from limited queues: %w", err)
		}
		l.without(more)
		if err != nil {
			more.rest, l.known = append(more.rest, l.known...), nil
		}
		got.add(more)
	}
	return got, l, nil
}

// portionOf parts what one claim asks for from the rest.
func portionOf(ids []domain.TaskID) (portion, beyond []domain.TaskID) {
	if len(ids) <= application.ClaimPortion {
		return ids, nil
	}
	ids = notIn(nil, ids) // each once: none may be in both
	n := min(application.ClaimPortion, len(ids))
	return ids[:n:n], ids[n:]
}

// claimed is what some of the statements of a claim have come to.
type claimed struct {
	rows    []claimedRow
	rest    []domain.TaskID         // not asked for yet, or beyond the bytes of a portion
	refused map[domain.TaskID]error // by the store
}

func (got *claimed) add(more claimed) {
	got.rows, got.rest = append(got.rows, more.rows...), append(got.rest, more.rest...)
	for id, err := range more.refused {
		got.refuse(id, err)
	}
}

func (got *claimed) refuse(id domain.TaskID, err error) {
	if got.refused == nil {
		got.refused = map[domain.TaskID]error{}
	}
	got.refused[id] = err
}

// isElsewhere is true of what is refused or left to the next claim.
func (got *claimed) isElsewhere() func(id domain.TaskID) bool {
	rest := make(map[domain.TaskID]bool, len(got.rest))
	for _, id := range got.rest {
		rest[id] = true
	}
	return func(id domain.TaskID) bool { return rest[id] || got.refused[id] != nil }
}

// claimUnlimited claims of what is in queues without limits what sel selects. A batch that the store
// refuses because of one task is divided, so that the others are claimed.
func (r *TaskRepository) claimUnlimited(ctx context.Context, c application.ClaimRequest, ids []domain.TaskID, sel claimWith) (got claimed, err error) {
	for parts := [][]domain.TaskID{ids}; len(parts) > 0; {
		part := parts[0]
		parts = parts[1:]
		rows, err := sel(ctx, c, part)
		switch {
		case pgconn.AboutData(err) && len(part) == 1:
			got.refuse(part[0], err)
		case pgconn.AboutData(err):
			half := len(part) / 2
			parts = append([][]domain.TaskID{part[:half], part[half:]}, parts...)
		case err != nil && len(got.rows) == 0:
			return claimed{}, err
		case err != nil:
			got.rest = slices.Concat(append([][]domain.TaskID{part}, parts...)...)
			return got, nil //nolint:nilerr // see Claim: the next claim meets it again
		default:
			if got.rows == nil {
				got.rows = rows // most often these are all: no copy
			} else {
				got.rows = append(got.rows, rows...)
			}
			if bytesOf(got.rows) >= application.PortionBytes {
				got.rest = slices.Concat(append([][]domain.TaskID{notIn(claimedIDs(rows), part)}, parts...)...)
				return got, nil
			}
		}
	}
	return got, nil
}

// claimWith runs a statement that claims tasks.
type claimWith func(ctx context.Context, c application.ClaimRequest, ids []domain.TaskID) ([]claimedRow, error)

// selectShort claims what is not long; if it meets a lock that lasts, it claims anew
// what is free.
func (r *TaskRepository) selectShort(ctx context.Context, c application.ClaimRequest, ids []domain.TaskID) (rows []claimedRow, err error) {
	err = r.db.calls.WriteBriefly(ctx, selectInto(&rows, claimSQL, c, ids), selectInto(&rows, claimFreeSQL, c, ids))
	return rows, err
}

// selectFree claims what is free.
func (r *TaskRepository) selectFree(ctx context.Context, c application.ClaimRequest, ids []domain.TaskID) (rows []claimedRow, err error) {
	err = r.db.calls.Write(ctx, selectInto(&rows, claimFreeSQL, c, ids))
	return rows, err
}

func selectInto(rows *[]claimedRow, query pgconn.Stmt, c application.ClaimRequest, ids []domain.TaskID) func(ctx context.Context, x *sqlx.Conn) error {
	return func(ctx context.Context, x *sqlx.Conn) (err error) {
		*rows, err = selectClaimed(ctx, x, query, c, ids)
		return err
	}
}

// claimLong claims what was left as long, or leaves it to the next claim if there are
// tasks already: their messages have not been counted.
func (r *TaskRepository) claimLong(ctx context.Context, c application.ClaimRequest, l *left, got *claimed) error {
	more := claimed{rest: l.long}
	if len(got.rows) == 0 {
		var err error
		if more, err = r.claimUnlimited(ctx, c, l.long, r.selectFree); err != nil {
			return err
		}
	}
	got.add(more)
	l.without(claimedLimited{claimed: more})
	return nil
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
	queues  []string        // that are limited, of the known that are claimable
	long    []domain.TaskID // of the known that are claimable in other queues, in order of the request
}

// without drops what a second attempt has claimed, refused, or left to the next claim.
func (l *left) without(more claimedLimited) {
	done := make(map[domain.TaskID]bool, len(l.known))
	for i := range more.rows {
		done[more.rows[i].id] = true
	}
	for _, q := range more.limited {
		for _, id := range q.Refused {
			done[id] = true
		}
	}
	elsewhere := more.isElsewhere()
	l.known = slices.DeleteFunc(l.known, func(id domain.TaskID) bool { return done[id] || elsewhere(id) })
}

// whyLeft finds out what is left of a claim that asked for ids and got these rows. A
// worker that may not claim gets domain.ErrWorkerStale.
func (r *TaskRepository) whyLeft(ctx context.Context, c application.ClaimRequest, ids []domain.TaskID, got []claimedRow) (left, error) {
	ids = notIn(claimedIDs(got), ids)
	if len(ids) == 0 && len(got) > 0 {
		return left{}, nil
	}
	var answer struct {
		Fresh  bool
		Known  pq.StringArray
		Queues pq.StringArray
		Long   pq.StringArray
	}
	err := r.db.calls.Write(ctx, func(ctx context.Context, x *sqlx.Conn) error {
		return leftSQL.Get(ctx, x, &answer, pgenc.UUIDs(ids), pgenc.Texts(domain.Before(domain.StatusProcessing)), string(c.Worker))
	})
	if err == nil && !answer.Fresh && len(got) == 0 {
		err = domain.ErrWorkerStale
	}
	known, long := setOf(answer.Known), setOf(answer.Long)
	l := left{queues: answer.Queues}
	for _, id := range ids {
		text := id.String()
		if long[text] {
			l.long = append(l.long, id)
		}
		if known[text] {
			l.known = append(l.known, id)
		} else if err == nil {
			l.unknown = append(l.unknown, id)
		}
	}
	return l, err
}

func setOf(texts []string) map[string]bool {
	set := make(map[string]bool, len(texts))
	for _, text := range texts {
		set[text] = true
	}
	return set
}

// notIn are the ids that are not among the others, each once, in their order.
func notIn(others, ids []domain.TaskID) []domain.TaskID {
	if len(others) > 0 && len(others) == len(ids) {
		return nil
	}
	seen := make(map[domain.TaskID]bool, len(ids))
	for _, id := range others {
		seen[id] = true
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

// inOrder are the tasks that were claimed, in the order of the request. A row that cannot be
// read is refused, as an error would lose sight of all the others: the next
// beat finds it held by the worker and not listed.
func inOrder(got *claimed, c application.ClaimRequest) []*domain.Task {
	byID := make(map[domain.TaskID]int, len(got.rows))
	for i := range got.rows {
		byID[got.rows[i].id] = i
	}
	tasks := make([]*domain.Task, 0, len(got.rows))
	for _, id := range c.IDs {
		i, ok := byID[id]
		if !ok {
			continue
		}
		delete(byID, id) // an id that is given twice was claimed once
		if row := got.rows[i]; row.err == nil {
			tasks = append(tasks, row.task)
		} else {
			got.refuse(id, row.err)
		}
	}
	return tasks
}
