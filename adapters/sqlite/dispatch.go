package sqlite

import (
	"context"
	"time"

	"github.com/millrace/millrace/application"
)

var _ application.DispatchRepository = (*DispatchRepository)(nil)

// DispatchRepository answers the dispatcher's questions, from a file.
type DispatchRepository struct{ db *DB }

// NewDispatchRepository makes the repository of an open and migrated file.
func NewDispatchRepository(db *DB) *DispatchRepository { return &DispatchRepository{db: db} }

// Due sweeps the tasks that are to run at or before now.
func (r *DispatchRepository) Due(ctx context.Context, now time.Time, b application.SweepBatch) (application.SweepResult, error) {
	return r.sweep(ctx, b, selectDue, fixed(instant{now}))
}

// NextDue returns when the first of those tasks is to run that are not marked.
func (r *DispatchRepository) NextDue(ctx context.Context) (time.Time, bool, error) {
	var next []instant
	if err := r.db.read(ctx, &next, selectNextDue); err != nil || len(next) == 0 {
		return time.Time{}, false, err
	}
	return next[0].Time, true, nil
}

// Stranded sweeps the tasks of the list that were marked as queued before the given time.
func (r *DispatchRepository) Stranded(ctx context.Context, l application.Lane, before time.Time, b application.SweepBatch) (application.SweepResult, error) {
	return r.sweep(ctx, b, selectStranded, fixed(l.Queue, l.Priority, instant{before}))
}

// QueuedBefore returns the lists for which Stranded would find any.
func (r *DispatchRepository) QueuedBefore(ctx context.Context, before time.Time) ([]application.Lane, error) {
	var lists []application.Lane
	err := r.db.read(ctx, &lists, selectLists, instant{before})
	return lists, err
}

// Abandoned sweeps the tasks of workers that are unknown or whose leases have
// lapsed, in the name of a judge that has beaten without a gap.
func (r *DispatchRepository) Abandoned(ctx context.Context, j application.Observer, b application.SweepBatch) (application.SweepResult, error) {
	return r.sweep(ctx, b, selectAbandoned, func(tx *tx) ([]any, bool, error) {
		judge, err := tx.heartbeat(j.Worker)
		if err != nil {
			return nil, false, err
		}
		judge.Interval = j.Interval
		now := time.Now()
		return []any{instant{now.Add(-j.Lease)}}, judge.MayObserve(now), nil
	})
}

// ForgetKeys removes idempotency keys that have expired, those first that did so first.
func (r *DispatchRepository) ForgetKeys(ctx context.Context, now time.Time, limit int) (int, error) {
	var gone int64
	err := r.db.write(ctx, func(tx *tx) error {
		var err error
		gone, err = tx.count(deleteKeys, instant{now}, limit)
		return err
	})
	return int(gone), err
}
