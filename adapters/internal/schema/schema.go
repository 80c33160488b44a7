// Package schema says which version a store's schema has and who owns its tables, for
// every SQL dialect alike. The versions are recorded by goose, in a table of
// Millrace's own: goose's default table is shared by all programs that use goose.
package schema

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"github.com/millrace/millrace/domain"
)

const (
	// VersionTable records the versions.
	VersionTable = "millrace_schema_version"
	// legacyTable is goose's default. The first programs recorded legacyVersion there,
	// and no later one. It is read and never written.
	legacyTable   = goose.DefaultTablename
	legacyVersion = 1
)

// Tables returns the tables of version 1 and VersionTable.
func Tables() []string { return append(slices.Clone(tables), VersionTable) }

// tables are those of version 1.
var tables = []string{"tasks", "task_metadata", "queues", "idempotency_keys", "bulks", "attempts", "workers"}

// VersionSQL asks for the version. It fails if none is recorded.
const VersionSQL = "SELECT coalesce(max(version_id), 0) FROM " + VersionTable + " WHERE is_applied"

// ProbeSQL asks for the version as well, and fails if a table is missing or must not be
// read. It reads no row of the tables.
var ProbeSQL = VersionSQL + " AND NOT EXISTS (SELECT 1 FROM " + strings.Join(tables, " WHERE 1 = 0 UNION ALL SELECT 1 FROM ") + " WHERE 1 = 0)"

// Unready is why a store cannot be used until somebody does something about its schema.
// It is a domain.ErrUnavailable, and domain.Public of it is the reason.
func Unready(reason *domain.Error, cause error) error { return &unready{reason, cause} }

type unready struct {
	reason *domain.Error
	cause  error
}

func (e *unready) Error() string { return fmt.Sprintf("%s (%v)", e.reason, e.cause) }

func (e *unready) Unwrap() []error { return []error{e.reason, e.cause, domain.ErrUnavailable} }

// Dialect is how a store keeps its schema.
type Dialect struct {
	Name  goose.Dialect
	Files fs.FS // the migrations
	// RelationsSQL lists the names of all that there is where a table would be created.
	RelationsSQL string
}

// Version is the one that this program needs: the last of the files.
func (d Dialect) Version() (int64, error) {
	files, err := fs.Glob(d.Files, "*.sql")
	if err != nil || len(files) == 0 {
		return 0, errors.Join(errors.New("no migrations are embedded"), err)
	}
	return goose.NumericComponent(files[len(files)-1]) // sorted by name, and so by number
}

// Provider makes what migrates the database. A database that an earlier program has
// migrated is adopted: in the transaction that creates the table of versions.
func (d Dialect) Provider(db *sql.DB, opts ...goose.ProviderOption) (*goose.Provider, error) {
	inner, err := database.NewStore(d.Name, VersionTable)
	if err != nil {
		return nil, err
	}
	extended, ok := inner.(database.StoreExtender)
	if !ok {
		return nil, fmt.Errorf("goose cannot tell whether a table exists in %s", d.Name)
	}
	return goose.NewProvider(goose.DialectCustom, db, d.Files, append(opts, goose.WithStore(adopting{extended, d}))...)
}

// adopting is a record of versions that begins with what the legacy table says.
type adopting struct {
	database.StoreExtender
	dialect Dialect
}

// Insert records a version. Version 0 is what goose records in a table that it has just
// created, in one transaction.
func (s adopting) Insert(ctx context.Context, tx database.DBTxConn, req database.InsertRequest) error {
	if err := s.StoreExtender.Insert(ctx, tx, req); err != nil || req.Version != 0 {
		return err
	}
	adopt, foreign, err := s.dialect.inspect(ctx, tx)
	switch {
	case err != nil:
		return err
	case len(foreign) > 0:
		return foreignError(foreign)
	case adopt:
		return s.StoreExtender.Insert(ctx, tx, database.InsertRequest{Version: legacyVersion})
	}
	return nil
}

// CheckOwner returns an error if the database has tables with the names of ours that
// no program of ours has created. No migration would get past them.
func (d Dialect) CheckOwner(ctx context.Context, db database.DBTxConn) error {
	relations, err := d.relations(ctx, db)
	if err != nil || slices.Contains(relations, VersionTable) {
		return err
	}
	_, foreign, err := d.inspect(ctx, db)
	if err == nil && len(foreign) > 0 {
		err = foreignError(foreign)
	}
	return err
}

func foreignError(names []string) error {
	return fmt.Errorf("the database has relations that Millrace did not create: %s; give Millrace a database or a schema of its own",
		strings.Join(names, ", "))
}

// inspect looks at a database without recorded versions: whether it is to be adopted,
// and if not, which of its relations are in the way.
func (d Dialect) inspect(ctx context.Context, db database.DBTxConn) (adopt bool, foreign []string, err error) {
	relations, err := d.relations(ctx, db)
	if err != nil {
		return false, nil, err
	}
	for _, name := range tables {
		if slices.Contains(relations, name) {
			foreign = append(foreign, name)
		}
	}
	if len(foreign) < len(tables) || !slices.Contains(relations, legacyTable) {
		return false, foreign, nil
	}
	// Another program's versions may stand in the same table: they are not ours.
	var n int
	legacy := fmt.Sprintf("SELECT count(*) FROM %s WHERE is_applied AND version_id = %d", legacyTable, legacyVersion)
	if err := db.QueryRowContext(ctx, legacy).Scan(&n); err != nil {
		return false, nil, err
	}
	if n == 0 {
		return false, foreign, nil
	}
	return true, nil, nil
}

func (d Dialect) relations(ctx context.Context, db database.DBTxConn) (names []string, err error) {
	rows, err := db.QueryContext(ctx, d.RelationsSQL)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, rows.Err()
}
