package contract

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var sweepChecks = map[string]check{
	"DueFindsWhatIsToRun":              dueFinds,
	"DueTakesTheLongestDueFirst":       dueOrder,
	"StrandedFindsWhatWasMarkedBefore": strandedFinds,
	"StrandedTakesTheOldestMarkFirst":  strandedOrder,
	"SweepStoresWhatDecideChanged":     sweepStores,
	"SweepPassesWhatDecideRefuses":     sweepPasses,
	"SweepPassesOverTheExcepted":       sweepExcept,
	"SweepsChangeNoTaskTwice":          sweepRace,
	"OrphanedFindsAnUnknownWorkers":    orphanedUnknown,
	"OrphanedIsBounded":                orphanedBounded,
	"OrphanedFindsALapsedLease":        orphanedLapsed,
	"OrphanedNeedsAKnownObserver":      orphanedUnknownObserver,
	"OrphanedNeedsAnUnbrokenHeartbeat": orphanedBrokenObserver,
	"OrphanedSweepsChangeNoTaskTwice":  orphanedRace,
}

// step is one step of some sweep.
type step func(ctx context.Context, b application.SweepBatch) (application.SweepResult, error)

func due(s Store, at time.Time) step {
	return func(ctx context.Context, b application.SweepBatch) (application.SweepResult, error) {
		return s.Dispatch.Due(ctx, at, b)
	}
}

// defaultList is where tasks wait that say nothing else.
var defaultList = application.Lane{Queue: domain.DefaultQueue}

func stranded(s Store, before time.Time) step {
	return func(ctx context.Context, b application.SweepBatch) (application.SweepResult, error) {
		return s.Dispatch.Stranded(ctx, map[application.Lane]time.Time{defaultList: before}, b)
	}
}

func (next step) must(t *testing.T, b application.SweepBatch) application.SweepResult {
	t.Helper()
	swept, err := next(t.Context(), b)
	if err != nil {
		t.Fatalf("sweep: %v", err)
	}
	return swept
}

// queuedAt marks tasks as of one moment.
func queuedAt(at time.Time) application.Decide {
	return func(task *domain.Task) error { return task.MarkQueued(at) }
}

// wantSwept checks a step that was to change exactly these tasks, in whatever
// order, as decide does, and to pass over none.
func wantSwept(t *testing.T, s Store, got application.SweepResult, decide application.Decide, tasks ...*domain.Task) {
	t.Helper()
	if got.Found != len(tasks) || len(got.Passed) > 0 {
		t.Errorf("found %d, passed over %v; want %d found", got.Found, got.Passed, len(tasks))
	}
	changed, tasks := sortedByID(got.Changed), sortedByID(tasks)
	wantIDs(t, changed, tasks)
	for i := range min(len(changed), len(tasks)) {
		want := tasks[i].Clone()
		if err := decide(want); err != nil {
			t.Fatal(err)
		}
		wantState(t, changed[i], withoutTexts(want.State()))
		wantStored(t, s, want.State())
	}
}

func dueFinds(t *testing.T, s Store) {
	at := now()
	found := []*domain.Task{
		addMade(t, s, waiting(at)), addMade(t, s, waiting(at.Add(-time.Microsecond))), addMade(t, s, waiting(at.Add(-24*time.Hour))),
	}
	kept := []*domain.Task{
		addMade(t, s, waiting(at.Add(time.Microsecond))), addMade(t, s, waiting(at.Add(time.Hour))),
		addMade(t, s, marked(at.Add(-time.Hour))), addMade(t, s, heldBy("worker", 1)), addMade(t, s, ended(domain.StatusCompleted)),
		addMade(t, s, ended(domain.StatusCanceled)), addMade(t, s, ended(domain.StatusFailed)),
	}
	b := application.SweepBatch{Limit: 100, Decide: queuedAt(at)}
	wantSwept(t, s, due(s, at).must(t, b), b.Decide, found...)
	wantSwept(t, s, due(s, at).must(t, b), b.Decide) // what is marked is no longer due
	for _, task := range kept {
		wantStored(t, s, task.State())
	}
	at = at.Add(time.Microsecond)
	b.Decide = queuedAt(at)
	wantSwept(t, s, due(s, at).must(t, b), b.Decide, kept[0])
}

func strandedFinds(t *testing.T, s Store) {
	before := now()
	kept := []*domain.Task{
		addMade(t, s, marked(before)), addMade(t, s, marked(before.Add(time.Hour))), addMade(t, s, waiting(before.Add(-time.Hour))),
		addMade(t, s, heldBy("worker", 1)), addMade(t, s, ended(domain.StatusCompleted)),
	}
	b := application.SweepBatch{Limit: 100, Decide: queuedAt(now().Add(time.Second))}
	wantQueuedBefore(t, s, before)
	wantSwept(t, s, stranded(s, before).must(t, b), b.Decide)
	early := func(s *domain.TaskState) { s.RunAt = s.RunAt.Add(-time.Hour) }
	found := []*domain.Task{
		addMade(t, s, early, marked(before.Add(-time.Microsecond))), addMade(t, s, early, marked(before.Add(-time.Hour))),
	}
	wantQueuedBefore(t, s, before, defaultList)
	wantSwept(t, s, stranded(s, before).must(t, b), b.Decide, found...)
	wantQueuedBefore(t, s, before)
	wantSwept(t, s, stranded(s, before).must(t, b), b.Decide) // the new mark is younger
	for _, task := range kept {
		wantStored(t, s, task.State())
	}
}

// wantQueuedBefore checks in which lists Stranded would find any, in whatever order.
func wantQueuedBefore(t *testing.T, s Store, before time.Time, want ...application.Lane) {
	t.Helper()
	oldest, err := s.Dispatch.QueuedBefore(t.Context(), before)
	if err != nil {
		t.Fatalf("queued before %v: %v", before, err)
	}
	got := slices.Collect(maps.Keys(oldest))
	byName := func(a, b application.Lane) int {
		return cmp.Or(strings.Compare(string(a.Queue), string(b.Queue)), a.Priority-b.Priority)
	}
	slices.SortFunc(got, byName)
	slices.SortFunc(want, byName)
	if !slices.Equal(got, want) {
		t.Errorf("queued before %v: %v, want %v", before, got, want)
	}
}

func dueOrder(t *testing.T, s Store) {
	at := now()
	wantOrder(t, s, due(s, at), func(age time.Duration) func(*domain.TaskState) { return waiting(at.Add(-age)) })
}

func strandedOrder(t *testing.T, s Store) {
	at := now()
	wantOrder(t, s, stranded(s, at), func(age time.Duration) func(*domain.TaskState) {
		return func(s *domain.TaskState) { s.RunAt, s.QueuedAt = at.Add(-time.Hour), at.Add(-age) }
	})
}

// wantOrder checks that steps take the oldest first, no more than their limit,
// and that a step below its limit is the last.
func wantOrder(t *testing.T, s Store, next step, aged func(time.Duration) func(*domain.TaskState)) {
	t.Helper()
	ages := []time.Duration{3, 7, 1, 5, 2, 6, 4} // seconds
	tasks := make([]*domain.Task, 8)             // by age
	for _, age := range ages {
		tasks[age] = addMade(t, s, aged(age*time.Second))
	}
	mark := queuedAt(now())
	b := application.SweepBatch{Limit: 3, Decide: mark}
	wantSwept(t, s, next.must(t, b), mark, tasks[7], tasks[6], tasks[5])
	wantSwept(t, s, next.must(t, b), mark, tasks[4], tasks[3], tasks[2])
	wantSwept(t, s, next.must(t, b), mark, tasks[1])
	wantSwept(t, s, next.must(t, b), mark)
}

func sweepStores(t *testing.T, s Store) {
	at := now()
	task := addMade(t, s, waiting(at))
	loaded := get(t, s, task.ID())
	b := application.SweepBatch{Limit: 10, Decide: queuedAt(at)}
	wantSwept(t, s, due(s, at).must(t, b), b.Decide, task)
	if got := get(t, s, task.ID()); got.Version() != 1 {
		t.Errorf("version %d after a mark: marking is no change of the task", got.Version())
	}
	// So a change that was decided before the mark still goes through.
	if err := errors.Join(loaded.Cancel(now()), s.Tasks.Save(t.Context(), loaded)); err != nil {
		t.Errorf("cancel across a mark: %v", err)
	}
	wantStored(t, s, loaded.State())
	// A decision may be any change, and what it leaves as it was is not stored.
	canceled, kept := addMade(t, s, waiting(at)), addMade(t, s, waiting(at))
	swept := due(s, at).must(t, application.SweepBatch{Limit: 10, Decide: func(task *domain.Task) error {
		if task.ID() == kept.ID() {
			return nil
		}
		return task.Cancel(at)
	}})
	if swept.Found != 2 || len(swept.Passed) > 0 {
		t.Errorf("found %d, passed over %v; want 2 found", swept.Found, swept.Passed)
	}
	wantIDs(t, swept.Changed, []*domain.Task{canceled})
	wantDecided(t, s, canceled, func(task *domain.Task) error { return task.Cancel(at) })
	wantStored(t, s, kept.State())
}

func sweepPasses(t *testing.T, s Store) {
	at := now()
	refusal := errors.New("not this one")
	var tasks []*domain.Task
	for i := range 5 {
		tasks = append(tasks, addMade(t, s, waiting(at.Add(time.Duration(i-10)*time.Second))))
	}
	bad := tasks[1]
	decide := func(task *domain.Task) error {
		if task.ID() == bad.ID() {
			return refusal
		}
		return task.MarkQueued(at)
	}
	swept := due(s, at).must(t, application.SweepBatch{Limit: 3, Decide: decide})
	wantIDs(t, sortedByID(swept.Changed), sortedByID([]*domain.Task{tasks[0], tasks[2]}))
	if swept.Found != 3 || len(swept.Passed) != 1 || !errors.Is(swept.Passed[bad.ID()], refusal) {
		t.Errorf("found %d, passed over %v; want 3 found, and %s passed over", swept.Found, swept.Passed, bad.ID())
	}
	wantStored(t, s, bad.State())
	wantDecided(t, s, tasks[0], decide)
	wantStored(t, s, tasks[3].State())
	// A refused task stays found until it is excepted.
	swept = due(s, at).must(t, application.SweepBatch{Limit: 3, Decide: decide, Except: idsOf([]*domain.Task{bad})})
	wantSwept(t, s, swept, decide, tasks[3], tasks[4])
}

func sweepExcept(t *testing.T, s Store) {
	at := now()
	for name, x := range map[string]struct {
		next step
		edit func(*domain.TaskState)
	}{
		"due":      {due(s, at), waiting(at.Add(-time.Hour))},
		"stranded": {stranded(s, at), marked(at.Add(-time.Hour))},
	} {
		t.Log(name)
		tasks := addMany(t, s, 6, x.edit, func(s *domain.TaskState) { s.RunAt = at.Add(-time.Hour) })
		b := application.SweepBatch{Limit: 2, Except: append(idsOf(tasks[:4]), makeTask(t).ID()), Decide: queuedAt(at)}
		wantSwept(t, s, x.next.must(t, b), b.Decide, tasks[4:]...)
		wantSwept(t, s, x.next.must(t, b), b.Decide)
		for _, task := range tasks[:4] {
			wantStored(t, s, task.State())
		}
	}
}

func sweepRace(t *testing.T, s Store) {
	const count = 200
	at := now()
	addMany(t, s, count, waiting(at))
	addMany(t, s, count, func(s *domain.TaskState) { s.RunAt, s.QueuedAt = at.Add(-time.Hour), at.Add(-time.Hour) })
	for name, next := range map[string]step{"due": due(s, at), "stranded": stranded(s, at)} {
		wantEachOnce(t, name, next, queuedAt(now()), count)
	}
}

// wantEachOnce lets several sweep at the same time until all is done, and
// checks that each task was changed once.
func wantEachOnce(t *testing.T, name string, next step, decide application.Decide, count int) {
	t.Helper()
	const sweepers = 6
	var mu sync.Mutex
	changes := map[domain.TaskID]int{}
	deadline := time.Now().Add(patience)
	var all sync.WaitGroup
	for range sweepers {
		all.Go(func() {
			for done := false; !done; {
				swept, err := next(t.Context(), application.SweepBatch{Limit: 15, Decide: decide})
				if err != nil || len(swept.Passed) > 0 {
					t.Errorf("%s: passed over %v, %v", name, swept.Passed, err)
					return
				}
				mu.Lock()
				for _, task := range swept.Changed {
					changes[task.ID()]++
				}
				done = len(changes) >= count || time.Now().After(deadline)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	var wrong []string
	for id, n := range changes {
		if n != 1 {
			wrong = append(wrong, fmt.Sprintf("%s: %d times", id, n))
		}
	}
	slices.Sort(wrong)
	if diff := gocmp.Diff([]string(nil), wrong); diff != "" || len(changes) != count {
		t.Errorf("%s: %d of %d tasks changed; more than once (-want +got):\n%s", name, len(changes), count, diff)
	}
}
