package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// recoverBatch bounds one transaction of Recover.
const recoverBatch = 500

// Recover takes up what an earlier process left in the file: it forgets its
// workers and lets rescue decide each task that they held. It calls rescued with those that
// are changed, some at a time, once that is stored. Call it before any worker of this process beats; the lock on the
// file says that no other process has one. A task that cannot be read or that
// rescue refuses stays as it is.
func Recover(ctx context.Context, db *DB, rescue application.Decide, rescued func([]*domain.Task)) error {
	if err := forgetWorkers(ctx, db); err != nil {
		return err
	}
	dispatch := NewDispatchRepository(db)
	batch := application.SweepBatch{Limit: recoverBatch, Decide: rescue}
	for {
		swept, err := dispatch.sweep(ctx, batch, selectOrphaned, fixed(instant{time.Now()}))
		if err != nil {
			return err
		}
		if len(swept.Changed) > 0 {
			rescued(swept.Changed)
		}
		for id := range swept.Passed {
			batch.Except = append(batch.Except, id)
		}
		if swept.Found < recoverBatch {
			return nil
		}
	}
}

func forgetWorkers(ctx context.Context, db *DB) error {
	if err := db.write(ctx, func(tx *tx) error { return tx.exec(deleteWorkers) }); err != nil {
		return fmt.Errorf("forget workers: %w", err)
	}
	return nil
}
