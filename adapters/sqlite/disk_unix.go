//go:build unix

package sqlite

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Disk tells how large the disk of the file is and how much of it this process may still
// fill; false: nobody knows.
func (db *DB) Disk() (free, size uint64, ok bool) {
	var disk unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(db.file.path), &disk); err != nil {
		return 0, 0, false
	}
	block := uint64(disk.Bsize)                                           //nolint:gosec // no block is negative; its type differs between systems
	return uint64(disk.Bavail) * block, uint64(disk.Blocks) * block, true //nolint:gosec,unconvert // as above
}
