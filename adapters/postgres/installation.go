package postgres

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// legacyPrefix begins the names of a database that says nothing of itself; programs from
// before there were ids know no other.
const legacyPrefix = "millrace:"

const installationSQL = "SELECT id, queue_prefix, current_database() AS name FROM millrace_installation"

// QueuePrefix returns what begins the names of everything that this database has in a
// queue which others may share. It differs between databases, also between one and its
// copy under another name, and is the same for all programs on one.
func QueuePrefix(ctx context.Context, db *DB) (string, error) {
	var row struct {
		ID     uuid.UUID
		Prefix sql.NullString `db:"queue_prefix"`
		Name   string
	}
	err := db.calls.Read(ctx, func(ctx context.Context, q sqlx.QueryerContext) error {
		err := sqlx.GetContext(ctx, q, &row, installationSQL)
		if errors.Is(err, sql.ErrNoRows) {
			row.Prefix = sql.NullString{String: legacyPrefix, Valid: true}
			return nil
		}
		return err
	})
	if err != nil || row.Prefix.Valid {
		return row.Prefix.String, err
	}
	sum := sha256.Sum256(append(row.ID[:], row.Name...))
	return legacyPrefix + hex.EncodeToString(sum[:6]) + ":", nil
}
