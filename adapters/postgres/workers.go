package postgres

import (
	"context"
	"fmt"
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
	SELECT w.id FROM workers AS w WHERE w.seen_at < clock_timestamp() - $1::bigint * interval '1 microsecond' FOR UPDATE SKIP LOCKED
)
DELETE FROM workers AS w USING silent
WHERE w.id = silent.id AND w.seen_at < clock_timestamp() - $1::bigint * interval '1 microsecond'
AND NOT EXISTS (SELECT FROM tasks AS t WHERE ` + processing + ` AND t.worker = w.id)`

	// answerSQL finds what the worker has to hear of: attempts that it lists and
	// that are not its own any more, and those that are to stop.
	answerSQL = `
SELECT h.id, h.attempt, t.id IS NULL AS lost
FROM unnest($2::uuid[], $3::bigint[]) AS h(id, attempt)
LEFT JOIN tasks AS t ON t.id = h.id AND t.attempt = h.attempt AND t.worker = $1 AND ` + processing + `
WHERE t.id IS NULL OR t.stop_requested_at IS NOT NULL
ORDER BY h.id, h.attempt`
)

// giveBackSQL finds the tasks of the worker about which application.BeatRules may
// decide anything, so that a beat that nearly always finds none reads few rows.
var giveBackSQL = `FROM tasks AS t
LEFT JOIN unnest($3::uuid[], $4::bigint[], $5::bool[], $7::bool[]) AS h(id, attempt, running, given_up)
	ON h.id = t.id AND h.attempt = t.attempt
WHERE ` + processing + ` AND t.worker = $1 AND CASE
	WHEN h.id IS NOT NULL THEN h.given_up OR h.running AND t.deadline < clock_timestamp()
	ELSE t.claim_beat < $6 AND NOT EXISTS (SELECT FROM unnest($2::uuid[]) AS c(id) WHERE c.id = t.id)
END
ORDER BY t.id`

// Beat renews the lease in a commit of its own, so that nothing that goes wrong
// later costs the worker its life; then it gives back, then it answers. With an
// error after the renewal the lease is renewed all the same.
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
	held := heldOf(rules.Held())
	if err := r.settle(ctx, b, rules, held); err != nil {
		return application.BeatAnswer{}, err
	}
	return r.answer(ctx, w.ID, held)
}

// settle lets the rules of the beat decide about what the statement finds, as of the
// time at which it is known that there is any.
func (r *WorkerRepository) settle(ctx context.Context, b application.Beat, rules application.BeatRules, held held) error {
	args := []any{
		string(b.Worker.ID), pgenc.UUIDs(b.Claiming),
		pgenc.UUIDs(held.ids), pgenc.Int.Array(held.attempts), pgenc.Bool.Array(held.running), b.Number, pgenc.Bool.Array(held.givenUp),
	}
	found, at, err := r.db.beats.anything(ctx, giveBackSQL, args...)
	if err != nil || !found {
		return err
	}
	_, err = r.db.beats.sweep(ctx, func(t *domain.Task) error {
		s := t.State()
		decide := rules.Decide(application.OwnedTask{
			AttemptRef: application.AttemptRef{Task: s.ID, Attempt: s.Attempt}, ClaimBeat: s.ClaimBeat, Deadline: s.Deadline,
		}, at)
		if decide == nil { // it has come into question since: the next beat decides
			return nil
		}
		return decide(t)
	}, giveBackSQL, args...)
	return err
}

func (r *WorkerRepository) answer(ctx context.Context, id domain.WorkerID, held held) (application.BeatAnswer, error) {
	if len(held.ids) == 0 {
		return application.BeatAnswer{}, nil
	}
	var found []struct {
		ID      uuid.UUID `db:"id"`
		Attempt int       `db:"attempt"`
		Lost    bool      `db:"lost"`
	}
	if err := r.db.beats.Read(ctx, func(ctx context.Context, q sqlx.QueryerContext) error {
		return sqlx.SelectContext(ctx, q, &found, answerSQL, string(id), pgenc.UUIDs(held.ids), pgenc.Int.Array(held.attempts))
	}); err != nil {
		return application.BeatAnswer{}, err
	}
	var answer application.BeatAnswer
	for _, f := range found {
		ref := application.AttemptRef{Task: domain.TaskID(f.ID), Attempt: f.Attempt}
		if f.Lost {
			answer.Lost = append(answer.Lost, ref)
		} else {
			answer.Stop = append(answer.Stop, ref)
		}
	}
	return answer, nil
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

// held is a list of attempts as the columns of a statement.
type held struct {
	ids      []domain.TaskID
	attempts []int64
	running  []bool
	givenUp  []bool
}

func heldOf(list []application.HeldAttempt) held {
	var h held
	for _, a := range list {
		h.ids = append(h.ids, a.Task)
		h.attempts = append(h.attempts, int64(a.Attempt))
		h.running = append(h.running, a.Running)
		h.givenUp = append(h.givenUp, a.GivenUp)
	}
	return h
}
