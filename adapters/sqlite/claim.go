package sqlite

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// Claim makes tasks the worker's, no more of a queue that is limited than it has
// room for. Only one claim at a time writes, so the room is what it counts.
func (r *TaskRepository) Claim(ctx context.Context, c application.ClaimRequest) (application.ClaimResult, error) {
	var claimed application.ClaimResult
	err := r.db.write(ctx, func(tx *tx) error {
		heartbeat, err := tx.heartbeat(c.Worker)
		if err != nil {
			return err
		}
		if !heartbeat.Fresh(time.Now()) {
			return domain.ErrWorkerStale
		}
		claimed, err = tx.claim(c)
		return err
	})
	if err != nil {
		return application.ClaimResult{}, err
	}
	markStored(claimed.Tasks)
	return claimed, nil
}

// claim takes what the limits of the queues allow. A row that cannot be read is left
// out, for a sweep to name it: it must not keep the rest from being claimed.
func (tx *tx) claim(c application.ClaimRequest) (application.ClaimResult, error) {
	rows, err := tx.claimable(c.IDs)
	if err != nil {
		return application.ClaimResult{}, err
	}
	tasks := make(map[domain.TaskID]*domain.Task, len(rows))
	byQueue := map[domain.QueueName][]domain.TaskID{}
	for _, id := range c.IDs {
		row, ok := rows[id]
		if !ok {
			continue
		}
		delete(rows, id) // an id that is given twice is claimed or refused once
		if t, err := row.task(); err == nil {
			tasks[id] = t
			byQueue[t.Queue()] = append(byQueue[t.Queue()], id)
		}
	}
	var result application.ClaimResult
	claimed := make(map[domain.TaskID]*domain.Task, len(tasks))
	for _, name := range slices.Sorted(maps.Keys(byQueue)) {
		admitted, limited, err := tx.admit(name, byQueue[name], c.Now)
		if err != nil {
			return application.ClaimResult{}, err
		}
		result.Limited = append(result.Limited, limited...)
		for _, id := range admitted {
			if err := tx.claimOne(tasks[id], c); err != nil {
				return application.ClaimResult{}, err
			}
			claimed[id] = tasks[id]
		}
	}
	err = tx.sort(c.IDs, claimed, &result)
	return result, err
}

func (tx *tx) claimOne(t *domain.Task, c application.ClaimRequest) error {
	if err := t.Claim(c.Claim, c.Now); err != nil {
		return fmt.Errorf("claim task %s: %w", t.ID(), err)
	}
	return tx.update(t)
}

// claimable are the rows of those of the tasks that a claim may move.
func (tx *tx) claimable(ids []domain.TaskID) (map[domain.TaskID]*taskRow, error) {
	list, err := listOf(ids)
	if err != nil {
		return nil, err
	}
	var rows []*taskRow
	if err := tx.all(&rows, selectQueued, list); err != nil {
		return nil, err
	}
	byID := make(map[domain.TaskID]*taskRow, len(rows))
	for _, row := range rows {
		byID[domain.TaskID(row.ID)] = row
	}
	return byID, nil
}

// sort tells apart what became of the ids, in their order: claimed, refused by a
// limit, skipped or unknown.
func (tx *tx) sort(ids []domain.TaskID, claimed map[domain.TaskID]*domain.Task, result *application.ClaimResult) error {
	done := make(map[domain.TaskID]bool, len(ids))
	for _, q := range result.Limited {
		for _, id := range q.Refused {
			done[id] = true
		}
	}
	var left []domain.TaskID
	for _, id := range ids {
		if done[id] {
			continue
		}
		done[id] = true
		if t, ok := claimed[id]; ok {
			result.Tasks = append(result.Tasks, t)
		} else {
			left = append(left, id)
		}
	}
	if len(left) == 0 {
		return nil
	}
	list, err := listOf(left)
	if err != nil {
		return err
	}
	var found []taskID
	if err := tx.all(&found, selectKnown, list); err != nil {
		return err
	}
	for _, id := range left {
		if slices.Contains(found, taskID(id)) {
			result.Skipped = append(result.Skipped, id)
		} else {
			result.Unknown = append(result.Unknown, id)
		}
	}
	return nil
}
