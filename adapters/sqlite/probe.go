package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/millrace/millrace/adapters/internal/room"
	"github.com/millrace/millrace/adapters/internal/schema"
	"github.com/millrace/millrace/domain"
)

// Why no task can be stored. /readyz shows it.
var (
	errTaken   = domain.Errorf(domain.CodeUnavailable, "the database cannot store a task: beside it, the name that ends in -room belongs to something that is no file")
	errNoFile  = domain.Errorf(domain.CodeUnavailable, "the database cannot store a task: its folder takes no files")
	errRefuses = domain.Errorf(domain.CodeUnavailable, "the database cannot store a task: its file cannot be written")
)

// Probe reports whether the file answers, has the schema that this program needs, and has
// room for tasks.
func (db *DB) Probe(ctx context.Context) error {
	if err := db.checkSchema(ctx); err != nil {
		return err
	}
	if db.damaged.Load() {
		return schema.Unready(errDamaged, errors.New("a call has met that"))
	}
	return db.proveRoom(ctx)
}

// provenFor is how long a proof of room serves later probes.
const provenFor = 5 * time.Second

// roomProof is what is known of the room for tasks.
type roomProof struct {
	mu     sync.Mutex
	lacked error     // the last write that failed for want of something; nil: none has, or there is room again
	proven time.Time // when there was room

	proving chan struct{} // full while there is a proof: one at a time
}

// note notes how a write has ended. One that succeeds proves nothing: it may have found
// room in a page that is there.
func (r *roomProof) note(err error) {
	if !lacks(err) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lacked, r.proven = err, time.Time{}
}

// doubtful reports whether room has to be proved, and why a write has lacked it.
func (r *roomProof) doubtful() (doubtful bool, lacked error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Since(r.proven) >= provenFor, r.lacked
}

// found notes that there was room, unless a write has failed since the given one.
func (r *roomProof) found(lacked error, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if errors.Is(r.lacked, lacked) {
		r.lacked, r.proven = nil, at
	}
}

// proveRoom leaves the proof behind when ctx ends: a disk that hangs holds it for as long
// as it hangs, and nobody who asks later begins another one.
func (db *DB) proveRoom(ctx context.Context) error {
	select {
	case db.room.proving <- struct{}{}:
	case <-ctx.Done():
		return db.translate(ctx.Err())
	}
	done := make(chan error, 1)
	go func() {
		defer func() { <-db.room.proving }()
		done <- db.tryRoom(ctx)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return db.translate(ctx.Err())
	}
}

// tryRoom proves that there is room for tasks: a file beside the database shows whether
// the disk has any, and after a write that failed for want of it, a task is stored and
// rolled back, which writes nothing to the disk.
func (db *DB) tryRoom(ctx context.Context) error {
	doubtful, lacked := db.room.doubtful()
	if !doubtful {
		return nil
	}
	now := time.Now()
	if err := db.file.tryRoom(); err != nil {
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			return schema.Unready(room.ErrDiskFull, err)
		}
		if errors.Is(err, fs.ErrExist) {
			return schema.Unready(errTaken, err)
		}
		return schema.Unready(errNoFile, err)
	}
	if lacked != nil {
		if err := db.tryToStore(ctx); err != nil {
			return err
		}
	}
	db.room.found(lacked, now)
	return nil
}

// errUndo ends a transaction that was a trial.
var errUndo = errors.New("it was a trial")

// tryToStore stores a task and rolls that back.
func (db *DB) tryToStore(ctx context.Context) error {
	task, err := room.Task()
	if err != nil {
		return err
	}
	err = db.transactOnce(ctx, func(tx *tx) error {
		if err := tx.insert([]*domain.Task{task}); err != nil {
			return err
		}
		return errUndo
	})
	switch {
	case errors.Is(err, errUndo), aboutData(err): // a trigger that refuses this task has had room for it
		return nil
	case codeOf(err) == sqlite3.SQLITE_FULL:
		return schema.Unready(room.ErrDiskFull, err)
	case lacks(err):
		return schema.Unready(errRefuses, err)
	}
	return db.translate(err)
}

// createTrial makes a file, instead of one that a crash has left there. Through a link it
// would write to what belongs to somebody else.
func createTrial(name string) (*os.File, error) {
	if left, err := os.Lstat(name); err == nil && left.Mode().IsRegular() {
		_ = os.Remove(name) // else it cannot be made
	}
	return os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
}

// tryRoom writes a file beside the database, and removes it.
func (f *file) tryRoom() (err error) {
	name := f.path + "-room"
	trial, err := f.trial(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, trial.Close(), os.Remove(name)) }()
	if _, err := trial.WriteString(room.Message()); err != nil {
		return fmt.Errorf("try whether there is room: %w", err)
	}
	return trial.Sync()
}
