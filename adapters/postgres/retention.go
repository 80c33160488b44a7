package postgres

import (
	"context"
	"database/sql"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/domain"
)

// retentionRow is how long the tasks of a queue are kept as PostgreSQL has it: in
// microseconds, 0 for ever, and NULL if it is not set.
type retentionRow struct {
	Completed sql.NullInt64 `db:"retention_completed"`
	Canceled  sql.NullInt64 `db:"retention_canceled"`
	Failed    sql.NullInt64 `db:"retention_failed"`
}

const retentionColumns = "q.retention_completed, q.retention_canceled, q.retention_failed"

func (r retentionRow) retention() domain.Retention {
	return domain.Retention{Completed: keepOf(r.Completed), Canceled: keepOf(r.Canceled), Failed: keepOf(r.Failed)}
}

// keepOf reads what keptFor has written. What no domain.Keep can be keeps tasks for ever.
func keepOf(n sql.NullInt64) domain.Keep {
	k := domain.Keep(time.Duration(n.Int64) * time.Microsecond)
	switch {
	case !n.Valid:
		return 0
	case n.Int64 > domain.MaxKeep.Microseconds() || k.Check() != nil:
		return domain.KeepForever
	}
	return k
}

func keptFor(k domain.Keep) sql.NullInt64 {
	if k == domain.KeepForever {
		return sql.NullInt64{Valid: true}
	}
	return sql.NullInt64{Int64: time.Duration(k).Microseconds(), Valid: k != 0}
}

// Retentions returns what is set of queues about how long their tasks are kept.
func (r *QueueRepository) Retentions(ctx context.Context) (map[domain.QueueName]domain.Retention, error) {
	var rows []struct {
		Name string `db:"name"`
		retentionRow
	}
	err := r.db.calls.Read(ctx, func(ctx context.Context, q sqlx.QueryerContext) error {
		return sqlx.SelectContext(ctx, q, &rows, "SELECT q.name, "+retentionColumns+` FROM queues AS q
			WHERE q.retention_completed IS NOT NULL OR q.retention_canceled IS NOT NULL OR q.retention_failed IS NOT NULL`)
	})
	all := make(map[domain.QueueName]domain.Retention, len(rows))
	for _, row := range rows {
		all[domain.QueueName(row.Name)] = row.retention()
	}
	return all, err
}
