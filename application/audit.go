package application

import (
	"context"
	"time"
)

// Rule names what must hold of every task, but for moments.
type Rule string

// The rules. The dispatcher mends what breaks them: if it stays broken, that does not work.
const (
	// RuleLiveWorker: a task that is processing is held by a worker that lives.
	RuleLiveWorker Rule = "processing_without_live_worker"
	// RuleQueued: a task that is due is marked as queued.
	RuleQueued Rule = "due_and_not_queued"
)

// AuditGrace is how long a rule may be broken before that counts: three times as long as
// the sweeps need that mend it.
const AuditGrace = 15 * time.Second

// Audit counts the tasks that have broken a rule for longer than AuditGrace.
type Audit interface {
	// Violations counts them in the time of the store, at most limit for each rule. It names every rule,
	// changes nothing, waits for no lock on a row, and costs nothing for tasks that have ended.
	Violations(ctx context.Context, limit int) (map[Rule]int, error)
}
