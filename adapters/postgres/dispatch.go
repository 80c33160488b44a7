package postgres

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"

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

// The conditions of the partial indexes, word for word: with a parameter in
// place of the status the planner could not use them.
const (
	unqueued   = "t.status = '" + string(domain.StatusPending) + "' AND t.queued_at IS NULL"
	queued     = "t.status = '" + string(domain.StatusPending) + "' AND t.queued_at IS NOT NULL"
	processing = "t.status = '" + string(domain.StatusProcessing) + "'"
)

// $1: how many at most, $2: the ids to pass over; both in every sweep.
const exceptSQL = " AND t.id <> ALL($2::uuid[]) "

// What the sweeps ask, from FROM to LIMIT; see anyOf and lockOf.
const (
	dueSQL = "FROM tasks AS t WHERE " + unqueued + " AND t.run_at <= $3::timestamptz" + exceptSQL +
		"ORDER BY t.run_at, t.id LIMIT $1"

	strandedSQL = "FROM tasks AS t WHERE " + queued + " AND t.queued_at < $3::timestamptz" + exceptSQL +
		"ORDER BY t.queued_at, t.id LIMIT $1"

	anyQueuedSQL = "SELECT EXISTS (SELECT FROM tasks AS t WHERE " + queued + " AND t.queued_at < $1::timestamptz)"

	// $3: the judge, $4: its interval, $5: the lease; both in microseconds. That
	// the judge may judge is asked in the same statement: after an outage of the
	// server every heartbeat is old and no one is dead.
	abandonedSQL = `FROM tasks AS t LEFT JOIN workers AS w ON w.id = t.worker
		WHERE ` + processing + exceptSQL + `
		AND (w.id IS NULL OR w.seen_at < clock_timestamp() - $5::bigint * interval '1 microsecond')
		AND EXISTS (
			SELECT FROM workers AS judge
			WHERE judge.id = $3
			AND judge.seen_at > clock_timestamp() - 2 * $4::bigint * interval '1 microsecond'
			AND judge.beating_since <= clock_timestamp() - 3 * $4::bigint * interval '1 microsecond'
		)
		ORDER BY t.worker, t.id LIMIT $1`
)

// Due finds what is pending, not marked, and to run at or before now.
func (r *DispatchRepository) Due(ctx context.Context, now time.Time, b application.SweepBatch) (application.Swept, error) {
	return r.db.sweep(ctx, b.Decide, dueSQL, b.Limit, uuidsOf(b.Except), moment(now))
}

// Stranded finds what is pending and was marked before the given time.
func (r *DispatchRepository) Stranded(ctx context.Context, before time.Time, b application.SweepBatch) (application.Swept, error) {
	return r.db.sweep(ctx, b.Decide, strandedSQL, b.Limit, uuidsOf(b.Except), moment(before))
}

// AnyQueuedBefore reports whether Stranded would find any.
func (r *DispatchRepository) AnyQueuedBefore(ctx context.Context, before time.Time) (bool, error) {
	var found bool
	err := r.db.read(ctx, func(ctx context.Context, q sqlx.QueryerContext) error {
		return sqlx.GetContext(ctx, q, &found, anyQueuedSQL, moment(before))
	})
	return found, err
}

// Abandoned finds what is held by a worker that is unknown or whose lease has lapsed.
func (r *DispatchRepository) Abandoned(ctx context.Context, j application.Judge, b application.SweepBatch) (application.Swept, error) {
	return r.db.sweep(ctx, b.Decide, abandonedSQL, b.Limit, uuidsOf(b.Except),
		string(j.Worker), j.Interval.Microseconds(), j.Lease.Microseconds())
}
