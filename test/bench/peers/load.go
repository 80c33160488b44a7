package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// insertFor has the clients insert, one call after the other, to warm up and then
// for the time that is measured. insert returns how many tasks it has inserted.
func insertFor(ctx context.Context, o options, insert func(ctx context.Context) (int, error)) error {
	var inserted atomic.Int64
	var clients sync.WaitGroup
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	for range o.clients {
		clients.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				n, err := insert(ctx)
				if err != nil {
					cancel(err)
					return
				}
				inserted.Add(int64(n))
			}
		})
	}
	err := sleep(ctx, o.warm)
	if err == nil {
		begin()
		before, start := inserted.Load(), time.Now()
		if err = sleep(ctx, o.measured); err == nil {
			end(int(inserted.Load()-before), time.Since(start))
		}
	}
	close(done)
	clients.Wait()
	return err
}

// fanOut has several goroutines do the work that numbers from 0 to n stand for.
func fanOut(n, goroutines int, do func(i int) error) error {
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var all sync.WaitGroup
	for range goroutines {
		all.Go(func() {
			for failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := do(i); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// waits collects how long tasks waited, once those that warm up are through.
type waits struct {
	count atomic.Int64 // of all that have started

	mu    sync.Mutex
	from  time.Time
	all   []time.Duration
	taken time.Time // all is of what has started since
}

// started notes a task that was sent then and has started now.
func (w *waits) started(sent time.Time) {
	waited := time.Since(sent)
	w.count.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !sent.Before(w.from) {
		w.all = append(w.all, waited)
	}
}

// openLoop inserts at the rate, whatever becomes of the tasks before. What is waited
// for begins when a task is sent, as it does with Millrace: how late this program's
// own timers are is nothing that a queue could help.
func openLoop(ctx context.Context, o options, w *waits, insert func(ctx context.Context, sent time.Time) error) error {
	start := time.Now().Add(100 * time.Millisecond)
	w.from = start.Add(o.warm)
	total := int((o.warm + o.measured).Seconds() * float64(o.rate))
	warm := int(o.warm.Seconds() * float64(o.rate))
	if err := atRate(ctx, start, o.rate, total, func(ctx context.Context, i int) error {
		if i == warm {
			begin()
		}
		return insert(ctx, time.Now())
	}); err != nil {
		return err
	}
	if err := sleep(ctx, 2*time.Second); err != nil { // the last tasks start meanwhile
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return endWaits(w.all, o.measured)
}

// atRate does something so often a second from start on, each time in a goroutine of its own.
func atRate(ctx context.Context, start time.Time, perSecond, times int, do func(ctx context.Context, i int) error) error {
	var all sync.WaitGroup
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for i := range times {
		due := start.Add(time.Duration(i) * time.Second / time.Duration(perSecond))
		if err := sleep(ctx, time.Until(due)); err != nil {
			return err
		}
		all.Go(func() {
			if err := do(ctx, i); err != nil {
				cancel(err)
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// tell prints what has started in each interval, until ctx ends.
func (w *waits) tell(ctx context.Context, o options) error {
	if err := sleep(ctx, o.warm); err != nil {
		return err
	}
	w.take(time.Now())
	ticker := time.NewTicker(o.interval)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			say("interval", w.take(now))
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// take ends an interval.
func (w *waits) take(now time.Time) result {
	w.mu.Lock()
	all, since := w.all, w.taken
	w.all, w.taken = nil, now
	w.mu.Unlock()
	return waited(all, now.Sub(since))
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
