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

// ownedRow is what a beat has to know of a task that the worker owns.
type ownedRow struct {
	ID              taskID  `db:"id"`
	Attempt         int     `db:"attempt"`
	ClaimBeat       int64   `db:"claim_beat"`
	Deadline        instant `db:"deadline"`
	StopRequestedAt instant `db:"stop_requested_at"`
}

func (row ownedRow) owned() application.OwnedTask {
	return application.OwnedTask{
		AttemptRef: application.AttemptRef{Task: domain.TaskID(row.ID), Attempt: row.Attempt},
		ClaimBeat:  row.ClaimBeat, Deadline: row.Deadline.Time,
	}
}

// Beat renews the worker's lease, then gives back what it does not hold and times out
// what it holds too long, with a transaction for each portion: others write in between.
// The lock on the file lets no one else be changing a row.
func (r *WorkerRepository) Beat(ctx context.Context, b application.Beat) (application.BeatAnswer, error) {
	queues, err := toJSON(append([]domain.QueueName{}, b.Worker.Queues...)) // never null
	if err != nil {
		return application.BeatAnswer{}, err
	}
	if err := r.db.write(ctx, func(tx *tx) error {
		_, err := tx.execRow(upsertWorker, workerRow{
			ID: b.Worker.ID, Host: b.Worker.Host, PID: b.Worker.PID, Version: b.Worker.Version, Started: instant{b.Worker.Started},
			Seen: instant{domain.Moment(time.Now())}, Beat: b.Number, Interval: b.Interval.Microseconds(), Queues: queues,
			Capacity: b.Worker.Capacity, Running: b.Worker.Running, Abandoned: b.Worker.Abandoned, Stuck: b.Worker.Stuck,
		})
		return err
	}); err != nil {
		return application.BeatAnswer{}, fmt.Errorf("renew the lease: %w", err)
	}
	rules := b.Rules()
	s := settling{rules: rules, worker: b.Worker.ID, owned: map[application.AttemptRef]bool{}}
	if err := r.settle(ctx, &s); err != nil {
		return application.BeatAnswer{GaveBack: s.gone}, err
	}
	return rules.Answer(s.owned, s.gone, s.kept), nil
}

// settling is what has become of the tasks that a worker owns.
type settling struct {
	rules  application.BeatRules
	worker domain.WorkerID
	owned  map[application.AttemptRef]bool // after the beat, and whether it is asked to stop
	gone   []*domain.Task                  // given back
	kept   error
}

// settle lets the rules of the beat decide about what the worker owns, portion by
// portion. What cannot be given back is still owned, and no more is tried with this beat:
// that would fail, too.
func (r *WorkerRepository) settle(ctx context.Context, s *settling) error {
	for last := (taskID{}); ; {
		now := domain.Moment(time.Now())
		var rows []ownedRow
		if err := r.db.read(ctx, &rows, selectOwned, s.worker, last, s.rules.Portion()); err != nil {
			return err
		}
		var toGiveBack []taskID
		for _, row := range rows {
			s.owned[row.owned().AttemptRef] = !row.StopRequestedAt.IsZero()
			if s.rules.Decide(row.owned(), now) != nil {
				toGiveBack = append(toGiveBack, row.ID)
			}
		}
		if len(toGiveBack) > 0 && s.kept == nil {
			var gone []*domain.Task
			if gone, s.kept = r.giveBack(ctx, s.worker, s.rules, toGiveBack, now); s.kept != nil {
				gone = nil
			}
			for _, t := range gone {
				delete(s.owned, application.RefOf(t))
			}
			s.gone = append(s.gone, gone...)
		}
		if len(rows) < s.rules.Portion() {
			return nil
		}
		last = rows[len(rows)-1].ID
	}
}

// giveBack takes those of the tasks from the worker of which the rules say so, as of the
// time now, and returns them. One that cannot be read, or that SQLite refuses to
// store, stays: a sweep will name it, and no heartbeat fails because of it.
func (r *WorkerRepository) giveBack(ctx context.Context, worker domain.WorkerID, rules application.BeatRules, ids []taskID, now time.Time) ([]*domain.Task, error) {
	var gone []*domain.Task
	err := r.db.write(ctx, func(tx *tx) error {
		gone = nil
		for _, id := range ids {
			var row taskRow
			if found, err := tx.get(&row, selectToGiveBack, id, worker); err != nil {
				return err
			} else if !found { // it is not the worker's any more
				continue
			}
			t, err := row.withoutTexts()
			if err != nil {
				continue
			}
			ref := application.RefOf(t)
			decide := rules.Decide(application.OwnedTask{AttemptRef: ref, ClaimBeat: row.ClaimBeat, Deadline: row.Deadline.Time}, now)
			if decide == nil { // it is another attempt by now
				continue
			}
			if _, _, err := tx.decide(t, decide); err != nil && !aboutData(err) {
				return err
			} else if err == nil && t.Status() != domain.StatusProcessing {
				gone = append(gone, t)
			}
		}
		return nil
	})
	return gone, err
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
