package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var _ application.WorkerRepository = (*WorkerRepository)(nil)

// WorkerRepository is the record of the workers, in a file.
type WorkerRepository struct{ db *DB }

// NewWorkerRepository makes the repository of an open and migrated file.
func NewWorkerRepository(db *DB) *WorkerRepository { return &WorkerRepository{db: db} }

// workerRow is what a beat writes into a row of workers.
type workerRow struct {
	ID       domain.WorkerID `db:"id"`
	Host     string          `db:"host"`
	PID      int             `db:"pid"`
	Version  string          `db:"version"`
	Started  instant         `db:"started_at"`
	Seen     instant         `db:"seen_at"`
	Beat     int64           `db:"beat"`
	Interval int64           `db:"beat_interval"` // microseconds
	Queues   string          `db:"queues"`        // a JSON array
	Capacity int             `db:"capacity"`
	Running  int             `db:"running"`

	Abandoned int  `db:"abandoned"`
	Stuck     bool `db:"stuck"`
}

// heartbeat is that of a worker, as its row has it.
func (tx *tx) heartbeat(id domain.WorkerID) (domain.Heartbeat, error) {
	var row struct {
		Seen     instant `db:"seen_at"`
		Since    instant `db:"beating_since"`
		Interval int64   `db:"beat_interval"` // microseconds
	}
	_, err := tx.get(&row, selectHeartbeat, id)
	return domain.Heartbeat{
		Last: row.Seen.Time, Since: row.Since.Time, Interval: time.Duration(row.Interval) * time.Microsecond,
	}, err
}

// heldRow is what a beat has to know of a task that the worker owns.
type heldRow struct {
	ID              taskID  `db:"id"`
	Attempt         int     `db:"attempt"`
	ClaimBeat       int64   `db:"claim_beat"`
	Deadline        instant `db:"deadline"`
	StopRequestedAt instant `db:"stop_requested_at"`
}

func (row heldRow) owned() application.OwnedTask {
	return application.OwnedTask{
		AttemptRef: application.AttemptRef{Task: domain.TaskID(row.ID), Attempt: row.Attempt},
		ClaimBeat:  row.ClaimBeat, Deadline: row.Deadline.Time,
	}
}

// Beat renews the worker's lease, gives back what it does not hold and times out
// what it holds too long. The lock on the file lets no one else be changing a row.
func (r *WorkerRepository) Beat(ctx context.Context, b application.Beat) (application.BeatAnswer, error) {
	var answer application.BeatAnswer
	queues, err := toJSON(append([]domain.QueueName{}, b.Worker.Queues...)) // never null
	if err != nil {
		return application.BeatAnswer{}, err
	}
	err = r.db.write(ctx, func(tx *tx) error {
		now := domain.Moment(time.Now())
		if _, err := tx.execRow(upsertWorker, workerRow{
			ID: b.Worker.ID, Host: b.Worker.Host, PID: b.Worker.PID, Version: b.Worker.Version, Started: instant{b.Worker.Started},
			Seen: instant{now}, Beat: b.Number, Interval: b.Interval.Microseconds(), Queues: queues,
			Capacity: b.Worker.Capacity, Running: b.Worker.Running, Abandoned: b.Worker.Abandoned, Stuck: b.Worker.Stuck,
		}); err != nil {
			return fmt.Errorf("renew the lease: %w", err)
		}
		rules := b.Rules()
		owned, err := tx.settle(b.Worker.ID, rules, now)
		if err != nil {
			return err
		}
		for _, held := range rules.Held() {
			switch row, ok := owned[held.AttemptRef]; {
			case !ok:
				answer.Lost = append(answer.Lost, held.AttemptRef)
			case !row.StopRequestedAt.IsZero():
				answer.Stop = append(answer.Stop, held.AttemptRef)
			}
		}
		return nil
	})
	if err != nil {
		return application.BeatAnswer{}, err
	}
	return answer, nil
}

// settle gives back and times out, and returns what the worker owns after that.
func (tx *tx) settle(worker domain.WorkerID, rules application.BeatRules, now time.Time) (map[application.AttemptRef]heldRow, error) {
	var rows []heldRow
	if err := tx.all(&rows, selectHeld, worker); err != nil {
		return nil, err
	}
	owned := make(map[application.AttemptRef]heldRow, len(rows))
	for _, row := range rows {
		gone := false
		if decide := rules.Decide(row.owned(), now); decide != nil {
			var err error
			if gone, err = tx.giveBack(row.ID, decide); err != nil {
				return nil, err
			}
		}
		if !gone {
			owned[row.owned().AttemptRef] = row
		}
	}
	return owned, nil
}

// giveBack lets decide take a task from its worker, and reports whether it did.
// One that cannot be read, or that SQLite refuses to store, stays: a sweep will name it,
// and no heartbeat fails because of it.
func (tx *tx) giveBack(id taskID, decide application.Decide) (bool, error) {
	var row taskRow
	if found, err := tx.get(&row, selectTask, id); err != nil || !found {
		return false, err
	}
	t, err := row.task()
	if err != nil {
		return false, nil //nolint:nilerr // a sweep will name it
	}
	_, _, err = tx.decide(t, decide)
	if aboutData(err) {
		return false, nil // as above
	}
	return err == nil && t.Status() != domain.StatusProcessing, err
}

// Leave forgets a worker that holds nothing any more.
func (r *WorkerRepository) Leave(ctx context.Context, id domain.WorkerID) error {
	return r.db.write(ctx, func(tx *tx) error { return tx.exec(deleteWorker, id) })
}

// Forget removes workers that have long been silent and own no task.
func (r *WorkerRepository) Forget(ctx context.Context, silentFor time.Duration) (int, error) {
	var gone int64
	err := r.db.write(ctx, func(tx *tx) error {
		var err error
		gone, err = tx.count(deleteSilent, instant{time.Now().Add(-silentFor)})
		return err
	})
	return int(gone), err
}
