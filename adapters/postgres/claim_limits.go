package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/adapters/postgres/internal/pgconn"
	"github.com/millrace/millrace/adapters/postgres/internal/pgenc"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// settingsRow is a queue's settings as PostgreSQL has them.
type settingsRow struct {
	Name       string        `db:"name"`
	Paused     bool          `db:"paused"`
	MaxRunning sql.NullInt64 `db:"max_running"`
	RateCount  sql.NullInt64 `db:"rate_count"`
	RatePer    sql.NullInt64 `db:"rate_per"` // microseconds
	FullAt     instant       `db:"full_at"`
	retentionRow
}

// settings are those of the queue. A time that nobody can read means a rate of which
// nothing is spent: the next claim stores another.
func (s settingsRow) settings() domain.QueueSettings {
	if !domain.TimesInRange(s.FullAt.Time) {
		s.FullAt.Time = time.Time{}
	}
	return domain.QueueSettings{
		Name: domain.QueueName(s.Name), Paused: s.Paused, MaxRunning: int(s.MaxRunning.Int64),
		Rate:   domain.Rate{Count: int(s.RateCount.Int64), Per: time.Duration(s.RatePer.Int64) * time.Microsecond},
		FullAt: s.FullAt.Time, Retention: s.retention(),
	}
}

const settingsColumns = "q.name, q.paused, q.max_running, q.rate_count, q.rate_per, q.full_at, " + retentionColumns

var (
	// lockQueuesSQL makes claims of one queue, and changes of its settings, exclude
	// one another. A queue that somebody else holds comes back as not ours: to wait for
	// it would hold up the others.
	lockQueuesSQL = pgconn.Prepared("WITH ours AS MATERIALIZED (SELECT " + settingsColumns + ` FROM queues AS q
			WHERE q.name = ANY($1::text[]) ORDER BY q.name COLLATE "C" FOR UPDATE SKIP LOCKED)
		SELECT *, true AS ours FROM ours
		UNION ALL SELECT ` + settingsColumns + ` , false FROM queues AS q
		WHERE q.name = ANY($1::text[]) AND NOT EXISTS (SELECT FROM ours WHERE ours.name = q.name)`)

	// lockClaimableSQL locks what is claimable in the queues ($3), and counts what of
	// each is processing: those of dead workers, too. It has to be a statement of its
	// own after the queues are locked, for then it sees what the claim before has
	// committed. What is locked it passes over.
	lockClaimableSQL = pgconn.Prepared(`WITH running AS MATERIALIZED (
			SELECT t.queue, count(*) AS n FROM tasks AS t WHERE ` + processing + ` AND t.queue = ANY($3::text[]) GROUP BY t.queue
		)
		SELECT uuid_send(t.id), t.queue, octet_length(t.message), coalesce(running.n, 0)
		FROM tasks AS t LEFT JOIN running ON running.queue = t.queue
		WHERE ` + claimable + `AND t.queue = ANY($3::text[])
		ORDER BY t.id FOR UPDATE OF t SKIP LOCKED`)

	// busySQL finds the claimable tasks of queues ($3) that somebody else holds.
	busySQL = "SELECT t.id, t.queue FROM tasks AS t WHERE " + claimable + "AND t.queue = ANY($3::text[])"

	spendSQL = pgconn.Prepared(`UPDATE queues AS q SET full_at = s.full_at
		FROM unnest($1::text[], $2::timestamptz[]) AS s(name, full_at) WHERE q.name = s.name`)
)

// busyPauses are the pauses between the tries to get hold of a queue: another claim
// has it for some milliseconds only.
var busyPauses = []time.Duration{3 * time.Millisecond, 7 * time.Millisecond, 15 * time.Millisecond, 30 * time.Millisecond, 50 * time.Millisecond}

// claimedLimited is what a claim from limited queues has come to.
type claimedLimited struct {
	claimed
	limited []application.LimitedQueue
	busy    []string // the queues that somebody else holds
}

func (got *claimedLimited) add(more claimedLimited) {
	got.claimed.add(more.claimed)
	for _, q := range more.limited {
		if i := slices.IndexFunc(got.limited, func(l application.LimitedQueue) bool { return l.Name == q.Name }); i >= 0 {
			got.limited[i].Refused, got.limited[i].Capacity = append(got.limited[i].Refused, q.Refused...), q.Capacity
		} else {
			got.limited = append(got.limited, q)
		}
	}
	for _, name := range more.busy {
		if !slices.Contains(got.busy, name) {
			got.busy = append(got.busy, name)
		}
	}
}

// claimLimitedFirst claims from the queues in which the claim before has met a limit, and
// returns the ids that it has nothing to say of. A claim of nothing says nothing, not even
// whether the worker may claim.
func (r *TaskRepository) claimLimitedFirst(ctx context.Context, c application.ClaimRequest, ids []domain.TaskID) (got claimedLimited, others []domain.TaskID) {
	queues := r.limited.Load()
	if queues == nil {
		return got, ids
	}
	l := left{known: notIn(nil, ids), queues: *queues}
	got, err := r.tryLimited(ctx, c, l)
	if len(got.rows) == 0 {
		return claimedLimited{}, ids
	}
	got.busy = nil // they are tried again
	full := len(got.rest) > 0 || err != nil
	got.rest = nil
	if l.without(got); full {
		got.rest, l.known = l.known, nil
	}
	return got, l.known
}

// rememberLimited keeps the names for claimLimitedFirst.
func (r *TaskRepository) rememberLimited(queues []application.LimitedQueue) {
	var names []string
	for _, q := range queues {
		names = append(names, string(q.Name))
	}
	if len(names) == 0 {
		r.limited.Store(nil)
	} else {
		r.limited.Store(&names)
	}
}

// claimLimited claims what was left, as far as the limits of its queues allow. A queue
// that somebody else holds is tried again, with nothing held meanwhile; if it stays
// so, its tasks are refused.
func (r *TaskRepository) claimLimited(ctx context.Context, c application.ClaimRequest, l left) (got claimedLimited, err error) {
	got.busy = l.queues
	for i := 0; len(got.busy) > 0; i++ {
		l.queues, got.busy = got.busy, nil
		more, err := r.tryLimited(ctx, c, l)
		got.add(more)
		if err != nil {
			return got, err
		}
		if len(got.busy) == 0 || i == len(busyPauses) || !pause(ctx, busyPauses[i]) {
			break
		}
	}
	if len(got.busy) == 0 {
		return got, nil
	}
	return got, r.refuseBusy(ctx, l.known, &got)
}

// pause reports whether the time has passed before ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// refuseBusy refuses the tasks of the queues that somebody else holds.
func (r *TaskRepository) refuseBusy(ctx context.Context, known []domain.TaskID, got *claimedLimited) error {
	var found []struct {
		ID    uuid.UUID
		Queue string
	}
	if err := r.db.calls.Write(ctx, func(ctx context.Context, x *sqlx.Conn) error {
		return x.SelectContext(ctx, &found, busySQL, pgenc.UUIDs(known), pgenc.Texts(domain.Before(domain.StatusProcessing)), pgenc.Texts(got.busy))
	}); err != nil {
		return err
	}
	queueOf := make(map[domain.TaskID]string, len(found))
	for _, f := range found {
		queueOf[domain.TaskID(f.ID)] = f.Queue
	}
	for _, name := range got.busy {
		q := application.LimitedQueue{Name: domain.QueueName(name), Capacity: domain.BusyCapacity()}
		for _, id := range known {
			if queueOf[id] == name {
				q.Refused = append(q.Refused, id)
			}
		}
		got.limited = append(got.limited, q)
	}
	return nil
}

// tryLimited claims from those of the queues that nobody else holds. A queue that has
// no limit any more is claimed from as well: what is in neither of the answers would
// be forgotten. A batch that the store refuses because of one task is divided.
func (r *TaskRepository) tryLimited(ctx context.Context, c application.ClaimRequest, l left) (claimedLimited, error) {
	var got claimedLimited
	var asked []domain.TaskID
	err := r.db.calls.Write(ctx, func(ctx context.Context, x *sqlx.Conn) error {
		return pgconn.Transact(ctx, x, func(tx *sqlx.Tx) error {
			got, asked = claimedLimited{}, nil
			plan, err := planClaim(ctx, tx, c, l)
			if err != nil {
				return err
			}
			got.limited, got.busy, got.rest, asked = plan.limited, plan.busy, plan.rest, plan.ids
			if len(plan.ids) == 0 {
				return nil
			}
			if got.rows, err = selectClaimed(ctx, tx, claimOursSQL, c, plan.ids); err != nil {
				return err
			}
			switch len(got.rows) {
			case len(plan.ids):
				return plan.spend(ctx, tx)
			case 0:
				return domain.ErrWorkerStale
			}
			return fmt.Errorf("claimed %d of %d tasks that were locked", len(got.rows), len(plan.ids))
		})
	})
	if err == nil || !pgconn.AboutData(err) || len(asked) == 0 {
		return got.orNone(err), err
	}
	got = claimedLimited{}
	first := asked[:(len(asked)+1)/2]
	if len(asked) == 1 {
		got.refuse(asked[0], err)
	} else if got, err = r.tryLimited(ctx, c, left{known: first, queues: l.queues}); err != nil {
		return got, err
	}
	more, err := r.tryLimited(ctx, c, left{known: without(l.known, first), queues: l.queues})
	got.add(more)
	return got, err
}

func without(ids, drop []domain.TaskID) []domain.TaskID {
	return slices.DeleteFunc(slices.Clone(ids), func(id domain.TaskID) bool { return slices.Contains(drop, id) })
}

// orNone is nothing if there was an error.
func (got claimedLimited) orNone(err error) claimedLimited {
	if err != nil {
		return claimedLimited{}
	}
	return got
}

// claimPlan is what a claim takes from queues that it has locked.
type claimPlan struct {
	ids     []domain.TaskID
	limited []application.LimitedQueue
	busy    []string        // queues that somebody else holds
	rest    []domain.TaskID // beyond the bytes of a portion
	spent   []string        // queues whose rate is spent on it
	fullAt  []time.Time
}

// planClaim locks the queues, then what is claimable in them, and lets the domain
// say how much of that may start.
func planClaim(ctx context.Context, tx *sqlx.Tx, c application.ClaimRequest, l left) (claimPlan, error) {
	var plan claimPlan
	var stored []struct {
		settingsRow
		Ours bool
	}
	if err := lockQueuesSQL.Select(ctx, tx, &stored, pgenc.Texts(l.queues)); err != nil {
		return plan, err
	}
	queues := map[string]domain.QueueSettings{}
	for _, name := range l.queues {
		queues[name] = domain.QueueSettings{Name: domain.QueueName(name)} // of a queue without settings
	}
	for _, s := range stored {
		if queues[s.Name] = s.settings(); !s.Ours {
			plan.busy = append(plan.busy, s.Name)
			delete(queues, s.Name)
		}
	}
	ours := slices.Sorted(maps.Keys(queues))
	found, err := lockClaimable(ctx, tx, l.known, ours)
	if err != nil {
		return plan, err
	}
	wanted, running := plan.portion(l.known, found)
	for _, name := range ours {
		if len(wanted[name]) > 0 {
			plan.admit(queues[name], wanted[name], running[name], c.Now)
		}
	}
	return plan, nil
}

// candidate is a task that a claim has locked.
type candidate struct {
	id      domain.TaskID
	queue   string
	size    int // of its message
	running int // tasks of the queue
}

// lockClaimable locks those of the ids that are claimable in the queues.
func lockClaimable(ctx context.Context, tx *sqlx.Tx, ids []domain.TaskID, queues []string) ([]candidate, error) {
	found := make([]candidate, 0, len(ids))
	var f candidate
	dest := []any{scanInto(&f.id, idOf), scanInto(&f.queue, textOf), scanInto(&f.size, numberOf[int]), scanInto(&f.running, numberOf[int])}
	err := lockClaimableSQL.Each(ctx, tx, func(row *sql.Rows) error {
		err := row.Scan(dest...)
		found = append(found, f)
		return err
	}, pgenc.UUIDs(ids), pgenc.Texts(domain.Before(domain.StatusProcessing)), pgenc.Texts(queues))
	return found, err
}

// portion sorts by queue what was found of the ids, up to the bytes of a portion, and
// keeps what is beyond them for the next claim.
func (p *claimPlan) portion(ids []domain.TaskID, found []candidate) (wanted map[string][]domain.TaskID, running map[string]int) {
	wanted, running = map[string][]domain.TaskID{}, map[string]int{}
	at := make(map[domain.TaskID]int, len(found))
	for i, f := range found {
		at[f.id], running[f.queue] = i, f.running
	}
	size := 0
	for _, id := range ids {
		i, ok := at[id]
		switch {
		case !ok:
		case size >= application.PortionBytes:
			p.rest = append(p.rest, id)
		default:
			size += found[i].size
			wanted[found[i].queue] = append(wanted[found[i].queue], id)
		}
	}
	return wanted, running
}

// admit adds as many of the queue's tasks as the domain says.
func (p *claimPlan) admit(q domain.QueueSettings, ids []domain.TaskID, running int, now time.Time) {
	a := q.Admit(ids, running, now)
	p.ids = append(p.ids, a.Admitted...)
	if a.Spent {
		p.spent, p.fullAt = append(p.spent, string(q.Name)), append(p.fullAt, q.FullAt)
	}
	if q.Limited() {
		p.limited = append(p.limited, application.LimitedQueue{Name: q.Name, Refused: a.Refused, Capacity: a.Left})
	}
}

// spend stores what the claim has spent of the rates.
func (p *claimPlan) spend(ctx context.Context, tx *sqlx.Tx) error {
	if len(p.spent) == 0 {
		return nil
	}
	return spendSQL.Exec(ctx, tx, pgenc.Texts(p.spent), pgenc.Time.Array(p.fullAt))
}
