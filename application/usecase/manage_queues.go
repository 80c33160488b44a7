package usecase

import (
	"context"
	"fmt"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// ManageQueues shows the queues, and changes what is set of them.
type ManageQueues struct{ queues application.QueueRepository }

// NewManageQueues makes the use case.
func NewManageQueues(queues application.QueueRepository) *ManageQueues {
	return &ManageQueues{queues: queues}
}

// List returns the queues by name, at most MaxQueues of them.
func (uc *ManageQueues) List(ctx context.Context) ([]application.QueueInfo, error) {
	infos, err := uc.queues.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list queues: %w", err)
	}
	return infos, nil
}

// Get returns a queue, or domain.ErrQueueNotFound.
func (uc *ManageQueues) Get(ctx context.Context, name domain.QueueName) (application.QueueInfo, error) {
	info, err := uc.queues.Get(ctx, name)
	if err != nil {
		return application.QueueInfo{}, fmt.Errorf("get queue %s: %w", name, err)
	}
	return info, nil
}

// ChangeQueueInput says what to set of which queue.
type ChangeQueueInput struct {
	Name   domain.QueueName
	Change domain.QueueChange
}

// Change sets what is named and returns the queue as it is then. A queue of which
// nothing is known yet may be set up before its first task.
func (uc *ManageQueues) Change(ctx context.Context, in ChangeQueueInput) (application.QueueInfo, error) {
	err := uc.queues.Change(ctx, in.Name, func(q *domain.QueueSettings) error { return q.Change(in.Change) })
	if err != nil {
		return application.QueueInfo{}, fmt.Errorf("change queue %s: %w", in.Name, err)
	}
	return uc.Get(ctx, in.Name)
}
