package postgres

import "github.com/millrace/millrace/domain"

// The conditions of the partial indexes, word for word: with a parameter in
// place of the status the planner could not use them.
const (
	unqueued   = "t.status = '" + string(domain.StatusPending) + "' AND t.queued_at IS NULL"
	queued     = "t.status = '" + string(domain.StatusPending) + "' AND t.queued_at IS NOT NULL"
	processing = "t.status = '" + string(domain.StatusProcessing) + "'"
)
