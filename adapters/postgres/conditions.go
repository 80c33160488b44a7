package postgres

import "github.com/millrace/millrace/adapters/internal/sqlstatus"

// What a statement that calls tasks t asks of their status, each the condition of a
// partial index: with a parameter in place of the status the planner could not use it.
var (
	unqueued   = sqlstatus.Unqueued("t.")
	queued     = sqlstatus.Queued("t.")
	processing = sqlstatus.Held("t.")
)
