package sqlite

import (
	"context"
	"slices"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

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
	t, err := row.withoutTexts()
	if err != nil {
		swept.Passed[domain.TaskID(row.ID)] = err
		return nil //nolint:nilerr // the step has handled it
	}
	changed, refused, err := tx.decide(t, decide)
	switch {
	case aboutData(err):
		swept.Passed[t.ID()] = err
	case err != nil:
		return err
	case refused != nil:
		swept.Passed[t.ID()] = refused
	case changed:
		swept.Changed = append(swept.Changed, t)
	}
	return nil
}
