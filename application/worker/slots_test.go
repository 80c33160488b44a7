package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/domain"
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
				s.occupy("a")
				s.returned("a")
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
			s.occupy("a")
			users.Go(func() {
				taken.Add(-1)
				s.returned("a")
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

func TestSlots_ReserveForEachQueueWithNothingRunningUpToHalf(t *testing.T) {
	for _, c := range []struct{ capacity, queues, running, want int }{
		{10, 1, 0, 10},
		{10, 2, 0, 9}, // one queue may take all but the slot of the other
		{10, 2, 1, 9},
		{10, 2, 2, 10},
		{10, 4, 1, 7},
		{10, 4, 3, 9},
		{10, 50, 1, 5},
		{3, 50, 0, 2},
		{2, 2, 1, 1},
		{1, 5, 0, 1}, // nothing to reserve
	} {
		queues := []domain.QueueName{"a", "b", "c", "d"}
		for len(queues) < c.queues {
			queues = append(queues, domain.QueueName(fmt.Sprint("q", len(queues))))
		}
		s := newSlots(c.capacity, 0, queues[:c.queues]...)
		for _, q := range queues[:c.running] {
			s.acquired++
			s.occupy(q)
		}
		if got := s.available() + c.running; got != c.want {
			t.Errorf("%d slots, %d of %d queues run a task: any may have %d slots, want %d", c.capacity, c.running, c.queues, got, c.want)
		}
	}
}

func TestSlots_AReservedSlotIsForAQueueWithNothingRunning(t *testing.T) {
	s := newSlots(4, 0, "a", "b", "c")
	if got := s.tryAcquireReserved(); got != nil {
		t.Fatalf("a slot for %v while any queue may be pulled from", got)
	}
	n := s.tryAcquireAll()
	if got := s.tryAcquireReserved(); n != 2 || got != nil {
		t.Fatalf("acquired %d slots, and one for %v while those wait for their tasks", n, got)
	}
	s.occupy("a")
	s.occupy("a")
	if got := s.tryAcquireReserved(); !slices.Equal(got, []domain.QueueName{"b", "c"}) {
		t.Fatalf("a slot for %v, want b and c", got)
	}
	if got := s.tryAcquireReserved(); got != nil {
		t.Fatalf("a second one at once, for %v", got)
	}
	s.occupyReserved("c")
	if got, n := s.tryAcquireReserved(), s.tryAcquireAll(); !slices.Equal(got, []domain.QueueName{"b"}) || n != 0 {
		t.Fatalf("then for %v, and %d for any; want b, and none", got, n)
	}
	s.releaseReserved()
	s.returned("c")
	if n := s.tryAcquireAll(); n != 0 {
		t.Errorf("a took %d slots of the two that are reserved", n)
	}
	s.returned("a")
	if n := s.tryAcquireAll(); n != 1 {
		t.Errorf("%d slots are free for any, want 1", n)
	}
}

// What explain says of a worker is what the worker does.
func TestSlots_AgreeWithTheRuleOfTheDomain(t *testing.T) {
	queues := []domain.QueueName{"a", "b", "c"}
	for slotCount := 1; slotCount <= 6; slotCount++ {
		for running := range 1 << (2 * slotCount) { // two bits say what each slot runs
			s := newSlots(slotCount, 0, queues...)
			for slot := range slotCount {
				if q := running >> (2 * slot) & 3; q < len(queues) {
					s.acquired++
					s.occupy(queues[q])
				}
			}
			for _, q := range queues {
				idle := s.byQueue[q] == 0
				takes := s.available() > 0 || idle && s.mayReserve()
				if want := s.use().Takes(idle); takes != want {
					t.Fatalf("%d slots run %v: one more of %s is taken: %t, by the rule: %t", slotCount, s.byQueue, q, takes, want)
				}
			}
		}
	}
}
