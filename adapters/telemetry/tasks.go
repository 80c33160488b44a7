package telemetry

import (
	"context"
	"errors"
	"log/slog"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var _ application.TaskRepository = (*TaskRepository)(nil)

// TaskRepository logs that the store is away and that it is back, rather than every
// request that fails meanwhile. Claims are not logged here: Events logs the failures of a
// worker's loops.
type TaskRepository struct {
	application.TaskRepository
	calls *outages
}

// NewTaskRepository decorates next.
func NewTaskRepository(next application.TaskRepository, log *slog.Logger) *TaskRepository {
	return &TaskRepository{TaskRepository: next, calls: newOutages(log, "store failing, answering 503", "store working again")}
}

// Add adds to the decorated repository.
func (r *TaskRepository) Add(ctx context.Context, tasks ...*domain.Task) error {
	return r.report(ctx, r.TaskRepository.Add(ctx, tasks...))
}

// AddOnce adds to the decorated repository.
func (r *TaskRepository) AddOnce(ctx context.Context, k application.IdempotencyKey, tasks ...*domain.Task) ([]*domain.Task, error) {
	first, err := r.TaskRepository.AddOnce(ctx, k, tasks...)
	return first, r.report(ctx, err)
}

// Get reads from the decorated repository.
func (r *TaskRepository) Get(ctx context.Context, id domain.TaskID) (*domain.Task, error) {
	t, err := r.TaskRepository.Get(ctx, id)
	return t, r.report(ctx, err)
}

// Save saves to the decorated repository.
func (r *TaskRepository) Save(ctx context.Context, t *domain.Task) error {
	return r.report(ctx, r.TaskRepository.Save(ctx, t))
}

// report returns err. Only a decision of the store shows that it is available; a client
// that hangs up shows nothing about the store.
func (r *TaskRepository) report(ctx context.Context, err error) error {
	_, decided := errors.AsType[*domain.Error](err)
	switch {
	case errors.Is(err, domain.ErrUnavailable):
		r.calls.report(ctx, "store", err)
	case err == nil || decided:
		r.calls.report(ctx, "store", nil)
	}
	return err
}
