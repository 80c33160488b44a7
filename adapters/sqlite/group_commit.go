package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/millrace/millrace/domain"
)

const (
	// sharedTasks and sharedBytes bound a transaction that many share, so that those
	// who write alone, such as a claim, soon get to write.
	sharedTasks = 500
	sharedBytes = 4 << 20
	// sharedMaxStall: a file that was locked for so long may stay so.
	sharedMaxStall = time.Second
	// sharedSweep bounds the wait of those who share for whoever writes alone.
	sharedSweep = 5 * time.Second
)

// change is a caller's part of a transaction that many share.
type change struct {
	do           func(*tx) error
	tasks, bytes int   // what it stores
	err          error // its own: it is undone, and the others are not
}

func (c *change) size() (tasks, bytes int) { return c.tasks, c.bytes }

// writeTogether runs do in a transaction together with those of other callers, so
// that one sync of the disk serves them all, and returns after its commit. ctx ends
// the wait for the writer, as in write. An error of do undoes what do has done and
// nothing else.
func (db *DB) writeTogether(ctx context.Context, tasks []*domain.Task, do func(*tx) error) error {
	c := &change{do: do, tasks: len(tasks)}
	for _, t := range tasks {
		c.bytes += len(t.Message()) // a result is not longer than domain.MaxResult
	}
	if err := db.together.Do(ctx, c); err != nil {
		return db.translate(err)
	}
	return db.translate(c.err)
}

// commit makes the changes in one transaction.
func (db *DB) commit(changes []*change) error {
	ctx, cancel := context.WithTimeout(context.Background(), sharedSweep)
	defer cancel()
	return db.transact(ctx, func(tx *tx) error {
		for _, c := range changes {
			if err := tx.apart(c); err != nil {
				return err
			}
		}
		return nil
	})
}

// apart makes a change that can be undone without the rest of the transaction. Its
// error is the transaction's.
func (tx *tx) apart(c *change) error {
	if err := tx.exec(savepoint); err != nil {
		return err
	}
	c.err = c.do(tx)
	if c.err == nil {
		return tx.exec(release)
	}
	if unavailable(c.err) && !aboutStatement(c.err) { // SQLite may have undone all of it
		return c.err
	}
	if err := tx.exec(rollbackTo); err != nil {
		return fmt.Errorf("%w, after: %w", err, c.err)
	}
	return tx.exec(release)
}
