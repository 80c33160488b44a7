package worker

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// claimedTask makes a task in its first attempt.
func claimedTask(t *testing.T) *domain.Task {
	t.Helper()
	task, err := domain.NewTask(domain.TaskSpec{Message: "m", MaxAttempts: new(1)}, time.Now())
	if err == nil {
		err = task.Claim(domain.Claim{Worker: "w", Timeout: time.Minute}, time.Now())
	}
	if err != nil {
		t.Fatal(err)
	}
	return task
}

// held makes holdings that hold one attempt.
func held(t *testing.T) (*leases, application.AttemptRef) {
	t.Helper()
	h, task := newLeases(), claimedTask(t)
	ids := []domain.TaskID{task.ID()}
	h.startClaim(ids)
	h.endClaim(ids, []*domain.Task{task})
	return h, application.RefOf(task)
}

func composed(h *leases) application.Beat {
	var b application.Beat
	h.compose(&b)
	return b
}

func TestLeases_AClaimCarriesTheNumberOfTheLastBeatComposed(t *testing.T) {
	h := newLeases()
	for want := range int64(3) {
		if got := h.startClaim(nil); got != want {
			t.Errorf("claim carries %d, want %d", got, want)
		}
		if got := composed(h).Number; got != want+1 {
			t.Errorf("beat has number %d, want %d", got, want+1)
		}
	}
}

func TestLeases_AreListedFromTheClaimToTheDrop(t *testing.T) {
	h, task := newLeases(), claimedTask(t)
	ids, ref := []domain.TaskID{task.ID()}, application.RefOf(task)
	for _, step := range []struct {
		name           string
		do             func()
		claiming, held int
		unreturned     bool // listed as running
		running        int
	}{
		{"Before", func() {}, 0, 0, false, 0},
		{"Claiming", func() { h.startClaim(ids) }, 1, 0, false, 0},
		{"Waiting", func() { h.endClaim(ids, []*domain.Task{task}) }, 0, 1, true, 0},
		{"Running", func() { h.start(ref, func(error) {}) }, 0, 1, true, 1},
		{"Returned", func() { h.returned(ref) }, 0, 1, false, 0},
		{"Dropped", func() { h.drop(ref) }, 0, 0, false, 0},
	} {
		step.do()
		b := composed(h)
		if len(b.Claiming) != step.claiming || len(b.Held) != step.held || b.Worker.Running != step.running {
			t.Errorf("%s: the beat lists %v as claiming, %v as held, %d as running", step.name, b.Claiming, b.Held, b.Worker.Running)
		}
		if len(b.Held) == 1 && b.Held[0] != (application.HeldAttempt{AttemptRef: ref, Running: step.unreturned}) {
			t.Errorf("%s: the beat lists %v", step.name, b.Held[0])
		}
	}
}

func TestLeases_AnIdInTwoClaimsIsListedUntilBothHaveEnded(t *testing.T) {
	h, ids := newLeases(), []domain.TaskID{claimedTask(t).ID()}
	h.startClaim(ids)
	h.startClaim(ids)

	h.endClaim(ids, nil)
	if b := composed(h); !slices.Equal(b.Claiming, ids) {
		t.Errorf("after the first the beat lists %v, want %v", b.Claiming, ids)
	}
	h.endClaim(ids, nil)
	if b := composed(h); len(b.Claiming) != 0 {
		t.Errorf("after both the beat lists %v, want none", b.Claiming)
	}
}

func TestLeases_EndReachesTheHandlerWheneverItStarts(t *testing.T) {
	t.Run("Before", func(t *testing.T) {
		h, ref := held(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		h.end(ref, domain.ErrAttemptLost)
		h.start(ref, cancel)
		if cause := context.Cause(ctx); !errors.Is(cause, domain.ErrAttemptLost) {
			t.Errorf("got cause %v, want the attempt lost", cause)
		}
	})
	t.Run("After", func(t *testing.T) {
		h, ref := held(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		h.start(ref, cancel)
		h.end(ref, errStopRequested)
		if cause := context.Cause(ctx); !errors.Is(cause, errStopRequested) || !errors.Is(h.causeOf(ref), errStopRequested) {
			t.Errorf("got cause %v, want the stop", cause)
		}
	})
	t.Run("NotHeld", func(t *testing.T) {
		h, ref := held(t)
		h.end(application.AttemptRef{Task: ref.Task, Attempt: ref.Attempt + 1}, domain.ErrAttemptLost)
		if cause := h.causeOf(ref); cause != nil {
			t.Errorf("got cause %v for another attempt, want none", cause)
		}
	})
}

func TestLeases_WhatIsGivenUpStaysListedUntilItIsLost(t *testing.T) {
	h, ref := held(t)
	h.start(ref, func(error) {})
	h.returned(ref)
	h.giveUp(ref)
	h.drop(ref)
	want := application.HeldAttempt{AttemptRef: ref, GivenUp: true}
	h.end(ref, errStopRequested)
	h.endAll(errShutdown)
	if b := composed(h); !slices.Equal(b.Held, []application.HeldAttempt{want}) {
		t.Errorf("the beat lists %v, want %v", b.Held, want)
	}
	h.end(ref, domain.ErrAttemptLost)
	if b := composed(h); len(b.Held) != 0 {
		t.Errorf("once it is lost the beat lists %v", b.Held)
	}
}

// Every beat that is composed while tasks come and go must list each task that
// is claimed under a lower number than its own: what it does not list is given back.
func TestLeases_NoBeatLeavesOutWhatWasClaimedUnderALowerNumber(t *testing.T) {
	const workers, rounds = 4, 200
	h := newLeases()
	var mu sync.Mutex
	claimedUnder := map[domain.TaskID]int64{} // what the store would have
	var loops, beats sync.WaitGroup
	for range workers {
		task := claimedTask(t)
		ids, ref := []domain.TaskID{task.ID()}, application.RefOf(task)
		loops.Go(func() {
			for range rounds {
				under := h.startClaim(ids)
				mu.Lock()
				claimedUnder[ref.Task] = under
				mu.Unlock()
				h.endClaim(ids, []*domain.Task{task})
				h.start(ref, func(error) {})
				h.end(ref, errStopRequested)
				h.returned(ref)
				mu.Lock()
				delete(claimedUnder, ref.Task)
				mu.Unlock()
				h.drop(ref)
			}
		})
	}
	stop := make(chan struct{})
	beats.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			b := composed(h)
			listed := map[domain.TaskID]bool{}
			for _, id := range b.Claiming {
				listed[id] = true
			}
			for _, x := range b.Held {
				listed[x.Task] = true
			}
			mu.Lock()
			for id, under := range claimedUnder {
				if under < b.Number && !listed[id] {
					t.Errorf("beat %d does not list a task that was claimed under %d", b.Number, under)
				}
			}
			mu.Unlock()
		}
	})
	loops.Wait()
	close(stop)
	beats.Wait()
}
