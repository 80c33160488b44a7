package sqlite

import "database/sql"

// Stats tells how the connections of the writer and of the readers are in use.
func (db *DB) Stats() []sql.DBStats { return []sql.DBStats{db.writer.Stats(), db.reader.Stats()} }
