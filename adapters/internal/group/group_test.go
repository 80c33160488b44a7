package group

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var errBad, errAway = errors.New("a bad item"), errors.New("the store is away")

// rig is a group of numbers whose Commit takes a while.
type rig struct {
	*Group[int]
	mu      sync.Mutex
	batches [][]int
	errs    []error // of the Commits, in order; none: none fails
	takes   time.Duration
	bad     []int
}

func newRig(change func(c *Config[int])) *rig {
	r := &rig{takes: time.Second}
	cfg := Config[int]{MaxCount: 100, Divides: func(err error) bool { return errors.Is(err, errBad) }, Commit: r.commit}
	if change != nil {
		change(&cfg)
	}
	r.Group = New(cfg)
	return r
}

func (r *rig) commit(items []int) error {
	time.Sleep(r.takes)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.batches = append(r.batches, items)
	if n := len(r.batches); n <= len(r.errs) && r.errs[n-1] != nil {
		return r.errs[n-1]
	}
	for _, b := range r.bad {
		if slices.Contains(items, b) {
			return errBad
		}
	}
	return nil
}

// goDo calls Do in a goroutine and waits until its item waits, or is under way.
func (r *rig) goDo(ctx context.Context, item int) <-chan error {
	done := make(chan error, 1)
	go func() { done <- r.Do(ctx, item) }()
	synctest.Wait()
	return done
}

func (r *rig) wantBatches(t *testing.T, want ...[]int) {
	t.Helper()
	if got := fmt.Sprint(r.batches); got != fmt.Sprint(want) {
		t.Errorf("done together: %s, want %v", got, want)
	}
}

func TestGroup_DoesTogetherWhateverWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, begun := newRig(nil), time.Now()
		first := r.goDo(t.Context(), 1)
		second, third := r.goDo(t.Context(), 2), r.goDo(t.Context(), 3)
		for _, done := range []<-chan error{first, second, third} {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		r.wantBatches(t, []int{1}, []int{2, 3})
		if took := time.Since(begun); took != 2*r.takes {
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
				r := newRig(c.change)
				for _, n := range []int{1, 50, 2, 3, 4, 5} {
					r.goDo(t.Context(), n)
				}
				r.Close()
				r.wantBatches(t, c.want...)
			})
		})
	}
}

func TestGroup_TellsEveryCallerOfAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(nil)
		r.errs = []error{nil, errAway}
		first := r.goDo(t.Context(), 1)
		second, third := r.goDo(t.Context(), 2), r.goDo(t.Context(), 3)
		if a, b, c := <-first, <-second, <-third; a != nil || b != errAway || c != errAway {
			t.Errorf("answers %v, %v, %v", a, b, c)
		}
		r.wantBatches(t, []int{1}, []int{2, 3})
	})
}

func TestGroup_FailsOnlyTheBadItems(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(nil)
		r.bad = []int{3, 7}
		answers := make([]<-chan error, 10)
		for i := range answers {
			answers[i] = r.goDo(t.Context(), i)
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
		r := newRig(nil)
		ctx, cancel := context.WithCancel(t.Context())
		underWay, waits := r.goDo(ctx, 1), r.goDo(ctx, 2)
		stays := r.goDo(t.Context(), 3)
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
		if err := r.Do(ctx, 4); !errors.Is(err, context.Canceled) {
			t.Errorf("a caller who had left before got %v", err)
		}
		r.wantBatches(t, []int{1}, []int{3})
	})
}

func TestGroup_NobodyWaitsForAHint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(func(c *Config[int]) { c.Hints = true })
		ctx, cancel := context.WithTimeout(t.Context(), r.takes/2)
		defer cancel()
		begun := time.Now()
		if err := r.Do(ctx, 1); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != r.takes/2 {
			t.Errorf("got %v after %s", err, time.Since(begun))
		}
		r.Close()
		r.wantBatches(t, []int{1})
	})
}

func TestGroup_AStallIsWaitedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(func(c *Config[int]) { c.MaxCount, c.Patience = 1, 500*time.Millisecond })
		r.takes = 5 * time.Second
		r.errs = []error{errAway, errAway}
		stalled, waited := r.goDo(t.Context(), 1), r.goDo(t.Context(), 2)
		time.Sleep(4600 * time.Millisecond)
		late := r.goDo(t.Context(), 3)
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
		r.wantBatches(t, []int{1}, []int{3})
	})
}

func TestGroup_PatienceHasNothingToDoWithABadItem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(func(c *Config[int]) { c.MaxCount, c.Patience = 1, time.Millisecond })
		r.bad = []int{1}
		bad, good := r.goDo(t.Context(), 1), r.goDo(t.Context(), 2)
		if a, b := <-bad, <-good; a != errBad || b != nil {
			t.Errorf("answers %v, %v", a, b)
		}
	})
}

func TestGroup_CloseAnswersAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(nil)
		first, second := r.goDo(t.Context(), 1), r.goDo(t.Context(), 2)
		r.Close()
		r.Close() // once more does no harm
		if a, b := <-first, <-second; a != nil || b != nil {
			t.Errorf("answers %v, %v", a, b)
		}
		if err := r.Do(t.Context(), 3); err != ErrClosed {
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
	var mu sync.Mutex
	done := map[int]int{}
	g := New(Config[int]{MaxCount: 7, Commit: func(items []int) error {
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
	for _, callers := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			g := New(Config[int]{MaxCount: 500, Commit: func([]int) error { return nil }})
			b.ReportAllocs()
			b.SetParallelism(callers)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					_ = g.Do(b.Context(), 1)
				}
			})
		})
	}
}
