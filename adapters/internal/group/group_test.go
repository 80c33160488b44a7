package group

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var errBad, errAway = errors.New("a bad item"), errors.New("the store is away")

// harness is a group of numbers whose Commit takes a while.
type harness struct {
	*Group[int]
	mu      sync.Mutex
	batches [][]int
	errs    []error // of the Commits, in order; none: none fails
	takes   time.Duration
	bad     []int
}

func newHarness(change func(c *Config[int])) *harness {
	h := &harness{takes: time.Second}
	cfg := Config[int]{MaxCount: 100, SplitOn: func(err error) bool { return errors.Is(err, errBad) }, Commit: h.commit}
	if change != nil {
		change(&cfg)
	}
	h.Group = New(cfg)
	return h
}

func (h *harness) commit(items []int) error {
	time.Sleep(h.takes)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.batches = append(h.batches, items)
	if n := len(h.batches); n <= len(h.errs) && h.errs[n-1] != nil {
		return h.errs[n-1]
	}
	for _, b := range h.bad {
		if slices.Contains(items, b) {
			return errBad
		}
	}
	return nil
}

// goDo calls Do in a goroutine and waits until its item waits, or is under way.
func (h *harness) goDo(ctx context.Context, item int) <-chan error {
	done := make(chan error, 1)
	go func() { done <- h.Do(ctx, item) }()
	synctest.Wait()
	return done
}

func (h *harness) wantBatches(t *testing.T, want ...[]int) {
	t.Helper()
	if got := fmt.Sprint(h.batches); got != fmt.Sprint(want) {
		t.Errorf("done together: %s, want %v", got, want)
	}
}

func TestGroup_DoesTogetherWhateverWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, begun := newHarness(nil), time.Now()
		first := h.goDo(t.Context(), 1)
		second, third := h.goDo(t.Context(), 2), h.goDo(t.Context(), 3)
		for _, done := range []<-chan error{first, second, third} {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		h.wantBatches(t, []int{1}, []int{2, 3})
		if took := time.Since(begun); took != 2*h.takes {
			t.Errorf("took %s: one that comes alone is done at once, the others with the next", took)
		}
	})
}

func TestGroup_BoundsWhatIsDoneTogether(t *testing.T) {
	for name, c := range map[string]struct {
		change func(c *Config[int])
		want   [][]int
	}{
		"Count":  {func(c *Config[int]) { c.MaxCount = 2 }, [][]int{{1}, {50, 2}, {3, 4}, {5}}},
		"Weight": {func(c *Config[int]) { c.MaxWeight, c.Size = 9, func(n int) (int, int) { return 1, n } }, [][]int{{1}, {50}, {2, 3, 4}, {5}}},
		"Size":   {func(c *Config[int]) { c.MaxCount, c.Size = 9, func(n int) (int, int) { return n, 0 } }, [][]int{{1}, {50}, {2, 3, 4}, {5}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(c.change)
				for _, n := range []int{1, 50, 2, 3, 4, 5} {
					h.goDo(t.Context(), n)
				}
				h.Close()
				h.wantBatches(t, c.want...)
			})
		})
	}
}

// tens is a key that numbers of one ten share.
func tens(n int) int { return n / 10 }

func newKeyedHarness(change func(c *Config[int])) *harness {
	h := newHarness(change)
	h.Group = NewKeyed(h.cfg, tens)
	return h
}

func TestNewKeyed_NoCommitHasTwoItemsOfOneKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newKeyedHarness(nil)
		var answers []<-chan error
		for _, n := range []int{1, 2, 10, 3, 20, 11, 4, 30} {
			answers = append(answers, h.goDo(t.Context(), n))
		}
		for i, done := range answers {
			if err := <-done; err != nil {
				t.Errorf("item %d: %v", i, err)
			}
		}
		h.wantBatches(t, []int{1}, []int{2, 10, 20, 30}, []int{3, 11}, []int{4})
	})
}

func TestNewKeyed_WhatIsLeftForLaterStaysInFront(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newKeyedHarness(func(c *Config[int]) { c.MaxCount = 2 })
		for _, n := range []int{1, 2, 3, 10, 20, 30} {
			h.goDo(t.Context(), n)
		}
		h.Close()
		h.wantBatches(t, []int{1}, []int{2, 10}, []int{3, 20}, []int{30})
	})
}

func TestNewKeyed_ACallerMayLeaveWhileItsKeyIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newKeyedHarness(nil)
		h.goDo(t.Context(), 10)
		h.goDo(t.Context(), 1)
		ctx, cancel := context.WithCancel(t.Context())
		leaves, stays := h.goDo(ctx, 2), h.goDo(t.Context(), 3)
		time.Sleep(h.takes + h.takes/2) // the commit of 1 is under way
		cancel()
		if err := <-leaves; !errors.Is(err, context.Canceled) {
			t.Errorf("the caller who waited got %v", err)
		}
		if err := <-stays; err != nil {
			t.Error(err)
		}
		h.wantBatches(t, []int{10}, []int{1}, []int{3})
	})
}

func TestNewKeyed_ABadItemFailsAloneAndTheNextOfItsKeyIsTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newKeyedHarness(nil)
		h.bad = []int{2}
		h.goDo(t.Context(), 10)
		bad, twin, other := h.goDo(t.Context(), 2), h.goDo(t.Context(), 3), h.goDo(t.Context(), 20)
		if a, b, c := <-bad, <-twin, <-other; a != errBad || b != nil || c != nil {
			t.Errorf("answers %v, %v, %v", a, b, c)
		}
		h.wantBatches(t, []int{10}, []int{2, 20}, []int{2}, []int{20}, []int{3})
	})
}

func TestNewKeyed_AStallIsWaitedForOnceByTheWholeKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newKeyedHarness(func(c *Config[int]) { c.MaxStall = 500 * time.Millisecond })
		h.errs = []error{errAway}
		stalled, twin, third := h.goDo(t.Context(), 1), h.goDo(t.Context(), 2), h.goDo(t.Context(), 3)
		if a, b, c := <-stalled, <-twin, <-third; a != errAway || b != errAway || c != errAway {
			t.Errorf("answers %v, %v, %v", a, b, c)
		}
		h.wantBatches(t, []int{1})
	})
}

func TestGroup_TellsEveryCallerOfAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(nil)
		h.errs = []error{nil, errAway}
		first := h.goDo(t.Context(), 1)
		second, third := h.goDo(t.Context(), 2), h.goDo(t.Context(), 3)
		if a, b, c := <-first, <-second, <-third; a != nil || b != errAway || c != errAway {
			t.Errorf("answers %v, %v, %v", a, b, c)
		}
		h.wantBatches(t, []int{1}, []int{2, 3})
	})
}

func TestGroup_FailsOnlyTheBadItems(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(nil)
		h.bad = []int{3, 7}
		answers := make([]<-chan error, 10)
		for i := range answers {
			answers[i] = h.goDo(t.Context(), i)
		}
		for i, done := range answers {
			if err, bad := <-done, i == 3 || i == 7; (err != nil) != bad {
				t.Errorf("item %d: %v", i, err)
			}
		}
	})
}

func TestGroup_ACallerMayLeaveUntilItsItemIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(nil)
		ctx, cancel := context.WithCancel(t.Context())
		underWay, waits := h.goDo(ctx, 1), h.goDo(ctx, 2)
		stays := h.goDo(t.Context(), 3)
		cancel()
		if err := <-waits; !errors.Is(err, context.Canceled) {
			t.Errorf("the caller who waited got %v", err)
		}
		if err := <-underWay; err != nil {
			t.Errorf("the caller whose item was done got %v", err)
		}
		if err := <-stays; err != nil {
			t.Error(err)
		}
		if err := h.Do(ctx, 4); !errors.Is(err, context.Canceled) {
			t.Errorf("a caller who had left before got %v", err)
		}
		h.wantBatches(t, []int{1}, []int{3})
	})
}

func TestGroup_ABestEffortCallerLeavesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(func(c *Config[int]) { c.BestEffort = true })
		ctx, cancel := context.WithTimeout(t.Context(), h.takes/2)
		defer cancel()
		begun := time.Now()
		if err := h.Do(ctx, 1); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != h.takes/2 {
			t.Errorf("got %v after %s", err, time.Since(begun))
		}
		h.Close()
		h.wantBatches(t, []int{1})
	})
}

func TestGroup_AStallIsWaitedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(func(c *Config[int]) { c.MaxCount, c.MaxStall = 1, 500*time.Millisecond })
		h.takes = 5 * time.Second
		h.errs = []error{errAway, errAway}
		stalled, waited := h.goDo(t.Context(), 1), h.goDo(t.Context(), 2)
		time.Sleep(4600 * time.Millisecond)
		late := h.goDo(t.Context(), 3)
		begun := time.Now()
		if a, b := <-stalled, <-waited; a != errAway || b != errAway {
			t.Errorf("answers %v, %v", a, b)
		}
		if waitedFor := time.Since(begun); waitedFor != 400*time.Millisecond {
			t.Errorf("the one who waited was told %s later than the one who stalled", waitedFor)
		}
		if err := <-late; err != errAway {
			t.Error(err)
		}
		h.wantBatches(t, []int{1}, []int{3})
	})
}

func TestGroup_MaxStallHasNothingToDoWithABadItem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(func(c *Config[int]) { c.MaxCount, c.MaxStall = 1, time.Millisecond })
		h.bad = []int{1}
		bad, good := h.goDo(t.Context(), 1), h.goDo(t.Context(), 2)
		if a, b := <-bad, <-good; a != errBad || b != nil {
			t.Errorf("answers %v, %v", a, b)
		}
	})
}

func TestGroup_CloseAnswersAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(nil)
		first, second := h.goDo(t.Context(), 1), h.goDo(t.Context(), 2)
		h.Close()
		h.Close() // once more does no harm
		if a, b := <-first, <-second; a != nil || b != nil {
			t.Errorf("answers %v, %v", a, b)
		}
		if err := h.Do(t.Context(), 3); err != ErrClosed {
			t.Errorf("after Close: %v", err)
		}
	})
}

func TestGroup_APanicIsAnErrorOfItsCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := true
		g := New(Config[int]{MaxCount: 1, Commit: func([]int) error {
			if broken {
				panic("broken")
			}
			return nil
		}})
		if err := g.Do(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "panic: broken") {
			t.Errorf("got %v", err)
		}
		broken = false
		if err := g.Do(t.Context(), 2); err != nil {
			t.Error(err)
		}
	})
}

func TestGroup_ManyCallersAreEachAnsweredOnce(t *testing.T) {
	t.Run("New", func(t *testing.T) { manyCallers(t, New[int]) })
	t.Run("NewKeyed", func(t *testing.T) {
		manyCallers(t, func(cfg Config[int]) *Group[int] { return NewKeyed(cfg, func(n int) int { return n % 3 }) })
	})
}

func manyCallers(t *testing.T, newGroup func(cfg Config[int]) *Group[int]) {
	var mu sync.Mutex
	done := map[int]int{}
	g := newGroup(Config[int]{MaxCount: 7, Commit: func(items []int) error {
		mu.Lock()
		defer mu.Unlock()
		for _, n := range items {
			done[n]++
		}
		return nil
	}})
	var callers sync.WaitGroup
	for n := range 1000 {
		callers.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n)*time.Microsecond)
			defer cancel()
			err := g.Do(ctx, n)
			mu.Lock()
			defer mu.Unlock()
			if (err == nil) != (done[n] == 1) {
				t.Errorf("item %d: done %d times, answered %v", n, done[n], err)
			}
		})
	}
	callers.Wait()
	g.Close()
}

func BenchmarkGroup(b *testing.B) {
	cfg := Config[int]{MaxCount: 500, Commit: func([]int) error { return nil }}
	for _, callers := range []int{1, 64, 256} {
		for name, newGroup := range map[string]func() *Group[int]{
			"New":      func() *Group[int] { return New(cfg) },
			"NewKeyed": func() *Group[int] { return NewKeyed(cfg, func(n int) int { return n }) },
		} {
			b.Run(fmt.Sprintf("%s/callers=%d", name, callers), func(b *testing.B) {
				g, last := newGroup(), atomic.Int64{}
				b.ReportAllocs()
				b.SetParallelism(callers)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						_ = g.Do(b.Context(), int(last.Add(1)))
					}
				})
			})
		}
	}
}
