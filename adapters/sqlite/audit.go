package sqlite

import (
	"context"
	"strconv"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var _ application.Audit = (*Audit)(nil)

// Audit counts the tasks that break a rule along the indexes of what runs and of what is
// to be queued. It is safe for concurrent use.
type Audit struct{ db *DB }

// NewAudit makes an audit of an open and migrated file.
func NewAudit(db *DB) *Audit { return &Audit{db: db} }

// selectViolations counts up to ?2 tasks for each rule. ?1 is the time that lies the grace
// back.
var selectViolations = `SELECT
	(SELECT count(*) FROM (SELECT 1 FROM tasks AS t WHERE ` + held + ` AND NOT EXISTS (
		SELECT 1 FROM workers AS w WHERE w.id = t.worker AND ` + aliveSQL("w", "?1 - "+strconv.Itoa(domain.BeatsPerLease)+" * w.beat_interval") + `) LIMIT ?2)) AS unheld,
	(SELECT count(*) FROM (SELECT 1 FROM tasks WHERE ` + unqueued + ` AND run_at < ?1 LIMIT ?2)) AS unqueued`

// Violations counts the tasks that break each rule, up to limit.
func (a *Audit) Violations(ctx context.Context, limit int) (map[application.Rule]int, error) {
	var found []struct{ Unheld, Unqueued int }
	if err := a.db.read(ctx, &found, selectViolations, instant{time.Now().Add(-application.AuditGrace)}, limit); err != nil {
		return nil, err
	}
	return map[application.Rule]int{application.RuleLiveWorker: found[0].Unheld, application.RuleQueued: found[0].Unqueued}, nil
}
