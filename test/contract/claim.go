package contract

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var claimChecks = map[string]check{
	"ClaimIsWhatTheDomainSays":       claimIsTheDomains,
	"ClaimNeverRunsTimeBackwards":    claimClockBehind,
	"ClaimLeavesOutWhatIsNotQueued":  claimOnlyQueued,
	"ClaimReturnsTheOrderOfIDs":      claimOrder,
	"ClaimSaysWhatBecameOfEachID":    claimSorts,
	"ClaimTakesADoubledIDOnce":       claimDoubled,
	"ClaimOfNothingReturnsNothing":   claimNothing,
	"OnlyOneOfManyClaimsGetsTheTask": claimIsExclusive,
	"ClaimAndCancelHaveOneWinner":    claimOrCancel,
	"ClaimNeedsAWorkerThatHasBeaten": claimUnknownWorker,
	"ClaimNeedsAYoungHeartbeat":      claimStaleWorker,
	"ClaimTakesAPortionOfManyTasks":  claimPortionOfMany,
	"ClaimTakesAPortionOfManyBytes":  claimPortionOfBytes,
	"ClaimTakesLongMessagesInTurn":   claimLongAndShort,
}

func claimIsTheDomains(t *testing.T, s Store) {
	worker := enlist(t, s)
	tasks := []*domain.Task{
		addMade(t, s),
		addMade(t, s, tried(7), func(s *domain.TaskState) {
			s.Failures, s.Rescues, s.Version, s.LastError = 2, 1, 30, "broken"
		}),
		addMade(t, s, func(s *domain.TaskState) { s.RunAt = s.RunAt.Add(time.Hour) }), // the mark decides, not the time
		addMade(t, s, marked(now().Add(-time.Hour))),
		addMade(t, s, func(s *domain.TaskState) { s.Timeout = time.Hour + 3*time.Microsecond }), // before that of the claim
		addMade(t, s, func(s *domain.TaskState) {
			s.Queue, s.Priority, s.Metadata, s.TraceParent = "mail", 7, map[string]string{"customer": `"7"`}, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
			s.TraceState = "rojo=00f067aa0ba902b7"
		}),
		addMade(t, s, func(s *domain.TaskState) { s.CreatedAt = s.CreatedAt.Add(-time.Hour) }),
	}
	req := application.ClaimRequest{
		Claim: domain.Claim{Worker: worker, Beat: 5, Timeout: 90*time.Second + 7*time.Microsecond, Grace: 11*time.Second + 13*time.Microsecond},
		IDs:   idsOf(tasks), Now: now().Add(999 * time.Nanosecond), // times are cut, never rounded up
	}
	claimed := claim(t, s, req)
	wantIDs(t, claimed, tasks)
	for i := range min(len(claimed), len(tasks)) {
		want := tasks[i]
		if err := want.Claim(req.Claim, req.Now); err != nil {
			t.Fatal(err)
		}
		wantState(t, claimed[i], want.State())
		wantStored(t, s, want.State())
	}
	// What a claim returns can be saved.
	if err := errors.Join(claimed[0].Complete(1, "done", now()), s.Tasks.Save(t.Context(), claimed[0])); err != nil {
		t.Errorf("complete what was claimed: %v", err)
	}
}

func claimClockBehind(t *testing.T, s Store) {
	task := addMade(t, s, func(s *domain.TaskState) { s.UpdatedAt = s.UpdatedAt.Add(time.Hour) })
	req := claimOf(enlist(t, s), task)
	req.Now = task.State().UpdatedAt.Add(-time.Minute)
	claimed := claim(t, s, req)
	if err := task.Claim(req.Claim, req.Now); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, claimed, []*domain.Task{task})
	wantState(t, claimed[0], task.State())
	wantStored(t, s, task.State())
}

func claimOnlyQueued(t *testing.T, s Store) {
	worker := enlist(t, s)
	good := addMade(t, s)
	tasks := []*domain.Task{
		makeTask(t, waiting(now().Add(-time.Hour))), makeTask(t, waiting(now().Add(time.Hour))),
		makeTask(t, heldBy(worker, 1)), makeTask(t, heldBy("another", 1)), makeTask(t, heldBy("another", 1), askedToStop),
		makeTask(t, ended(domain.StatusCompleted)), makeTask(t, ended(domain.StatusCanceled)), makeTask(t, ended(domain.StatusFailed)),
	}
	add(t, s, tasks...)
	ids := append(slices.Clone(tasks), good, makeTask(t)) // the last is unknown
	wantIDs(t, claim(t, s, claimOf(worker, ids...)), []*domain.Task{good})
	for _, task := range tasks {
		wantStored(t, s, task.State())
	}
	wantIDs(t, claim(t, s, claimOf(worker, ids...)), nil)
}

// claimSorts asks for tasks of every kind, some of them twice: with and without a
// queue that has a limit, and after a claim that has met the limit, as those may be other
// ways to claim.
func claimSorts(t *testing.T, s Store) {
	worker := enlist(t, s)
	for limit := range 3 {
		limited := limit > 0
		free, full := domain.QueueName("free"), domain.QueueName("unlimited")
		if limited {
			full = "limited"
			setQueue(t, s, full, maxRunning(limit)) // room for one
		}
		good := append(addMany(t, s, 2, inQueue(free)), addMade(t, s, inQueue(full)))
		more := addMany(t, s, 2, inQueue(full)) // refused if there is a limit
		skipped := []*domain.Task{
			addMade(t, s, inQueue(free), waiting(now())), addMade(t, s, inQueue(full), waiting(now())),
			addMade(t, s, inQueue(free), ended(domain.StatusCanceled)), addMade(t, s, inQueue(free), ended(domain.StatusCompleted)),
		}
		unknown := []*domain.Task{makeTask(t), makeTask(t)}
		asked := []*domain.Task{
			unknown[0], skipped[0], good[0], good[2], skipped[1], more[0], good[0], unknown[1], skipped[2], unknown[0],
			more[1], skipped[3], skipped[0], good[1], more[0],
		}
		got, err := s.Tasks.Claim(t.Context(), claimOf(worker, asked...))
		if err != nil {
			t.Fatalf("claim: %v", err)
		}
		want := []*domain.Task{good[0], good[2], more[0], more[1], good[1]}
		var refused []domain.TaskID
		if limited {
			want = []*domain.Task{good[0], good[2], good[1]}
			refused = idsOf(more)
		}
		wantIDs(t, got.Tasks, want)
		var gotRefused []domain.TaskID
		for _, l := range got.Limited {
			gotRefused = append(gotRefused, l.Refused...)
		}
		for name, ids := range map[string][2][]domain.TaskID{
			"refused": {refused, gotRefused}, "skipped": {idsOf(skipped), got.Skipped}, "unknown": {idsOf(unknown), got.Unknown},
		} {
			if !slices.Equal(ids[0], ids[1]) {
				t.Errorf("limit %d: %s are %s, want %s", limit, name, ids[1], ids[0])
			}
		}
	}
	got, err := s.Tasks.Claim(t.Context(), claimOf(worker, makeTask(t))) // nothing of it can be claimed
	if err != nil || len(got.Unknown) != 1 || len(got.Tasks)+len(got.Skipped) > 0 {
		t.Errorf("claim of an unknown task: %+v, %v", got, err)
	}
}

func claimOrder(t *testing.T, s Store) {
	worker := enlist(t, s)
	tasks := addMany(t, s, 50)
	rand.Shuffle(len(tasks), func(i, j int) { tasks[i], tasks[j] = tasks[j], tasks[i] })
	wantIDs(t, claim(t, s, claimOf(worker, tasks...)), tasks)
}

func claimDoubled(t *testing.T, s Store) {
	worker := enlist(t, s)
	tasks := addMany(t, s, 3)
	claimed := claim(t, s, claimOf(worker, tasks[2], tasks[0], tasks[2], tasks[1], tasks[0], tasks[2]))
	wantIDs(t, claimed, []*domain.Task{tasks[2], tasks[0], tasks[1]})
	for _, task := range claimed {
		if task.Attempt() != 1 {
			t.Errorf("attempt %d after one claim", task.Attempt())
		}
	}
}

func claimPortionOfMany(t *testing.T, s Store) {
	worker, tasks := enlist(t, s), addMany(t, s, 2*application.ClaimPortion+10)
	wantPortions(t, s, claimOf(worker, append(tasks, tasks[:7]...)...), tasks, application.ClaimPortion, application.ClaimPortion, 10)
}

func claimPortionOfBytes(t *testing.T, s Store) {
	const size = 250_000
	most := (application.PortionBytes + size - 1) / size
	worker := enlist(t, s)
	long := func(s *domain.TaskState) { s.Message = strings.Repeat("x", size) }
	wantPortions(t, s, claimOf(worker, addMany(t, s, most+2, long)...), nil, most, 2)
	setQueue(t, s, "q", maxRunning(10*most))
	wantPortions(t, s, claimOf(worker, addMany(t, s, most+2, long, inQueue("q"))...), nil, most, 2)
}

// claimLongAndShort claims until nothing is left of long messages among short ones.
func claimLongAndShort(t *testing.T, s Store) {
	const size = 250_000
	worker := enlist(t, s)
	long := func(s *domain.TaskState) { s.Message = strings.Repeat("x", size) }
	most := (application.PortionBytes + size - 1) / size
	all := slices.Concat(addMany(t, s, 10), addMany(t, s, most+2, long), addMany(t, s, 10))
	req := claimOf(worker, all...)
	var got []*domain.Task
	for claims := 1; len(req.IDs) > 0; claims++ {
		result, err := s.Tasks.Claim(t.Context(), req)
		if err != nil || len(result.Tasks) == 0 || len(result.Skipped)+len(result.Unknown)+len(result.Refused) > 0 {
			t.Fatalf("claim %d: %d tasks, %d skipped, %d unknown, %v", claims, len(result.Tasks), len(result.Skipped), len(result.Unknown), err)
		}
		bytes := 0
		for _, task := range result.Tasks {
			bytes += len(task.Message())
		}
		if bytes >= application.PortionBytes+size {
			t.Errorf("claim %d took %d tasks of %d bytes", claims, len(result.Tasks), bytes)
		}
		got, req.IDs = append(got, result.Tasks...), result.Rest
	}
	wantIDs(t, sortedByID(got), sortedByID(all))
}

// wantPortions claims until nothing is left, and checks how many tasks each claim took.
func wantPortions(t *testing.T, s Store, req application.ClaimRequest, want []*domain.Task, sizes ...int) {
	t.Helper()
	var all []*domain.Task
	for i, size := range sizes {
		got, err := s.Tasks.Claim(t.Context(), req)
		if err != nil || len(got.Tasks) != size || len(got.Skipped)+len(got.Unknown)+len(got.Refused) > 0 {
			t.Fatalf("claim %d of %d: %d tasks, %d skipped, %d unknown, %v; want %d tasks",
				i+1, len(req.IDs), len(got.Tasks), len(got.Skipped), len(got.Unknown), err, size)
		}
		all, req.IDs = append(all, got.Tasks...), got.Rest
	}
	if len(req.IDs) > 0 {
		t.Errorf("%d are still left", len(req.IDs))
	}
	if want != nil {
		wantIDs(t, all, want)
	}
}

func claimNothing(t *testing.T, s Store) {
	addMade(t, s)
	wantIDs(t, claim(t, s, claimOf(enlist(t, s))), nil)
}

func claimIsExclusive(t *testing.T, s Store) {
	const claimers, count = 50, 1000
	tasks := addMany(t, s, count)
	workers := []domain.WorkerID{enlist(t, s), enlist(t, s), enlist(t, s), enlist(t, s), enlist(t, s)}
	var mu sync.Mutex
	winners := map[domain.TaskID]domain.WorkerID{}
	var all sync.WaitGroup
	for i := range claimers {
		worker := workers[i%len(workers)]
		order := slices.Clone(tasks)
		rand.Shuffle(count, func(i, j int) { order[i], order[j] = order[j], order[i] })
		all.Go(func() {
			for batch := range slices.Chunk(order, count/4) {
				claimed, err := s.Tasks.Claim(t.Context(), claimOf(worker, batch...))
				if err != nil {
					t.Errorf("claim: %v", err)
					return
				}
				mu.Lock()
				for _, task := range claimed.Tasks {
					if winner, taken := winners[task.ID()]; taken {
						t.Errorf("task %s was claimed by %s and by %s", task.ID(), winner, worker)
					}
					winners[task.ID()] = worker
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if len(winners) != count {
		t.Errorf("%d of %d tasks were claimed", len(winners), count)
	}
	for _, task := range getAll(t, s, tasks...) {
		if state := task.State(); state.Attempt != 1 || state.Worker != winners[state.ID] {
			t.Errorf("task %s: attempt %d of %q, but the claim answered to %q", state.ID, state.Attempt, state.Worker, winners[state.ID])
		}
	}
}

func claimOrCancel(t *testing.T, s Store) {
	worker := enlist(t, s)
	tasks := addMany(t, s, 100)
	claimed, canceled := map[domain.TaskID]bool{}, map[domain.TaskID]bool{}
	var all sync.WaitGroup
	all.Go(func() {
		for batch := range slices.Chunk(tasks, 10) {
			got, err := s.Tasks.Claim(t.Context(), claimOf(worker, batch...))
			if err != nil {
				t.Errorf("claim: %v", err)
			}
			for _, task := range got.Tasks {
				claimed[task.ID()] = true
			}
		}
	})
	all.Go(func() {
		for _, task := range slices.Backward(tasks) {
			mine := task.Clone()
			if err := mine.Cancel(now()); err != nil {
				t.Error(err)
			}
			err := s.Tasks.Save(t.Context(), mine)
			if err != nil && !errors.Is(err, domain.ErrConflict) {
				t.Errorf("cancel: %v", err)
			}
			canceled[mine.ID()] = err == nil
		}
	})
	all.Wait()
	for _, task := range tasks {
		want := domain.StatusCanceled
		if claimed[task.ID()] {
			want = domain.StatusProcessing
		}
		if got := get(t, s, task.ID()).Status(); got != want || claimed[task.ID()] == canceled[task.ID()] {
			t.Errorf("task %s is %s; claimed %v, canceled %v", task.ID(), got, claimed[task.ID()], canceled[task.ID()])
		}
	}
}

func claimUnknownWorker(t *testing.T, s Store) {
	enlist(t, s)
	wantStale(t, s, domain.NewWorkerID())
}

func claimStaleWorker(t *testing.T, s Store) {
	const interval = 400 * time.Millisecond
	worker := domain.NewWorkerID()
	number := claimsAfterBeat(t, s, worker, 1, interval)

	time.Sleep(2*interval + 100*time.Millisecond)
	wantStale(t, s, worker)

	claimsAfterBeat(t, s, worker, number+1, interval)
}

// wantStale checks that the worker may not claim, and gets nothing.
func wantStale(t *testing.T, s Store, worker domain.WorkerID) {
	t.Helper()
	task := addMade(t, s)
	claimed, err := s.Tasks.Claim(t.Context(), claimOf(worker, task))
	if !errors.Is(err, domain.ErrWorkerStale) || len(claimed.Tasks) > 0 {
		t.Errorf("claim of a worker without a young heartbeat: %d tasks, %v; want ErrWorkerStale", len(claimed.Tasks), err)
	}
	wantStored(t, s, task.State())
}

// claimsAfterBeat checks that the worker may claim after a beat of that number or a
// higher one, and returns the number. A machine that does not get to the claim
// while the beat is young has shown nothing: then it tries again.
func claimsAfterBeat(t *testing.T, s Store, worker domain.WorkerID, number int64, interval time.Duration) int64 {
	t.Helper()
	for deadline := time.Now().Add(patience); ; number++ {
		start := time.Now()
		beat(t, s, beatOf(t, worker, number, interval))
		err := tryClaim(t, s, worker)
		if late := time.Since(start) > interval && time.Now().Before(deadline); late && errors.Is(err, domain.ErrWorkerStale) {
			continue
		}
		if err != nil {
			t.Errorf("claim of a worker with a young heartbeat: %v", err)
		}
		return number
	}
}

// wantYoung checks that the worker, whose last beat is young for long, may claim.
func wantYoung(t *testing.T, s Store, worker domain.WorkerID) {
	t.Helper()
	if err := tryClaim(t, s, worker); err != nil {
		t.Errorf("claim of a worker with a young heartbeat: %v", err)
	}
}

// tryClaim has the worker claim a task, and completes it: nothing is left for the
// next beat to list.
func tryClaim(t *testing.T, s Store, worker domain.WorkerID) error {
	t.Helper()
	task := addMade(t, s)
	claimed, err := s.Tasks.Claim(t.Context(), claimOf(worker, task))
	if err == nil && len(claimed.Tasks) != 1 {
		err = fmt.Errorf("%d tasks were claimed", len(claimed.Tasks))
	}
	for _, task := range claimed.Tasks {
		if err := errors.Join(task.Complete(1, "done", now()), s.Tasks.Save(t.Context(), task)); err != nil {
			t.Errorf("complete: %v", err)
		}
	}
	return err
}
