package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/adapters/postgres/internal/pgconn"
	"github.com/millrace/millrace/adapters/postgres/internal/pgenc"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// settingsRow is a queue's settings as PostgreSQL has them.
type settingsRow struct {
	Name       string        `db:"name"`
	Paused     bool          `db:"paused"`
	MaxRunning sql.NullInt64 `db:"max_running"`
	RateCount  sql.NullInt64 `db:"rate_count"`
	RatePer    sql.NullInt64 `db:"rate_per"` // microseconds
	FullAt     sql.NullTime  `db:"full_at"`
}

func (s settingsRow) settings() domain.QueueSettings {
	return domain.QueueSettings{
		Name: domain.QueueName(s.Name), Paused: s.Paused, MaxRunning: int(s.MaxRunning.Int64),
		Rate:   domain.Rate{Count: int(s.RateCount.Int64), Per: time.Duration(s.RatePer.Int64) * time.Microsecond},
		FullAt: orZero(s.FullAt),
	}
}

const settingsColumns = "q.name, q.paused, q.max_running, q.rate_count, q.rate_per, q.full_at"

var (
	// lockQueuesSQL makes claims of one queue, and changes of its settings, wait for
	// one another. In order of name, so that they do not deadlock.
	lockQueuesSQL = "SELECT " + settingsColumns + ` FROM queues AS q WHERE q.name = ANY($1::text[]) ORDER BY q.name COLLATE "C" FOR UPDATE`

	// lockClaimableSQL locks what is claimable in the queues ($3), and counts what of
	// each is processing: those of dead workers, too. It has to be a statement of its
	// own after the queues are locked, for then it sees what the claim before has
	// committed, and while it waits for a task the count can only fall.
	lockClaimableSQL = `WITH running AS MATERIALIZED (
			SELECT t.queue, count(*) AS n FROM tasks AS t WHERE ` + processing + ` AND t.queue = ANY($3::text[]) GROUP BY t.queue
		)
		SELECT t.id, t.queue, coalesce(running.n, 0) AS running
		FROM tasks AS t LEFT JOIN running ON running.queue = t.queue
		WHERE ` + claimable + `AND t.queue = ANY($3::text[])
		ORDER BY t.id FOR UPDATE OF t`

	spendSQL = `UPDATE queues AS q SET full_at = s.full_at
		FROM unnest($1::text[], $2::timestamptz[]) AS s(name, full_at) WHERE q.name = s.name`
)

// claimLimited claims what was left, as far as the limits of its queues allow. A
// queue that has no limit any more is claimed from as well: what is in neither of
// the answers would be forgotten.
func (r *TaskRepository) claimLimited(ctx context.Context, c application.ClaimRequest, l left) (rows []row, limited []application.LimitedQueue, err error) {
	err = r.db.calls.Write(ctx, func(ctx context.Context, x *sqlx.Conn) error {
		return pgconn.Transact(ctx, x, func(tx *sqlx.Tx) error {
			rows, limited = nil, nil
			plan, err := planClaim(ctx, tx, c, l)
			if err != nil {
				return err
			}
			limited = plan.limited
			if len(plan.ids) == 0 {
				return nil
			}
			if err := claimAllSQL.Select(ctx, tx, &rows, claimArgs(c, plan.ids)...); err != nil {
				return err
			}
			switch len(rows) {
			case len(plan.ids):
				return plan.spend(ctx, tx)
			case 0:
				return domain.ErrWorkerStale
			}
			return fmt.Errorf("claimed %d of %d tasks that were locked", len(rows), len(plan.ids))
		})
	})
	return rows, limited, err
}

// claimPlan is what a claim takes from queues that it has locked.
type claimPlan struct {
	ids     []domain.TaskID
	limited []application.LimitedQueue
	spent   []string // queues whose rate is spent on it
	fullAt  []time.Time
}

// planClaim locks the queues, then what is claimable in them, and lets the domain
// say how much of that may start.
func planClaim(ctx context.Context, tx *sqlx.Tx, c application.ClaimRequest, l left) (claimPlan, error) {
	var stored []settingsRow
	if err := tx.SelectContext(ctx, &stored, lockQueuesSQL, pgenc.Texts(l.queues)); err != nil {
		return claimPlan{}, err
	}
	var found []struct {
		ID      uuid.UUID
		Queue   string
		Running int
	}
	if err := tx.SelectContext(ctx, &found, lockClaimableSQL, pgenc.UUIDs(l.known),
		pgenc.Texts(domain.Before(domain.StatusProcessing)), pgenc.Texts(l.queues)); err != nil {
		return claimPlan{}, err
	}
	wanted, running := map[string][]domain.TaskID{}, map[string]int{}
	queueOf := make(map[domain.TaskID]string, len(found))
	for _, f := range found {
		queueOf[domain.TaskID(f.ID)], running[f.Queue] = f.Queue, f.Running
	}
	for _, id := range l.known {
		if name, ok := queueOf[id]; ok {
			wanted[name] = append(wanted[name], id)
		}
	}
	var plan claimPlan
	for _, name := range l.queues {
		q := domain.QueueSettings{Name: domain.QueueName(name)} // of a queue without settings
		if i := slices.IndexFunc(stored, func(s settingsRow) bool { return s.Name == name }); i >= 0 {
			q = stored[i].settings()
		}
		if len(wanted[name]) > 0 {
			plan.admit(q, wanted[name], running[name], c.Now)
		}
	}
	return plan, nil
}

// admit adds as many of the queue's tasks as the domain says.
func (p *claimPlan) admit(q domain.QueueSettings, ids []domain.TaskID, running int, now time.Time) {
	a := q.Admit(ids, running, now)
	p.ids = append(p.ids, a.Admitted...)
	if a.Spent {
		p.spent, p.fullAt = append(p.spent, string(q.Name)), append(p.fullAt, q.FullAt)
	}
	if q.Limited() {
		p.limited = append(p.limited, application.LimitedQueue{Name: q.Name, Refused: a.Refused, Capacity: a.Left})
	}
}

// spend stores what the claim has spent of the rates.
func (p *claimPlan) spend(ctx context.Context, tx *sqlx.Tx) error {
	if len(p.spent) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, spendSQL, pgenc.Texts(p.spent), pgenc.Time.Array(p.fullAt))
	return err
}
