package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/adapters/postgres/internal/pgenc"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var _ application.WorkerRepository = (*WorkerRepository)(nil)

// WorkerRepository keeps the workers' heartbeats in the table workers. It is
// safe for concurrent use.
type WorkerRepository struct {
	db *DB
}

// NewWorkerRepository makes a repository on db, whose schema Migrate has made.
func NewWorkerRepository(db *DB) *WorkerRepository { return &WorkerRepository{db: db} }

// renewSQL takes the time before it waits for the row, so a heartbeat is
// never younger than the beat that gave it. beating_since begins anew with every
// gap over domain.FreshBeats.
var renewSQL = fmt.Sprintf(`
INSERT INTO workers AS w
	(id, host, pid, version, started_at, seen_at, beating_since, beat, beat_interval, capacity, running, queues, abandoned, stuck)
SELECT $1, $2, $3, $4, $5, at, at, $6, $7::bigint * interval '1 microsecond', $8, $9, $10, $11, $12
FROM (SELECT clock_timestamp() AS at) AS now
ON CONFLICT (id) DO UPDATE SET
	seen_at = greatest(w.seen_at, excluded.seen_at),
	beating_since = CASE
		WHEN excluded.seen_at - w.seen_at > %d * excluded.beat_interval THEN excluded.seen_at
		ELSE w.beating_since
	END,
	beat = excluded.beat, beat_interval = excluded.beat_interval,
	capacity = excluded.capacity, running = excluded.running, queues = excluded.queues,
	abandoned = excluded.abandoned, stuck = excluded.stuck
WHERE w.beat < excluded.beat`, domain.FreshBeats)

var (
	// Neither waits for a row that somebody else has locked: a stop must not, and the
	// next sweep finds what was left.
	leaveSQL = "DELETE FROM workers AS w USING (SELECT id FROM workers WHERE id = $1 FOR UPDATE SKIP LOCKED) AS free " +
		"WHERE w.id = free.id AND NOT EXISTS (SELECT FROM tasks AS t WHERE " + processing + " AND t.worker = $1)"

	forgetSQL = `WITH silent AS MATERIALIZED (
	SELECT w.id FROM workers AS w WHERE NOT ` + aliveSQL("w", microseconds("$1")) + ` FOR UPDATE SKIP LOCKED
)
DELETE FROM workers AS w USING silent
WHERE w.id = silent.id AND NOT ` + aliveSQL("w", microseconds("$1")) + `
AND NOT EXISTS (SELECT FROM tasks AS t WHERE ` + processing + ` AND t.worker = w.id)`

	// ownedSQL is the next portion of what the worker owns, and the time at which it is. It
	// is all of that, and not what has changed: an attempt is lost because its row is not
	// there any more, which no row that has changed would say.
	ownedSQL = `
SELECT t.id, t.attempt, t.claim_beat, t.deadline, t.stop_requested_at IS NOT NULL AS stop, clock_timestamp() AS at
FROM tasks AS t WHERE ` + processing + ` AND t.worker = $1 AND t.id > $2 ORDER BY t.id LIMIT $3`

	// giveBackSQL finds those of the tasks that the worker still owns.
	giveBackSQL = "FROM tasks AS t WHERE t.id = ANY($2::uuid[]) AND " + processing + " AND t.worker = $1 ORDER BY t.id"
)

// Beat renews the lease in a commit of its own, so that nothing that goes wrong
// later costs the worker its life; then it gives back, then it answers. With an
// error after the renewal the lease is renewed all the same, and one of giving back is
// part of the answer.
func (r *WorkerRepository) Beat(ctx context.Context, b application.Beat) (application.BeatAnswer, error) {
	w := b.Worker
	if err := r.db.beats.Write(ctx, func(ctx context.Context, c *sqlx.Conn) error {
		_, err := c.ExecContext(ctx, renewSQL, string(w.ID), w.Host, w.PID, w.Version, w.Started,
			b.Number, b.Interval.Microseconds(), w.Capacity, w.Running, pgenc.Texts(w.Queues), w.Abandoned, w.Stuck)
		return err
	}); err != nil {
		return application.BeatAnswer{}, err
	}

	rules := b.Rules()
	s := settling{rules: rules, worker: b.Worker.ID, owned: map[application.AttemptRef]bool{}}
	if err := r.settle(ctx, &s); err != nil {
		return application.BeatAnswer{GaveBack: s.gone}, err
	}
	return rules.Answer(s.owned, s.gone, s.kept), nil
}

// ownedRow is what a beat has to know of a task that the worker owns.
type ownedRow struct {
	ID        uuid.UUID `db:"id"`
	Attempt   int       `db:"attempt"`
	ClaimBeat int64     `db:"claim_beat"`
	Deadline  instant   `db:"deadline"`
	Stop      bool      `db:"stop"`
	At        time.Time `db:"at"`
}

func (row ownedRow) owned() application.OwnedTask {
	return application.OwnedTask{
		AttemptRef: application.AttemptRef{Task: domain.TaskID(row.ID), Attempt: row.Attempt},
		ClaimBeat:  row.ClaimBeat, Deadline: row.Deadline.Time,
	}
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
	for last := uuid.Nil; ; {
		var rows []ownedRow
		if err := r.db.beats.Read(ctx, func(ctx context.Context, q sqlx.QueryerContext) error {
			return sqlx.SelectContext(ctx, q, &rows, ownedSQL, string(s.worker), last.String(), s.rules.Portion())
		}); err != nil {
			return err
		}
		var ids []domain.TaskID
		for _, row := range rows {
			s.owned[row.owned().AttemptRef] = row.Stop
			if s.rules.Decide(row.owned(), row.At) != nil {
				ids = append(ids, domain.TaskID(row.ID))
			}
		}
		if len(ids) > 0 && s.kept == nil {
			var gone []*domain.Task
			gone, s.kept = r.giveBack(ctx, s.worker, s.rules, ids, rows[len(rows)-1].At)
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
// time at, and returns them.
func (r *WorkerRepository) giveBack(ctx context.Context, worker domain.WorkerID, rules application.BeatRules, ids []domain.TaskID, at time.Time) ([]*domain.Task, error) {
	swept, err := r.db.beats.sweep(ctx, func(t *domain.Task) error {
		s := t.State()
		decide := rules.Decide(application.OwnedTask{
			AttemptRef: application.RefOf(t), ClaimBeat: s.ClaimBeat, Deadline: s.Deadline,
		}, at)
		if decide == nil { // it is another attempt by now
			return nil
		}
		return decide(t)
	}, giveBackSQL, string(worker), pgenc.UUIDs(ids))
	return slices.DeleteFunc(swept.Changed, func(t *domain.Task) bool { return t.Status() == domain.StatusProcessing }), err
}

// Leave forgets a worker that holds nothing any more.
func (r *WorkerRepository) Leave(ctx context.Context, id domain.WorkerID) error {
	return r.db.calls.Write(ctx, func(ctx context.Context, c *sqlx.Conn) error {
		_, err := c.ExecContext(ctx, leaveSQL, string(id))
		return err
	})
}

// Forget removes workers that have long been silent and own no task.
func (r *WorkerRepository) Forget(ctx context.Context, silentFor time.Duration) (int, error) {
	return r.db.calls.Exec(ctx, forgetSQL, silentFor.Microseconds())
}
