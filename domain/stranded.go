package domain

import "time"

// StrandedGrace is how long a hint may be on its way to the queue.
const StrandedGrace = 5 * time.Second

// StrandedBefore is the bound of what is stranded in a lane: a task that was marked
// before it, and is still pending, has lost its entry. A lane is first in, first
// out, so what was marked before its oldest entry is not in it any more; head is
// when that entry was marked, zero if the lane is empty. The grace is for entries
// that are on their way. One that was just pulled is in no lane either, so two sweeps
// running have to find the task.
func StrandedBefore(head, now time.Time) time.Time {
	if head.IsZero() || head.After(now) {
		head = now
	}
	return head.Add(-StrandedGrace)
}
