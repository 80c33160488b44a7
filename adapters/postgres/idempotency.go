package postgres

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/adapters/postgres/internal/pgconn"
	"github.com/millrace/millrace/adapters/postgres/internal/pgenc"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// keyed is an idempotency key with the tasks that its request makes.
type keyed struct {
	application.IdempotencyKey
	tasks []*domain.Task
	n     int64 // counts the keys of a statement, from 1
}

var keyColumns = []pgenc.Column[keyed]{
	pgenc.PerRow(pgenc.ColumnOf("n", pgenc.Int, func(k *keyed) int64 { return k.n })),
	pgenc.PerRow(pgenc.ColumnOf("owner", pgenc.Text, func(k *keyed) string { return k.Owner })),
	pgenc.PerRow(pgenc.ColumnOf("key", pgenc.Text, func(k *keyed) string { return k.Key })),
	pgenc.PerRow(pgenc.ColumnOf("fingerprint", pgenc.Bytes, func(k *keyed) []byte { return k.Fingerprint[:] })),
	pgenc.PerRow(pgenc.ColumnOf("task_ids", pgenc.Text, func(k *keyed) string { return idArray(k.tasks) })), // arrays in an array would have to be of one length
	pgenc.PerRow(pgenc.ColumnOf("expires_at", pgenc.Time, func(k *keyed) time.Time { return k.Expires })),
}

// idArray spells a uuid[].
func idArray(tasks []*domain.Task) string {
	texts := make([]string, len(tasks))
	for i, t := range tasks {
		texts[i] = t.ID().String()
	}
	return "{" + strings.Join(texts, ",") + "}"
}

// insertOnceOf is the statement that remembers those of the keys that are not
// remembered by now, stores the tasks of these and no others, and says which keys
// they are, counted from 1; and its arguments. It leaves out a key that has expired
// and that somebody else has locked. A key that another transaction is storing is
// waited for, Briefly: in the order of the arrays, so whoever sends several sorts them. (A
// LIMIT keeps the planner from reading the whole table.)
func insertOnceOf(now time.Time, keys []keyed) (_ pgconn.Stmt, args []any) {
	var p pgenc.Params
	var all []written
	for i := range keys {
		keys[i].n = int64(i) + 1
		for _, s := range writtenOf(keys[i].tasks) {
			s.key = keys[i].n
			all = append(all, s)
		}
	}
	at := p.Add(domain.Moment(now), "timestamptz")
	asked, _ := pgenc.UnnestSource(&p, "k", keyColumns, keys)
	tasks, values := pgenc.UnnestSource(&p, "t", slices.Concat([]pgenc.Column[written]{keyColumn}, insertColumns), all)
	return pgconn.Prepared(fmt.Sprintf(`
WITH asked AS (
	SELECT * FROM %s WHERE %s
), taken AS MATERIALIZED (
	SELECT k.owner, k.key, k.expires_at > %s AS lasts
	FROM asked CROSS JOIN LATERAL (
		SELECT * FROM idempotency_keys AS i WHERE i.owner = asked.owner AND i.key = asked.key LIMIT 1
	) AS k
), free AS MATERIALIZED (
	SELECT k.owner, k.key FROM taken CROSS JOIN LATERAL (
		SELECT * FROM idempotency_keys AS i WHERE i.owner = taken.owner AND i.key = taken.key LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
	) AS k WHERE NOT taken.lasts
), remembered AS (
	INSERT INTO idempotency_keys AS k (owner, key, fingerprint, task_ids, expires_at)
	SELECT owner, key, fingerprint, task_ids::uuid[], expires_at FROM asked
	WHERE (owner, key) NOT IN (SELECT owner, key FROM taken) OR (owner, key) IN (SELECT owner, key FROM free) ORDER BY n
	%s%s
	RETURNING k.owner, k.key
), fresh AS (
	SELECT n FROM asked JOIN remembered USING (owner, key)
), added AS (
	INSERT INTO tasks (%s)
	SELECT %s FROM %s WHERE t.n IN (SELECT n FROM fresh)
	RETURNING id, metadata
), indexed AS (%s)
SELECT n FROM fresh`,
		asked, pgconn.Briefly, at, takeOverSQL, at, pgenc.Names(insertColumns), strings.Join(values[1:], ", "), tasks, indexMetadataSQL)), p
}

// insertOnce stores the tasks of those keys that are not remembered by now, and
// reports of each key whether it was one. The keys differ and are sorted by owner
// and key.
func insertOnce(ctx context.Context, x sqlx.QueryerContext, now time.Time, keys ...keyed) ([]bool, error) {
	query, args := insertOnceOf(now, keys)
	var fresh []int
	if err := query.Select(ctx, x, &fresh, args...); err != nil {
		return nil, err
	}
	stored := make([]bool, len(keys))
	for _, n := range fresh {
		stored[n-1] = true
	}
	return stored, nil
}

// AddOnce stores the key and the tasks with one statement, which waits for a twin
// and takes over a key that has expired, together with those of other callers.
// Whatever was stored before is read with another one, as the first does not see
// what it has waited for. A key that somebody else has locked, or is storing, is tried
// again, with pauses, and by itself from the second time on: no other waits with it.
func (r *TaskRepository) AddOnce(ctx context.Context, k application.IdempotencyKey, tasks ...*domain.Task) (first []*domain.Task, rest []domain.TaskID, err error) {
	item := &onceItem{keyed: keyed{IdempotencyKey: k, tasks: tasks}}
	err = r.db.untilFree(ctx, "an idempotency key", func() (done bool, err error) {
		if err := r.addOnce(ctx, item); err != nil || item.apart {
			return false, err
		}
		if item.stored {
			for _, t := range tasks {
				t.MarkStored()
			}
			return true, nil
		}
		var forgotten bool // meanwhile, or somebody has it locked
		err = r.db.calls.Read(ctx, func(ctx context.Context, q sqlx.QueryerContext) (err error) {
			first, rest, err = storedWith(ctx, q, k, len(tasks))
			forgotten = errors.Is(err, sql.ErrNoRows)
			return err
		})
		if forgotten {
			return false, nil
		}
		return true, err
	})
	return first, rest, err
}

// addOnce is one try of AddOnce. What was to be done apart stays so.
func (r *TaskRepository) addOnce(ctx context.Context, item *onceItem) error {
	if !item.apart {
		if err := share(ctx, r.db.shared.onces, item); err != nil || !item.apart {
			return err
		}
	}
	return r.db.calls.addOnce(ctx, []*onceItem{item})
}

// takeOverSQL lets a key be stored in place of one that has expired, by what is appended.
const takeOverSQL = `ON CONFLICT (owner, key) DO UPDATE
	SET fingerprint = excluded.fingerprint, task_ids = excluded.task_ids, expires_at = excluded.expires_at
	WHERE k.expires_at <= `

// remembered returns the ids that were stored with the key, domain.ErrKeyReused if that
// was for another request, or sql.ErrNoRows if the key is not remembered. n is how many ids
// the request has: another number means that somebody has changed the row. (No tasks would
// mean that ours are stored.)
func remembered(ctx context.Context, x sqlx.QueryerContext, k application.IdempotencyKey, n int) ([]domain.TaskID, error) {
	var key struct {
		Fingerprint []byte
		IDs         idList `db:"task_ids"`
	}
	if err := sqlx.GetContext(ctx, x, &key, `SELECT fingerprint, task_ids FROM idempotency_keys
		WHERE owner = $1 AND key = $2 AND expires_at > $3`, k.Owner, k.Key, domain.Moment(k.Now)); err != nil {
		return nil, err
	}
	if !bytes.Equal(key.Fingerprint, k.Fingerprint[:]) {
		return nil, domain.ErrKeyReused
	}
	switch damage := key.IDs.damage; {
	case damage != nil:
		return nil, fmt.Errorf("%w: %w", domain.KeyDamaged("unreadable ids"), damage)
	case len(key.IDs.ids) != n:
		return nil, domain.KeyDamaged(fmt.Sprintf("it names %d ids, not %d", len(key.IDs.ids), n))
	}
	return key.IDs.ids, nil
}

// checkedAtOnce is how many tasks are looked at without their texts: some MB at most.
const checkedAtOnce = 100

var (
	storedWithSQL  = portionSQL(" FROM unnest($1::uuid[]) WITH ORDINALITY AS stored (id, n) JOIN tasks AS t ON t.id = stored.id", "stored.n")
	checkStoredSQL = "SELECT " + decidingColumns + tasksByID
)

// storedWith returns the first of the n tasks that were stored with the key, up to the
// bytes of a portion, and the ids of the others, which it has looked at; or an error of
// remembered.
func storedWith(ctx context.Context, x sqlx.QueryerContext, k application.IdempotencyKey, n int) (first []*domain.Task, rest []domain.TaskID, err error) {
	ids, err := remembered(ctx, x, k, n)
	if err != nil {
		return nil, nil, err
	}
	var rows []portionRow
	if err := sqlx.SelectContext(ctx, x, &rows, storedWithSQL, pgenc.UUIDs(ids)); err != nil {
		return nil, nil, err
	}
	for i, found := range rows {
		if domain.TaskID(found.ID) != ids[i] {
			return nil, nil, domain.TaskGone(ids[i])
		}
		t, err := found.task()
		if err != nil {
			return nil, nil, err
		}
		first = append(first, t)
	}
	rest = ids[len(first):]
	for part := range slices.Chunk(rest, checkedAtOnce) {
		if err := checkStored(ctx, x, part); err != nil {
			return nil, nil, err
		}
	}
	return first, rest, nil
}

// checkStored returns an error if one of the tasks is not there, or cannot be read.
func checkStored(ctx context.Context, x sqlx.QueryerContext, ids []domain.TaskID) error {
	var rows []row
	if err := sqlx.SelectContext(ctx, x, &rows, checkStoredSQL, pgenc.UUIDs(ids)); err != nil {
		return err
	}
	there := make(map[domain.TaskID]bool, len(rows))
	for _, found := range rows {
		if _, err := found.withoutTexts(); err != nil {
			return err
		}
		there[domain.TaskID(found.ID)] = true
	}
	for _, id := range ids {
		if !there[id] {
			return domain.TaskGone(id)
		}
	}
	return nil
}
