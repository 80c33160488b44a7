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

// How waiting looks at the record.
const (
	// waitGather lets hints that arrive together cost one look.
	waitGather = 5 * time.Millisecond
	// waitLook is how often every task that is waited for is looked at, for what
	// hints were lost.
	waitLook = 2 * time.Second
	// waitBatch bounds one look.
	waitBatch = 500
)

// WaitTask waits for tasks to change. All waiters of a process share one
// subscription to Signals, which Run keeps, and one batched look at the record.
type WaitTask struct {
	tasks   application.TaskRepository
	signals application.Signals
	events  application.Events
	limit   int

	mu      sync.Mutex
	count   int
	waiting map[domain.TaskID]map[*waiter]struct{}
	hinted  map[domain.TaskID]struct{} // to be looked at
	hint    chan struct{}              // holds a token while there are any
	ended   chan struct{}              // closed when waiting is over for all
}

// waiter is one caller that waits for a task.
type waiter struct {
	news  chan *domain.Task // the latest look, if it was not taken yet
	known atomic.Int64      // the version that the caller has seen; 0: none yet
}

// NewWaitTask makes the use case for at most limit callers at a time.
func NewWaitTask(tasks application.TaskRepository, signals application.Signals, events application.Events, limit WaitLimit) *WaitTask {
	return &WaitTask{
		tasks: tasks, signals: signals, events: events, limit: int(limit),
		waiting: map[domain.TaskID]map[*waiter]struct{}{}, hinted: map[domain.TaskID]struct{}{},
		hint: make(chan struct{}, 1), ended: make(chan struct{}),
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
// is over, when the caller's ctx ends, or when the program is about to end. Too
// many callers are domain.CodeUnavailable.
func (uc *WaitTask) Run(ctx context.Context, in WaitTaskInput) (*domain.Task, error) {
	w, err := uc.enter(in.ID)
	if err != nil {
		return nil, err
	}
	defer uc.leave(in.ID, w)
	t, err := uc.get(ctx, in.ID) // after enter, so that no change falls in between
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(in.For)
	defer timer.Stop()
	for !in.Until(t) {
		w.known.Store(t.Version())
		select {
		case news := <-w.news:
			if news.Version() > t.Version() { // a look may be older than the first
				t = news
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

func (uc *WaitTask) enter(id domain.TaskID) (*waiter, error) {
	uc.mu.Lock()
	defer uc.mu.Unlock()
	if uc.count >= uc.limit {
		return nil, domain.Errorf(domain.CodeUnavailable, "%d callers wait already; try again", uc.limit)
	}
	uc.count++
	w := &waiter{news: make(chan *domain.Task, 1)}
	if uc.waiting[id] == nil {
		uc.waiting[id] = map[*waiter]struct{}{}
	}
	uc.waiting[id][w] = struct{}{}
	return w, nil
}

func (uc *WaitTask) leave(id domain.TaskID, w *waiter) {
	uc.mu.Lock()
	defer uc.mu.Unlock()
	uc.count--
	delete(uc.waiting[id], w)
	if len(uc.waiting[id]) == 0 {
		delete(uc.waiting, id)
	}
}

// Serve keeps the subscription and looks at the record until ctx ends; then it
// ends all waiting. It is for one call.
func (uc *WaitTask) Serve(ctx context.Context) {
	var listening sync.WaitGroup
	listening.Go(func() { loop.Listen(ctx, uc.signals, uc.events, uc.hear) })
	defer listening.Wait()
	defer close(uc.ended)
	ticker := time.NewTicker(waitLook)
	defer ticker.Stop()
	for {
		var ids []domain.TaskID
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			ids = uc.moved(ctx)
		case <-uc.hint:
			if !loop.Sleep(ctx, waitGather) {
				return
			}
			ids = uc.takeHinted()
		}
		for batch := range slices.Chunk(ids, waitBatch) {
			tasks, err := uc.tasks.GetMany(ctx, batch...)
			if ctx.Err() == nil {
				uc.events.Turn(ctx, application.LoopWait, err)
			}
			for _, t := range tasks {
				uc.deliver(t)
			}
		}
	}
}

// hear notes which tasks that are waited for are to be looked at.
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
		case uc.hint <- struct{}{}:
		default:
		}
	}
}

func (uc *WaitTask) takeHinted() []domain.TaskID {
	uc.mu.Lock()
	defer uc.mu.Unlock()
	ids := slices.Collect(maps.Keys(uc.hinted))
	clear(uc.hinted)
	return ids
}

// moved asks which of all the tasks that are waited for have moved on from what
// some caller has seen: whoever waits for long costs no more than a version.
func (uc *WaitTask) moved(ctx context.Context) []domain.TaskID {
	var moved []domain.TaskID
	for batch := range slices.Chunk(uc.all(), waitBatch) {
		versions, err := uc.tasks.Versions(ctx, batch...)
		if ctx.Err() == nil {
			uc.events.Turn(ctx, application.LoopWait, err)
		}
		for id, version := range versions {
			if uc.isNews(id, version) {
				moved = append(moved, id)
			}
		}
	}
	return moved
}

func (uc *WaitTask) isNews(id domain.TaskID, version int64) bool {
	uc.mu.Lock()
	defer uc.mu.Unlock()
	for w := range uc.waiting[id] {
		if w.known.Load() < version {
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

// deliver hands a look to all who wait for the task; one that is still to be
// taken gives way to it. Each gets a task of its own.
func (uc *WaitTask) deliver(t *domain.Task) {
	uc.mu.Lock()
	defer uc.mu.Unlock()
	for w := range uc.waiting[t.ID()] {
		select {
		case <-w.news:
		default:
		}
		w.news <- t.Clone() // there is room: only this goroutine puts any in
	}
}
