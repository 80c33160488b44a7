package postgres

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// takeTurnSQL: it is not the worker's turn only while another one has it, which is until a
// time that is at most $3 away: a row that says more is damaged. A row that somebody has
// locked is left as it is, and so two workers that meet at the end of a turn may both sweep.
const takeTurnSQL = `WITH taken AS (
		UPDATE millrace_turns SET worker = $2, until = clock_timestamp() + $3::bigint * interval '1 microsecond'
		WHERE sweep = (SELECT sweep FROM millrace_turns WHERE sweep = $1 AND (worker = $2 OR ` + turnIsOver + `) FOR UPDATE SKIP LOCKED)
	)
	SELECT NOT EXISTS (SELECT FROM millrace_turns WHERE sweep = $1 AND worker <> $2 AND NOT (` + turnIsOver + `))`

const turnIsOver = `until < clock_timestamp() OR until > clock_timestamp() + $3::bigint * interval '1 microsecond'`

const endTurnSQL = `UPDATE millrace_turns SET until = to_timestamp(0)
	WHERE sweep = (SELECT sweep FROM millrace_turns WHERE sweep = $1 AND worker = $2 FOR UPDATE SKIP LOCKED)`

// TakeTurn reports whether it is the worker's turn with the sweep.
func (r *DispatchRepository) TakeTurn(ctx context.Context, sweep application.Loop, w domain.WorkerID, d time.Duration) (bool, error) {
	var mine bool
	err := r.db.calls.Write(ctx, func(ctx context.Context, c *sqlx.Conn) error {
		return c.GetContext(ctx, &mine, takeTurnSQL, string(sweep), string(w), d.Microseconds())
	})
	return mine, err
}

// EndTurn ends the worker's turn.
func (r *DispatchRepository) EndTurn(ctx context.Context, sweep application.Loop, w domain.WorkerID) error {
	_, err := r.db.calls.Exec(ctx, endTurnSQL, string(sweep), string(w))
	return err
}
