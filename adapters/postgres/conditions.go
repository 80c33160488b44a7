package postgres

import (
	"time"

	"github.com/millrace/millrace/adapters/internal/sqlstatus"
	"github.com/millrace/millrace/domain"
)

// What a statement that calls tasks t asks of their status, each the condition of a
// partial index: with a parameter in place of the status the planner could not use it.
var (
	unqueued   = sqlstatus.Unqueued("t.")
	queued     = sqlstatus.Queued("t.")
	processing = sqlstatus.Held("t.")
)

// aliveSQL is domain.Heartbeat.Alive of a worker whose row is called name, in the time of
// the server; lease is an interval.
func aliveSQL(name, lease string) string { return name + ".seen_at > clock_timestamp() - " + lease }

// microseconds is the interval that a parameter gives in microseconds.
func microseconds(param string) string { return param + "::bigint * interval '1 microsecond'" }

// The bounds of what domain.TimesInRange accepts.
var earliestSQL, latestSQL = timeSQL(domain.EarliestTime), timeSQL(domain.LatestTime)

func timeSQL(t time.Time) string { return t.Format("'2006-01-02 15:04:05-07'") }
