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

// QueuePage is a part of the list of queues.
type QueuePage struct {
	Queues []application.QueueInfo
	Next   domain.QueueName // the next page has what is above it; empty: this one is the last
}

// List returns a page of the queues, by name. A Limit of 0 means MaxPageSize; one that is
// out of bounds is domain.CodeInvalid.
func (uc *ManageQueues) List(ctx context.Context, q application.QueueQuery) (QueuePage, error) {
	size, err := pageSize(q.Limit, MaxPageSize, MaxPageSize)
	if err != nil {
		return QueuePage{}, err
	}
	q.Limit = size + 1
	infos, err := uc.queues.List(ctx, q)
	if err != nil {
		return QueuePage{}, fmt.Errorf("list queues: %w", err)
	}
	if len(infos) > size {
		return QueuePage{Queues: infos[:size], Next: infos[size-1].Name}, nil
	}
	return QueuePage{Queues: infos}, nil
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
