package contract

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var bulkChecks = map[string]check{
	"BulkAddKeepsEveryField":         bulkKeepsEveryField,
	"BulkOfAnUnknownIDIsNotFound":    bulkUnknown,
	"BulkAddOnceOfAKeyIsOne":         bulkOnce,
	"BulkStepWithoutActionsIsNone":   bulkNone,
	"BulkCancels":                    bulkCancels,
	"BulkStops":                      bulkStops,
	"BulkRetries":                    bulkRetries,
	"BulkStoresEndedAttempts":        bulkStoresAttempts,
	"BulkKeepsToItsFilter":           bulkFilters,
	"BulkLeavesWhatCameLater":        bulkLeavesLater,
	"BulkLooksAtItsWindowOnly":       bulkWindow,
	"BulkTakesTheOldestActionFirst":  bulkOldestFirst,
	"BulkDoesNothingAfterItIsDone":   bulkDone,
	"BulkTimeDoesNotRunBackwards":    bulkClockBehind,
	"BulkStepsAtOnceDoEachTaskOnce":  bulkAtOnce,
	"BulkGoesOnAfterAStepThatFailed": bulkGoesOn,
	"BulkDecidesByTheActionBefore":   bulkDecidesByBefore,
	"BulkPassesOverWhatCannotBeRead": bulkUnreadable,
	"BulkPassesOverARefusedAction":   bulkRefused,
	"BulkRefusesAFilterOutOfBounds":  bulkRefusesFilter,
	"BulkAndOthersHaveOneWinner":     bulkRace,
	"BulkEndsWhenItIsCanceled":       bulkCanceled,
	"BulkKeepsToItsOwnWindow":        bulkOwnWindow,
	"BulksAreListedNewestFirst":      bulkList,
	"BulkChangeOfNoneIsNotFound":     bulkChangeUnknown,
}

// newBulk is an action on all tasks of the filter that there are.
func newBulk(action domain.BulkAction, f domain.TaskFilter) domain.Bulk {
	at := now()
	id := domain.NewTaskID(at)
	return domain.Bulk{ID: domain.BulkID(id), Action: action, Filter: f, Cursor: id, CreatedAt: at, UpdatedAt: at}
}

// addBulk stores such an action.
func addBulk(t *testing.T, s Store, action domain.BulkAction, f domain.TaskFilter) domain.Bulk {
	t.Helper()
	b := newBulk(action, f)
	if err := s.Bulks.Add(t.Context(), b); err != nil {
		t.Fatalf("add bulk action: %v", err)
	}
	return b
}

// act is what the actions do to a task.
func act(b domain.Bulk, task *domain.Task) error {
	return b.Action.Apply(task, now())
}

func bulkStep(limit, window int) application.BulkStep {
	return application.BulkStep{Limit: limit, Window: window, Decide: act, Now: now()}
}

// stepBulk takes one step of an action that there has to be, and checks that the
// action is stored as it was answered.
func stepBulk(t *testing.T, s Store, x application.BulkStep) (domain.Bulk, []*domain.Task) {
	t.Helper()
	result, err := s.Bulks.Step(t.Context(), x)
	b, changed := result.Bulk, result.Changed
	if err != nil || !result.Found || len(result.Passed) > 0 {
		t.Fatalf("step: found %v, passed over %v, %v", result.Found, result.Passed, err)
	}
	if len(changed) > x.Limit {
		t.Errorf("step: %d tasks changed, more than %d", len(changed), x.Limit)
	}
	wantBulk(t, s, b)
	return b, changed
}

func wantBulk(t *testing.T, s Store, want domain.Bulk) {
	t.Helper()
	got, err := s.Bulks.Get(t.Context(), want.ID)
	if err != nil {
		t.Fatalf("get bulk action %s: %v", want.ID, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("bulk action (-want +got):\n%s", diff)
	}
}

func wantNoStep(t *testing.T, s Store) {
	t.Helper()
	if got, err := s.Bulks.Step(t.Context(), bulkStep(10, wide)); got.Found || len(got.Changed)+len(got.Passed) > 0 || err != nil {
		t.Errorf("step: %+v, %v; want nothing to do", got, err)
	}
}

// runBulk takes steps until the action is done, checks that each goes on from the
// last, and returns the action and all that it has changed.
func runBulk(t *testing.T, s Store, limit, window int) (b domain.Bulk, all []*domain.Task) {
	t.Helper()
	var last domain.Bulk
	for steps := 0; b.DoneAt.IsZero(); steps++ {
		if steps == 1000 {
			t.Fatalf("not done after %d steps: %+v", steps, b)
		}
		x := bulkStep(limit, window)
		var changed []*domain.Task
		b, changed = stepBulk(t, s, x)
		all = append(all, changed...)
		if b.Changed != len(all) || b.Skipped < last.Skipped || !b.UpdatedAt.Equal(x.Now) {
			t.Errorf("after %d changes, the last at %v: %+v", len(all), x.Now, b)
		}
		last = b
	}
	if !b.DoneAt.Equal(b.UpdatedAt) {
		t.Errorf("done at %v, updated at %v", b.DoneAt, b.UpdatedAt)
	}
	wantNoStep(t, s)
	return b, all
}

// wantAct runs the one action there is, and checks that it changes exactly these
// tasks and has skipped so many.
func wantAct(t *testing.T, s Store, limit, window int, want []*domain.Task, skipped int) {
	t.Helper()
	b, changed := runBulk(t, s, limit, window)
	if b.Changed != len(want) || b.Skipped != skipped {
		t.Errorf("changed %d, skipped %d; want %d, %d", b.Changed, b.Skipped, len(want), skipped)
	}
	wantIDs(t, sortedByID(changed), sortedByID(want))
	for _, task := range changed {
		wantStoredWhole(t, s, task)
		if task.StoredVersion() != task.Version() || task.Version() < 2 {
			t.Errorf("task %s: version %d, stored %d", task.ID(), task.Version(), task.StoredVersion())
		}
	}
}

func wantKept(t *testing.T, s Store, tasks ...*domain.Task) {
	t.Helper()
	for _, task := range tasks {
		wantStored(t, s, task.State())
	}
}

func bulkKeepsEveryField(t *testing.T, s Store) {
	at := now()
	for name, f := range map[string]domain.TaskFilter{
		"nothing": {},
		"everything": {
			Statuses: []domain.Status{domain.StatusFailed, domain.StatusPending}, Queues: []domain.QueueName{"a", "b.c"},
			CreatedFrom: at, CreatedBefore: at.Add(time.Microsecond), FinishedFrom: at.Add(-time.Hour), FinishedBefore: at.Add(time.Hour),
			Metadata: pairsOf("a", "b", "c", "", "d", `"'\ é`+"\U0001F4A5\n"), Text: " 100% 'of' \"it\" \\ \u2028<&>\x01",
		},
		"a part": {Metadata: pairsOf("a", "b"), FinishedBefore: at},
	} {
		t.Log(name)
		b := newBulk(domain.BulkRetry, f)
		wantSame := func() {
			t.Helper()
			if err := s.Bulks.Add(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			wantBulk(t, s, b)
		}
		wantSame()
		b = newBulk(domain.BulkStop, f)
		b.Cursor = domain.NewTaskID(at.Add(-time.Hour))
		b.Changed, b.Skipped, b.UpdatedAt, b.DoneAt = 1<<40, 7, at.Add(time.Minute), at.Add(time.Minute)
		b.Ended, b.Reason = domain.BulkFailed, "too slow"
		wantSame()
		if err := s.Bulks.Add(t.Context(), b); err == nil {
			t.Error("an action with an id that is taken was stored")
		}
	}
}

func bulkUnknown(t *testing.T, s Store) {
	task := addMade(t, s)
	for _, id := range []domain.TaskID{{}, task.ID()} {
		if _, err := s.Bulks.Get(t.Context(), domain.BulkID(id)); !errors.Is(err, domain.ErrBulkNotFound) {
			t.Errorf("get of an unknown bulk action: %v, want ErrBulkNotFound", err)
		}
	}
}

func bulkNone(t *testing.T, s Store) {
	task := addMade(t, s)
	wantNoStep(t, s)
	wantKept(t, s, task)
}

func bulkCancels(t *testing.T, s Store) {
	pending := append(addMany(t, s, 23), addMade(t, s, waiting(now().Add(time.Hour))), addMade(t, s, tried(1), waiting(now())))
	kept := append(addMany(t, s, 7, heldBy("worker", 1)), addMany(t, s, 5, ended(domain.StatusCompleted))...)
	kept = append(kept, addMany(t, s, 3, ended(domain.StatusFailed))...)
	kept = append(kept, addMany(t, s, 4, ended(domain.StatusCanceled))...) // nothing to change
	addBulk(t, s, domain.BulkCancel, domain.TaskFilter{})
	wantAct(t, s, 10, wide, pending, len(kept))
	wantKept(t, s, kept...)
	for _, task := range pending {
		if got := get(t, s, task.ID()); got.Status() != domain.StatusCanceled {
			t.Errorf("task %s is %s", task.ID(), got.Status())
		}
	}
}

func bulkStops(t *testing.T, s Store) {
	tasks := append(addMany(t, s, 5, heldBy("worker", 1)), addMany(t, s, 5)...)
	asked := addMade(t, s, heldBy("worker", 1), askedToStop)
	f := onlyStatus(domain.StatusPending, domain.StatusProcessing)
	addBulk(t, s, domain.BulkStop, f)
	wantAct(t, s, 4, wide, tasks, 1)
	wantKept(t, s, asked)
	for i, task := range tasks {
		if got := get(t, s, task.ID()); got.StopRequested() != (i < 5) || i >= 5 && got.Status() != domain.StatusCanceled {
			t.Errorf("task %s is %s, asked to stop: %v", task.ID(), got.Status(), got.StopRequested())
		}
	}
}

func bulkRetries(t *testing.T, s Store) {
	failed := addMany(t, s, 12, tried(3), ended(domain.StatusFailed), func(s *domain.TaskState) { s.Failures = 3 })
	kept := append(addMany(t, s, 3, ended(domain.StatusCompleted)), addMany(t, s, 3, ended(domain.StatusCanceled))...)
	addBulk(t, s, domain.BulkRetry, onlyStatus(domain.StatusFailed))
	wantAct(t, s, 5, wide, failed, 0)
	wantKept(t, s, kept...)
	for _, task := range failed {
		if got := get(t, s, task.ID()).State(); got.Status != domain.StatusPending || got.QueuedAt.IsZero() || got.Failures != 0 {
			t.Errorf("task %s: %+v", task.ID(), got)
		}
	}
}

// bulkStoresAttempts decides what ends an attempt, which is stored with the change.
func bulkStoresAttempts(t *testing.T, s Store) {
	task := addMade(t, s, heldBy("worker", 1))
	addBulk(t, s, domain.BulkStop, domain.TaskFilter{})
	x := bulkStep(10, wide)
	x.Decide = func(_ domain.Bulk, task *domain.Task) error { return task.Release(task.Attempt(), now()) }
	stepBulk(t, s, x)
	if attempts, err := s.Tasks.Attempts(t.Context(), task.ID()); err != nil || len(attempts) != 1 {
		t.Errorf("attempts: %+v, %v; want the one that was ended", attempts, err)
	}
}

func bulkFilters(t *testing.T, s Store) {
	at := now()
	f := domain.TaskFilter{
		Statuses: []domain.Status{domain.StatusPending}, Queues: []domain.QueueName{"a"}, Metadata: pairsOf("k", "v"), Text: "wanted",
		CreatedFrom: at.Add(-time.Minute), CreatedBefore: at.Add(-time.Second),
	}
	meant := []func(*domain.TaskState){
		born(at.Add(-time.Minute)), inQueue("a"), described("k", "v"), saying("is wanted"), func(*domain.TaskState) {},
	}
	wanted := addMany(t, s, 3, meant...)
	var kept []*domain.Task
	for i, other := range []func(*domain.TaskState){
		born(at), inQueue("b"), described("k", "w"), saying("another"), ended(domain.StatusFailed),
	} {
		edits := append([]func(*domain.TaskState){}, meant...)
		edits[i] = other
		kept = append(kept, addMany(t, s, 2, edits...)...)
	}
	addBulk(t, s, domain.BulkCancel, f)
	wantAct(t, s, 2, wide, wanted, 0)
	wantKept(t, s, kept...)
}
