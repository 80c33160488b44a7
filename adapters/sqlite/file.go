package sqlite

import (
	"encoding/binary"
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

// errCut is why nothing is stored any more: what was committed is not in the log.
var errCut = domain.Errorf(domain.CodeUnavailable,
	"the write-ahead log of the database file was cut off while it was open: restart the program; what was stored last may be lost")

// file is the database on disk. It is locked, and so is its path: the file, because it
// may be moved or its neighbors removed, and no other process must open it by whatever
// name; the path, because the write-ahead log that belongs to the open file stays there.
type file struct {
	path  string
	locks []*flock.Flock
	open  map[string]fs.FileInfo // by path: the database and its write-ahead log
	index *os.File               // of the write-ahead log; see cut
	trial func(name string) (*os.File, error)
}

// mode is that of new files: messages are nobody else's business. SQLite gives it to the
// files beside the database too.
const mode = 0o600

// openFile makes the file if there is none, and locks it. SQLite's own locks belong to
// the process: they are lost when it closes any descriptor of the file, which is why
// close comes after SQLite has closed its own.
func openFile(path string) (*file, error) {
	f := &file{path: path, open: map[string]fs.FileInfo{}, trial: createTrial}
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
	f.index, err = os.Open(f.path + "-shm")
	return err
}

// The index of the log begins with its header: https://sqlite.org/walformat.html#the_wal_index_header
const (
	indexPageSize = 14 // two bytes; 1 stands for 65536
	indexFrames   = 16 // four bytes: how many frames of the log are valid
	indexEnd      = 20

	logHeader, frameHeader = 32, 24 // bytes in the log, before the frames and in each
)

// logged returns how long the log has to be for what the index says is in it.
func (f *file) logged() (bytes int64, err error) {
	var header [indexEnd]byte
	if _, err := f.index.ReadAt(header[:], 0); err != nil {
		return 0, err
	}
	page := int64(binary.NativeEndian.Uint16(header[indexPageSize:]))
	if page == 1 {
		page = 1 << 16
	}
	frames := int64(binary.NativeEndian.Uint32(header[indexFrames:]))
	if frames == 0 {
		return 0, nil
	}
	return logHeader + frames*(frameHeader+page), nil
}

// checkLog fails if the log is shorter than its index says. SQLite shortens it too, after
// a checkpoint, but corrects the index first: so what is too short is compared again.
func (f *file) checkLog() error {
	for try := 1; ; try++ {
		needed, err := f.logged()
		if err != nil {
			return schema.Unready(errMoved, err)
		}
		log, err := os.Lstat(f.path + "-wal")
		switch {
		case err != nil:
			return schema.Unready(errMoved, err)
		case log.Size() >= needed:
			return nil
		case try == 2:
			return schema.Unready(errCut, fmt.Errorf("it has %d bytes of %d", log.Size(), needed))
		}
	}
}

// check fails unless the paths, which were free of links, still name the files that are
// open, and the log is as long as it has to be. It costs some microseconds.
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
	return f.checkLog()
}

// close releases the locks. The lock file stays: to remove it would race with who opens
// it next.
func (f *file) close() {
	if f.index != nil { // closed after SQLite has closed its own, as the locks are
		_ = f.index.Close()
	}
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
