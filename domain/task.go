package domain

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"
)

// The longest texts that a task keeps of what a handler says, in bytes.
const (
	maxReason = 4 << 10 // last_error
	MaxResult = 64 << 10
)

// Task is a message that is to be processed. Its fields are its own: every
// change is a method that takes the time, checks the transition and returns a
// typed error, and a method that returns an error has changed nothing.
// A Task is not safe for concurrent use.
type Task struct {
	s       TaskState
	stored  TaskState      // what the store is known to have; zero for a new task
	marked  bool           // as queued, since it was loaded or saved last
	ended   []Attempt      // without success, since then
	last    AttemptOutcome // of the attempt that ended last, since the task was loaded or made
	deleted bool           // to be removed from the store, or removed
}

// TaskState is what a task consists of. It is how adapters read a task and,
// through Restore, make one again; it is a copy, so changing it changes no task.
type TaskState struct {
	ID        TaskID
	Message   string
	Queue     QueueName
	Priority  int // 0 to MaxPriority: higher first within the queue
	Status    Status
	CreatedAt time.Time
	UpdatedAt time.Time
	Version   int64 // counts changes, from 1

	RunAt    time.Time // not before
	QueuedAt time.Time // when it was marked as queued; zero: it is not on the queue

	MaxAttempts int               // failures that make the task failed
	Timeout     time.Duration     // of an attempt; 0: the worker's setting
	Metadata    map[string]string // never written to; nil: none
	TraceParent string            // of what made it (W3C Trace Context); empty: none
	TraceState  string            // that goes with TraceParent; empty: none
	Retention   time.Duration     // how long it is kept after its end; 0: as its queue's settings say
	KeyedUntil  time.Time         // its idempotency key is remembered until then; zero: it has none

	Attempt  int // counts claims, only grows: the fencing token
	Failures int // attempts that ended in the handler's own error or its deadline
	Rescues  int // attempts whose worker, or whose outcome, was lost

	Worker    WorkerID  // who holds it, or has completed it; otherwise empty
	ClaimBeat int64     // the number of the worker's last beat when it claimed
	Deadline  time.Time // of the attempt; zero unless processing
	StartedAt time.Time // when it was claimed last; zero: never

	Result          string // of the handler, once completed
	ResultTruncated bool   // the handler said more than MaxResult
	ResultAltered   bool   // the handler said what no text can hold, and U+FFFD stands for it
	LastError       string
	StopRequestedAt time.Time // a client asked the running attempt to stop; zero: nobody did
}

// Restore makes a task from what a store has of it. It accepts every state that
// a sequence of changes reaches and refuses one whose parts contradict each
// other, so that damage is seen where it is read.
func Restore(s TaskState) (*Task, error) {
	if s.Message == "" || !validText(s.Message) {
		return nil, s.ID.Damaged("impossible message")
	}
	return RestoreWithoutTexts(s)
}

// RestoreWithoutTexts makes a task of which the store has read neither the message nor
// the result: for who decides about many tasks, as no rule asks for either, and both may
// be long. A task that has a result does not change any more, so no save takes it away.
func RestoreWithoutTexts(s TaskState) (*Task, error) {
	held := s.Status == StatusProcessing
	worked := held || s.Status == StatusCompleted
	var wrong string
	switch {
	case !slices.Contains(Statuses(), s.Status):
		wrong = "unknown status"
	case s.Version < 1 || s.MaxAttempts < 1 || s.Attempt < 0 || s.Failures < 0 || s.Rescues < 0:
		wrong = "a counter out of range"
	case s.CreatedAt.IsZero() || s.UpdatedAt.IsZero() || s.RunAt.IsZero() ||
		!TimesInRange(s.CreatedAt, s.UpdatedAt, s.RunAt, s.QueuedAt, s.Deadline, s.StartedAt, s.StopRequestedAt, s.KeyedUntil):
		wrong = "a time out of range"
	case s.Failures > s.Attempt-s.Rescues: // as a sum it could overflow
		wrong = "more failures and rescues than attempts"
	case !s.Queue.valid() || s.Priority < 0 || s.Priority > MaxPriority || s.Timeout < 0 || s.Retention < 0:
		wrong = "an impossible queue, priority, timeout or retention"
	case s.UpdatedAt.Before(s.CreatedAt):
		wrong = "updated before it was created"
	case worked != (s.Worker != "") || held != !s.Deadline.IsZero() || worked && s.Attempt == 0:
		wrong = "held by a worker and not processing, or the reverse"
	case (s.Attempt > 0) != !s.StartedAt.IsZero():
		wrong = "attempted and never started, or the reverse"
	case (s.Result != "" || s.ResultTruncated || s.ResultAltered) && s.Status != StatusCompleted:
		wrong = "a result and not completed"
	case !s.QueuedAt.IsZero() && s.Status != StatusPending:
		wrong = "marked as queued and not pending"
	case !s.StopRequestedAt.IsZero() && (s.Status == StatusPending || s.Status == StatusFailed):
		wrong = "asked to stop, and neither running nor stopped nor completed"
	}
	if wrong != "" {
		return nil, s.ID.Damaged(wrong)
	}
	return &Task{s: s, stored: s}, nil
}

// RestoreClaimed makes a task that a store has claimed, as Task.Claim does, from what it
// has of the task since. The store need not say what follows from the claim: the status,
// who holds the task, from when and until when.
func RestoreClaimed(s TaskState, c Claim) (*Task, error) {
	s.Status = StatusProcessing
	s.hold(c)
	return Restore(s)
}

// State returns a copy of all that the task consists of, but for the metadata,
// which nobody may change.
func (t *Task) State() TaskState { return t.s }

// Clone returns a task of its own that is the same.
func (t *Task) Clone() *Task {
	c := *t
	c.ended = slices.Clone(t.ended)
	return &c
}

// ID returns the task's name.
func (t *Task) ID() TaskID { return t.s.ID }

// Message returns what the client sent, to the byte.
func (t *Task) Message() string { return t.s.Message }

// Result returns what the handler answered, once the task is completed.
func (t *Task) Result() string { return t.s.Result }

// Status returns where the task is in its life.
func (t *Task) Status() Status { return t.s.Status }

// Queue returns the queue that the task waits in.
func (t *Task) Queue() QueueName { return t.s.Queue }

// RunAt returns the time at which the task is or was due: its latest attempt did not start
// before it.
func (t *Task) RunAt() time.Time { return t.s.RunAt }

// Attempt returns the number of the latest claim; 0 before the first.
func (t *Task) Attempt() int { return t.s.Attempt }

// Version counts the changes of the task, from 1.
func (t *Task) Version() int64 { return t.s.Version }

// StoredVersion is the version that the store had when the task was loaded or
// saved last: what a save compares with. 0: the task was never stored.
func (t *Task) StoredVersion() int64 { return t.stored.Version }

// Stored returns a copy of the task as the store had it then: a save need not
// store what is the same. The store's mark may be another by now, as it comes and
// goes without a change of the version.
func (t *Task) Stored() TaskState { return t.stored }

// MarkStored notes that the store has the task as it is now. Adapters call it
// after the commit.
func (t *Task) MarkStored() { t.stored, t.marked, t.ended = t.s, false, nil }

// Dirty reports whether there is anything for the store to do.
func (t *Task) Dirty() bool { return t.marked || t.deleted || t.stored.Version != t.s.Version }

// Follow puts the task into another trace, for who stores a new task, or hands one to a
// handler. A malformed context counts as none. No rule asks for it, and a store keeps the
// one that the task was added with.
func (t *Task) Follow(traceParent, traceState string) {
	t.s.TraceParent, t.s.TraceState = traceContext(traceParent, traceState)
}

// FinishedAt is when the task ended, false if it has not: a task that has ended
// does not change any more.
func (t *Task) FinishedAt() (time.Time, bool) { return t.s.UpdatedAt, t.s.Status.Ended() }

// Claim is what a worker says when it makes a task its own.
type Claim struct {
	Worker  WorkerID
	Beat    int64         // the number of the worker's last beat composed before the claim was sent
	Timeout time.Duration // how long an attempt may run, of a task that does not say
	Grace   time.Duration // how much longer it may hold the task
}

// TimeoutOr is how long an attempt may run: the task's own timeout, or the one given.
func (t *Task) TimeoutOr(other time.Duration) time.Duration { return cmp.Or(t.s.Timeout, other) }

// Claim makes a pending task that is marked as queued the worker's, as its next
// attempt. One that is not marked has nothing on the queue that speaks for it:
// a doubled or stale entry must not jump a backoff.
func (t *Task) Claim(c Claim, now time.Time) error {
	if c.Worker == "" {
		return Errorf(CodeInternal, "a claim must name its worker")
	}
	if t.s.Status == StatusPending && t.s.QueuedAt.IsZero() {
		return Errorf(CodeConflict, "a task that is not queued cannot be claimed")
	}
	if t.s.Attempt == math.MaxInt {
		return t.s.ID.Damaged("its attempts cannot be counted any further")
	}
	if err := t.moveTo(StatusProcessing, now); err != nil {
		return err
	}
	t.s.Attempt++
	t.s.hold(c)
	return nil
}

// hold sets what follows from a claim at UpdatedAt.
func (s *TaskState) hold(c Claim) {
	s.Worker, s.ClaimBeat = c.Worker, c.Beat
	s.Deadline = Moment(s.UpdatedAt.Add(cmp.Or(s.Timeout, c.Timeout) + c.Grace))
	s.StartedAt = s.UpdatedAt
	s.QueuedAt, s.StopRequestedAt = time.Time{}, time.Time{}
}

// Complete ends the attempt and the task with success, and keeps what the
// handler answered: as text, its first MaxResult bytes. The task says whether it
// keeps less than that, or something else. It wins over a stop that was asked for
// meanwhile.
func (t *Task) Complete(attempt int, result string, now time.Time) error {
	worker := t.s.Worker
	if err := t.endAttempt(attempt, StatusCompleted, now); err != nil {
		return err
	}
	t.last = OutcomeCompleted
	t.s.Worker = worker // the only record of who did it
	t.s.Result, t.s.ResultTruncated = bounded(result, MaxResult)
	t.s.ResultAltered = !strings.HasPrefix(result, t.s.Result)
	return nil
}

// Fail ends the attempt with the handler's own error or its deadline. The task
// is tried again after a backoff, of which part in [0, 1) is the share drawn, or
// it has failed: because the failure is permanent or the last attempt is spent.
func (t *Task) Fail(attempt int, f Failure, p RetryPolicy, part float64, now time.Time) error {
	last := f.Permanent || t.s.Failures >= t.s.MaxAttempts-1
	reason, _ := bounded(f.Reason, maxReason)
	if err := t.giveBack(attempt, last, OutcomeFailed, reason, now); err != nil || t.s.Status == StatusCanceled {
		return err // stopped on request: no failure of the task
	}
	t.charge(&t.s.Failures)
	t.s.LastError = reason
	if t.s.Status == StatusPending {
		wait := f.RetryAfter
		if wait <= 0 {
			wait = p.Backoff(t.s.Failures, part)
		}
		t.s.RunAt = Moment(t.s.UpdatedAt.Add(wait))
	}
	return nil
}

// Release gives the task back without a result and without charging it: the
// worker stops, or never started it.
func (t *Task) Release(attempt int, now time.Time) error {
	return t.giveBack(attempt, false, OutcomeReleased, "", now)
}

// Suspect reports whether the loss of one more worker fails the task. It may be what
// kills them, or have been beside it: so a worker holds one suspect at a time, that its
// death condemns no more than one.
func (t *Task) Suspect(p RetryPolicy) bool {
	return t.s.Rescues > 0 && t.s.Rescues+1 >= p.MaxRescues
}

// Defer gives back a suspect that has not begun, as its worker holds another. It is
// claimed again after a backoff that grows with each attempt.
func (t *Task) Defer(attempt int, p RetryPolicy, part float64, now time.Time) error {
	const reason = "another task that has lost its workers was processed; such tasks take turns"
	if err := t.giveBack(attempt, false, OutcomeReleased, reason, now); err != nil || t.s.Status == StatusCanceled {
		return err
	}
	t.s.RunAt = Moment(t.s.UpdatedAt.Add(p.Backoff(attempt, part)))
	return nil
}

// Rescue takes the task from a worker that was lost. A message that keeps
// killing its workers must not do so for ever: after p.MaxRescues it has failed.
func (t *Task) Rescue(p RetryPolicy, now time.Time) error {
	return t.rescue(t.s.Attempt, "the worker was lost while it processed the task", p, now)
}

// GiveUp takes the task from an attempt that had begun and whose outcome its worker
// could not store. It is charged like a lost worker: what has begun is never given
// back free of charge, or it could run for ever.
func (t *Task) GiveUp(attempt int, p RetryPolicy, now time.Time) error {
	return t.rescue(attempt, "the outcome of the attempt could not be stored", p, now)
}

// rescue gives the task back without an outcome, and charges a rescue.
func (t *Task) rescue(attempt int, reason string, p RetryPolicy, now time.Time) error {
	last := t.s.Rescues >= p.MaxRescues-1
	if err := t.giveBack(attempt, last, OutcomeLost, reason, now); err != nil || t.s.Status == StatusCanceled {
		return err
	}
	t.charge(&t.s.Rescues)
	t.s.LastError = reason
	return nil
}

// charge adds the attempt that has ended to a budget, unless as many are charged as there
// were: somebody has changed the counters of a running attempt, and the store would not
// take the task back. The next attempt is charged again.
func (t *Task) charge(budget *int) {
	if t.s.Failures < t.s.Attempt-t.s.Rescues {
		*budget++
	}
}

// Reopen makes a failed task pending again with fresh budgets, marked as queued.
// Its attempt goes on counting, as the fence must.
func (t *Task) Reopen(now time.Time) error {
	if t.s.Status != StatusFailed {
		return t.refuse(StatusPending)
	}
	if err := t.moveTo(StatusPending, now); err != nil {
		return err
	}
	t.s.Failures, t.s.Rescues, t.s.StopRequestedAt = 0, 0, time.Time{}
	t.s.RunAt, t.s.QueuedAt = t.s.UpdatedAt, t.s.UpdatedAt
	return nil
}

// MarkQueued notes that the task is about to be pushed: it is pending and its
// time has come. That is no change of the task: neither version nor updated_at moves.
func (t *Task) MarkQueued(now time.Time) error {
	now = Moment(now)
	if t.s.Status != StatusPending {
		return Errorf(CodeConflict, "a %s task cannot be queued", t.s.Status)
	}
	if t.s.RunAt.After(now) {
		return Errorf(CodeConflict, "the task must not run before %s", t.s.RunAt.Format(time.RFC3339Nano))
	}
	t.s.QueuedAt, t.marked = now, true
	return nil
}

// endAttempt moves a processing task on, provided that attempt is the one that holds it.
func (t *Task) endAttempt(attempt int, next Status, now time.Time) error {
	if t.s.Status != StatusProcessing || t.s.Attempt != attempt {
		return ErrAttemptLost
	}
	if err := t.moveTo(next, now); err != nil {
		return err
	}
	t.s.Worker, t.s.ClaimBeat, t.s.Deadline = "", 0, time.Time{}
	return nil
}

// moveTo is the only place that assigns the status after construction.
func (t *Task) moveTo(next Status, now time.Time) error {
	if !slices.Contains(transitions[t.s.Status], next) {
		return t.refuse(next)
	}
	if err := t.touch(now); err != nil {
		return err
	}
	t.s.Status = next
	if next != StatusPending {
		t.s.QueuedAt = time.Time{}
	}
	return nil
}

func (t *Task) refuse(next Status) error {
	return Errorf(CodeConflict, "a %s task cannot become %s", t.s.Status, next)
}

// touch notes a change. A clock may step back, a task never does. No program counts to the
// last version: a task that has it was changed by somebody else, and cannot change any more.
func (t *Task) touch(now time.Time) error {
	if t.s.Version == math.MaxInt64 {
		return t.s.ID.Damaged("its changes cannot be counted any further")
	}
	if now = Moment(now); now.After(t.s.UpdatedAt) {
		t.s.UpdatedAt = now
	}
	t.s.Version++
	return nil
}
