package usecase

import (
	"context"
	"errors"
	"fmt"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// maxReloads bounds how often a decision is taken again because somebody else
// changed the task first. Each lost race means that another change went through.
const maxReloads = 10

// change loads a task, lets decide change it and stores it. When that meets
// a newer version it loads and decides again, so that a caller gets a conflict
// only if the task as it is now does not allow the change. What decide leaves
// as it was is not stored, and not changed; what it makes domain.Task.Deleted is removed.
func change(ctx context.Context, tasks application.TaskRepository, id domain.TaskID, decide application.Decide) (t *domain.Task, changed bool, err error) {
	for range maxReloads {
		t, err = tasks.Get(ctx, id)
		if err != nil {
			return nil, false, fmt.Errorf("get task %s: %w", id, err)
		}
		if err := decide(t); err != nil {
			return nil, false, err
		}
		switch {
		case t.Deleted():
			err = tasks.Delete(ctx, t)
		case t.Version() != t.StoredVersion():
			err = tasks.Save(ctx, t)
		default:
			return t, false, nil
		}
		if err == nil {
			return t, true, nil
		}
		if !errors.Is(err, domain.ErrConflict) {
			return nil, false, fmt.Errorf("store task %s: %w", id, err)
		}
	}
	return nil, false, fmt.Errorf("store task %s: %w", id, domain.ErrConflict)
}

// Precondition says whether a task is as the caller has seen it. nil: it need not be.
type Precondition func(t *domain.Task) bool

// guarded is decide, after the precondition: whoever acts on what they have seen
// is told first that it is no more so.
func guarded(is Precondition, decide application.Decide) application.Decide {
	return func(t *domain.Task) error {
		if is != nil && !is(t) {
			return domain.ErrChanged
		}
		return decide(t)
	}
}
