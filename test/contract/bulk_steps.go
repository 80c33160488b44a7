package contract

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

func bulkLeavesLater(t *testing.T, s Store) {
	before := addMany(t, s, 5)
	b := addBulk(t, s, domain.BulkCancel, domain.TaskFilter{})
	later := append(addMany(t, s, 5), addMade(t, s, func(s *domain.TaskState) { s.ID = b.Cursor }))
	wantAct(t, s, 3, wide, before, 0)
	wantKept(t, s, later...)
}

func bulkWindow(t *testing.T, s Store) {
	wanted := addMany(t, s, 3, saying("wanted"))
	kept := addMany(t, s, 20)
	b := addBulk(t, s, domain.BulkCancel, domain.TaskFilter{Text: "wanted"})
	first, changed := stepBulk(t, s, bulkStep(2, 6))
	wantIDs(t, changed, nil)
	if want := newestFirst(kept)[5].ID(); first.Cursor != want || !first.DoneAt.IsZero() || first.ID != b.ID {
		t.Errorf("after looking at 6: %+v; want the cursor at %s", first, want)
	}
	wantAct(t, s, 2, 6, wanted, 0)
	wantKept(t, s, kept...)
}

func bulkOldestFirst(t *testing.T, s Store) {
	addMany(t, s, 3)
	second, first := newBulk(domain.BulkCancel, domain.TaskFilter{}), newBulk(domain.BulkStop, domain.TaskFilter{})
	first.ID = domain.BulkID(domain.NewTaskID(now().Add(-time.Minute)))
	for _, b := range []domain.Bulk{second, first} {
		if err := s.Bulks.Add(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	var order []domain.BulkID
	for range 3 {
		b, _ := stepBulk(t, s, bulkStep(2, wide))
		order = append(order, b.ID)
	}
	if diff := cmp.Diff([]domain.BulkID{first.ID, first.ID, second.ID}, order); diff != "" {
		t.Errorf("actions (-want +got):\n%s", diff)
	}
}

func bulkDone(t *testing.T, s Store) {
	addMany(t, s, 3)
	addBulk(t, s, domain.BulkCancel, domain.TaskFilter{})
	done, _ := runBulk(t, s, 10, wide)
	// Below its cursor, where it has been.
	late := addMade(t, s, func(s *domain.TaskState) { s.ID = domain.NewTaskID(now().Add(-time.Hour)) })
	wantNoStep(t, s)
	wantKept(t, s, late)
	wantBulk(t, s, done)

	nothing := addBulk(t, s, domain.BulkCancel, domain.TaskFilter{Text: "none has it"})
	if b, _ := runBulk(t, s, 10, wide); b.ID != nothing.ID || b.Changed != 0 || b.Skipped != 0 {
		t.Errorf("action on nothing: %+v", b)
	}
}

func bulkClockBehind(t *testing.T, s Store) {
	b := addBulk(t, s, domain.BulkCancel, domain.TaskFilter{})
	x := bulkStep(10, wide)
	x.Now = b.CreatedAt.Add(-time.Minute)
	if got, _ := stepBulk(t, s, x); !got.UpdatedAt.Equal(b.UpdatedAt) || !got.DoneAt.Equal(b.UpdatedAt) {
		t.Errorf("updated at %v, done at %v; want %v", got.UpdatedAt, got.DoneAt, b.UpdatedAt)
	}
}

// bulkAtOnce lets several step at the same time until all actions are done.
func bulkAtOnce(t *testing.T, s Store) {
	const count, steppers = 120, 5
	addMany(t, s, count, inQueue("a"))
	addMany(t, s, count, inQueue("b"))
	var ids []domain.BulkID
	for _, name := range []domain.QueueName{"a", "b"} {
		ids = append(ids, addBulk(t, s, domain.BulkCancel, domain.TaskFilter{Queues: []domain.QueueName{name}}).ID)
	}
	var mu sync.Mutex
	changes := map[domain.TaskID]int{}
	finished := func() bool {
		for _, id := range ids {
			if b, err := s.Bulks.Get(t.Context(), id); err != nil || b.DoneAt.IsZero() {
				return false
			}
		}
		return true
	}
	deadline := time.Now().Add(patience)
	var all sync.WaitGroup
	for range steppers {
		all.Go(func() {
			for !finished() && time.Now().Before(deadline) {
				result, err := s.Bulks.Step(t.Context(), bulkStep(7, wide))
				if err != nil {
					t.Errorf("step: %v", err)
					return
				}
				mu.Lock()
				for _, task := range result.Changed {
					changes[task.ID()]++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	for id, n := range changes {
		if n != 1 {
			t.Errorf("task %s was changed %d times", id, n)
		}
	}
	for _, id := range ids {
		if b, err := s.Bulks.Get(t.Context(), id); err != nil || b.DoneAt.IsZero() || b.Changed != count || b.Skipped != 0 {
			t.Errorf("action %+v, %v; want %d changed", b, err, count)
		}
	}
	if len(changes) != 2*count {
		t.Errorf("%d tasks were changed, want %d", len(changes), 2*count)
	}
}

func bulkGoesOn(t *testing.T, s Store) {
	tasks := addMany(t, s, 10)
	addBulk(t, s, domain.BulkCancel, domain.TaskFilter{})
	first, _ := stepBulk(t, s, bulkStep(4, wide))

	// A change that the store does not take: nothing of the step is stored.
	unknown, n := makeTask(t, heldBy("worker", 1)), 0
	x := bulkStep(4, wide)
	x.Decide = func(b domain.Bulk, task *domain.Task) error {
		if n++; n == 3 {
			*task = *unknown.Clone()
			return task.RequestStop(now())
		}
		return act(b, task)
	}
	if got, err := s.Bulks.Step(t.Context(), x); err == nil || len(got.Changed) > 0 {
		t.Errorf("a step whose change was not stored: %d changed, %v", len(got.Changed), err)
	}
	wantBulk(t, s, first)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Bulks.Step(ctx, bulkStep(4, wide)); err == nil {
		t.Error("a step of nobody who waits for it was no error")
	}
	wantBulk(t, s, first)
	pending := list(t, s, application.TaskQuery{TaskFilter: onlyStatus(domain.StatusPending), Limit: 10})
	wantIDs(t, pending, newestFirst(tasks)[4:])

	var changed []*domain.Task
	b := first
	for b.DoneAt.IsZero() {
		var more []*domain.Task
		b, more = stepBulk(t, s, bulkStep(4, wide))
		changed = append(changed, more...)
	}
	wantIDs(t, newestFirst(changed), newestFirst(tasks)[4:])
	if b.Changed != len(tasks) {
		t.Errorf("changed %d, want %d", b.Changed, len(tasks))
	}
}

// bulkRace lets others change the tasks while an action goes through them.
func bulkRace(t *testing.T, s Store) {
	tasks := addMany(t, s, 100)
	addBulk(t, s, domain.BulkCancel, onlyStatus(domain.StatusPending))
	wins := 0
	var racing sync.WaitGroup
	racing.Go(func() {
		for i, task := range tasks { // from the other end
			task = task.Clone()
			if err := task.Claim(domain.Claim{Worker: domain.WorkerID(fmt.Sprint("racer ", i)), Timeout: time.Hour}, now()); err != nil {
				t.Error(err)
			}
			switch err := s.Tasks.Save(t.Context(), task); {
			case err == nil:
				wins++
			case !errors.Is(err, domain.ErrConflict):
				t.Errorf("save: %v", err)
			}
		}
	})
	b, changed := runBulk(t, s, 6, wide)
	racing.Wait()
	if b.Changed != len(changed) || b.Changed+wins != len(tasks) || b.Skipped != 0 {
		t.Errorf("changed %d, skipped %d, and others %d, of %d", b.Changed, b.Skipped, wins, len(tasks))
	}
	for _, task := range getAll(t, s, tasks...) {
		if task.Version() != 2 {
			t.Errorf("task %s has version %d", task.ID(), task.Version())
		}
	}
}

// bulkDecidesByBefore has every decision of a step see the action as the step found
// it in the store.
func bulkDecidesByBefore(t *testing.T, s Store) {
	addMany(t, s, 10)
	want := addBulk(t, s, domain.BulkCancel, domain.TaskFilter{})
	for range 2 {
		x, seen := bulkStep(4, wide), 0
		x.Now = now().Add(time.Hour) // so that the step changes what it stores
		x.Decide = func(b domain.Bulk, task *domain.Task) error {
			if diff := cmp.Diff(want, b); diff != "" {
				t.Errorf("decision %d of a step is by (-stored +seen):\n%s", seen, diff)
			}
			seen++
			return act(b, task)
		}
		if want, _ = stepBulk(t, s, x); seen != 4 {
			t.Errorf("%d decisions in a step of 4", seen)
		}
	}
}

// bulkUnreadable has actions before, between and behind others whose filter cannot be read.
func bulkUnreadable(t *testing.T, s Store) {
	addMany(t, s, 3, inQueue("a"))
	addMany(t, s, 3, inQueue("b"))
	add := func(name domain.QueueName) domain.BulkID {
		return addBulk(t, s, domain.BulkCancel, domain.TaskFilter{Queues: []domain.QueueName{name}}).ID
	}
	broken := []domain.BulkID{add("a")}
	good := []domain.BulkID{add("a")}
	broken = append(broken, add("b"))
	good = append(good, add("b"))
	for _, id := range broken {
		s.BreakFilter(t, id)
	}
	x := bulkStep(10, wide)
	var done []domain.BulkID
	for range good {
		got, err := s.Bulks.Step(t.Context(), x)
		if err != nil || !got.Found || len(got.Changed) != 3 {
			t.Fatalf("step: %+v, %v; want the next action that can be read", got, err)
		}
		done = append(done, got.Bulk.ID)
		for id, err := range got.Passed {
			if err == nil || slices.Contains(x.Except, id) {
				t.Errorf("action %s was passed over once more, for %v", id, err)
			}
			x.Except = append(x.Except, id)
		}
	}
	if !slices.Equal(done, good) || !slices.Equal(x.Except, broken) {
		t.Errorf("done are %s, passed over %s; want %s and %s", done, x.Except, good, broken)
	}
	if got, err := s.Bulks.Step(t.Context(), x); got.Found || len(got.Passed) > 0 || err != nil {
		t.Errorf("a step that excepts all that is left: %+v, %v", got, err)
	}
	if got, err := s.Bulks.Step(t.Context(), bulkStep(10, wide)); got.Found || len(got.Passed) != 2 || err != nil {
		t.Errorf("a step of the next sweep: %+v, %v; want both passed over", got, err)
	}
	if _, err := s.Bulks.Get(t.Context(), broken[0]); err == nil || errors.Is(err, domain.ErrBulkNotFound) {
		t.Errorf("get of an action that cannot be read: %v", err)
	}
}

// bulkRefused: an action whose progress the store refuses keeps no other from being done,
// and changes nothing.
func bulkRefused(t *testing.T, s Store) {
	kept, tasks := addMany(t, s, 3, inQueue("a")), addMany(t, s, 3, inQueue("b"))
	refused := addBulk(t, s, domain.BulkCancel, domain.TaskFilter{Queues: []domain.QueueName{"a"}}).ID
	addBulk(t, s, domain.BulkCancel, domain.TaskFilter{Queues: []domain.QueueName{"b"}})
	s.RefuseBulk(t, refused)
	x := bulkStep(10, wide)
	got, err := s.Bulks.Step(t.Context(), x)
	if err != nil || !got.Found || len(got.Passed) != 1 || got.Passed[refused] == nil || len(got.Changed) > 0 {
		t.Errorf("first step: %+v, %v; want the refused action passed over", got, err)
	}
	x.Except = append(x.Except, refused)
	got, err = s.Bulks.Step(t.Context(), x)
	if err != nil || len(got.Passed) > 0 {
		t.Errorf("second step: %+v, %v", got, err)
	}
	wantIDs(t, sortedByID(got.Changed), tasks)
	for _, task := range kept {
		wantStored(t, s, task.State())
	}
}

func bulkRefusesFilter(t *testing.T, s Store) {
	for _, f := range []domain.TaskFilter{{Text: "\xff"}, {Metadata: pairsOf("a", "\x00")}} {
		b := newBulk(domain.BulkCancel, f)
		if err := s.Bulks.Add(t.Context(), b); domain.Public(err).Code != domain.CodeInvalid {
			t.Errorf("add of an action on %+v: %v, want invalid", f, err)
		}
	}
	wantNoStep(t, s)
}
