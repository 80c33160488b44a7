package migrations

import "embed"

// Postgres holds the migrations of PostgreSQL, below postgres/.
//
//go:embed postgres/*.sql
var Postgres embed.FS
