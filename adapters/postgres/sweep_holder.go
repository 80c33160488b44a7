package postgres

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// acquireSweepSQL refuses the sweep only while another worker has it, which is until a
// time that is at most $3 away: a row that says more is damaged. A row that somebody
// has locked is left as it is, and so two workers that meet at that time may both sweep.
const acquireSweepSQL = `WITH taken AS (
		UPDATE millrace_sweeps SET worker = $2, until = clock_timestamp() + $3::bigint * interval '1 microsecond'
		WHERE sweep = (SELECT sweep FROM millrace_sweeps WHERE sweep = $1 AND (worker = $2 OR ` + sweepIsFree + `) FOR UPDATE SKIP LOCKED)
	)
	SELECT NOT EXISTS (SELECT FROM millrace_sweeps WHERE sweep = $1 AND worker <> $2 AND NOT (` + sweepIsFree + `))`

const sweepIsFree = `until < clock_timestamp() OR until > clock_timestamp() + $3::bigint * interval '1 microsecond'`

const releaseSweepSQL = `UPDATE millrace_sweeps SET until = to_timestamp(0)
	WHERE sweep = (SELECT sweep FROM millrace_sweeps WHERE sweep = $1 AND worker = $2 FOR UPDATE SKIP LOCKED)`

// AcquireSweep reports whether the worker has the sweep for itself.
func (r *DispatchRepository) AcquireSweep(ctx context.Context, sweep application.Loop, w domain.WorkerID, d time.Duration) (bool, error) {
	var mine bool
	err := r.db.calls.Write(ctx, func(ctx context.Context, c *sqlx.Conn) error {
		return c.GetContext(ctx, &mine, acquireSweepSQL, string(sweep), string(w), d.Microseconds())
	})
	return mine, err
}

// ReleaseSweep gives the sweep up, if the worker has it.
func (r *DispatchRepository) ReleaseSweep(ctx context.Context, sweep application.Loop, w domain.WorkerID) error {
	_, err := r.db.calls.Exec(ctx, releaseSweepSQL, string(sweep), string(w))
	return err
}
