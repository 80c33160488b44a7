package contract

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/domain"
)

func saveStores(t *testing.T, s Store) {
	worker := enlist(t, s)
	task := addMade(t, s)
	at := task.State().CreatedAt
	policy := domain.RetryPolicy{Base: time.Minute, Cap: time.Hour, MaxRescues: 3}
	for _, step := range []struct {
		name   string
		change func() error
	}{
		{"claim", func() error {
			return task.Claim(domain.Claim{Worker: worker, Beat: 3, Timeout: time.Minute}, at.Add(time.Second))
		}},
		{"fail", func() error {
			return task.Fail(1, domain.Failure{Reason: "broken"}, policy, 0.5, at.Add(2*time.Second))
		}},
		{"mark", func() error { return task.MarkQueued(at.Add(time.Hour)) }},
		{"claim again", func() error { return task.Claim(domain.Claim{Worker: worker, Beat: 4}, at.Add(2*time.Hour)) }},
		{"rescue", func() error { return task.Rescue(policy, at.Add(3*time.Hour)) }},
		{"mark again", func() error { return task.MarkQueued(at.Add(4 * time.Hour)) }},
		{"claim a third time", func() error { return task.Claim(domain.Claim{Worker: worker, Beat: 5}, at.Add(5*time.Hour)) }},
		{"fail for good", func() error {
			return task.Fail(3, domain.Failure{Reason: "no", Permanent: true}, policy, 0, at.Add(6*time.Hour))
		}},
		{"reopen", func() error { return task.Reopen(at.Add(7 * time.Hour)) }},
		{"claim a fourth time", func() error { return task.Claim(domain.Claim{Worker: worker}, at.Add(8*time.Hour)) }},
		{"ask to stop", func() error { return task.RequestStop(at.Add(9 * time.Hour)) }},
		{"release", func() error { return task.Release(4, at.Add(10*time.Hour)) }},
	} {
		if err := step.change(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if err := s.Tasks.Save(t.Context(), task); err != nil {
			t.Fatalf("save after %s: %v", step.name, err)
		}
		t.Log(step.name)
		wantState(t, task, task.State()) // knows itself stored
		wantStored(t, s, task.State())
	}
}

func saveResult(t *testing.T, s Store) {
	worker := enlist(t, s)
	for _, x := range []struct {
		answer, result string
		cut, altered   bool
	}{
		{"", "", false, false},
		{strings.Repeat("é", domain.MaxResult/2), strings.Repeat("é", domain.MaxResult/2), false, false},
		{strings.Repeat("日", domain.MaxResult/3+1), strings.Repeat("日", domain.MaxResult/3), true, false}, // 65536 is no multiple of 3
		{"\x00\xff'", "\uFFFD\uFFFD'", false, true},
	} {
		task := addMade(t, s)
		req := claimOf(worker, task)
		claimed := claim(t, s, req)
		wantIDs(t, claimed, []*domain.Task{task})
		task = claimed[0]
		if err := errors.Join(task.Complete(1, x.answer, req.Now.Add(time.Second)), s.Tasks.Save(t.Context(), task)); err != nil {
			t.Fatal(err)
		}
		wantStored(t, s, task.State())
		got := get(t, s, task.ID()).State()
		if got.Result != x.result || got.ResultTruncated != x.cut || got.ResultAltered != x.altered {
			t.Errorf("%d bytes of a result, cut: %v, altered: %v; want %d, %v, %v",
				len(got.Result), got.ResultTruncated, got.ResultAltered, len(x.result), x.cut, x.altered)
		}
		if got.Worker != worker || !got.StartedAt.Equal(req.Now) || !got.Deadline.IsZero() {
			t.Errorf("once completed: by %q, started %v, deadline %v; want %q, %v, none", got.Worker, got.StartedAt, got.Deadline, worker, req.Now)
		}
	}
}

func saveStale(t *testing.T, s Store) {
	id := addMade(t, s).ID()
	early, late := get(t, s, id), get(t, s, id)
	if err := errors.Join(early.Cancel(now()), s.Tasks.Save(t.Context(), early)); err != nil {
		t.Fatal(err)
	}
	if err := late.Claim(domain.Claim{Worker: "late", Timeout: time.Minute}, now()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a conflict stays one
		if err := s.Tasks.Save(t.Context(), late); !errors.Is(err, domain.ErrConflict) {
			t.Errorf("save of a stale version: %v, want ErrConflict", err)
		}
		wantStored(t, s, early.State())
	}
}

// saveLostClaim: the store has lost a claim, in a failover, and what is there now has the
// version that the claim had given the task.
func saveLostClaim(t *testing.T, s Store) {
	edited := func(s *domain.TaskState) { s.Version++ }
	for name, edits := range map[string][]func(*domain.TaskState){
		"edited since":              {edited},
		"canceled since":            {edited, ended(domain.StatusCanceled)},
		"claimed by another worker": {heldBy("another", 1)},
	} {
		made := makeTask(t)
		is, was := made.State(), made.State()
		for _, edit := range edits {
			edit(&is)
		}
		stored := restore(t, is)
		add(t, s, stored)
		heldBy("lost", 1)(&was)
		lost := restore(t, was)
		if err := lost.Complete(1, "done", now()); err != nil {
			t.Fatal(err)
		}
		for range 2 { // a conflict stays one
			if err := s.Tasks.Save(t.Context(), lost); !errors.Is(err, domain.ErrConflict) {
				t.Errorf("save of a lost claim, %s: %v, want ErrConflict", name, err)
			}
			wantStored(t, s, stored.State())
		}
	}
}

func saveUnknown(t *testing.T, s Store) {
	other := addMade(t, s)
	for name, task := range map[string]*domain.Task{"never stored": makeTask(t), "restored": makeTask(t, heldBy("w", 1))} {
		if err := s.Tasks.Save(t.Context(), task); !errors.Is(err, domain.ErrTaskNotFound) {
			t.Errorf("save of an unknown task, %s: %v, want ErrTaskNotFound", name, err)
		}
		if _, err := s.Tasks.Get(t.Context(), task.ID()); !errors.Is(err, domain.ErrTaskNotFound) {
			t.Errorf("the refused save stored the task: %v", err)
		}
	}
	wantStored(t, s, other.State())
}

func saveRace(t *testing.T, s Store) {
	const rounds, racers = 10, 10
	for range rounds {
		id := addMade(t, s).ID()
		var winner atomic.Pointer[domain.Task]
		var all sync.WaitGroup
		start := make(chan struct{})
		for i := range racers {
			task := get(t, s, id)
			if err := task.Claim(domain.Claim{Worker: domain.WorkerID(fmt.Sprint("racer ", i)), Timeout: time.Hour}, now()); err != nil {
				t.Fatal(err)
			}
			all.Go(func() {
				<-start
				switch err := s.Tasks.Save(t.Context(), task); {
				case err == nil && !winner.CompareAndSwap(nil, task):
					t.Error("two saves of one version won")
				case err != nil && !errors.Is(err, domain.ErrConflict):
					t.Errorf("save of a racer: %v, want ErrConflict", err)
				}
			})
		}
		close(start)
		all.Wait()
		if winner.Load() == nil {
			t.Fatal("no save won")
		}
		wantStored(t, s, winner.Load().State())
	}
}
