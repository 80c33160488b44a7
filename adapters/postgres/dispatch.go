package postgres

import (
	"context"
	"strconv"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/millrace/millrace/adapters/postgres/internal/pgenc"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var _ application.DispatchRepository = (*DispatchRepository)(nil)

// DispatchRepository answers the dispatcher's questions, each from a partial
// index of its own. It is safe for concurrent use, by any number of processes.
type DispatchRepository struct {
	db *DB
}

// NewDispatchRepository makes a repository on db, whose schema Migrate has made.
func NewDispatchRepository(db *DB) *DispatchRepository { return &DispatchRepository{db: db} }

// $1: how many at most, $2: the ids to pass over; both in every sweep.
const exceptSQL = " AND t.id <> ALL($2::uuid[]) "

// What the sweeps ask, from FROM to LIMIT, see anyOf and lockOf; strandedSQL is whole.
var (
	dueSQL = "FROM tasks AS t WHERE " + unqueued + " AND t.run_at <= $3::timestamptz" + exceptSQL +
		"ORDER BY t.run_at, t.id LIMIT $1"

	// strandedSQL looks at many lanes, $3 to $5, one after the other until it has found
	// enough: it reads and locks no more than it returns, however much waits in each.
	strandedSQL = "SELECT " + decidingColumns + ` FROM unnest($3::text[], $4::bigint[], $5::timestamptz[]) AS lane (queue, priority, before),
		LATERAL (SELECT t.* FROM tasks AS t WHERE ` + queued + ` AND t.queue = lane.queue AND t.priority = lane.priority
			AND t.queued_at < lane.before` + exceptSQL + `ORDER BY t.queued_at LIMIT $1 FOR UPDATE SKIP LOCKED) AS t
		LIMIT $1`
)

// orphanedSQL has the observer as $3, its interval and the lease, both in
// microseconds, as $4 and $5. Whether it may observe, as domain.Heartbeat.MayObserve
// says, is asked in the same statement: after an outage of the server every
// heartbeat is old and no one is dead.
func orphanedSQL(lapsed string) string {
	return `FROM tasks AS t LEFT JOIN workers AS w ON w.id = t.worker
		WHERE ` + processing + exceptSQL + `AND (w.id IS NULL OR ` + lapsed + `)
		AND EXISTS (
			SELECT FROM workers AS observer WHERE observer.id = $3
			AND ` + aliveSQL("observer", observerBeats(domain.FreshBeats)) + `
			AND observer.beating_since <= clock_timestamp() - ` + observerBeats(domain.ObserverBeats) + `
		)
		ORDER BY t.worker, t.id LIMIT $1`
}

var (
	anyOrphanedSQL = orphanedSQL("NOT " + aliveSQL("w", microseconds("$5")))

	// lockOrphanedSQL judges the workers whose row it can lock as a beat does: behind
	// the lock of somebody else a worker that lives cannot renew its lease. A beat that
	// comes meanwhile waits, and finds what was decided.
	lockOrphanedSQL = `WITH lapsed AS MATERIALIZED (
			SELECT w.id FROM workers AS w WHERE NOT ` + aliveSQL("w", microseconds("$5")) + ` FOR NO KEY UPDATE SKIP LOCKED
		) ` + lockOf(orphanedSQL("w.id = ANY(ARRAY(SELECT id FROM lapsed))"))
)

func observerBeats(n int) string { return strconv.Itoa(n) + " * " + microseconds("$4") }

var (
	// A row with a time that cannot be read is due at the bound of what can: it must not
	// keep the sweep from the others, and the sweep names it.
	nextDueSQL = "SELECT CASE WHEN at IS NOT NULL THEN greatest(least(at, " + latestSQL + "), " + earliestSQL + ") END " +
		"FROM (SELECT min(t.run_at) AS at FROM tasks AS t WHERE " + unqueued + ") AS next"

	// queuedBeforeSQL goes from the head of one lane to the head of the next, and
	// passes over what waits behind it: its cost is that of the lanes, however long
	// they are. (A loose index scan, which PostgreSQL does not do by itself.) A mark that no
	// program could read, such as -infinity, is an old one.
	queuedBeforeSQL = "WITH RECURSIVE heads AS ((" + headSQL + " ORDER BY t.queue, t.priority, t.queued_at LIMIT 1)" + `
		UNION ALL
		SELECT next.* FROM heads AS h, LATERAL (` + headSQL + ` AND (t.queue, t.priority) > (h.queue, h.priority)
			ORDER BY t.queue, t.priority, t.queued_at LIMIT 1) AS next)
		SELECT queue, priority, greatest(queued_at, to_timestamp(0)) AS queued_at FROM heads WHERE queued_at < $1::timestamptz`
	headSQL = "SELECT t.queue, t.priority, t.queued_at FROM tasks AS t WHERE " + queued

	// MATERIALIZED: as part of a join it could be asked again, and go past its limit.
	forgetKeysSQL = `WITH expired AS MATERIALIZED (
			SELECT owner, key FROM idempotency_keys WHERE expires_at <= $1::timestamptz
			ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
		)
		DELETE FROM idempotency_keys AS k USING expired
		WHERE k.owner = expired.owner AND k.key = expired.key`
)

// Due finds what is pending, not marked, and to run at or before now.
func (r *DispatchRepository) Due(ctx context.Context, now time.Time, b application.SweepBatch) (application.SweepResult, error) {
	return r.db.calls.sweep(ctx, b.Decide, dueSQL, b.Limit, pgenc.UUIDs(b.Except), domain.Moment(now))
}

// NextDue tells when the next task is due: the caller asks it before Due.
func (r *DispatchRepository) NextDue(ctx context.Context) (time.Time, bool, error) {
	var next instant
	err := r.db.calls.Read(ctx, func(ctx context.Context, q sqlx.QueryerContext) error {
		return sqlx.GetContext(ctx, q, &next, nextDueSQL)
	})
	return next.Time, !next.IsZero(), err
}

// Stranded finds what is pending, of one of the lanes, and was marked before its time. It
// is asked only when there is something to find.
func (r *DispatchRepository) Stranded(ctx context.Context, before map[application.Lane]time.Time, b application.SweepBatch) (application.SweepResult, error) {
	queues, priorities, bounds := make([]string, 0, len(before)), make([]int64, 0, len(before)), make([]string, 0, len(before))
	for lane, bound := range before {
		queues, priorities = append(queues, string(lane.Queue)), append(priorities, int64(lane.Priority))
		bounds = append(bounds, domain.Moment(bound).Format(time.RFC3339Nano))
	}
	return r.db.calls.sweepLocked(ctx, b.Decide, strandedSQL, b.Limit, pgenc.UUIDs(b.Except), pq.Array(queues), pq.Array(priorities), pq.Array(bounds))
}

// QueuedBefore returns the lanes with tasks that were marked before the given time, and
// the oldest mark of each.
func (r *DispatchRepository) QueuedBefore(ctx context.Context, before time.Time) (map[application.Lane]time.Time, error) {
	var rows []struct {
		Queue    string
		Priority int
		QueuedAt time.Time `db:"queued_at"`
	}
	err := r.db.calls.Read(ctx, func(ctx context.Context, q sqlx.QueryerContext) error {
		return sqlx.SelectContext(ctx, q, &rows, queuedBeforeSQL, domain.Moment(before))
	})
	oldest := make(map[application.Lane]time.Time, len(rows))
	for _, r := range rows {
		oldest[application.Lane{Queue: domain.QueueName(r.Queue), Priority: r.Priority}] = r.QueuedAt.UTC()
	}
	return oldest, err
}

// ForgetKeys removes idempotency keys that have expired, the longest expired
// first. One that a request takes over meanwhile it leaves alone.
func (r *DispatchRepository) ForgetKeys(ctx context.Context, now time.Time, limit int) (int, error) {
	return r.db.calls.Exec(ctx, forgetKeysSQL, domain.Moment(now), limit)
}

// Orphaned finds what is held by a worker that is unknown or whose lease has lapsed. It
// asks without a lock first, as it nearly always finds nothing.
func (r *DispatchRepository) Orphaned(ctx context.Context, j application.Observer, b application.SweepBatch) (application.SweepResult, error) {
	args := []any{b.Limit, pgenc.UUIDs(b.Except), string(j.Worker), j.Interval.Microseconds(), j.Lease.Microseconds()}
	if found, _, err := r.db.calls.anything(ctx, anyOrphanedSQL, args...); err != nil || !found {
		return application.SweepResult{}, err
	}
	return r.db.calls.sweepLocked(ctx, b.Decide, lockOrphanedSQL, args...)
}
