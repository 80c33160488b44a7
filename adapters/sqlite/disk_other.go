//go:build !unix

package sqlite

// Disk knows nothing of the disk.
func (db *DB) Disk() (free, size uint64, ok bool) { return 0, 0, false }
