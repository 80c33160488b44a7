package contract

import (
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var dispatchChecks = map[string]check{
	"NextDueIsWhenTheNextTaskIsToRun": nextDue,
	"StrandedFindsWhatIsOfTheList":    strandedOfAList,
	"QueuedBeforeNamesTheLists":       queuedBeforeLists,
	"StrandedLooksAtManyListsAtOnce":  strandedOfLists,
	"ATurnIsOneWorkersUntilItEnds":    turns,
}

// onList makes it a task of that list.
func onList(l application.Lane) func(*domain.TaskState) {
	return func(s *domain.TaskState) { s.Queue, s.Priority = l.Queue, l.Priority }
}

func nextDue(t *testing.T, s Store) {
	wantNext := func(want time.Time) {
		t.Helper()
		if got, ok, err := s.Dispatch.NextDue(t.Context()); err != nil || ok == want.IsZero() || !got.Equal(want) {
			t.Errorf("the next is due at %v, %v, %v; want %v", got, ok, err, want)
		}
	}
	at := now()
	wantNext(time.Time{})
	for _, edit := range []func(*domain.TaskState){
		marked(at.Add(-time.Hour)), heldBy("w", 1), ended(domain.StatusCompleted), ended(domain.StatusFailed), ended(domain.StatusCanceled),
	} {
		addMade(t, s, func(s *domain.TaskState) { s.RunAt = at.Add(-time.Hour) }, edit)
	}
	wantNext(time.Time{})
	late := addMade(t, s, inQueue("q"), waiting(at.Add(time.Hour)))
	wantNext(at.Add(time.Hour))
	addMade(t, s, waiting(at.Add(2*time.Hour)))
	wantNext(at.Add(time.Hour))
	early := addMade(t, s, waiting(at.Add(-time.Minute)))
	wantNext(at.Add(-time.Minute))
	b := application.SweepBatch{Limit: 10, Decide: queuedAt(at)}
	wantSwept(t, s, due(s, at).must(t, b), b.Decide, early)
	wantNext(at.Add(time.Hour))
	if err := late.Cancel(at); err != nil {
		t.Fatal(err)
	}
	if err := s.Tasks.Save(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	wantNext(at.Add(2 * time.Hour))
}

// lists are near to one another in every order.
var lists = []application.Lane{
	{Queue: "0"}, {Queue: "a", Priority: 9}, {Queue: "q"}, {Queue: "q", Priority: 1}, {Queue: "q", Priority: 9},
	{Queue: "q-"}, {Queue: "q.0", Priority: 5}, {Queue: "q0"}, {Queue: "q_", Priority: 9}, {Queue: "z"}, {Queue: "z", Priority: 9},
}

func strandedOfAList(t *testing.T, s Store) {
	before := now()
	tasks := map[application.Lane]*domain.Task{}
	for _, l := range lists {
		tasks[l] = addMade(t, s, onList(l), func(s *domain.TaskState) { s.RunAt = before.Add(-time.Hour) }, marked(before.Add(-time.Minute)))
	}
	b := application.SweepBatch{Limit: 100, Decide: queuedAt(before)}
	wantNone := func(l application.Lane) {
		t.Helper()
		swept, err := s.Dispatch.Stranded(t.Context(), map[application.Lane]time.Time{l: before}, b)
		if err != nil || swept.Found != 0 || len(swept.Changed) != 0 {
			t.Errorf("stranded of %v: %+v, %v; want none", l, swept, err)
		}
	}
	wantNone(application.Lane{Queue: "q", Priority: 2})
	wantNone(application.Lane{Queue: "none"})
	for _, l := range lists {
		swept, err := s.Dispatch.Stranded(t.Context(), map[application.Lane]time.Time{l: before}, b)
		if err != nil {
			t.Fatalf("stranded of %v: %v", l, err)
		}
		wantSwept(t, s, swept, b.Decide, tasks[l])
		wantNone(l)
	}
}

func queuedBeforeLists(t *testing.T, s Store) {
	before := now()
	wantQueuedBefore(t, s, before)
	early := func(s *domain.TaskState) { s.RunAt = before.Add(-time.Hour) }
	for _, l := range lists { // in each something waits, in a few for long
		add(t, s, makeTask(t, onList(l), early, marked(before)), makeTask(t, onList(l), early, marked(before.Add(time.Hour))))
		for _, edit := range []func(*domain.TaskState){waiting(before.Add(-time.Hour)), heldBy("w", 1), ended(domain.StatusCompleted)} {
			addMade(t, s, onList(l), edit)
		}
	}
	wantQueuedBefore(t, s, before)
	wantQueuedBefore(t, s, before.Add(time.Microsecond), lists...)
	var long []application.Lane
	for _, i := range []int{0, 3, 4, 7, 10} {
		long = append(long, lists[i])
		for range 3 {
			addMade(t, s, onList(lists[i]), early, marked(before.Add(-time.Minute)))
		}
	}
	wantQueuedBefore(t, s, before, long...)
	oldest, err := s.Dispatch.QueuedBefore(t.Context(), before)
	for _, l := range long {
		if want := before.Add(-time.Minute); !oldest[l].Equal(want) {
			t.Errorf("the oldest mark of %v is %v, %v; want %v", l, oldest[l], err, want)
		}
	}
	wantQueuedBefore(t, s, before.Add(-time.Minute))
}

// strandedOfLists gives each list a time of its own, and a limit below what there is.
func strandedOfLists(t *testing.T, s Store) {
	at := now()
	before, want := map[application.Lane]time.Time{{Queue: "none"}: at}, map[domain.TaskID]bool{}
	for i, l := range lists {
		early := func(s *domain.TaskState) { s.RunAt = at.Add(-2 * time.Hour) }
		bound := at.Add(-time.Duration(i) * time.Minute)
		want[addMade(t, s, onList(l), early, marked(bound.Add(-time.Microsecond))).ID()] = true
		addMade(t, s, onList(l), early, marked(bound))
		before[l] = bound
	}
	addMade(t, s, onList(application.Lane{Queue: "other"}), func(s *domain.TaskState) { s.RunAt = at.Add(-time.Hour) }, marked(at.Add(-time.Hour)))
	b := application.SweepBatch{Limit: 4, Decide: queuedAt(at)}
	for left := len(lists); ; left -= b.Limit {
		swept, err := s.Dispatch.Stranded(t.Context(), before, b)
		if err != nil || swept.Found != min(left, b.Limit) || len(swept.Changed) != swept.Found {
			t.Fatalf("with %d left: %+v, %v", left, swept, err)
		}
		for _, task := range swept.Changed {
			if !want[task.ID()] {
				t.Errorf("%s was not to be found, or not again", task.ID())
			}
			delete(want, task.ID())
		}
		if left < b.Limit {
			return
		}
	}
}

func turns(t *testing.T, s Store) {
	const long = time.Minute
	wantSweep := func(w domain.WorkerID, d time.Duration, want bool) {
		t.Helper()
		if mine, err := s.Dispatch.AcquireSweep(t.Context(), application.SweepStranded, w, d); err != nil || mine != want {
			t.Errorf("the turn of %s: %t, %v; want %t", w, mine, err, want)
		}
	}
	end := func(w domain.WorkerID) {
		t.Helper()
		if err := s.Dispatch.ReleaseSweep(t.Context(), application.SweepStranded, w); err != nil {
			t.Error(err)
		}
	}
	wantSweep("a", long, true)
	wantSweep("a", long, true)
	wantSweep("b", long, false)
	end("b") // it is not b's to end
	wantSweep("b", long, false)
	end("a")
	wantSweep("b", 200*time.Millisecond, true)
	time.Sleep(300 * time.Millisecond)
	wantSweep("a", long, true)
	wantSweep("b", long, false)
}
