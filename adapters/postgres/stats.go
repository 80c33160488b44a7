package postgres

import "database/sql"

// Stats tells how the connections of each pool are in use. It asks no server.
func (db *DB) Stats() []sql.DBStats { return []sql.DBStats{db.calls.SQL.Stats(), db.beats.SQL.Stats()} }
