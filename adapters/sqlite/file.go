package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"

	"github.com/millrace/millrace/adapters/internal/schema"
	"github.com/millrace/millrace/domain"
)

// ErrInUse says that another process, or another Open, has the file.
var ErrInUse = errors.New("the database is in use by another process")

// errMoved is why nothing is stored any more: it would be gone with this process.
var errMoved = domain.Errorf(domain.CodeUnavailable,
	"the database file was moved, removed or replaced while it was open: put it back, or restart the program")

// file is the database on disk. It is locked, and so is its path: the file, because it
// may be moved or its neighbors removed, and no other process must open it by whatever
// name; the path, because the write-ahead log that belongs to the open file stays there.
type file struct {
	path  string
	locks []*flock.Flock
	open  map[string]fs.FileInfo // by path: the database and its write-ahead log
}

// mode is that of new files: messages are nobody else's business. SQLite gives it to the
// files beside the database too.
const mode = 0o600

// openFile makes the file if there is none, and locks it. SQLite's own locks belong to
// the process: they are lost when it closes any descriptor of the file, which is why
// close comes after SQLite has closed its own.
func openFile(path string) (*file, error) {
	f := &file{path: path, open: map[string]fs.FileInfo{}}
	for _, name := range []string{path + ".lock", path} {
		lock := flock.New(name, flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(mode))
		locked, err := lock.TryLock()
		f.locks = append(f.locks, lock)
		if err == nil && !locked {
			err = ErrInUse
		}
		if err != nil {
			f.close()
			return nil, err
		}
	}
	return f, nil
}

// opened notes which files SQLite has opened.
func (f *file) opened() error {
	locked, err := f.locks[len(f.locks)-1].Stat()
	if err != nil {
		return err
	}
	for _, path := range []string{f.path, f.path + "-wal"} {
		if f.open[path], err = os.Stat(path); err != nil {
			return err
		}
	}
	if !os.SameFile(locked, f.open[f.path]) { // SQLite may have opened either
		return errMoved
	}
	return nil
}

// check fails unless the paths, which were free of links, still name the files that are
// open. It costs some microseconds.
func (f *file) check() error {
	for path, opened := range f.open {
		// Not Stat: who opens the file by a link that has taken its place looks for the
		// write-ahead log beside the file, and finds none.
		now, err := os.Lstat(path)
		if err == nil && !os.SameFile(opened, now) {
			err = fmt.Errorf("%s is another file", path)
		}
		if err != nil {
			return schema.Unready(errMoved, err)
		}
	}
	return nil
}

// close releases the locks. The lock file stays: to remove it would race with who opens
// it next.
func (f *file) close() {
	for _, lock := range f.locks {
		_ = lock.Close()
	}
}

// canonical makes the path absolute and free of links, so that a file has one
// lock by whatever name it is opened.
func canonical(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	target, err := filepath.EvalSymlinks(abs)
	if errors.Is(err, fs.ErrNotExist) { // it is about to be created
		if target, linkErr := os.Readlink(abs); linkErr == nil {
			return "", fmt.Errorf("%s is a link to %s, which does not exist", path, target)
		}
		dir, dirErr := filepath.EvalSymlinks(filepath.Dir(abs))
		return filepath.Join(dir, filepath.Base(abs)), dirErr
	}
	return target, err
}
