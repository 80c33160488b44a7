package postgres

import (
	"context"
	"fmt"
	"strconv"

	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var _ application.Audit = (*Audit)(nil)

// Audit counts the tasks that break a rule in the partial indexes of what runs and of what
// is to be queued. It is safe for concurrent use.
type Audit struct{ db *DB }

// NewAudit makes an audit of db, whose schema Migrate has made.
func NewAudit(db *DB) *Audit { return &Audit{db: db} }

var (
	auditGraceSQL = fmt.Sprintf("interval '%d seconds'", int(application.AuditGrace.Seconds()))

	violationsSQL = `SELECT
	(SELECT count(*) FROM (SELECT FROM tasks AS t WHERE ` + processing + ` AND NOT EXISTS (
		SELECT FROM workers AS w WHERE w.id = t.worker AND ` +
		aliveSQL("w", "("+strconv.Itoa(domain.BeatsPerLease)+" * least(w.beat_interval, interval '1 day') + "+auditGraceSQL+")") + `) LIMIT $1) AS left_alone) AS unheld,
	(SELECT count(*) FROM (SELECT FROM tasks AS t WHERE ` + unqueued + ` AND t.run_at < now() - ` + auditGraceSQL + ` LIMIT $1) AS late) AS unqueued`
)

// Violations counts the tasks that break each rule, up to limit.
func (a *Audit) Violations(ctx context.Context, limit int) (map[application.Rule]int, error) {
	var found struct{ Unheld, Unqueued int }
	err := a.db.calls.Read(ctx, func(ctx context.Context, q sqlx.QueryerContext) error {
		return sqlx.GetContext(ctx, q, &found, violationsSQL, limit)
	})
	if err != nil {
		return nil, err
	}
	return map[application.Rule]int{application.RuleLiveWorker: found.Unheld, application.RuleQueued: found.Unqueued}, nil
}
