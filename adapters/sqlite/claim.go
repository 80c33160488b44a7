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
// room for. Only one claim at a time writes, so the room is what it counts, and there
// are no locked rows to pass over: who writes has the whole file.
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

// claim takes what the limits of the queues allow. A row that cannot be read is
// refused: it must not keep the rest from being claimed.
func (tx *tx) claim(c application.ClaimRequest) (application.ClaimResult, error) {
	rows, rest, err := tx.claimable(c.IDs)
	if err != nil {
		return application.ClaimResult{}, err
	}
	tasks := make(map[domain.TaskID]*domain.Task, len(rows))
	result := application.ClaimResult{Rest: rest}
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
		} else {
			refuse(&result, id, err)
		}
	}
	claimed := make(map[domain.TaskID]*domain.Task, len(tasks))
	for _, name := range slices.Sorted(maps.Keys(byQueue)) {
		admitted, limited, err := tx.admit(name, byQueue[name], c.Now)
		if err != nil {
			return application.ClaimResult{}, err
		}
		result.Limited = append(result.Limited, limited...)
		for _, id := range admitted {
			refused, err := tx.claimOne(tasks[id], c)
			switch {
			case err != nil:
				return application.ClaimResult{}, err
			case refused != nil:
				refuse(&result, id, refused)
			default:
				claimed[id] = tasks[id]
			}
		}
	}
	err = tx.sort(c.IDs, claimed, &result)
	return result, err
}

func refuse(result *application.ClaimResult, id domain.TaskID, err error) {
	if result.Refused == nil {
		result.Refused = map[domain.TaskID]error{}
	}
	result.Refused[id] = err
}

// claimOne claims a task; refused is why the store does not take it as claimed, which
// does not keep the rest from being claimed.
func (tx *tx) claimOne(t *domain.Task, c application.ClaimRequest) (refused, err error) {
	if err := t.Claim(c.Claim, c.Now); err != nil {
		return nil, fmt.Errorf("claim task %s: %w", t.ID(), err)
	}
	err = tx.update(t)
	if aboutData(err) {
		return err, nil
	}
	return nil, err
}

// claimable are the rows of those of the tasks that a claim may move, up to the bounds
// of a portion, and the ids that are beyond them.
func (tx *tx) claimable(ids []domain.TaskID) (_ map[domain.TaskID]*taskRow, rest []domain.TaskID, err error) {
	ids, rest, err = tx.portionOf(ids)
	if err != nil {
		return nil, nil, err
	}
	list, err := listOf(ids)
	if err != nil {
		return nil, nil, err
	}
	var rows []*taskRow
	if err := tx.all(&rows, selectQueued, list); err != nil {
		return nil, nil, err
	}
	byID := make(map[domain.TaskID]*taskRow, len(rows))
	for _, row := range rows {
		byID[domain.TaskID(row.ID)] = row
	}
	return byID, rest, nil
}

// longMessage is as long as the messages of a few tasks may be on average.
const longMessage = 256 << 10

// portionOf parts what one claim takes from the rest. Who asks for a few only need not
// ask how long their messages are.
func (tx *tx) portionOf(ids []domain.TaskID) (portion, rest []domain.TaskID, err error) {
	if len(ids) <= application.PortionBytes/longMessage {
		return ids, nil, nil
	}
	ids = unique(ids)
	portion, rest = ids[:min(len(ids), application.ClaimPortion)], ids[min(len(ids), application.ClaimPortion):]
	list, err := listOf(portion)
	if err != nil {
		return nil, nil, err
	}
	var sizes []struct {
		ID   taskID
		Size int
	}
	if err := tx.all(&sizes, selectSizes, list); err != nil {
		return nil, nil, err
	}
	sizeOf := make(map[domain.TaskID]int, len(sizes))
	for _, s := range sizes {
		sizeOf[domain.TaskID(s.ID)] = s.Size
	}
	bytes := 0
	for i, id := range portion {
		if bytes >= application.PortionBytes {
			return portion[:i:i], slices.Concat(portion[i:], rest), nil
		}
		bytes += sizeOf[id]
	}
	return portion, rest, nil
}

// unique are the ids, each once, in their order.
func unique(ids []domain.TaskID) []domain.TaskID {
	seen := make(map[domain.TaskID]bool, len(ids))
	return slices.DeleteFunc(slices.Clone(ids), func(id domain.TaskID) bool {
		twice := seen[id]
		seen[id] = true
		return twice
	})
}

// sort tells apart what became of the ids, in their order: claimed, refused by a
// limit, skipped or unknown.
func (tx *tx) sort(ids []domain.TaskID, claimed map[domain.TaskID]*domain.Task, result *application.ClaimResult) error {
	done := make(map[domain.TaskID]bool, len(ids))
	for _, id := range result.Rest {
		done[id] = true
	}
	for id := range result.Refused {
		done[id] = true
	}
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
