package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

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

// What the sweeps ask, from FROM to LIMIT; see anyOf and lockOf.
var (
	dueSQL = "FROM tasks AS t WHERE " + unqueued + " AND t.run_at <= $3::timestamptz" + exceptSQL +
		"ORDER BY t.run_at, t.id LIMIT $1"

	strandedSQL = "FROM tasks AS t WHERE " + queued + " AND t.queue = $4 AND t.priority = $5 AND t.queued_at < $3::timestamptz" + exceptSQL +
		"ORDER BY t.queued_at LIMIT $1"
)

// abandonedSQL has the judge as $3, its interval and the lease, both in
// microseconds, as $4 and $5. Whether the judge may observe, as domain.Heartbeat
// says, is asked in the same statement: after an outage of the server every
// heartbeat is old and no one is dead.
var abandonedSQL = fmt.Sprintf(`FROM tasks AS t LEFT JOIN workers AS w ON w.id = t.worker
		WHERE `+processing+exceptSQL+`
		AND (w.id IS NULL OR w.seen_at < clock_timestamp() - $5::bigint * interval '1 microsecond')
		AND EXISTS (
			SELECT FROM workers AS judge
			WHERE judge.id = $3
			AND judge.seen_at > clock_timestamp() - %d * $4::bigint * interval '1 microsecond'
			AND judge.beating_since <= clock_timestamp() - %d * $4::bigint * interval '1 microsecond'
		)
		ORDER BY t.worker, t.id LIMIT $1`, domain.FreshBeats, domain.ObserverBeats)

var (
	// A row with a time that cannot be read is due at the bound of what can: it must not
	// keep the sweep from the others, and the sweep names it.
	nextDueSQL = "SELECT CASE WHEN at IS NOT NULL THEN greatest(least(at, '9999-12-31 00:00:00+00'), '0001-01-02 00:00:00+00') END " +
		"FROM (SELECT min(t.run_at) AS at FROM tasks AS t WHERE " + unqueued + ") AS next"

	// queuedBeforeSQL goes from the head of one list to the head of the next, and
	// passes over what waits behind it: its cost is that of the lists, however long
	// they are. (A loose index scan, which PostgreSQL does not do by itself.)
	queuedBeforeSQL = "WITH RECURSIVE heads AS ((" + headSQL + " ORDER BY t.queue, t.priority, t.queued_at LIMIT 1)" + `
		UNION ALL
		SELECT next.* FROM heads AS h, LATERAL (` + headSQL + ` AND (t.queue, t.priority) > (h.queue, h.priority)
			ORDER BY t.queue, t.priority, t.queued_at LIMIT 1) AS next)
		SELECT queue, priority FROM heads WHERE queued_at < $1::timestamptz`
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

// Stranded finds what is pending, of the list, and was marked before the given time.
func (r *DispatchRepository) Stranded(ctx context.Context, l application.Lane, before time.Time, b application.SweepBatch) (application.SweepResult, error) {
	return r.db.calls.sweepIfAny(ctx, b.Decide, strandedSQL, b.Limit, pgenc.UUIDs(b.Except), domain.Moment(before), string(l.Queue), l.Priority)
}

// QueuedBefore returns the lists for which Stranded would find any.
func (r *DispatchRepository) QueuedBefore(ctx context.Context, before time.Time) ([]application.Lane, error) {
	var rows []struct {
		Queue    string
		Priority int
	}
	err := r.db.calls.Read(ctx, func(ctx context.Context, q sqlx.QueryerContext) error {
		return sqlx.SelectContext(ctx, q, &rows, queuedBeforeSQL, domain.Moment(before))
	})
	lists := make([]application.Lane, 0, len(rows))
	for _, r := range rows {
		lists = append(lists, application.Lane{Queue: domain.QueueName(r.Queue), Priority: r.Priority})
	}
	return lists, err
}

// ForgetKeys removes idempotency keys that have expired, the longest expired
// first. One that a request takes over meanwhile it leaves alone.
func (r *DispatchRepository) ForgetKeys(ctx context.Context, now time.Time, limit int) (int, error) {
	return r.db.calls.Exec(ctx, forgetKeysSQL, domain.Moment(now), limit)
}

// Abandoned finds what is held by a worker that is unknown or whose lease has lapsed.
func (r *DispatchRepository) Abandoned(ctx context.Context, j application.Observer, b application.SweepBatch) (application.SweepResult, error) {
	return r.db.calls.sweepIfAny(ctx, b.Decide, abandonedSQL, b.Limit, pgenc.UUIDs(b.Except),
		string(j.Worker), j.Interval.Microseconds(), j.Lease.Microseconds())
}
