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

func TestSlots_TakeAllTakesAllThatAreFree(t *testing.T) {
	s := newSlots(3)

	first, err := s.takeAll(t.Context())
	if err != nil || first != 3 {
		t.Fatalf("got %d and %v, want 3", first, err)
	}
	s.release(1)
	s.release(1)
	second, err := s.takeAll(t.Context())
	if err != nil || second != 2 {
		t.Fatalf("got %d and %v, want 2", second, err)
	}
}

func TestSlots_TakeAllWaitsUntilASlotIsFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(1)
		_, _ = s.takeAll(t.Context())
		taken := make(chan int, 1)
		go func() {
			n, _ := s.takeAll(t.Context())
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

func TestSlots_TakeAllEndsWithItsContext(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	end()
	s := newSlots(1)

	if n, err := s.takeAll(ended); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("got %d and %v, want none and the context's error", n, err)
	}
	if n, err := s.takeAll(t.Context()); n != 1 || err != nil {
		t.Errorf("got %d and %v, want the slot that was left", n, err)
	}
}

func TestSlots_AreFreeOnceTheHandlerHasReturnedAsLongAsThereAreSomePlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const capacity = 4
		s := newSlots(capacity)
		for range 2 { // to all eight places
			if n, err := s.takeAll(t.Context()); n != capacity || err != nil {
				t.Fatalf("got %d and %v, want %d", n, err, capacity)
			}
			for range capacity {
				s.returned()
			}
		}
		for _, places := range []int{0, 1} {
			ctx, end := context.WithTimeout(t.Context(), time.Hour)
			if n, err := s.takeAll(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("got %d and %v with %d places, want none", n, err, places)
			}
			end()
			s.stored()
		}
		if n, err := s.takeAll(t.Context()); n != 2 || err != nil {
			t.Errorf("got %d and %v, want the two that there are places for", n, err)
		}
	})
}

func TestSlots_AreNeverTakenTwiceOrLost(t *testing.T) {
	const capacity, rounds = 8, 2000
	s := newSlots(capacity)
	var taken, held, most, mostHeld atomic.Int64
	var users sync.WaitGroup
	for given := 0; given < rounds; {
		n, err := s.takeAll(t.Context())
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
		t.Errorf("%d slots of %d and %d places were taken at once", most.Load(), capacity, mostHeld.Load())
	}
	if n, _ := s.takeAll(t.Context()); n != capacity {
		t.Errorf("%d slots are free at the end, want %d", n, capacity)
	}
}
