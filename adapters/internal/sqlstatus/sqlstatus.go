// Package sqlstatus writes the conditions that SQL has to put on a task's status,
// from the transitions of package domain: both stores have them from here, so that
// they stand once. They are literals, spelled as in the partial indexes, because a
// planner uses such an index for nothing else.
package sqlstatus

import (
	"strings"

	"github.com/millrace/millrace/domain"
)

// Is is true of a task whose status is one of these. Prefix is what the columns
// are qualified with: empty, or an alias and a dot.
func Is(prefix string, statuses ...domain.Status) string {
	conditions := make([]string, len(statuses))
	for i, s := range statuses {
		conditions[i] = prefix + "status = '" + string(s) + "'"
	}
	if len(conditions) == 1 {
		return conditions[0]
	}
	return "(" + strings.Join(conditions, " OR ") + ")"
}

// Open are the statuses of tasks that have not ended.
func Open() []domain.Status {
	var open []domain.Status
	for _, s := range domain.Statuses() {
		if !s.Ended() {
			open = append(open, s)
		}
	}
	return open
}

// Held is true of a task that a worker owns.
func Held(prefix string) string { return Is(prefix, domain.StatusProcessing) }

// Queued is true of a task that can be claimed: a claim may move it, and it is marked.
func Queued(prefix string) string {
	return claimable(prefix) + " AND " + prefix + "queued_at IS NOT NULL"
}

// Unqueued is true of a task that a claim could move if it were marked.
func Unqueued(prefix string) string {
	return claimable(prefix) + " AND " + prefix + "queued_at IS NULL"
}

func claimable(prefix string) string { return Is(prefix, domain.Before(domain.StatusProcessing)...) }
