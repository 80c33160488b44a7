package sqlite

import (
	"context"
	"slices"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
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

// bound says, within a sweep's transaction, where its query is to look, and
// whether it may look at all.
type bound func(*tx) ([]any, bool, error)

func fixed(args ...any) bound {
	return func(*tx) ([]any, bool, error) { return args, true, nil }
}

// sweep does one step: query takes the bound and a limit.
func (r *DispatchRepository) sweep(ctx context.Context, b application.SweepBatch, query string, within bound) (application.SweepResult, error) {
	var swept application.SweepResult
	err := r.db.write(ctx, func(tx *tx) error {
		args, may, err := within(tx)
		if err != nil || !may {
			return err
		}
		// The excepted are few, and may all come first.
		var rows []*taskRow
		if err := tx.all(&rows, query, append(slices.Clone(args), b.Limit+len(b.Except))...); err != nil {
			return err
		}
		except := make(map[domain.TaskID]bool, len(b.Except))
		for _, id := range b.Except {
			except[id] = true
		}
		swept = application.SweepResult{Passed: map[domain.TaskID]error{}}
		for _, row := range rows {
			if id := domain.TaskID(row.ID); swept.Found < b.Limit && !except[id] {
				swept.Found++
				if err := tx.step(row, b.Decide, &swept); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return application.SweepResult{}, err
	}
	markStored(swept.Changed)
	return swept, nil
}

// step handles one task of a sweep.
func (tx *tx) step(row *taskRow, decide application.Decide, swept *application.SweepResult) error {
	t, err := row.task()
	if err != nil {
		swept.Passed[domain.TaskID(row.ID)] = err
		return nil //nolint:nilerr // the step has handled it
	}
	changed, refused, err := tx.decide(t, decide)
	switch {
	case err != nil:
		return err
	case refused != nil:
		swept.Passed[t.ID()] = refused
	case changed:
		swept.Changed = append(swept.Changed, t)
	}
	return nil
}
