package dispatch_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/dispatch"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

// keepTime is how long tasks are kept in these tests.
const keepTime = 10 * time.Hour

var retention = domain.Retention{Completed: domain.Keep(keepTime), Canceled: domain.Keep(keepTime), Failed: domain.KeepForever}

// purging is a store of tasks for the purge, with what was asked of it and told.
type purging struct {
	ports   *apptest.Ports
	sweep   *dispatch.Purge
	tasks   []domain.PurgeCandidate // in the order of their ids
	cursors map[application.PurgeWalk]domain.TaskID
	queues  map[domain.QueueName]domain.Retention
	slow    int // more candidates than this take too long; 0: none do
	locked  map[domain.TaskID]bool
	blind   error           // to what is set of the queues
	err     error           // of each deletion
	takes   time.Duration   // the deletion of a task
	others  bool            // another worker has the sweep
	read    int             // candidates
	limits  []int           // of windows
	told    []time.Duration // how late it is, step by step
	purged  int
}

func newPurging(t *testing.T) *purging {
	t.Helper()
	s := &purging{
		ports: apptest.NewPorts(t), cursors: map[application.PurgeWalk]domain.TaskID{},
		queues: map[domain.QueueName]domain.Retention{}, locked: map[domain.TaskID]bool{},
	}
	p := s.ports
	p.Dispatch.EXPECT().AcquireSweep(apptest.Any, application.SweepPurge, domain.WorkerID("w"), apptest.Any).DoAndReturn(
		func(context.Context, application.Loop, domain.WorkerID, time.Duration) (bool, error) {
			return !s.others, nil
		}).AnyTimes()
	p.Dispatch.EXPECT().ReleaseSweep(apptest.Any, application.SweepPurge, domain.WorkerID("w")).AnyTimes()
	p.Queues.EXPECT().Retentions(apptest.Any).DoAndReturn(func(context.Context) (map[domain.QueueName]domain.Retention, error) {
		return s.queues, s.blind
	}).AnyTimes()
	p.Purges.EXPECT().PurgeCursor(apptest.Any, apptest.Any).DoAndReturn(
		func(_ context.Context, walk application.PurgeWalk) (domain.TaskID, error) {
			return s.cursors[walk], nil
		}).AnyTimes()
	p.Purges.EXPECT().PurgeCandidates(apptest.Any, apptest.Any, apptest.Any).DoAndReturn(s.candidates).AnyTimes()
	p.Purges.EXPECT().Purge(apptest.Any, apptest.Any).DoAndReturn(s.purge).AnyTimes()
	p.Events.EXPECT().Purged(apptest.Any, apptest.Any, apptest.Any).Do(func(_ context.Context, n int, late time.Duration) {
		s.purged += n
		s.told = append(s.told, late)
	}).AnyTimes()
	s.sweep = dispatch.NewPurge(deps(p), "w", retention)
	return s
}

func (s *purging) candidates(_ context.Context, walk application.PurgeWalk, w application.PurgeWindow) (found []domain.PurgeCandidate, _ error) {
	s.limits = append(s.limits, w.Limit)
	if s.slow > 0 && w.Limit > s.slow {
		return nil, apptest.ErrTookTooLong
	}
	for _, c := range s.tasks {
		if slices.Compare(c.ID[:], w.After[:]) > 0 && slices.Compare(c.ID[:], w.Before[:]) < 0 && (walk == application.PurgeAll || c.Retention > 0) && len(found) < w.Limit {
			found = append(found, c)
		}
	}
	s.read += len(found)
	return found, nil
}

func (s *purging) purge(_ context.Context, step application.PurgeStep) (r application.PurgeResult, _ error) {
	if s.cursors[step.Walk] != step.From || s.err != nil {
		return r, s.err
	}
	time.Sleep(s.takes * time.Duration(len(step.Expired)))
	s.cursors[step.Walk], r.Moved = step.To, true
	for _, c := range step.Expired {
		if !s.locked[c.ID] {
			r.Purged = append(r.Purged, c.ID)
			s.tasks = slices.DeleteFunc(s.tasks, func(other domain.PurgeCandidate) bool { return other.ID == c.ID })
		}
	}
	return r, nil
}

// add makes n tasks that were completed so long ago, as soon as they were made.
func (s *purging) add(n int, age time.Duration, edits ...func(*domain.PurgeCandidate)) (ids []domain.TaskID) {
	at := apptest.Now().Add(-age)
	for range n {
		c := domain.PurgeCandidate{ID: domain.NewTaskID(at), Version: 1, Queue: domain.DefaultQueue, Status: domain.StatusCompleted, UpdatedAt: at}
		for _, edit := range edits {
			edit(&c)
		}
		s.tasks, ids = append(s.tasks, c), append(ids, c.ID)
	}
	slices.SortFunc(s.tasks, func(a, b domain.PurgeCandidate) int { return slices.Compare(a.ID[:], b.ID[:]) })
	return ids
}

// round takes steps until a round is done. Some may take too long.
func (s *purging) round(t *testing.T) {
	t.Helper()
	for done := false; !done; {
		var err error
		if done, err = s.sweep.Step(t.Context()); err != nil {
			apptest.WantError(t, err, apptest.ErrTookTooLong)
		}
	}
}

func TestPurge_DeletesWhatHasExpiredAndReadsNothingThatIsTooYoung(t *testing.T) {
	s := newPurging(t)
	s.add(3, keepTime+time.Minute)
	s.add(5, keepTime+time.Minute, func(c *domain.PurgeCandidate) { c.Status = domain.StatusFailed })
	s.add(1, keepTime+time.Minute, func(c *domain.PurgeCandidate) { c.Status = domain.StatusPending })
	s.add(1, keepTime+time.Minute, func(c *domain.PurgeCandidate) { c.UpdatedAt = c.UpdatedAt.Add(2 * time.Minute) })
	s.add(1, keepTime+time.Minute, func(c *domain.PurgeCandidate) { c.KeyedUntil = apptest.Now().Add(time.Minute) })
	s.add(40, keepTime-time.Minute)
	own := func(c *domain.PurgeCandidate) { c.Retention = time.Second }
	s.add(2, time.Minute, own)
	s.add(1, 0, own)

	s.round(t)

	apptest.Same(t, "purged", s.purged, 3+2)
	apptest.Same(t, "left", len(s.tasks), 5+1+1+1+40+1)
	apptest.Same(t, "read", s.read, 3+8+3) // the old ones, and those that say it themselves
}

func TestPurge_ObeysTheQueuesAndAsksThemEachTime(t *testing.T) {
	s := newPurging(t)
	s.add(2, time.Hour)
	s.add(2, keepTime+time.Hour)
	s.queues[domain.DefaultQueue] = domain.Retention{Completed: domain.KeepForever}
	s.round(t)
	apptest.Same(t, "purged of a queue that keeps them for ever", s.purged, 0)
	s.queues[domain.DefaultQueue] = domain.Retention{Completed: domain.Keep(time.Minute)}
	s.round(t)
	apptest.Same(t, "purged of a queue that keeps them for a minute", s.purged, 4)
}

func TestPurge_ReadsNothingIfEverythingIsKeptForEver(t *testing.T) {
	s := newPurging(t)
	s.add(5, keepTime+time.Hour)
	s.sweep = dispatch.NewPurge(deps(s.ports), "w", domain.Retention{Completed: domain.KeepForever, Canceled: domain.KeepForever})
	s.round(t)
	apptest.Same(t, "read", s.read, 0)
}

func TestPurge_LooksAtIDsOfAnotherMaking(t *testing.T) {
	s := newPurging(t)
	for _, id := range []domain.TaskID{{0x7f, 1}, {0xfe}, {1: 1}} {
		s.add(1, keepTime+time.Hour, func(c *domain.PurgeCandidate) { c.ID = id })
	}
	s.round(t)
	apptest.Same(t, "purged", s.purged, 3)
}

func TestPurge_GoesOnFromItsCursorAndBeginsAnewAtTheEnd(t *testing.T) {
	s := newPurging(t)
	expired := s.add(3*dispatch.PurgeLimit/2, keepTime+time.Hour)
	for range 2 { // the walk of the own, and a part of the other
		if done, err := s.sweep.Step(t.Context()); done || err != nil {
			t.Fatalf("done: %v, %v", done, err)
		}
	}
	apptest.Same(t, "the cursor", s.cursors[application.PurgeAll], expired[dispatch.PurgeLimit-1])
	s.add(1, keepTime+2*time.Hour) // behind it
	read := s.read

	s.sweep = dispatch.NewPurge(deps(s.ports), "w", retention) // another worker
	s.round(t)
	apptest.Same(t, "purged", s.purged, len(expired))
	apptest.Same(t, "read by the second", s.read-read, dispatch.PurgeLimit/2)
	apptest.Same(t, "the cursor at the end", s.cursors[application.PurgeAll], domain.TaskID{})

	s.round(t)
	apptest.Same(t, "purged by the next round", s.purged, len(expired)+1)
}

func TestPurge_TellsHowLateItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPurging(t)
		oldest := s.add(1, keepTime+time.Hour)
		s.locked[oldest[0]] = true
		s.add(1, keepTime+time.Minute)
		s.round(t)
		apptest.Equal(t, "late", s.told, []time.Duration{time.Hour, time.Hour}) // one is left
		time.Sleep(time.Minute)
		s.locked, s.told = nil, nil
		s.round(t)
		apptest.Equal(t, "late once it is not locked", s.told, []time.Duration{61 * time.Minute, 0})
		s.told = nil
		s.round(t)
		apptest.Equal(t, "late with nothing expired", s.told, []time.Duration{0})
	})
}

// failing takes a step that fails.
func (s *purging) failing(t *testing.T) {
	t.Helper()
	_, err := s.sweep.Step(t.Context())
	apptest.WantError(t, err, apptest.ErrBroken)
}

func TestPurge_TellsHowLateItIsWhileItFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPurging(t)
		s.add(1, keepTime+time.Hour, func(c *domain.PurgeCandidate) { c.Retention = keepTime })
		s.err = apptest.ErrBroken
		s.failing(t)
		time.Sleep(time.Minute)
		s.failing(t)
		apptest.Equal(t, "late", s.told, []time.Duration{time.Hour, 61 * time.Minute})

		s.blind, s.told = apptest.ErrBroken, nil
		s.failing(t)
		apptest.Equal(t, "late if it cannot begin", s.told, []time.Duration{61 * time.Minute})

		s.blind, s.err, s.told = nil, nil, nil
		s.round(t)
		apptest.Equal(t, "late once it works", s.told, []time.Duration{61 * time.Minute, 0})
	})
}

func TestPurge_ForgetsHowLateItWasOnceAnotherWorkerPurges(t *testing.T) {
	s := newPurging(t)
	s.add(1, keepTime+time.Hour, func(c *domain.PurgeCandidate) { c.Retention = keepTime })
	s.err = apptest.ErrBroken
	s.failing(t)
	s.others = true
	s.round(t)
	s.others, s.tasks, s.err, s.told = false, nil, nil, nil
	s.round(t)
	apptest.Equal(t, "late", s.told, []time.Duration{0})
}

// It says nothing of its own purge, which may have failed.
func TestPurge_DoesNotTellThatItRanWhileAnotherWorkerPurges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPurging(t)
		s.others = true
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		s.sweep.Run(ctx) // there is no call of LoopRan to be expected
	})
}

func TestPurge_TakesSmallerStepsAfterOneThatDeletedForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPurging(t)
		s.add(2*dispatch.PurgeLimit, keepTime+time.Hour)
		s.takes = 200 * time.Microsecond
		for range 4 { // the walk of the own, and three of the other
			_, err := s.sweep.Step(t.Context())
			apptest.Must(t, err)
		}
		const all = dispatch.PurgeLimit
		apptest.Equal(t, "limits", s.limits[:4], []int{all, all, all / 2, all})
	})
}

func TestPurge_NamesWhatTheStoreRefuses(t *testing.T) {
	p, id := apptest.NewPorts(t), domain.NewTaskID(apptest.Now().Add(-time.Hour))
	p.Dispatch.EXPECT().AcquireSweep(apptest.Any, apptest.Any, apptest.Any, apptest.Any).Return(true, nil)
	p.Queues.EXPECT().Retentions(apptest.Any)
	p.Purges.EXPECT().PurgeCursor(apptest.Any, application.PurgeOwn)
	p.Purges.EXPECT().PurgeCandidates(apptest.Any, apptest.Any, apptest.Any).Return([]domain.PurgeCandidate{
		{ID: id, Status: domain.StatusFailed, UpdatedAt: apptest.Now().Add(-time.Hour), Retention: time.Minute},
	}, nil)
	p.Purges.EXPECT().Purge(apptest.Any, apptest.Any).Return(application.PurgeResult{Moved: true, Refused: map[domain.TaskID]error{id: apptest.ErrBroken}}, nil)
	p.Events.EXPECT().TaskPassed(apptest.Any, application.SweepPurge, id, apptest.ErrBroken)
	p.Events.EXPECT().Purged(apptest.Any, 0, apptest.Any)
	_, err := dispatch.NewPurge(deps(p), "w", retention).Step(t.Context())
	apptest.Must(t, err)
}

func TestPurge_TakesSmallerStepsAfterOneThatTookTooLong(t *testing.T) {
	s := newPurging(t)
	s.add(dispatch.PurgeLimit, keepTime+time.Hour)
	s.slow = dispatch.PurgeLimit / 4
	for range 2 {
		_, err := s.sweep.Step(t.Context())
		apptest.WantError(t, err, apptest.ErrTookTooLong)
	}
	s.round(t)
	apptest.Equal(t, "limits", s.limits[:3], []int{dispatch.PurgeLimit, dispatch.PurgeLimit / 2, dispatch.PurgeLimit / 4})
	apptest.Same(t, "purged", s.purged, dispatch.PurgeLimit)
}

func TestPurge_DoesNothingIfAnotherWorkerHasMovedTheCursor(t *testing.T) {
	s := newPurging(t)
	s.add(2*dispatch.PurgeLimit, keepTime+time.Hour)
	for range 2 {
		_, err := s.sweep.Step(t.Context())
		apptest.Must(t, err)
	}
	s.cursors[application.PurgeAll] = s.tasks[10].ID
	_, err := s.sweep.Step(t.Context())
	apptest.Must(t, err)
	apptest.Same(t, "purged", s.purged, dispatch.PurgeLimit)
	s.round(t)
	apptest.Same(t, "left", len(s.tasks), 11)
}

// The rest after a step is 19 times as long, and a worker that rests keeps the sweep.
func TestPurge_TakesAtMostATwentiethOfTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, worked, held := apptest.NewPorts(t), time.Duration(0), time.Now()
		p.Dispatch.EXPECT().AcquireSweep(apptest.Any, application.SweepPurge, domain.WorkerID("w"), apptest.Any).DoAndReturn(
			func(_ context.Context, _ application.Loop, _ domain.WorkerID, d time.Duration) (bool, error) {
				if worked > 0 && time.Since(held) >= d {
					t.Errorf("the sweep was held %s ago", time.Since(held))
				}
				held = time.Now()
				return true, nil
			}).AnyTimes()
		p.Dispatch.EXPECT().ReleaseSweep(apptest.Any, application.SweepPurge, domain.WorkerID("w"))
		p.Queues.EXPECT().Retentions(apptest.Any).AnyTimes()
		p.Purges.EXPECT().PurgeCursor(apptest.Any, apptest.Any).AnyTimes()
		p.Purges.EXPECT().PurgeCandidates(apptest.Any, apptest.Any, apptest.Any).DoAndReturn(
			func(context.Context, application.PurgeWalk, application.PurgeWindow) ([]domain.PurgeCandidate, error) {
				time.Sleep(4 * time.Second)
				worked += 4 * time.Second
				return nil, nil
			}).MinTimes(10)
		p.Events.EXPECT().Purged(apptest.Any, 0, time.Duration(0)).AnyTimes()
		p.Events.EXPECT().LoopRan(apptest.Any, application.SweepPurge, nil).AnyTimes()
		ctx, stop := context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		begun := time.Now()
		dispatch.NewPurge(deps(p), "w", retention).Run(ctx)
		if share := float64(worked) / float64(time.Since(begun)); share > 0.051 {
			t.Errorf("it took %.3f of the time", share)
		}
	})
}

func TestPurge_GivesTheSweepUpAfterAFailureAndTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := apptest.NewPorts(t)
		p.Dispatch.EXPECT().AcquireSweep(apptest.Any, application.SweepPurge, apptest.Any, apptest.Any).Return(true, nil).Times(3)
		p.Dispatch.EXPECT().ReleaseSweep(apptest.Any, application.SweepPurge, apptest.Any).Times(3)
		p.Queues.EXPECT().Retentions(apptest.Any).Return(nil, errors.New("no table")).Times(3)
		p.Events.EXPECT().LoopRan(apptest.Any, application.SweepPurge, apptest.Any).Times(3)
		ctx, stop := context.WithTimeout(t.Context(), dispatch.PurgePause+11*time.Second)
		defer stop()
		dispatch.NewPurge(deps(p), "w", retention).Run(ctx)
	})
}
