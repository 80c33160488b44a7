package sqlite

import (
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// admit asks the domain how many of a queue's tasks may start, stores what that
// spends, and says what was met if the queue is limited. Only one transaction at a
// time writes, so the tasks that run are those that it counts.
func (tx *tx) admit(name domain.QueueName, ids []domain.TaskID, now time.Time) ([]domain.TaskID, []application.LimitedQueue, error) {
	q, err := tx.queue(name)
	if err != nil || !q.Limited() {
		return ids, nil, err
	}
	var running int
	if _, err := tx.get(&running, countRunning, name); err != nil {
		return nil, nil, err
	}
	a := q.Admit(ids, running, now)
	if a.Spent {
		if _, err := tx.execRow(upsertQueue, queueRowOf(q)); err != nil {
			return nil, nil, err
		}
	}
	return a.Admitted, []application.LimitedQueue{{Name: name, Refused: a.Refused, Capacity: a.Left}}, nil
}
