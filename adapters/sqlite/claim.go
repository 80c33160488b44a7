package sqlite

import (
	"context"
	"slices"
	"strings"
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

// claim takes the tasks one by one. A row that cannot be read is left out, for a
// sweep to name it: it must not keep the rest from being claimed.
func (tx *tx) claim(c application.ClaimRequest) (application.ClaimResult, error) {
	waiting, err := tx.waiting(c.IDs)
	if err != nil {
		return application.ClaimResult{}, err
	}
	var claimed application.ClaimResult
	gates := map[domain.QueueName]*gate{}
	for _, id := range c.IDs {
		row, ok := waiting[id]
		if !ok {
			continue
		}
		delete(waiting, id) // an id that is given twice is claimed or refused once
		g, ok := gates[row.Queue]
		if !ok {
			if g, err = tx.gate(row.Queue, c.Now); err != nil {
				return application.ClaimResult{}, err
			}
			gates[row.Queue] = g
		}
		t, err := row.task()
		if err != nil || !g.open(id) || t.Claim(c.Claim, c.Now) != nil {
			continue
		}
		if err := tx.update(t); err != nil {
			return application.ClaimResult{}, err
		}
		g.taken++
		claimed.Tasks = append(claimed.Tasks, t)
	}
	for _, g := range gates {
		if g.queue.Limited() {
			limited, err := tx.shut(g, c.Now)
			if err != nil {
				return application.ClaimResult{}, err
			}
			claimed.Limited = append(claimed.Limited, limited)
		}
	}
	slices.SortFunc(claimed.Limited, func(a, b application.LimitedQueue) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return claimed, nil
}

// waiting are those of the tasks that are worth trying to claim.
func (tx *tx) waiting(ids []domain.TaskID) (map[domain.TaskID]*taskRow, error) {
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

// gate is what a claim knows of a queue.
type gate struct {
	queue   domain.QueueState
	running int // before the claim, of a queue that is limited
	room    int
	taken   int
	refused []domain.TaskID
}

// gate looks how much room a queue has.
func (tx *tx) gate(name domain.QueueName, now time.Time) (*gate, error) {
	g := &gate{}
	var err error
	if g.queue, err = tx.queue(name); err != nil || !g.queue.Limited() {
		return g, err
	}
	if _, err = tx.get(&g.running, countRunning, name); err != nil {
		return nil, err
	}
	g.room = g.queue.Room(g.running, now).Tasks
	return g, nil
}

// open reports whether there is room for another task, and notes it if not.
func (g *gate) open(id domain.TaskID) bool {
	if g.queue.Limited() && g.taken >= g.room {
		g.refused = append(g.refused, id)
		return false
	}
	return true
}

// shut notes what was taken of a queue that is limited, and says what is left.
func (tx *tx) shut(g *gate, now time.Time) (application.LimitedQueue, error) {
	if g.taken > 0 && g.queue.Rate.Count > 0 {
		g.queue.Take(g.taken, now)
		if _, err := tx.execRow(upsertQueue, queueRowOf(g.queue)); err != nil {
			return application.LimitedQueue{}, err
		}
	}
	return application.LimitedQueue{
		Name: g.queue.Name, Refused: g.refused, Room: g.queue.Room(g.running+g.taken, now),
	}, nil
}
