package worker

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// leases tracks claims in flight and held attempts under one lock, so that a
// claim's beat number and a beat's lists are consistent. When a lease has lapsed, and
// who may take its tasks away, is in domain/lease.go.
type leases struct {
	mu       sync.Mutex
	beat     int64                 // number of the last beat composed
	claiming map[domain.TaskID]int // ids in a claim that is not answered; by how many claims
	held     map[application.AttemptRef]*lease
}

// lease is one attempt that the worker holds.
type lease struct {
	suspect  bool // see domain.Task.Suspect
	returned bool // the handler has: only the outcome is to be saved
	saving   bool // its outcome is being stored, for as long as that takes
	givenUp  bool // the outcome cannot be stored: a beat has to give the task back, and charge it
	deadline time.Time
	// cancel ends the handler's context with its cause; nil until the handler starts.
	cancel context.CancelCauseFunc
	cause  error // why the attempt has to end; nil if it need not
}

func newLeases() *leases {
	return &leases{claiming: map[domain.TaskID]int{}, held: map[application.AttemptRef]*lease{}}
}

// startClaim lists the ids as being claimed and returns the number that the
// claim has to carry: that of the last beat composed before it.
func (l *leases) startClaim(ids []domain.TaskID) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		l.claiming[id]++
	}
	return l.beat
}

// endClaim takes the ids off the list and holds the tasks that were claimed. It returns
// those whose attempt is held already: the store has lost the claim of that one, in a
// failover, and has given its number again. That one has to end, and the new claim is to
// be given back: an attempt begins once.
func (l *leases) endClaim(ids []domain.TaskID, claimed []*domain.Task) (again []*domain.Task) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		if l.claiming[id]--; l.claiming[id] == 0 {
			delete(l.claiming, id)
		}
	}
	for _, t := range claimed {
		ref := application.RefOf(t)
		if held, ok := l.held[ref]; ok {
			held.end(domain.ErrAttemptLost)
			again = append(again, t)
			continue
		}
		l.held[ref] = &lease{deadline: t.State().Deadline}
	}
	return again
}

// admitSuspect notes that the attempt is that of a suspect; false if another is held.
func (l *leases) admitSuspect(ref application.AttemptRef) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for other, held := range l.held {
		if held.suspect && other != ref {
			return false
		}
	}
	if held, ok := l.held[ref]; ok {
		held.suspect = true
	}
	return true
}

// compose numbers the next beat and fills its lists.
func (l *leases) compose(b *application.Beat) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.beat++
	b.Number = l.beat
	for id := range l.claiming {
		b.Claiming = append(b.Claiming, id)
	}
	for ref, held := range l.held {
		b.Held = append(b.Held, application.HeldAttempt{AttemptRef: ref, Running: !held.returned, GivenUp: held.givenUp})
		if !held.returned && held.cancel != nil {
			b.Worker.Running++
		}
	}
}

// start notes that the attempt's handler starts, and how its context is ended: at
// once, if the attempt had to end before it started. An attempt that is not held
// is none to run.
func (l *leases) start(ref application.AttemptRef, cancel context.CancelCauseFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	held, ok := l.held[ref]
	if !ok {
		cancel(domain.ErrAttemptLost)
		return
	}
	held.cancel = cancel
	if held.cause != nil {
		cancel(held.cause)
	}
}

// end ends the attempt, with the cause. One that is not held is left alone; one that
// was given up is forgotten once it is lost, as that was to be.
func (l *leases) end(ref application.AttemptRef, cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch held, ok := l.held[ref]; {
	case !ok:
	case held.givenUp && errors.Is(cause, domain.ErrAttemptLost):
		delete(l.held, ref)
	default:
		held.end(cause)
	}
}

// end ends the attempt, while the caller has the lock.
func (l *lease) end(cause error) {
	if l.cause == nil || errors.Is(cause, domain.ErrAttemptLost) { // nothing outweighs a loss
		l.cause = cause
	}
	if l.cancel != nil {
		l.cancel(cause)
	}
}

// endAll ends all attempts that are held.
func (l *leases) endAll(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, held := range l.held {
		held.end(cause)
	}
}

// holdsAny reports whether an attempt of one of the tasks is held.
func (l *leases) holdsAny(tasks []domain.TaskID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ref := range l.held {
		if slices.Contains(tasks, ref.Task) {
			return true
		}
	}
	return false
}

// causeOf returns why the attempt has to end, nil if it need not.
func (l *leases) causeOf(ref application.AttemptRef) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if held, ok := l.held[ref]; ok {
		return held.cause
	}
	return nil
}

// returned notes that the attempt's handler has returned, or is left behind.
func (l *leases) returned(ref application.AttemptRef) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if held, ok := l.held[ref]; ok {
		held.returned = true
	}
}

// saves notes that the outcome of an attempt is being stored, or no longer is.
func (l *leases) saves(ref application.AttemptRef, saving bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if held, ok := l.held[ref]; ok {
		held.saving = saving
	}
}

// overdue counts the attempts whose deadline passed before the given time, and that have
// not ended. A handler that does not return is no reason: it is left behind by then. Nor
// is an outcome that cannot be stored.
func (l *leases) overdue(before time.Time) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, held := range l.held {
		if held.deadline.Before(before) && !held.saving && !held.givenUp {
			n++
		}
	}
	return n
}

// giveUp notes that the outcome of an attempt cannot be stored. It stays listed, as
// given up, until a beat's answer says that it is the worker's no more.
func (l *leases) giveUp(ref application.AttemptRef) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if held, ok := l.held[ref]; ok {
		held.givenUp = true
	}
}

// drop forgets an attempt, unless it was given up: its outcome is stored, or the task
// is another's.
func (l *leases) drop(ref application.AttemptRef) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if held, ok := l.held[ref]; ok && !held.givenUp {
		delete(l.held, ref)
	}
}
