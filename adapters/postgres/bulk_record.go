package postgres

import (
	"context"
	"database/sql"
	"errors"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/millrace/millrace/adapters/postgres/internal/pgconn"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var (
	rememberBulkSQL = `INSERT INTO idempotency_keys AS k (owner, key, fingerprint, task_ids, expires_at)
		SELECT $1, $2, $3::bytea, $4::uuid[], $5::timestamptz WHERE ` + pgconn.Briefly + " " + takeOverSQL + "$6"
	listBulksSQL = "SELECT " + bulkColumns + " FROM bulks WHERE id < $1 ORDER BY id DESC LIMIT $2"
)

// AddOnce stores the key, with the action's id, and the action; or it returns the
// action that was stored with the key before. A key that somebody else has locked is
// tried again, with pauses.
func (r *BulkRepository) AddOnce(ctx context.Context, k application.IdempotencyKey, b domain.Bulk) (first *domain.Bulk, err error) {
	err = r.db.untilFree(ctx, "an idempotency key", func() (done bool, err error) {
		var locked bool
		locked, first, err = r.addOnce(ctx, k, b)
		return !locked, err
	})
	return first, err
}

// addOnce is one try of AddOnce.
func (r *BulkRepository) addOnce(ctx context.Context, k application.IdempotencyKey, b domain.Bulk) (locked bool, first *domain.Bulk, err error) {
	locked, err = r.db.calls.WriteUnlocked(ctx, func(ctx context.Context, c *sqlx.Conn) error {
		return pgconn.Transact(ctx, c, func(tx *sqlx.Tx) error {
			first = nil
			stored, err := tx.ExecContext(ctx, rememberBulkSQL, k.Owner, k.Key, k.Fingerprint[:], pq.Array([]string{b.ID.String()}),
				domain.Moment(k.Expires), domain.Moment(k.Now))
			if err != nil {
				return err
			}
			if n, err := stored.RowsAffected(); err != nil {
				return err
			} else if n > 0 {
				return insertBulk(ctx, tx, b)
			}
			first, err = bulkStoredWith(ctx, tx, k)
			return err
		})
	})
	return locked, first, err
}

// bulkStoredWith is the action that was stored with the key.
func bulkStoredWith(ctx context.Context, tx *sqlx.Tx, k application.IdempotencyKey) (*domain.Bulk, error) {
	ids, err := remembered(ctx, tx, k, 1)
	switch {
	case errors.Is(err, sql.ErrNoRows): // it has been deleted since
		return nil, pgconn.OutageBecause("the idempotency key was forgotten")
	case err != nil:
		return nil, err
	}
	id := domain.BulkID(ids[0])
	var found bulkRow
	if err := tx.GetContext(ctx, &found, "SELECT "+bulkColumns+" FROM bulks WHERE id = $1", id.String()); errors.Is(err, sql.ErrNoRows) {
		return nil, domain.BulkGone(id)
	} else if err != nil {
		return nil, err
	}
	b, err := found.bulk()
	return &b, err
}

// List returns actions, the latest first.
func (r *BulkRepository) List(ctx context.Context, q application.BulkQuery) (application.BulkList, error) {
	before := uuid.UUID(q.Before)
	if before == uuid.Nil {
		before = uuid.Max
	}
	var rows []bulkRow
	if err := r.db.calls.Read(ctx, func(ctx context.Context, x sqlx.QueryerContext) error {
		return sqlx.SelectContext(ctx, x, &rows, listBulksSQL, before.String(), q.Limit)
	}); err != nil {
		return application.BulkList{}, err
	}
	var list application.BulkList
	for _, row := range rows {
		if b, err := row.bulk(); err == nil {
			list.Bulks = append(list.Bulks, b)
		} else {
			list.Omitted = append(list.Omitted, domain.BulkID(row.ID))
		}
	}
	return list, nil
}

// Change lets decide change how the action goes on, or ends, and stores that.
func (r *BulkRepository) Change(ctx context.Context, id domain.BulkID, decide func(b domain.Bulk) (domain.Bulk, error)) (b domain.Bulk, err error) {
	err = r.db.calls.Write(ctx, func(ctx context.Context, c *sqlx.Conn) error {
		return pgconn.Transact(ctx, c, func(tx *sqlx.Tx) error {
			var found bulkRow
			err := tx.GetContext(ctx, &found, "SELECT "+bulkColumns+" FROM bulks WHERE id = $1 FOR UPDATE", id.String())
			if errors.Is(err, sql.ErrNoRows) {
				return domain.ErrBulkNotFound
			}
			if err != nil {
				return err
			}
			if b, err = found.bulk(); err != nil {
				return err
			}
			if b, err = decide(b); err != nil {
				return err
			}
			return storeBulk(ctx, tx, b)
		})
	})
	return b, err
}
