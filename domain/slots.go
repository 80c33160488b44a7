package domain

// SlotUse is how a worker's slots are in use.
type SlotUse struct {
	Slots   int
	Running int // tasks, each in a slot
	Queues  int // that the worker takes
	Busy    int // those of them that have a task running
}

// Kept is how many slots are kept for queues with no task running: one for each, beside
// the one that is pulled from, though never more than half of all.
func (u SlotUse) Kept() int {
	return max(0, min(u.Queues-u.Busy, u.Queues-1, u.Slots/2))
}

// Usable is how many slots a queue may use, those in use included: one with no task
// running may use the kept ones too.
func (u SlotUse) Usable(idle bool) int {
	if idle {
		return u.Slots
	}
	return max(u.Running, u.Slots-u.Kept())
}

// Takes reports whether the worker has a slot for one more task of a queue.
func (u SlotUse) Takes(idle bool) bool { return u.Running < u.Usable(idle) }
