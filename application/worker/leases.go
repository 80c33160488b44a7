package worker

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// holdings is all that a worker holds: what its beats list. Everything about
// beats and claims that must be seen together is behind one lock, so that the
// number a claim carries and the lists of a beat tell one story.
type holdings struct {
	mu       sync.Mutex
	beat     int64                 // number of the last beat composed
	claiming map[domain.TaskID]int // in a claim that is not answered; by how many claims
	held     map[application.AttemptRef]*holding
}

// holding is one attempt that the worker holds.
type holding struct {
	returned bool // the handler has: only the outcome is to be saved
	// end ends the handler's context with its reason; set when the handler starts.
	end   context.CancelCauseFunc
	cause error // why the attempt has to end, if it was said before the start
}

func newHoldings() *holdings {
	return &holdings{claiming: map[domain.TaskID]int{}, held: map[application.AttemptRef]*holding{}}
}

// startClaim lists the ids as being claimed and returns the number that the
// claim has to carry: that of the last beat composed before it.
func (h *holdings) startClaim(ids []domain.TaskID) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range ids {
		h.claiming[id]++
	}
	return h.beat
}

// endClaim takes the ids off the list and holds the tasks that were claimed.
func (h *holdings) endClaim(ids []domain.TaskID, claimed []*domain.Task) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range ids {
		if h.claiming[id]--; h.claiming[id] == 0 {
			delete(h.claiming, id)
		}
	}
	for _, t := range claimed {
		h.held[application.RefOf(t)] = &holding{}
	}
}

// compose numbers the next beat and fills its lists.
func (h *holdings) compose(b *application.Beat) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.beat++
	b.Number = h.beat
	for id := range h.claiming {
		b.Claiming = append(b.Claiming, id)
	}
	for ref, x := range h.held {
		b.Held = append(b.Held, application.HeldAttempt{AttemptRef: ref, Running: !x.returned})
		if !x.returned && x.end != nil {
			b.Worker.Running++
		}
	}
}

// start notes that the attempt's handler starts, and how its context is ended.
func (h *holdings) start(ref application.AttemptRef, end context.CancelCauseFunc) {
	h.mu.Lock()
	defer h.mu.Unlock()
	x := h.held[ref]
	x.end = end
	if x.cause != nil {
		end(x.cause)
	}
}

// end ends the attempt, with the reason. One that is not held is none of ours.
func (h *holdings) end(ref application.AttemptRef, cause error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if x, ok := h.held[ref]; ok {
		x.endFor(cause)
	}
}

// endFor ends the attempt, while the caller has the lock.
func (x *holding) endFor(cause error) {
	if x.cause == nil || errors.Is(cause, domain.ErrAttemptLost) { // nothing outweighs a loss
		x.cause = cause
	}
	if x.end != nil {
		x.end(cause)
	}
}

// endAll ends all attempts that are held.
func (h *holdings) endAll(cause error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, x := range h.held {
		x.endFor(cause)
	}
}

// holdsAny reports whether an attempt of one of the tasks is held.
func (h *holdings) holdsAny(tasks []domain.TaskID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ref := range h.held {
		if slices.Contains(tasks, ref.Task) {
			return true
		}
	}
	return false
}

// causeOf returns why the attempt has to end, nil if it need not.
func (h *holdings) causeOf(ref application.AttemptRef) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if x, ok := h.held[ref]; ok {
		return x.cause
	}
	return nil
}

// returned notes that the attempt's handler has returned.
func (h *holdings) returned(ref application.AttemptRef) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held[ref].returned = true
}

// drop forgets an attempt: its outcome is stored, or is nobody's business any more.
func (h *holdings) drop(ref application.AttemptRef) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.held, ref)
}
