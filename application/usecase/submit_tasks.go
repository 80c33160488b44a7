package usecase

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// MaxBatch is how many tasks one request may bring.
const MaxBatch = 1000

// SubmitLimits are the settings that bear on a new task.
type SubmitLimits struct {
	MessageBytes int           // longest message
	MaxAttempts  int           // for tasks that do not say
	KeyLife      time.Duration // how long an idempotency key is remembered
}

// SubmitTasks accepts tasks.
type SubmitTasks struct {
	tasks  application.TaskRepository
	queue  application.Queue
	clock  application.Clock
	events application.SubmitEvents
	limits SubmitLimits
}

// NewSubmitTasks makes the use case.
func NewSubmitTasks(
	tasks application.TaskRepository, queue application.Queue, clock application.Clock, events application.Events, limits SubmitLimits,
) *SubmitTasks {
	return &SubmitTasks{tasks: tasks, queue: queue, clock: clock, events: events, limits: limits}
}

// SubmitTasksInput is what a client asks for. Tasks without a MaxAttempts get that of
// the limits.
type SubmitTasksInput struct {
	Tasks []domain.TaskSpec // 1 to MaxBatch
	Batch bool              // a request for many: errors name the task that they are about
	// Unreadable says of some tasks of a batch, by index, what kept the caller from
	// reading them. They are refused together with all else that is wrong.
	Unreadable map[int]domain.FieldError
	Owner      string // of the key: the name of the credential, empty if none is needed
	Key        string // idempotency key; empty: none
}

// SubmitResult are the tasks of a request, in its order.
type SubmitResult struct {
	Tasks    []*domain.Task
	Rest     []domain.TaskID // of those that came before, what is too much to read at once: for Replay
	Replayed bool            // the request came before: these are its tasks as they are now
}

// Run stores the tasks, all or none, then pushes the entries of those that may
// run. If the push fails, or a crash comes in between, the tasks are accepted all
// the same: the dispatcher finds them stranded and pushes them later. A key that
// came before with the same request answers with the tasks of that one; with
// another request it is domain.ErrKeyReused, and domain.CodeGone if one of the tasks
// has been deleted. Nothing is remembered of a request
// that is refused or fails.
func (uc *SubmitTasks) Run(ctx context.Context, in SubmitTasksInput) (SubmitResult, error) {
	now := uc.clock.Now()
	tasks, err := uc.make(in, now)
	if err != nil {
		return SubmitResult{}, err
	}
	if in.Key != "" {
		key := application.IdempotencyKey{Owner: in.Owner, Key: in.Key, Fingerprint: fingerprint(in), Now: now, Expires: now.Add(uc.limits.KeyLife)}
		first, rest, err := uc.tasks.AddOnce(ctx, key, tasks...)
		if err != nil {
			return SubmitResult{}, fmt.Errorf("store %d tasks once: %w", len(tasks), err)
		}
		if len(first) > 0 {
			return SubmitResult{Tasks: first, Rest: rest, Replayed: true}, nil
		}
	} else if err := uc.tasks.Add(ctx, tasks...); err != nil {
		return SubmitResult{}, fmt.Errorf("store %d tasks: %w", len(tasks), err)
	}
	uc.events.TasksSubmitted(ctx, tasks)
	application.Enqueue(ctx, uc.queue, tasks...)
	return SubmitResult{Tasks: tasks}, nil
}

// Replay reads the next of the tasks that Run has left in SubmitResult.Rest, in order, as
// many as may be read at once. One that has been deleted since is domain.TaskGone.
func (uc *SubmitTasks) Replay(ctx context.Context, ids []domain.TaskID) (tasks []*domain.Task, rest []domain.TaskID, err error) {
	rising := 1 // as the ids of one request are, so these are all; they are read in this order
	for rising < len(ids) && bytes.Compare(ids[rising-1][:], ids[rising][:]) < 0 {
		rising++
	}
	tasks, _, err = uc.tasks.GetMany(ctx, ids[:rising]...)
	if err != nil {
		return nil, nil, fmt.Errorf("read %d tasks again: %w", rising, err)
	}
	for i, t := range tasks {
		if t.ID() != ids[i] {
			tasks = tasks[:i]
			break
		}
	}
	if len(tasks) == 0 { // Get says what is wrong with the first
		first, err := uc.tasks.Get(ctx, ids[0])
		switch {
		case errors.Is(err, domain.ErrTaskNotFound):
			return nil, nil, domain.TaskGone(ids[0])
		case err != nil:
			return nil, nil, fmt.Errorf("read task %s again: %w", ids[0], err)
		}
		tasks = append(tasks, first)
	}
	return tasks, ids[len(tasks):], nil
}

// CheckBatchSize says whether a request may bring n tasks: CodeInvalid if not.
func CheckBatchSize(n int) error {
	if n < 1 || n > MaxBatch {
		return domain.Invalid("tasks", "must be 1 to %d tasks, not %d", MaxBatch, n)
	}
	return nil
}

// make makes the tasks, or names all that is wrong with any of them.
func (uc *SubmitTasks) make(in SubmitTasksInput, now time.Time) ([]*domain.Task, error) {
	if err := CheckBatchSize(len(in.Tasks)); err != nil {
		return nil, err
	}
	tasks := make([]*domain.Task, len(in.Tasks))
	var wrong []domain.FieldError
	for i, spec := range in.Tasks {
		if f, ok := in.Unreadable[i]; ok {
			wrong = append(wrong, inBatch(i, f))
			continue
		}
		t, err := uc.makeOne(spec, now)
		switch {
		case err == nil:
			tasks[i] = t
		case !in.Batch:
			return nil, err
		default:
			for _, f := range domain.Public(err).Fields {
				wrong = append(wrong, inBatch(i, f))
			}
		}
	}
	if len(wrong) > 0 {
		return nil, domain.InvalidFields(wrong...)
	}
	return tasks, nil
}

// inBatch makes an error about a task an error about a batch.
func inBatch(i int, f domain.FieldError) domain.FieldError {
	task := "tasks/" + strconv.Itoa(i)
	if f.Field == "" {
		return domain.FieldError{Field: task, Detail: f.Detail}
	}
	return domain.FieldError{Field: task + "/" + f.Field, Detail: f.Detail}
}

func (uc *SubmitTasks) makeOne(spec domain.TaskSpec, now time.Time) (*domain.Task, error) {
	if len(spec.Message) > uc.limits.MessageBytes {
		err := domain.Invalid("message", "must be at most %d bytes long, not %d", uc.limits.MessageBytes, len(spec.Message))
		err.Code = domain.CodeTooLarge
		return nil, err
	}
	if spec.MaxAttempts == nil {
		spec.MaxAttempts = &uc.limits.MaxAttempts
	}
	return domain.NewTask(spec, now)
}

// fingerprint tells requests apart by what they ask for, as it is stored: a timeout of 3 s
// and one of 3.00000001 s are the same. The trace of a request is no part of it: a repeat
// has another one.
func fingerprint(in SubmitTasksInput) (sum [32]byte) {
	h := sha256.New()
	text := func(s string) {
		_, _ = h.Write(binary.AppendUvarint(nil, uint64(len(s)))) // a hash takes everything
		_, _ = h.Write([]byte(s))
	}
	number := func(n int64) { _, _ = h.Write(binary.AppendVarint(nil, n)) }
	text(strconv.FormatBool(in.Batch))
	for _, t := range in.Tasks {
		text(t.Message)
		text(string(given(t.Queue, domain.DefaultQueue)))
		number(int64(t.Priority))
		text(domain.Moment(given(t.RunAt, time.Time{})).Format(time.RFC3339Nano))
		number(int64(domain.Span(given(t.Delay, 0))))
		number(int64(given(t.MaxAttempts, 0)))
		number(int64(domain.Span(given(t.Timeout, 0))))
		number(int64(len(t.Metadata)))
		for _, key := range slices.Sorted(maps.Keys(t.Metadata)) {
			text(key)
			text(t.Metadata[key])
		}
	}
	h.Sum(sum[:0])
	return sum
}

// given is the value that was given, or the default.
func given[T any](v *T, otherwise T) T {
	if v == nil {
		return otherwise
	}
	return *v
}
