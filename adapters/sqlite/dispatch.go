package sqlite

import (
	"context"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var _ application.DispatchRepository = (*DispatchRepository)(nil)

// unbroken is how many beats in a row a judge needs, none of them late.
const unbroken = 3

// DispatchRepository answers the dispatcher's questions, from a file.
type DispatchRepository struct{ db *DB }

// NewDispatchRepository makes the repository of an open and migrated file.
func NewDispatchRepository(db *DB) *DispatchRepository { return &DispatchRepository{db: db} }

// Due sweeps the tasks that are to run at or before now.
func (r *DispatchRepository) Due(ctx context.Context, now time.Time, b application.SweepBatch) (application.Swept, error) {
	return r.sweep(ctx, b, selectDue, fixed(now))
}

// Stranded sweeps the tasks that were marked as queued before the given time.
func (r *DispatchRepository) Stranded(ctx context.Context, before time.Time, b application.SweepBatch) (application.Swept, error) {
	return r.sweep(ctx, b, selectStranded, fixed(before))
}

// AnyQueuedBefore reports whether Stranded would find any.
func (r *DispatchRepository) AnyQueuedBefore(ctx context.Context, before time.Time) (bool, error) {
	var found bool
	err := r.db.reader.GetContext(ctx, &found, anyStranded, instant{before})
	return found, r.db.translate(err)
}

// Abandoned sweeps the tasks of workers that are unknown or whose leases have
// lapsed, in the name of a judge that has beaten without a gap.
func (r *DispatchRepository) Abandoned(ctx context.Context, j application.Judge, b application.SweepBatch) (application.Swept, error) {
	return r.sweep(ctx, b, selectAbandoned, func(tx *tx) (time.Time, bool, error) {
		judge, err := tx.lease(j.Worker)
		if err != nil {
			return time.Time{}, false, err
		}
		now := time.Now()
		fit := now.Sub(judge.Seen.Time) < 2*j.Interval && now.Sub(judge.Since.Time) >= unbroken*j.Interval
		return now.Add(-j.Lease), fit, nil
	})
}

// bound says, within a sweep's transaction, up to which time its query is to
// look, and whether it may look at all.
type bound func(*tx) (time.Time, bool, error)

func fixed(at time.Time) bound {
	return func(*tx) (time.Time, bool, error) { return at, true, nil }
}

// sweep does one step: query takes the bound and a limit.
func (r *DispatchRepository) sweep(ctx context.Context, b application.SweepBatch, query string, until bound) (application.Swept, error) {
	var swept application.Swept
	err := r.db.write(ctx, func(tx *tx) error {
		at, may, err := until(tx)
		if err != nil || !may {
			return err
		}
		// The excepted are few, and may all come first.
		var rows []*taskRow
		if err := tx.all(&rows, query, instant{at}, b.Limit+len(b.Except)); err != nil {
			return err
		}
		except := make(map[domain.TaskID]bool, len(b.Except))
		for _, id := range b.Except {
			except[id] = true
		}
		swept = application.Swept{Passed: map[domain.TaskID]error{}}
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
		return application.Swept{}, err
	}
	markStored(swept.Changed)
	return swept, nil
}

// step handles one task of a sweep.
func (tx *tx) step(row *taskRow, decide application.Decide, swept *application.Swept) error {
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
