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

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// onceTries bounds how often a key may turn out to be forgotten when its tasks are
// looked for.
const onceTries = 5

// keyed is an idempotency key with the tasks that its request makes.
type keyed struct {
	application.IdempotencyKey
	tasks []*domain.Task
}

var keyColumns = []column[keyed]{
	columnOf("owner", "text", func(k keyed) string { return k.Owner }),
	columnOf("key", "text", func(k keyed) string { return k.Key }),
	columnOf("fingerprint", "bytea", func(k keyed) []byte { return k.Fingerprint[:] }),
	columnOf("task_ids", "text", func(k keyed) string { return idArray(k.tasks) }), // arrays in an array would have to be of one length
	columnOf("expires_at", "timestamptz", func(k keyed) time.Time { return moment(k.Expires) }),
}

// idArray spells a uuid[].
func idArray(tasks []*domain.Task) string {
	texts := make([]string, len(tasks))
	for i, t := range tasks {
		texts[i] = t.ID().String()
	}
	return "{" + strings.Join(texts, ",") + "}"
}

// insertOnceSQL remembers those of the keys that are not remembered by $1, stores
// the tasks of these and no others, and says which keys they are, counted from 1.
// A key of another transaction that is under way is waited for: in the order of
// the arrays, so whoever sends several sorts them.
var insertOnceSQL = fmt.Sprintf(`
WITH asked AS (
	SELECT * FROM unnest(%[1]s) WITH ORDINALITY AS k(%[2]s, n)
), remembered AS (
	INSERT INTO idempotency_keys AS k (owner, key, fingerprint, task_ids, expires_at)
	SELECT owner, key, fingerprint, task_ids::uuid[], expires_at FROM asked ORDER BY n
	ON CONFLICT (owner, key) DO UPDATE
	SET fingerprint = excluded.fingerprint, task_ids = excluded.task_ids, expires_at = excluded.expires_at
	WHERE k.expires_at <= $1::timestamptz
	RETURNING k.owner, k.key
), fresh AS (
	SELECT n FROM asked JOIN remembered USING (owner, key)
), added AS (
	INSERT INTO tasks (%[4]s)
	SELECT %[4]s FROM unnest($2::bigint[], %[3]s) AS t(n, %[4]s) WHERE n IN (SELECT n FROM fresh)
	RETURNING id, metadata
), indexed AS (%[5]s)
SELECT n FROM fresh`,
	arrayParameters(keyColumns, 3), listOf(keyColumns, nameOf),
	arrayParameters(insertColumns, 3+len(keyColumns)), listOf(insertColumns, nameOf), indexMetadataSQL)

// insertOnce stores the tasks of those keys that are not remembered by now, and
// reports of each key whether it was one. The keys differ and are sorted by owner
// and key.
func insertOnce(ctx context.Context, x sqlx.QueryerContext, now time.Time, keys ...keyed) ([]bool, error) {
	var tasks []*domain.Task
	var keyOf []int64
	for i, k := range keys {
		tasks = append(tasks, k.tasks...)
		keyOf = append(keyOf, slices.Repeat([]int64{int64(i) + 1}, len(k.tasks))...)
	}
	args := slices.Concat([]any{moment(now), pq.Array(keyOf)}, arraysOf(keyColumns, keys), arraysOf(insertColumns, statesOf(tasks)))
	var fresh []int
	if err := sqlx.SelectContext(ctx, x, &fresh, insertOnceSQL, args...); err != nil {
		return nil, err
	}
	stored := make([]bool, len(keys))
	for _, n := range fresh {
		stored[n-1] = true
	}
	return stored, nil
}

// AddOnce stores the key and the tasks with one statement, which waits for a twin
// and takes over a key that has expired. Whatever was stored before is read with
// another one, as the first does not see what it has waited for.
func (r *TaskRepository) AddOnce(ctx context.Context, k application.IdempotencyKey, tasks ...*domain.Task) ([]*domain.Task, error) {
	var first []*domain.Task
	err := r.db.write(ctx, func(ctx context.Context, c *sqlx.Conn) error {
		first = nil
		for range onceTries {
			stored, err := insertOnce(ctx, c, k.Now, keyed{k, tasks})
			if err != nil || stored[0] {
				return err
			}
			if first, err = storedWith(ctx, c, k); !errors.Is(err, sql.ErrNoRows) {
				return err
			} // forgotten meanwhile
		}
		return outage(fmt.Errorf("the idempotency key was forgotten %d times in a row", onceTries))
	})
	if err != nil {
		return nil, err
	}
	if first == nil {
		for _, t := range tasks {
			t.MarkStored()
		}
	}
	return first, nil
}

// storedWith returns the tasks that were stored with the key, domain.ErrKeyReused
// if that was for another request, or sql.ErrNoRows if the key is not remembered.
func storedWith(ctx context.Context, x sqlx.QueryerContext, k application.IdempotencyKey) ([]*domain.Task, error) {
	var key struct {
		Fingerprint []byte
		IDs         pq.StringArray `db:"task_ids"`
	}
	if err := sqlx.GetContext(ctx, x, &key, `SELECT fingerprint, task_ids FROM idempotency_keys
		WHERE owner = $1 AND key = $2 AND expires_at > $3`, k.Owner, k.Key, moment(k.Now)); err != nil {
		return nil, err
	}
	if !bytes.Equal(key.Fingerprint, k.Fingerprint[:]) {
		return nil, domain.ErrKeyReused
	}
	var rows []row
	if err := sqlx.SelectContext(ctx, x, &rows, getManySQL, key.IDs); err != nil {
		return nil, err
	}
	byID := make(map[uuid.UUID]row, len(rows))
	for _, r := range rows {
		byID[r.ID] = r
	}
	tasks := make([]*domain.Task, len(key.IDs))
	for i, text := range key.IDs {
		id, err := uuid.Parse(text)
		if err != nil {
			return nil, err
		}
		found, ok := byID[id]
		if !ok {
			return nil, fmt.Errorf("task %s, which was stored with an idempotency key, is gone", id)
		}
		if tasks[i], err = found.task(); err != nil {
			return nil, err
		}
	}
	return tasks, nil
}
