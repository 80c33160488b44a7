package usecase

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/internal/loop"
	"github.com/millrace/millrace/domain"
)

// How waiting reads the record.
const (
	// hintDebounce lets hints that arrive together cost one read.
	hintDebounce = 5 * time.Millisecond
	// pollInterval is how often the versions of all tasks that are waited for are
	// polled, as hints may be lost.
	pollInterval = 2 * time.Second
	// readBatch bounds how many tasks one read is for.
	readBatch = 500
)

// WaitTask waits for tasks to change. All waiters of a process share one
// subscription to Signals, which Serve keeps, and read the record in batches.
type WaitTask struct {
	tasks   application.TaskRepository
	signals application.Signals
	events  application.Events
	limit   int
	portion *loop.Portion // of one read

	mu      sync.Mutex
	count   int
	waiting map[domain.TaskID]map[*waiter]struct{}
	hinted  map[domain.TaskID]struct{} // to be read
	wake    chan struct{}              // holds a token while there are any hinted
	ended   chan struct{}              // closed when waiting is over for all
}

// waiter is one caller that waits for a task.
type waiter struct {
	updates chan *domain.Task // latest snapshot, overwritten if unread; nil: look yourself
	seen    atomic.Int64      // the version that the caller has seen; 0: none yet
}

// NewWaitTask makes the use case for at most limit callers at a time.
func NewWaitTask(tasks application.TaskRepository, signals application.Signals, events application.Events, limit WaitLimit) *WaitTask {
	return &WaitTask{
		tasks: tasks, signals: signals, events: events, limit: int(limit), portion: loop.NewPortion(readBatch),
		waiting: map[domain.TaskID]map[*waiter]struct{}{}, hinted: map[domain.TaskID]struct{}{},
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
	}
}

// WaitLimit is how many callers may wait at a time.
type WaitLimit int

// WaitTaskInput says what to wait for.
type WaitTaskInput struct {
	ID    domain.TaskID
	Until func(t *domain.Task) bool
	For   time.Duration // at most
}

// Run returns the task as soon as Until holds for it, or as it is when the time
// is over, when the caller's ctx ends, or when the program is about to end. A task that
// is deleted meanwhile is domain.ErrTaskNotFound, as soon as that is seen. Too many callers
// are domain.CodeUnavailable.
func (uc *WaitTask) Run(ctx context.Context, in WaitTaskInput) (*domain.Task, error) {
	w, err := uc.subscribe(in.ID)
	if err != nil {
		return nil, err
	}
	defer uc.unsubscribe(in.ID, w)
	t, err := uc.get(ctx, in.ID) // after subscribe, so that no change is missed in between
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(in.For)
	defer timer.Stop()
	for !in.Until(t) {
		w.seen.Store(t.Version())
		select {
		case update := <-w.updates:
			if update == nil {
				if t, err = uc.get(ctx, in.ID); err != nil {
					return nil, err
				}
			} else if update.Version() > t.Version() { // it may have been read before t
				t = update
			}
		case <-timer.C:
			return uc.get(ctx, in.ID)
		case <-uc.ended:
			return t, nil
		case <-ctx.Done():
			return t, nil
		}
	}
	return t, nil
}

func (uc *WaitTask) get(ctx context.Context, id domain.TaskID) (*domain.Task, error) {
	t, err := uc.tasks.Get(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("get task %s: %w", id, err)
	}
	return t, nil
}

func (uc *WaitTask) subscribe(id domain.TaskID) (*waiter, error) {
	uc.mu.Lock()
	defer uc.mu.Unlock()
	if uc.count >= uc.limit {
		return nil, domain.Errorf(domain.CodeUnavailable, "%d callers wait already; try again", uc.limit)
	}
	uc.count++
	w := &waiter{updates: make(chan *domain.Task, 1)}
	if uc.waiting[id] == nil {
		uc.waiting[id] = map[*waiter]struct{}{}
	}
	uc.waiting[id][w] = struct{}{}
	return w, nil
}

func (uc *WaitTask) unsubscribe(id domain.TaskID, w *waiter) {
	uc.mu.Lock()
	defer uc.mu.Unlock()
	uc.count--
	delete(uc.waiting[id], w)
	if len(uc.waiting[id]) == 0 {
		delete(uc.waiting, id)
	}
}

// Serve keeps the subscription and reads the record until ctx ends; then it ends all
// waiting. It is to be called once.
func (uc *WaitTask) Serve(ctx context.Context) {
	var listening sync.WaitGroup
	listening.Go(func() { loop.Listen(ctx, uc.signals, uc.events, uc.hear) })
	defer listening.Wait()
	defer close(uc.ended)
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		var ids []domain.TaskID
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			ids = uc.poll(ctx)
		case <-uc.wake:
			if !loop.Sleep(ctx, hintDebounce) {
				return
			}
			ids = uc.drainHinted()
		}
		uc.read(ctx, ids)
	}
}

// read reads the tasks, a portion at a time, and publishes them. Those that are not there,
// or cannot be read, their callers look for themselves. A read that took too long is
// repeated smaller; after one that failed the next poll looks again.
func (uc *WaitTask) read(ctx context.Context, ids []domain.TaskID) {
	for len(ids) > 0 && ctx.Err() == nil {
		size := min(uc.portion.Size(), len(ids))
		tasks, rest, err := uc.tasks.GetMany(ctx, ids[:size]...)
		if ctx.Err() == nil {
			uc.events.LoopRan(ctx, application.LoopWait, err)
		}
		if uc.portion.Note(size, size-len(rest), err) {
			continue
		}
		for _, t := range tasks {
			uc.publish(t.ID(), t)
		}
		if err == nil {
			uc.publishMissing(ids[:size], tasks, rest)
		}
		ids = slices.Concat(rest, ids[size:])
	}
}

// hear notes which of the tasks that are waited for are to be read.
func (uc *WaitTask) hear(s application.Signal) {
	uc.mu.Lock()
	defer uc.mu.Unlock()
	for _, id := range s.Tasks {
		if _, ok := uc.waiting[id]; ok {
			uc.hinted[id] = struct{}{}
		}
	}
	if len(uc.hinted) > 0 {
		select {
		case uc.wake <- struct{}{}:
		default:
		}
	}
}

func (uc *WaitTask) drainHinted() []domain.TaskID {
	uc.mu.Lock()
	defer uc.mu.Unlock()
	ids := slices.Collect(maps.Keys(uc.hinted))
	clear(uc.hinted)
	return ids
}

// poll returns which of all the tasks that are waited for have a newer version than
// some caller has seen, or none. A long wait costs a version every poll, and no task.
func (uc *WaitTask) poll(ctx context.Context) []domain.TaskID {
	var changed []domain.TaskID
	for batch := range slices.Chunk(uc.all(), readBatch) {
		versions, err := uc.tasks.Versions(ctx, batch...)
		if ctx.Err() == nil {
			uc.events.LoopRan(ctx, application.LoopWait, err)
		}
		if err != nil {
			continue
		}
		for _, id := range batch {
			if version, ok := versions[id]; !ok || uc.isNewer(id, version) {
				changed = append(changed, id)
			}
		}
	}
	return changed
}

func (uc *WaitTask) isNewer(id domain.TaskID, version int64) bool {
	uc.mu.Lock()
	defer uc.mu.Unlock()
	for w := range uc.waiting[id] {
		if w.seen.Load() < version {
			return true
		}
	}
	return false
}

func (uc *WaitTask) all() []domain.TaskID {
	uc.mu.Lock()
	defer uc.mu.Unlock()
	return slices.Collect(maps.Keys(uc.waiting))
}

// publishMissing has the callers look for themselves whose tasks were asked for and are
// neither among those that were read nor left for later.
func (uc *WaitTask) publishMissing(asked []domain.TaskID, read []*domain.Task, rest []domain.TaskID) {
	if len(read)+len(rest) == len(asked) {
		return
	}
	known := make(map[domain.TaskID]bool, len(asked))
	for _, t := range read {
		known[t.ID()] = true
	}
	for _, id := range rest {
		known[id] = true
	}
	for _, id := range asked {
		if !known[id] {
			uc.publish(id, nil)
		}
	}
}

// publish sends a snapshot to all who wait for the task, in place of one that is
// still unread. Each gets a task of its own.
func (uc *WaitTask) publish(id domain.TaskID, t *domain.Task) {
	uc.mu.Lock()
	defer uc.mu.Unlock()
	for w := range uc.waiting[id] {
		select {
		case <-w.updates:
		default:
		}
		if t == nil {
			w.updates <- nil // there is room: only this goroutine sends
		} else {
			w.updates <- t.Clone()
		}
	}
}
