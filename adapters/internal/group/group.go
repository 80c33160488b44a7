// Package group does together what many want done at the same time: concurrent
// callers share one commit, as in the group commit of DeWitt et al.,
// "Implementation Techniques for Main Memory Database Systems" (SIGMOD 1984). It
// knows neither tasks nor stores; every adapter may use it.
package group

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// ErrClosed is the answer to a caller who comes after Close.
var ErrClosed = errors.New("the group is closed")

// Config says how the items of concurrent callers are done together.
type Config[T any] struct {
	// Commit does all the items or none. They are given in the order in which they
	// came, and Commit may sort them. Its error is the answer to each of their callers.
	// What differs from caller to caller belongs into the items themselves. It must end
	// by itself: no caller's context reaches it. It is never called while another call
	// of it is under way.
	Commit func(items []T) error
	// SplitOn reports of an error of Commit that nothing was done and that a single
	// item may be to blame: then the items are done in halves, so that one bad item
	// does not fail its neighbours. Nil: no error does.
	SplitOn func(err error) bool
	// Size is how much an item counts for, and how much it weighs. Nil: it counts
	// for one and weighs nothing.
	Size func(item T) (count, weight int)
	// MaxCount and MaxWeight bound what is done together; an item that is larger is
	// done alone.
	MaxCount, MaxWeight int
	// MaxStall: after a Commit that failed and took longer than this, every caller who
	// has waited longer gets its error too. What made it stall may stall the next one
	// as well, and nobody is to wait for one after the other. 0: no limit.
	MaxStall time.Duration
	// BestEffort: an item may be done although its caller was told that it is not. Then
	// a caller whose context ends never waits for Commit.
	BestEffort bool
	// Committed hears how many items a Commit has done together that succeeded. It must
	// not block. Nil: nobody does.
	Committed func(items int)
}

// Group gathers items for as long as a Commit is under way, and then does all that
// wait, so that it adds no delay: an item that comes alone is done at once. It is
// safe for concurrent use.
type Group[T any] struct {
	cfg     Config[T]
	isFirst func(n int) func(item T) bool // of n items; see NewKeyed; nil: items have no keys

	mu      sync.Mutex
	waiting []*call[T]
	busy    bool
	closed  bool
	idle    chan struct{} // closed once the group is closed and nothing is left to do
}

// call is a caller's item.
type call[T any] struct {
	item  T
	since time.Time
	taken bool // a Commit may be doing it
	done  chan error
}

// New makes a group.
func New[T any](cfg Config[T]) *Group[T] {
	if cfg.Size == nil {
		cfg.Size = func(T) (int, int) { return 1, 0 }
	}
	return &Group[T]{cfg: cfg, idle: make(chan struct{})}
}

// NewKeyed makes a group in which no Commit has two items of one key. The item that
// came first is done first, and the others are left for the commits after it.
func NewKeyed[T any, K comparable](cfg Config[T], key func(item T) K) *Group[T] {
	g := New(cfg)
	g.isFirst = func(n int) func(item T) bool {
		seen := make(map[K]struct{}, n)
		return func(item T) bool {
			k := key(item)
			if _, ok := seen[k]; ok {
				return false
			}
			seen[k] = struct{}{}
			return true
		}
	}
	return g
}

// Do does the item together with those of other callers, and returns what Commit
// says of them. When ctx ends before a Commit has begun, the item is not done and
// the error is ctx's. After that Do waits: what may be done is not called undone.
func (g *Group[T]) Do(ctx context.Context, item T) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c := &call[T]{item: item, since: time.Now(), done: make(chan error, 1)}
	if err := g.enter(c); err != nil {
		return err
	}
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
	}
	if g.withdraw(c) || g.cfg.BestEffort {
		return ctx.Err()
	}
	return <-c.done
}

// Close lets nobody else in, and waits until all who are waiting are answered.
func (g *Group[T]) Close() {
	g.mu.Lock()
	if !g.closed {
		g.closed = true
		if !g.busy {
			close(g.idle)
		}
	}
	g.mu.Unlock()
	<-g.idle
}

// enter adds the call to those that wait.
func (g *Group[T]) enter(c *call[T]) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return ErrClosed
	}
	g.waiting = append(g.waiting, c)
	if !g.busy {
		g.busy = true
		go g.work()
	}
	return nil
}

// withdraw takes a call back that no Commit has begun with.
func (g *Group[T]) withdraw(c *call[T]) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.taken {
		return false
	}
	for i, other := range g.waiting {
		if other == c {
			g.waiting = append(g.waiting[:i], g.waiting[i+1:]...)
			return true
		}
	}
	return false
}

// work does what is waiting until there is nothing left.
func (g *Group[T]) work() {
	for {
		// Who was answered together comes back together: the others first. With 64 clients
		// that submit tasks it makes a push one of 21 entries instead of 15.
		runtime.Gosched()
		calls := g.take()
		if len(calls) == 0 {
			return
		}
		begun := time.Now()
		err := g.do(calls)
		if err != nil && g.cfg.MaxStall > 0 && time.Since(begun) > g.cfg.MaxStall {
			g.failStalled(err)
		}
	}
}

// take returns the next that are to be done together; none: the work is over.
func (g *Group[T]) take() []*call[T] {
	g.mu.Lock()
	defer g.mu.Unlock()
	calls := g.gather()
	if len(calls) == 0 {
		g.busy = false
		if g.closed {
			close(g.idle)
		}
	}
	return calls
}

// gather moves those that are to be done together out of those that wait.
func (g *Group[T]) gather() []*call[T] {
	isFirst := func(T) bool { return true }
	if g.isFirst != nil && len(g.waiting) > 1 {
		isFirst = g.isFirst(min(len(g.waiting), g.cfg.MaxCount))
	}
	var calls, postponed []*call[T]
	seen, count, weight := 0, 0, 0
	for _, c := range g.waiting {
		moreCount, moreWeight := g.cfg.Size(c.item)
		full := count+moreCount > g.cfg.MaxCount || g.cfg.MaxWeight > 0 && weight+moreWeight > g.cfg.MaxWeight
		if full && len(calls) > 0 {
			break
		}
		seen++
		if !isFirst(c.item) {
			postponed = append(postponed, c)
			continue
		}
		count, weight = count+moreCount, weight+moreWeight
		c.taken = true
		calls = append(calls, c)
	}
	switch rest := g.waiting[seen:]; {
	case len(postponed) > 0:
		g.waiting = slices.Concat(postponed, rest) // still in the order in which they came
	case len(rest) > 0:
		g.waiting = rest
	default:
		g.waiting = nil
	}
	return calls
}

// do does the calls and answers them. It returns the error of a Commit that had
// nothing to do with the items themselves.
func (g *Group[T]) do(calls []*call[T]) error {
	items := make([]T, len(calls))
	for i, c := range calls {
		items[i] = c.item
	}
	err := g.commit(items)
	split := err != nil && g.cfg.SplitOn != nil && g.cfg.SplitOn(err)
	if split && len(calls) > 1 {
		half := len(calls) / 2
		return errors.Join(g.do(calls[:half]), g.do(calls[half:]))
	}
	for _, c := range calls {
		c.done <- err
	}
	if split {
		return nil
	}
	return err
}

// commit calls Commit. A panic there is an error to every caller: it would
// otherwise end the process, which a caller's own goroutine might have survived.
func (g *Group[T]) commit(items []T) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	n := len(items) // Commit may do what it likes with them
	if err = g.cfg.Commit(items); err == nil && g.cfg.Committed != nil {
		g.cfg.Committed(n)
	}
	return err
}

// failStalled gives err to every caller who has waited for longer than MaxStall.
func (g *Group[T]) failStalled(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for n < len(g.waiting) && time.Since(g.waiting[n].since) > g.cfg.MaxStall { // who came first stands first
		g.waiting[n].taken = true
		g.waiting[n].done <- err
		n++
	}
	g.waiting = g.waiting[n:]
}
