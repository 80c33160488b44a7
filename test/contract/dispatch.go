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
		swept, err := s.Dispatch.Stranded(t.Context(), l, before, b)
		if err != nil || swept.Found != 0 || len(swept.Changed) != 0 {
			t.Errorf("stranded of %v: %+v, %v; want none", l, swept, err)
		}
	}
	wantNone(application.Lane{Queue: "q", Priority: 2})
	wantNone(application.Lane{Queue: "none"})
	for _, l := range lists {
		swept, err := s.Dispatch.Stranded(t.Context(), l, before, b)
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
	wantQueuedBefore(t, s, before.Add(-time.Minute))
}
