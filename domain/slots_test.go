package domain

import "testing"

func TestSlotUse_KeepsSlotsForQueuesWithNothingRunning(t *testing.T) {
	for _, c := range []struct {
		use        SlotUse
		busy, idle bool // whether one more task is taken, of a queue that has one running and of one that has none
	}{
		{SlotUse{Slots: 10, Running: 0, Queues: 1}, true, true},
		{SlotUse{Slots: 10, Running: 9, Queues: 1, Busy: 1}, true, true},
		{SlotUse{Slots: 10, Running: 10, Queues: 1, Busy: 1}, false, false},
		{SlotUse{Slots: 10, Running: 8, Queues: 2, Busy: 1}, true, true},
		{SlotUse{Slots: 10, Running: 9, Queues: 2, Busy: 1}, false, true},
		{SlotUse{Slots: 10, Running: 9, Queues: 2, Busy: 2}, true, true},
		{SlotUse{Slots: 10, Running: 10, Queues: 2, Busy: 1}, false, false},
		{SlotUse{Slots: 10, Running: 5, Queues: 100, Busy: 1}, false, true}, // half of all are kept
		{SlotUse{Slots: 10, Running: 4, Queues: 100, Busy: 1}, true, true},
		{SlotUse{Slots: 1, Running: 0, Queues: 5}, true, true},
		{SlotUse{Slots: 0, Running: 0, Queues: 1}, false, false},
	} {
		if busy, idle := c.use.Takes(false), c.use.Takes(true); busy != c.busy || idle != c.idle {
			t.Errorf("%+v takes one more of a busy queue: %t, of an idle one: %t; want %t, %t", c.use, busy, idle, c.busy, c.idle)
		}
	}
}
