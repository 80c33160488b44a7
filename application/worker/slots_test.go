package worker

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestSlots_AcquireAllTakesAllThatAreFree(t *testing.T) {
	s := newSlots(3, 0)

	first, err := s.acquireAll(t.Context())
	if err != nil || first != 3 {
		t.Fatalf("got %d and %v, want 3", first, err)
	}
	s.release(1)
	s.release(1)
	second, err := s.acquireAll(t.Context())
	if err != nil || second != 2 {
		t.Fatalf("got %d and %v, want 2", second, err)
	}
}

func TestSlots_AcquireAllWaitsUntilASlotIsFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(1, 0)
		_, _ = s.acquireAll(t.Context())
		taken := make(chan int, 1)
		go func() {
			n, _ := s.acquireAll(t.Context())
			taken <- n
		}()
		synctest.Wait()
		s.release(0)
		synctest.Wait()
		if len(taken) != 0 {
			t.Fatal("took a slot although none was free")
		}

		s.release(1)

		if n := <-taken; n != 1 {
			t.Errorf("got %d slots, want 1", n)
		}
	})
}

func TestSlots_AcquireAllEndsWithItsContext(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	end()
	s := newSlots(1, 0)

	if n, err := s.acquireAll(ended); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("got %d and %v, want none and the context's error", n, err)
	}
	if n, err := s.acquireAll(t.Context()); n != 1 || err != nil {
		t.Errorf("got %d and %v, want the slot that was left", n, err)
	}
}

func TestSlots_ResumeAtHalfTheirNumberOnceAllRoomInFlightWasTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const capacity = 4
		s := newSlots(capacity, 0)
		for range 2 { // to eight in flight
			if n, err := s.acquireAll(t.Context()); n != capacity || err != nil {
				t.Fatalf("got %d and %v, want %d", n, err, capacity)
			}
			for range capacity {
				s.returned()
			}
		}
		for _, room := range []int{0, 1} {
			ctx, end := context.WithTimeout(t.Context(), time.Hour)
			if n, err := s.acquireAll(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("got %d and %v with room for %d in flight, want none", n, err, room)
			}
			end()
			s.stored()
		}
		if n, err := s.acquireAll(t.Context()); n != 2 || err != nil {
			t.Errorf("got %d and %v, want the two that there is room for", n, err)
		}
	})
}

func TestSlots_AreNeverTakenTwiceOrLost(t *testing.T) {
	const capacity, rounds = 8, 2000
	s := newSlots(capacity, 0)
	var taken, held, most, mostHeld atomic.Int64
	var users sync.WaitGroup
	for given := 0; given < rounds; {
		n, err := s.acquireAll(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		most.Store(max(most.Load(), taken.Add(int64(n))))
		mostHeld.Store(max(mostHeld.Load(), held.Add(int64(n))))
		given += n
		for range n {
			users.Go(func() {
				taken.Add(-1)
				s.returned()
				runtime.Gosched()
				held.Add(-1)
				s.stored()
			})
		}
	}
	users.Wait()

	if most.Load() > capacity || mostHeld.Load() > 2*capacity {
		t.Errorf("%d of %d slots were taken at once, and %d were in flight", most.Load(), capacity, mostHeld.Load())
	}
	if n, _ := s.acquireAll(t.Context()); n != capacity {
		t.Errorf("%d slots are free at the end, want %d", n, capacity)
	}
}
