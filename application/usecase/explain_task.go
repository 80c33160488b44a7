package usecase

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// Reason says why a task does not run now. The spellings are part of the API.
type Reason string

// The reasons.
const (
	ReasonEnded     Reason = "ended"          // it has ended
	ReasonRunning   Reason = "processing"     // it is running
	ReasonScheduled Reason = "scheduled"      // it is not due yet
	ReasonRetry     Reason = "retry"          // an attempt failed, and the next is not due yet
	ReasonDue       Reason = "due"            // it is due, and the dispatcher is about to queue it
	ReasonNoWorker  Reason = "no_worker"      // no live worker takes its queue
	ReasonStuck     Reason = "handlers_stuck" // all workers that take its queue have too many handlers that do not return
	ReasonBusy      Reason = "slots_in_use"   // all slots of the workers that take its queue are
	ReasonPaused    Reason = "paused"         // its queue is paused
	ReasonLimit     Reason = "max_running"    // as many tasks of its queue are running as may
	ReasonRate      Reason = "rate"           // its queue has started as many tasks as its rate allows
	ReasonRefused   Reason = "store_refuses"  // the store takes no writes, so that no task begins
	ReasonQueueAway Reason = "queue_away"     // the queue server does not respond
	ReasonBehind    Reason = "behind"         // other tasks are pulled before it
	ReasonStranded  Reason = "stranded"       // its entry was lost; the dispatcher queues it again
	ReasonNext      Reason = "next"           // it is the next to run
)

// ExplainWait bounds how long an explanation waits for a store that takes no writes, and
// meanwhile for a queue that is away: for its probe and for one look.
const ExplainWait = 3 * time.Second

// MaxAhead is how many tasks are counted that are before another one.
const MaxAhead = 10_000

// Explanation is one reason, and the figures that go with it.
type Explanation struct {
	Reason  Reason
	At      time.Time // when that is expected to change; zero: not known
	Ahead   int       // ReasonBehind: the number of tasks; MaxAhead stands for that many or more
	Limit   string    // ReasonLimit, ReasonRate: the setting
	Slots   int       // ReasonBusy: those that the queue may use, of so many Workers
	Kept    int       // ReasonBusy: slots kept for queues that have nothing running
	Workers int
	Detail  string // ReasonRefused, ReasonQueueAway: why, where that is known
	Stuck   int    // ReasonStuck: the number of handlers that do not return
}

// ExplainResult is a task and why it does not run, the strongest reason first.
type ExplainResult struct {
	Task    *domain.Task
	Reasons []Explanation
}

// ExplainTask explains why a task does not run.
type ExplainTask struct {
	tasks  application.TaskRepository
	queues application.QueueRepository
	queue  application.Queue
	store  StoreProbe
	probe  QueueProbe
	clock  application.Clock
}

// StoreProbe tells whether the store takes tasks: one that answers every question may
// refuse to write.
type StoreProbe interface{ application.Probe }

// QueueProbe tells whether the queue does its work.
type QueueProbe interface {
	application.Probe
	// ProbeLane tells whether the lane takes and brings entries, in a queue that works.
	ProbeLane(ctx context.Context, l application.Lane) error
}

// NewExplainTask makes the use case.
func NewExplainTask(tasks application.TaskRepository, queues application.QueueRepository, queue application.Queue,
	store StoreProbe, probe QueueProbe, clock application.Clock,
) *ExplainTask {
	return &ExplainTask{tasks: tasks, queues: queues, queue: queue, store: store, probe: probe, clock: clock}
}

// Run explains the task, or returns domain.ErrTaskNotFound. There is always at
// least one reason.
func (uc *ExplainTask) Run(ctx context.Context, id domain.TaskID) (ExplainResult, error) {
	e, err := uc.explain(ctx, id)
	if errors.Is(err, domain.ErrQueueNotFound) { // the task has ended meanwhile, as the queue's last
		e, err = uc.explain(ctx, id)
	}
	return e, err
}

func (uc *ExplainTask) explain(ctx context.Context, id domain.TaskID) (ExplainResult, error) {
	t, err := uc.tasks.Get(ctx, id)
	if err != nil {
		return ExplainResult{}, fmt.Errorf("get task %s: %w", id, err)
	}
	reasons, err := uc.reasons(ctx, t)
	if err != nil {
		return ExplainResult{}, fmt.Errorf("explain task %s: %w", id, err)
	}
	return ExplainResult{Task: t, Reasons: reasons}, nil
}

func (uc *ExplainTask) reasons(ctx context.Context, t *domain.Task) ([]Explanation, error) {
	s := t.State()
	switch {
	case s.Status.Ended():
		return []Explanation{{Reason: ReasonEnded, At: s.UpdatedAt}}, nil
	case s.Status == domain.StatusProcessing:
		return []Explanation{{Reason: ReasonRunning, At: s.Deadline}}, nil
	}
	probed := make(chan error, 1)
	go func() { probed <- uc.probeStore(ctx) }()
	reasons, err := uc.pending(ctx, t)
	if err != nil {
		return nil, err
	}
	if err := <-probed; err != nil {
		reasons = slices.DeleteFunc(reasons, func(e Explanation) bool { return e.Reason.hopeful() })
		reasons = slices.Insert(reasons, 0, Explanation{Reason: ReasonRefused, Detail: application.ReasonOf(err)})
	}
	return reasons, nil
}

// hopeful reports whether the reason says that the task is about to go on, which takes a
// store that writes.
func (r Reason) hopeful() bool {
	return r == ReasonDue || r == ReasonStranded || r == ReasonNext
}

func (uc *ExplainTask) probeStore(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ExplainWait)
	defer cancel()
	return uc.store.Probe(ctx)
}

// pending is why a task that is pending does not run, as far as a store that writes is
// concerned.
func (uc *ExplainTask) pending(ctx context.Context, t *domain.Task) ([]Explanation, error) {
	s, now := t.State(), uc.clock.Now()
	info, err := uc.queues.Get(ctx, s.Queue)
	if err != nil {
		return nil, err
	}
	var reasons []Explanation
	if s.QueuedAt.IsZero() {
		reasons = append(reasons, waiting(s, now))
	}
	workers, err := uc.workers(ctx, info)
	if err != nil {
		return nil, err
	}
	reasons = append(reasons, workers...)
	if e, ok := refused(info, now); ok {
		reasons = append(reasons, e)
	}
	if s.QueuedAt.IsZero() {
		return reasons, nil
	}
	switch lost, err := uc.stranded(ctx, t, now); {
	case err != nil:
		reasons = append(reasons, away(err))
	case lost:
		return append(reasons, Explanation{Reason: ReasonStranded, At: now.Add(2 * application.StrandedInterval)}), nil
	}
	ahead, err := uc.queues.Ahead(ctx, t, MaxAhead)
	if err != nil {
		return nil, err
	}
	if ahead > 0 {
		reasons = append(reasons, Explanation{Reason: ReasonBehind, Ahead: ahead})
	}
	if len(reasons) == 0 {
		reasons = append(reasons, Explanation{Reason: ReasonNext})
	}
	return reasons, nil
}

// workers is why no worker takes a task of the queue, if none does.
func (uc *ExplainTask) workers(ctx context.Context, info application.QueueInfo) ([]Explanation, error) {
	switch info.Workers {
	case 0:
		return []Explanation{{Reason: ReasonNoWorker}}, nil
	case info.Stuck:
		return []Explanation{{Reason: ReasonStuck, Stuck: info.Abandoned}}, nil
	}
	takers, err := uc.queues.Takers(ctx, info.Name)
	if err != nil || len(takers) == 0 || slices.ContainsFunc(takers, application.Taker.Takes) {
		return nil, err
	}
	if !slices.ContainsFunc(takers, func(t application.Taker) bool { return !t.Stuck }) { // since the first look
		return []Explanation{{Reason: ReasonStuck, Stuck: info.Abandoned}}, nil
	}
	e := Explanation{Reason: ReasonBusy}
	for _, t := range takers {
		if !t.Stuck {
			e.Slots += t.Usable(t.Idle)
			e.Kept += t.Slots - t.Usable(t.Idle)
			e.Workers++
		}
	}
	return []Explanation{e}, nil
}

// away is why the queue brings no task to a worker.
func away(err error) Explanation {
	return Explanation{Reason: ReasonQueueAway, Detail: application.ReasonOf(err)}
}

// waiting is why a task is not queued.
func waiting(s domain.TaskState, now time.Time) Explanation {
	switch {
	case !s.RunAt.After(now):
		return Explanation{Reason: ReasonDue, At: now.Add(application.DueInterval)}
	case s.Attempt > 0:
		return Explanation{Reason: ReasonRetry, At: s.RunAt}
	default:
		return Explanation{Reason: ReasonScheduled, At: s.RunAt}
	}
}

// refused is why the task's queue has no room, if it has none.
func refused(q application.QueueInfo, now time.Time) (Explanation, bool) {
	room := q.Capacity(q.Processing, now)
	if room.Available > 0 {
		return Explanation{}, false
	}
	switch room.LimitedBy {
	case domain.LimitMaxRunning:
		return Explanation{Reason: ReasonLimit, Limit: fmt.Sprint(q.MaxRunning)}, true
	case domain.LimitRate:
		return Explanation{Reason: ReasonRate, Limit: q.Rate.String(), At: now.Add(room.RetryIn)}, true
	default:
		return Explanation{Reason: ReasonPaused}, true
	}
}

// stranded decides as the dispatcher does, but looks once.
func (uc *ExplainTask) stranded(ctx context.Context, t *domain.Task, now time.Time) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, ExplainWait)
	defer cancel()
	e := application.EntryOf(t)
	if err := uc.probe.Probe(ctx); err != nil { // it may answer, and refuse the work
		return false, err
	}
	if err := uc.probe.ProbeLane(ctx, e.Lane); err != nil { // it counts as empty, and loses what is pushed
		return false, err
	}
	oldest, err := uc.queue.Oldest(ctx, e.Lane)
	if err != nil {
		return false, err
	}
	return e.QueuedAt.Before(domain.StrandedBefore(oldest[e.Lane], now)), nil
}
