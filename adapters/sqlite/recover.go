package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/millrace/millrace/application"
)

// recoverBatch bounds one transaction of Recover.
const recoverBatch = 500

// Recover takes up what an earlier process left in the file: it forgets its
// workers and lets rescue decide each task that they held. It returns how many
// those were. Call it before any worker of this process beats; the lock on the
// file says that no other process has one. A task that cannot be read or that
// rescue refuses stays as it is.
func Recover(ctx context.Context, db *DB, rescue application.Decide) (int, error) {
	if err := forgetWorkers(ctx, db); err != nil {
		return 0, err
	}
	dispatch, taken := NewDispatchRepository(db), 0
	batch := application.SweepBatch{Limit: recoverBatch, Decide: rescue}
	for {
		swept, err := dispatch.sweep(ctx, batch, selectOrphaned, fixed(instant{time.Now()}))
		if err != nil {
			return taken, err
		}
		taken += len(swept.Changed)
		for id := range swept.Passed {
			batch.Except = append(batch.Except, id)
		}
		if swept.Found < recoverBatch {
			return taken, nil
		}
	}
}

func forgetWorkers(ctx context.Context, db *DB) error {
	if err := db.write(ctx, func(tx *tx) error { return tx.exec(deleteWorkers) }); err != nil {
		return fmt.Errorf("forget workers: %w", err)
	}
	return nil
}
