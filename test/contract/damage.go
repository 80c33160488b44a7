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

var damageChecks = map[string]check{
	"TheSchemaRefusesWhatCannotBeRead":     damageRefused,
	"SweepsGoOnPastARowThatCannotBeRead":   damagedSweeps,
	"ListsOmitARowThatCannotBeRead":        damagedList,
	"ClaimRefusesARowThatCannotBeRead":     damagedClaim,
	"QueuesAreListedDespiteARowWithoutAge": damagedQueues,
	"WhatCannotBeReadIsDamaged":            damagedTold,
}

// wantDamaged checks that the error says which record is damaged, to a client too.
func wantDamaged(t *testing.T, what string, err error, record string) {
	t.Helper()
	if public := domain.Public(err); public.Code != domain.CodeDamaged || !strings.Contains(public.Message, record) {
		t.Errorf("%s: %v (%s: %s); want it damaged, and %s named", what, err, public.Code, public.Message, record)
	}
}

func damagedTold(t *testing.T, s Store) {
	odd, late, good := addMade(t, s), addMade(t, s), addMade(t, s)
	s.BreakMetadata(t, odd.ID())
	damage(t, s, late, "run_at", true)
	for _, task := range []*domain.Task{odd, late} {
		_, err := s.Tasks.Get(t.Context(), task.ID())
		wantDamaged(t, "get", err, task.ID().String())
	}
	got, rest, err := s.Tasks.GetMany(t.Context(), odd.ID(), late.ID(), good.ID())
	if err != nil || len(rest) > 0 {
		t.Errorf("get many: %v, %d left", err, len(rest))
	}
	wantIDs(t, got, []*domain.Task{good})

	b := addBulk(t, s, domain.BulkCancel, domain.TaskFilter{})
	s.BreakFilter(t, b.ID)
	_, err = s.Bulks.Get(t.Context(), b.ID)
	wantDamaged(t, "get a bulk action", err, b.ID.String())
	_, err = s.Bulks.Change(t.Context(), b.ID, func(b domain.Bulk) (domain.Bulk, error) { return b, nil })
	wantDamaged(t, "change a bulk action", err, b.ID.String())

	of, other := keyOf("tasks", "a"), keyOf("other", "a")
	wantFresh(t, s, of, makeTask(t), makeTask(t))
	wantFresh(t, s, other, makeTask(t))
	s.BreakKey(t, of)
	wantDamaged(t, "a key of tasks", addOnceFails(t, s, of, makeMany(t, 2)), "Idempotency-Key")
	if first := addOnce(t, s, other, makeTask(t)); len(first) != 1 {
		t.Errorf("another key answers %d tasks, want 1", len(first))
	}
	of.Key = "bulk"
	if _, err := s.Bulks.AddOnce(t.Context(), of, newBulk(domain.BulkRetry, domain.TaskFilter{})); err != nil {
		t.Fatal(err)
	}
	s.BreakKey(t, of)
	_, err = s.Bulks.AddOnce(t.Context(), of, newBulk(domain.BulkRetry, domain.TaskFilter{}))
	wantDamaged(t, "a key of a bulk action", err, "Idempotency-Key")
}

func damageRefused(t *testing.T, s Store) {
	task := addMade(t, s)
	for _, column := range []string{"run_at", "created_at", "updated_at", "queued_at"} {
		for _, latest := range []bool{false, true} {
			if err := s.Damage(t, task.ID(), column, latest); err == nil {
				t.Errorf("%s, latest %v: was written", column, latest)
			}
		}
	}
	wantStored(t, s, task.State())
}

// damage makes a time of the task one that cannot be read.
func damage(t *testing.T, s Store, task *domain.Task, column string, latest bool) {
	t.Helper()
	s.Unprotect(t)
	if err := s.Damage(t, task.ID(), column, latest); err != nil {
		t.Fatal(err)
	}
}

func damagedSweeps(t *testing.T, s Store) {
	early, due := addMade(t, s, waiting(now())), addMany(t, s, 3, waiting(now().Add(-time.Hour)))
	damage(t, s, early, "run_at", false)
	next, ok, err := s.Dispatch.NextDue(t.Context())
	if err != nil || !ok || next.After(now()) {
		t.Errorf("next due: %s, %v, %v; want one in the past", next, ok, err)
	}
	swept, err := s.Dispatch.Due(t.Context(), now(), application.SweepBatch{Limit: 100, Decide: queuedAt(now())})
	if err != nil {
		t.Fatalf("due: %v", err)
	}
	wantIDs(t, sortedByID(swept.Changed), due)
	if swept.Found != 4 || len(swept.Passed) != 1 || swept.Passed[early.ID()] == nil {
		t.Errorf("found %d, passed %v; want the damaged one named", swept.Found, swept.Passed)
	}

	late := addMade(t, s, waiting(now()))
	damage(t, s, late, "run_at", true)
	damage(t, s, early, "run_at", true)
	if next, _, err := s.Dispatch.NextDue(t.Context()); err != nil || next.Before(now()) {
		t.Errorf("next due: %s, %v; want one that does not come", next, err)
	}
	if got, err := s.Tasks.Get(t.Context(), late.ID()); err == nil {
		t.Errorf("get: %v; want an error that says what is wrong", got)
	}
}

func damagedList(t *testing.T, s Store) {
	tasks := addMany(t, s, 5)
	damage(t, s, tasks[2], "run_at", true)
	got, err := s.Search.List(t.Context(), application.TaskQuery{Limit: 4, Window: 100})
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	wantIDs(t, got.Tasks, []*domain.Task{tasks[4], tasks[3], tasks[1]})
	if diff := cmp.Diff(idsOf(tasks[2:3]), got.Omitted); diff != "" {
		t.Errorf("omitted (-want +got):\n%s", diff)
	}
}

func damagedClaim(t *testing.T, s Store) {
	worker, tasks := enlist(t, s), addMany(t, s, 5)
	damage(t, s, tasks[2], "run_at", false)
	damage(t, s, tasks[3], "run_at", true)
	got, err := s.Tasks.Claim(t.Context(), claimOf(worker, tasks...))
	if err != nil {
		t.Fatalf("claim: %v", err)
	}
	wantIDs(t, got.Tasks, slices.Concat(tasks[:2], tasks[4:]))
	if len(got.Refused) != 2 || got.Refused[tasks[2].ID()] == nil || got.Refused[tasks[3].ID()] == nil {
		t.Errorf("refused %v, want the damaged two", got.Refused)
	}
}

func damagedQueues(t *testing.T, s Store) {
	task := addMade(t, s)
	for _, latest := range []bool{false, true} {
		damage(t, s, task, "run_at", latest)
		infos, err := s.Queues.List(t.Context(), application.QueueQuery{Limit: 10})
		if err != nil || len(infos) != 1 || infos[0].Pending != 1 || !domain.TimesInRange(infos[0].Oldest) {
			t.Errorf("queues: %+v, %v", infos, err)
		}
	}
}
