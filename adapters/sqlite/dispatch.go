package sqlite

import (
	"context"
	"encoding/json"
	"sync"
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

// Stranded sweeps the tasks of the lanes that were marked as queued before the time that is
// given for each.
func (r *DispatchRepository) Stranded(ctx context.Context, before map[application.Lane]time.Time, b application.SweepBatch) (application.SweepResult, error) {
	type bound struct {
		Queue    domain.QueueName `json:"q"`
		Priority int              `json:"p"`
		Before   int64            `json:"b"`
	}
	bounds := make([]bound, 0, len(before))
	for lane, at := range before {
		bounds = append(bounds, bound{lane.Queue, lane.Priority, at.UnixMicro()})
	}
	text, err := json.Marshal(bounds)
	if err != nil {
		return application.SweepResult{}, err
	}
	return r.sweep(ctx, b, selectStranded, fixed(string(text)))
}

// QueuedBefore returns the lanes with tasks that were marked as queued before the given
// time, and the oldest mark of each.
func (r *DispatchRepository) QueuedBefore(ctx context.Context, before time.Time) (map[application.Lane]time.Time, error) {
	var rows []struct {
		application.Lane
		QueuedAt instant `db:"queued_at"`
	}
	err := r.db.read(ctx, &rows, selectLanes, instant{before})
	oldest := make(map[application.Lane]time.Time, len(rows))
	for _, row := range rows {
		oldest[row.Lane] = row.QueuedAt.Time
	}
	return oldest, err
}

// AcquireSweep reports whether the worker has the sweep for itself. All workers of a file
// are in this process, and nothing need be written for them.
func (r *DispatchRepository) AcquireSweep(_ context.Context, sweep application.Loop, w domain.WorkerID, d time.Duration) (bool, error) {
	r.db.holders.Lock()
	defer r.db.holders.Unlock()
	if t := r.db.holders.of[sweep]; t.worker != w && time.Now().Before(t.until) {
		return false, nil
	}
	if r.db.holders.of == nil {
		r.db.holders.of = map[application.Loop]sweepHolder{}
	}
	r.db.holders.of[sweep] = sweepHolder{w, time.Now().Add(d)}
	return true, nil
}

// ReleaseSweep gives the sweep up, if the worker has it.
func (r *DispatchRepository) ReleaseSweep(_ context.Context, sweep application.Loop, w domain.WorkerID) error {
	r.db.holders.Lock()
	defer r.db.holders.Unlock()
	if r.db.holders.of[sweep].worker == w {
		delete(r.db.holders.of, sweep)
	}
	return nil
}

// sweepHolders are the workers that have a sweep for themselves.
type sweepHolders struct {
	sync.Mutex
	of map[application.Loop]sweepHolder
}

type sweepHolder struct {
	worker domain.WorkerID
	until  time.Time
}

// Orphaned sweeps the tasks of workers that are unknown or whose leases have
// lapsed, on the word of an observer that has beaten without a gap.
func (r *DispatchRepository) Orphaned(ctx context.Context, j application.Observer, b application.SweepBatch) (application.SweepResult, error) {
	return r.sweep(ctx, b, selectOrphaned, func(tx *tx) ([]any, bool, error) {
		observer, err := tx.heartbeat(j.Worker)
		if err != nil {
			return nil, false, err
		}
		observer.Interval = j.Interval
		now := time.Now()
		return []any{instant{now.Add(-j.Lease)}}, observer.MayObserve(now), nil
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
