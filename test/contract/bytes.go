package contract

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// bytesChecks are about what is bounded in number, and has to be bounded in bytes too.
var bytesChecks = map[string]check{
	"GetManyReturnsAPortionOfManyBytes": getManyPortions,
	"SweepsReadNoTexts":                 sweepsReadNoTexts,
	"BulkStepsReadNoTexts":              bulkReadsNoTexts,
	"BeatsGoOnPortionByPortion":         beatPortions,
}

// longText is as long as the messages of a few tasks may be.
const longText = 256 << 10

// saysMuch gives the task a long message of its own.
func saysMuch(s *domain.TaskState) { s.Message = s.ID.String() + strings.Repeat("x", longText) }

// withoutTexts is the state of a task that comes without its message and its result.
func withoutTexts(s domain.TaskState) domain.TaskState {
	s.Message, s.Result = "", ""
	return s
}

// wantStoredWhole checks that the store has the task as it is, which came without its
// texts, and that the store has these as well.
func wantStoredWhole(t *testing.T, s Store, task *domain.Task) {
	t.Helper()
	stored := get(t, s, task.ID()).State()
	if diff := cmp.Diff(task.State(), withoutTexts(stored)); diff != "" || stored.Message == "" {
		t.Errorf("task %s, stored with a message of %d bytes (-want +got):\n%s", task.ID(), len(stored.Message), diff)
	}
}

func getManyPortions(t *testing.T, s Store) {
	const size = 250_000
	long := func(s *domain.TaskState) { s.Message = strings.Repeat("x", size) }
	most := application.PortionBytes / (size + application.TaskOverhead)
	tasks := addMany(t, s, 2*most+3, long)
	huge := addMade(t, s, func(s *domain.TaskState) { s.Message = strings.Repeat("x", application.PortionBytes+1) })
	result := addMade(t, s, completedBy("w"), func(s *domain.TaskState) { s.Result = strings.Repeat("x", domain.MaxResult) })
	want := append(slices.Clone(tasks), huge, result)
	ids := append(idsOf(want), makeTask(t).ID()) // unknown
	ids = append(ids, ids[:3]...)
	var all []*domain.Task
	for calls := 0; len(ids) > 0; calls++ {
		got, rest, err := s.Tasks.GetMany(t.Context(), ids...)
		if err != nil || calls > len(want) {
			t.Fatalf("get many, call %d: %v", calls, err)
		}
		bytes := 0
		for _, task := range got {
			bytes += len(task.Message()) + len(task.State().Result)
		}
		if len(got) == 0 || len(got) > 1 && bytes > application.PortionBytes {
			t.Errorf("call %d returned %d tasks of %d bytes, %d left", calls, len(got), bytes, len(rest))
		}
		all, ids = append(all, got...), rest
	}
	want = sortedByID(want) // as they come
	wantIDs(t, all, want)
	for i := range min(len(all), len(want)) {
		wantState(t, all[i], want[i].State())
	}
}

func sweepsReadNoTexts(t *testing.T, s Store) {
	const count = 20
	at := now()
	addMany(t, s, count, saysMuch, waiting(at.Add(-time.Hour)))
	addMany(t, s, count, saysMuch, func(s *domain.TaskState) { s.RunAt, s.QueuedAt = at.Add(-time.Hour), at.Add(-time.Hour) })
	addMany(t, s, count, saysMuch, heldBy("nobody", 1))
	of := func(decide application.Decide) application.SweepBatch {
		return application.SweepBatch{Limit: 2 * count, Decide: wantNoTexts(t, decide)}
	}
	for name, swept := range map[string]application.SweepResult{
		"due":      due(s, at).must(t, of(queuedAt(at))),
		"stranded": stranded(s, at.Add(-time.Minute)).must(t, of(queuedAt(at))),
		"orphaned": newObserver(s, time.Minute).untilFound(t, of(rescue(at))),
	} {
		if swept.Found != count || len(swept.Changed) != count {
			t.Errorf("%s: found %d and changed %d, passed over %v; want %d", name, swept.Found, len(swept.Changed), swept.Passed, count)
		}
		for _, task := range swept.Changed {
			wantStoredWhole(t, s, task)
		}
	}
}

// wantNoTexts checks of each task that it comes without its texts, and then decides.
func wantNoTexts(t *testing.T, decide application.Decide) application.Decide {
	return func(task *domain.Task) error {
		if s := task.State(); len(s.Message)+len(s.Result) > 0 {
			t.Errorf("task %s comes with %d bytes of a message and %d of a result", s.ID, len(s.Message), len(s.Result))
		}
		return decide(task)
	}
}

func bulkReadsNoTexts(t *testing.T, s Store) {
	const count = 20
	tasks := addMany(t, s, count, saysMuch)
	completed := addMade(t, s, saysMuch, completedBy("w"), func(s *domain.TaskState) { s.Result = strings.Repeat("x", domain.MaxResult) })
	addBulk(t, s, domain.BulkCancel, domain.TaskFilter{Text: "xxx"})
	x := bulkStep(2*count, wide)
	x.Decide = func(b domain.Bulk, task *domain.Task) error {
		return wantNoTexts(t, func(task *domain.Task) error { return act(b, task) })(task)
	}
	b, changed := stepBulk(t, s, x)
	wantIDs(t, sortedByID(changed), tasks)
	if b.Changed != count || b.Skipped != 1 {
		t.Errorf("changed %d and skipped %d, want %d and 1", b.Changed, b.Skipped, count)
	}
	for _, task := range changed {
		wantStoredWhole(t, s, task)
	}
	wantStored(t, s, completed.State())
}

// beatPortions: a beat in small portions does what one in a large portion does.
func beatPortions(t *testing.T, s Store) {
	const count = 10
	worker, at := enlist(t, s), now().Add(time.Second)
	unlisted, listed := addMany(t, s, count, saysMuch, heldBy(worker, 1)), addMany(t, s, count, heldBy(worker, 1))
	late, stopped := addMany(t, s, count, heldBy(worker, 1), overdue), addMany(t, s, count, heldBy(worker, 1), askedToStop)
	anothers := addMany(t, s, count, heldBy("another", 1))
	b := beatOf(t, worker, 2, longInterval)
	b.Portion = 3
	b.Held = slices.Concat(running(listed...), running(late...), running(stopped...), running(anothers...))
	b.Release, b.TimeOut = wantNoTexts(t, released(at)), wantNoTexts(t, timedOut(at))
	var want application.BeatAnswer
	for i := range count {
		want.Lost = append(want.Lost, refOf(late[i]), refOf(anothers[i]))
		want.Stop = append(want.Stop, refOf(stopped[i]))
	}
	wantAnswer(t, beat(t, s, b), want)
	for i := range count {
		wantDecided(t, s, unlisted[i], released(at))
		wantDecided(t, s, late[i], timedOut(at))
		for _, kept := range []*domain.Task{listed[i], stopped[i], anothers[i]} {
			wantStored(t, s, kept.State())
		}
	}
}
