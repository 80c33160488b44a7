package contract

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var searchChecks = map[string]check{
	"ListIsNewestFirst":   listNewestFirst,
	"ListSelectsByStatus": listByStatus,
	"ListPagesByKeyset":   listPages,
}

func list(t *testing.T, s Store, q application.TaskQuery) []*domain.Task {
	t.Helper()
	if q.Window == 0 {
		q.Window = 1 << 20
	}
	found, err := s.Search.List(t.Context(), q)
	if err != nil {
		t.Fatalf("list %+v: %v", q, err)
	}
	return found.Tasks
}

func listNewestFirst(t *testing.T, s Store) {
	wantIDs(t, list(t, s, application.TaskQuery{Limit: 10}), nil)
	tasks := addMany(t, s, 20)
	// Ids decide, not times, and they sort as unsigned bytes.
	for _, id := range []uuid.UUID{uuid.Max, uuid.MustParse("7fffffff-ffff-4fff-bfff-ffffffffffff"),
		uuid.MustParse("80000000-0000-4000-8000-000000000000"), uuid.MustParse("00000000-0000-4000-8000-000000000001")} {
		tasks = append(tasks, addMade(t, s, func(s *domain.TaskState) {
			s.ID, s.CreatedAt = domain.TaskID(id), s.CreatedAt.Add(-time.Hour)
		}))
	}
	want := newestFirst(tasks)
	got := list(t, s, application.TaskQuery{Limit: 100})
	wantIDs(t, got, want)
	for i := range min(len(got), len(want)) {
		wantState(t, got[i], want[i].State())
	}
	wantIDs(t, list(t, s, application.TaskQuery{Limit: 1}), want[:1])
	wantIDs(t, list(t, s, application.TaskQuery{Limit: len(want)}), want)
}

func listByStatus(t *testing.T, s Store) {
	byStatus := map[domain.Status][]*domain.Task{}
	for range 3 {
		for _, status := range domain.Statuses() {
			edit := ended(status)
			switch status {
			case domain.StatusPending:
				edit = func(*domain.TaskState) {}
			case domain.StatusProcessing:
				edit = heldBy("worker", 1)
			}
			byStatus[status] = append(byStatus[status], addMade(t, s, edit))
		}
	}
	for _, statuses := range [][]domain.Status{
		{domain.StatusPending}, {domain.StatusProcessing}, {domain.StatusCompleted}, {domain.StatusCanceled}, {domain.StatusFailed},
		{domain.StatusFailed, domain.StatusPending}, {domain.StatusFailed, domain.StatusFailed}, domain.Statuses(),
	} {
		var want []*domain.Task
		for _, status := range domain.Statuses() {
			if slices.Contains(statuses, status) {
				want = append(want, byStatus[status]...)
			}
		}
		t.Log(statuses)
		wantIDs(t, list(t, s, application.TaskQuery{TaskFilter: application.TaskFilter{Statuses: statuses}, Limit: 100}), newestFirst(want))
	}
	failed := newestFirst(byStatus[domain.StatusFailed])
	onlyFailed := application.TaskFilter{Statuses: []domain.Status{domain.StatusFailed}}
	wantIDs(t, list(t, s, application.TaskQuery{TaskFilter: onlyFailed, Before: failed[0].ID(), Limit: 1}), failed[1:2])
}

func listPages(t *testing.T, s Store) {
	want := newestFirst(addMany(t, s, 25))
	var got, newer []*domain.Task
	q := application.TaskQuery{Limit: 10}
	for {
		page := list(t, s, q)
		got = append(got, page...)
		if len(page) < q.Limit {
			break
		}
		if len(got) > len(want) {
			t.Fatal("the pages do not end")
		}
		q.Before = page[len(page)-1].ID()
		newer = append(newer, addMade(t, s)) // moves no later page
	}
	wantIDs(t, got, want)
	wantIDs(t, list(t, s, application.TaskQuery{Before: want[24].ID(), Limit: 10}), nil)
	// The place need not exist.
	wantIDs(t, list(t, s, application.TaskQuery{Before: domain.TaskID(uuid.Max), Limit: 100}), newestFirst(append(newer, want...)))
}
