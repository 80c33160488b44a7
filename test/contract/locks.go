package contract

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// Locks lock a row as the open transaction of somebody else does, until release is
// called. The release of a check that has ended is called for it.
type Locks struct {
	Task   func(t *testing.T, id domain.TaskID) (release func())
	Queue  func(t *testing.T, name domain.QueueName) (release func())
	Key    func(t *testing.T, k application.IdempotencyKey) (release func())
	Worker func(t *testing.T, id domain.WorkerID) (release func())
	NewKey func(t *testing.T, k application.IdempotencyKey) (release func()) // stores the key, and takes it back
}

// unhindered is how long a call may take that meets a row which somebody else has
// locked, and has others to do.
const unhindered = 2 * time.Second

var lockChecks = map[string]func(t *testing.T, s Store, l Locks){
	"ClaimPassesOverALockedTask":          lockedClaim,
	"ClaimOfALimitedQueuePassesOverATask": lockedLimitedClaim,
	"ClaimDoesNotWaitForALockedQueue":     lockedQueue,
	"SaveOfALockedTaskHoldsUpNoOther":     lockedSave,
	"SaveOfALockedTaskTellsAConflict":     lockedConflict,
	"AddOnceOfALockedKeyHoldsUpNoOther":   lockedKey,
	"AddOnceOfANewLockedKeyHoldsUpNone":   lockedNewKey,
	"ABulkActionOfALockedKeyWaitsAlone":   lockedBulkKey,
	"AddOnceReadsALockedKey":              lockedKeyRead,
	"SweepsPassOverLockedRows":            lockedSweeps,
	"BeatGivesBackWhatIsNotLocked":        lockedBeat,
	"BulkStepLeavesALockedTaskForLater":   lockedBulk,
	"ForgetAndLeavePassOverALockedWorker": lockedWorker,
	"OrphanedJudgesNoLockedWorker":        lockedLapsed,
}

// RowLocks checks that no call which works for many waits for one row, in a store
// that locks rows: one whose writers wait for the whole of it has none of these
// promises to keep. open returns an empty store for each check.
func RowLocks(t *testing.T, open func(t *testing.T) (Store, Locks)) {
	for name, check := range lockChecks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, l := open(t)
			check(t, s, l)
		})
	}
}

// soon fails the check if call takes long.
func soon(t *testing.T, what string, call func()) {
	t.Helper()
	begun := time.Now()
	call()
	if took := time.Since(begun); took > unhindered {
		t.Errorf("%s took %s: it has waited for a row that somebody else has locked", what, took)
	}
}

func lockedClaim(t *testing.T, s Store, l Locks) {
	worker, tasks := enlist(t, s), addMany(t, s, 10)
	release := l.Task(t, tasks[3].ID())
	soon(t, "claim", func() {
		got, err := s.Tasks.Claim(t.Context(), claimOf(worker, tasks...))
		if err != nil {
			t.Fatalf("claim: %v", err)
		}
		wantIDs(t, got.Tasks, slices.Concat(tasks[:3], tasks[4:]))
		if !slices.Equal(got.Skipped, idsOf(tasks[3:4])) || len(got.Limited) > 0 {
			t.Errorf("skipped %s, limited %+v; want the locked one skipped", got.Skipped, got.Limited)
		}
	})
	wantStored(t, s, tasks[3].State())
	release()
	wantIDs(t, claim(t, s, claimOf(worker, tasks[3])), tasks[3:4])
}

func lockedLimitedClaim(t *testing.T, s Store, l Locks) {
	worker, tasks := enlist(t, s), addMany(t, s, 4, inQueue("q"))
	state := setQueue(t, s, "q", maxRunning(3))
	release := l.Task(t, tasks[0].ID())
	soon(t, "claim", func() {
		wantClaimed(t, s, claimOf(worker, tasks[:3]...), tasks[1:3],
			application.LimitedQueue{Name: "q", Capacity: state.Capacity(2, now())})
	})
	release()
	wantClaimed(t, s, claimOf(worker, tasks[0], tasks[3]), tasks[:1],
		application.LimitedQueue{Name: "q", Refused: idsOf(tasks[3:]), Capacity: state.Capacity(3, now())})
}

func lockedQueue(t *testing.T, s Store, l Locks) {
	worker := enlist(t, s)
	free, other, held := addMany(t, s, 2), addMany(t, s, 2, inQueue("other")), addMany(t, s, 2, inQueue("q"))
	setQueue(t, s, "q", maxRunning(5))
	limits := setQueue(t, s, "other", maxRunning(5))
	release := l.Queue(t, "q")
	soon(t, "claim", func() {
		wantClaimed(t, s, claimOf(worker, slices.Concat(held, free, other)...), slices.Concat(free, other),
			application.LimitedQueue{Name: "q", Refused: idsOf(held), Capacity: domain.BusyCapacity()},
			application.LimitedQueue{Name: "other", Capacity: limits.Capacity(2, now())})
	})
	release()
	if got, err := s.Tasks.Claim(t.Context(), claimOf(worker, held...)); err != nil || len(got.Tasks) != 2 {
		t.Errorf("once the queue is free again: %d tasks, %v", len(got.Tasks), err)
	}
}

func lockedSave(t *testing.T, s Store, l Locks) {
	worker, tasks := enlist(t, s), addMany(t, s, 50)
	held := claim(t, s, claimOf(worker, tasks...))
	release := l.Task(t, held[7].ID())
	save := func(task *domain.Task) error {
		return errors.Join(task.Complete(task.Attempt(), "done", now()), s.Tasks.Save(t.Context(), task))
	}
	locked := make(chan error, 1)
	go func() { locked <- save(held[7]) }()
	time.Sleep(50 * time.Millisecond) // for it to be first
	soon(t, "saves of other tasks", func() {
		var all sync.WaitGroup
		for i, task := range held {
			if i == 7 {
				continue
			}
			all.Go(func() {
				if err := save(task); err != nil {
					t.Errorf("save: %v", err)
				}
			})
		}
		all.Wait()
	})
	select {
	case err := <-locked:
		t.Fatalf("save of a locked task: %v", err)
	default:
	}
	release()
	if err := <-locked; err != nil {
		t.Errorf("save once the task is free again: %v", err)
	}
	wantStored(t, s, held[7].State())
}

// lockedConflict: whoever is late hears of it at once, lock or none.
func lockedConflict(t *testing.T, s Store, l Locks) {
	task := addMade(t, s)
	late := task.Clone()
	if err := errors.Join(task.Cancel(now()), s.Tasks.Save(t.Context(), task), late.Cancel(now())); err != nil {
		t.Fatal(err)
	}
	defer l.Task(t, task.ID())()
	soon(t, "save", func() {
		if err := s.Tasks.Save(t.Context(), late); !errors.Is(err, domain.ErrConflict) {
			t.Errorf("save of a stale version: %v, want ErrConflict", err)
		}
	})
}

func lockedKey(t *testing.T, s Store, l Locks) {
	key := keyOf("locked", "request")
	key.Now, key.Expires = now().Add(-2*time.Hour), now().Add(-time.Hour) // to be taken over
	if _, _, err := s.Tasks.AddOnce(t.Context(), key, makeTask(t)); err != nil {
		t.Fatal(err)
	}
	release := l.Key(t, key)
	key.Now, key.Expires = now(), now().Add(time.Hour)
	waitsAlone(t, s, key, release)
}

// lockedNewKey: a key that somebody is storing can only be waited for.
func lockedNewKey(t *testing.T, s Store, l Locks) {
	key := keyOf("locked", "request")
	waitsAlone(t, s, key, l.NewKey(t, key))
}

// waitsAlone checks that of many requests with keys only
// those with a locked key wait: be they first, or together with the others.
func waitsAlone(t *testing.T, s Store, key application.IdempotencyKey, release func()) {
	t.Helper()
	const twins = 20 // more than a store has connections
	tasks, locked := makeMany(t, twins), make(chan error, twins)
	wait := func(i int) {
		_, _, err := s.Tasks.AddOnce(t.Context(), key, tasks[i])
		locked <- err
	}
	go wait(0)
	time.Sleep(50 * time.Millisecond) // for it to be first
	soon(t, "requests with other keys", func() {
		var all sync.WaitGroup
		for i := range 30 {
			if 0 < i && i < twins {
				go wait(i)
			}
			all.Go(func() {
				if _, _, err := s.Tasks.AddOnce(t.Context(), keyOf(fmt.Sprint("other ", i), "request"), makeTask(t)); err != nil {
					t.Errorf("add once: %v", err)
				}
			})
		}
		all.Wait()
	})
	release()
	for range twins {
		if err := <-locked; err != nil {
			t.Errorf("add once, once the key is free again: %v", err)
		}
	}
	stored := 0
	for _, task := range tasks {
		if _, err := s.Tasks.Get(t.Context(), task.ID()); err == nil {
			stored++
		}
	}
	if stored != 1 {
		t.Errorf("%d of %d requests with the key have stored their task, want one", stored, twins)
	}
}

// lockedBulkKey: a bulk action with a locked key takes no connection from the others.
func lockedBulkKey(t *testing.T, s Store, l Locks) {
	key := keyOf("locked", "request")
	release := l.NewKey(t, key)
	const twins = 20 // more than a store has connections
	locked := make(chan error, twins)
	for range twins {
		go func() {
			_, err := s.Bulks.AddOnce(t.Context(), key, newBulk(domain.BulkCancel, domain.TaskFilter{}))
			locked <- err
		}()
	}
	time.Sleep(50 * time.Millisecond) // for them to be first
	soon(t, "a task", func() { addMade(t, s) })
	release()
	for range twins {
		if err := <-locked; err != nil {
			t.Errorf("add once, once the key is free again: %v", err)
		}
	}
}

// lockedKeyRead: a key that is remembered is only read.
func lockedKeyRead(t *testing.T, s Store, l Locks) {
	key, task := keyOf("remembered", "request"), makeTask(t)
	if _, _, err := s.Tasks.AddOnce(t.Context(), key, task); err != nil {
		t.Fatal(err)
	}
	defer l.Key(t, key)()
	soon(t, "add once", func() {
		first, _, err := s.Tasks.AddOnce(t.Context(), key, makeTask(t))
		if err != nil {
			t.Fatalf("add once: %v", err)
		}
		wantIDs(t, first, []*domain.Task{task})
	})
}

func lockedSweeps(t *testing.T, s Store, l Locks) {
	due, stranded := addMany(t, s, 2, waiting(now().Add(-time.Hour))), addMany(t, s, 2, marked(now().Add(-time.Hour)))
	defer l.Task(t, due[0].ID())()
	defer l.Task(t, stranded[0].ID())()
	batch := application.SweepBatch{Limit: 10, Decide: queuedAt(now())}
	soon(t, "sweeps", func() {
		got, err := s.Dispatch.Due(t.Context(), now(), batch)
		if err != nil {
			t.Fatalf("due: %v", err)
		}
		wantIDs(t, got.Changed, due[1:])
		if got, err = s.Dispatch.Stranded(t.Context(), map[application.Lane]time.Time{defaultList: now().Add(-time.Minute)}, batch); err != nil {
			t.Fatalf("stranded: %v", err)
		}
		wantIDs(t, got.Changed, stranded[1:])
	})
}

func lockedBeat(t *testing.T, s Store, l Locks) {
	worker, tasks := enlist(t, s), addMany(t, s, 3)
	claim(t, s, claimOf(worker, tasks...))
	release := l.Task(t, tasks[0].ID())
	give := func(number int64) {
		b := beatOf(t, worker, number, longInterval)
		b.Release = released(now())
		beat(t, s, b)
	}
	soon(t, "beat", func() { give(3) })
	for i, want := range []domain.Status{domain.StatusProcessing, domain.StatusPending, domain.StatusPending} {
		if got := get(t, s, tasks[i].ID()).Status(); got != want {
			t.Errorf("task %d is %s, want %s", i, got, want)
		}
	}
	release()
	give(4)
	if got := get(t, s, tasks[0].ID()).Status(); got != domain.StatusPending {
		t.Errorf("once it is free again the task is %s", got)
	}
}

func lockedWorker(t *testing.T, s Store, l Locks) {
	locked := enlist(t, s)
	enlist(t, s)
	release := l.Worker(t, locked)
	soon(t, "forget and leave", func() {
		if err := s.Workers.Leave(t.Context(), locked); err != nil {
			t.Errorf("leave: %v", err)
		}
		if n, err := s.Workers.Forget(t.Context(), 0); err != nil || n != 1 {
			t.Errorf("forgot %d workers, %v; want the other one", n, err)
		}
	})
	release()
	if n, err := s.Workers.Forget(t.Context(), 0); err != nil || n != 1 {
		t.Errorf("forgot %d workers, %v; want the one that was locked", n, err)
	}
}

// lockedLapsed: of two workers whose lease has lapsed only the one that is free is judged,
// and a lock that somebody else has does not hold up the beats of others.
func lockedLapsed(t *testing.T, s Store, l Locks) {
	const lease = time.Second
	j := newObserver(s, lease)
	locked, dead := domain.NewWorkerID(), domain.NewWorkerID()
	beat(t, s, beatOf(t, locked, 1, longInterval))
	beat(t, s, beatOf(t, dead, 1, longInterval))
	kept, lost := addMade(t, s, heldBy(locked, 1)), addMade(t, s, heldBy(dead, 1))
	release := l.Worker(t, locked)
	time.Sleep(lease + lease/10)
	b := application.SweepBatch{Limit: 100, Decide: rescue(now().Add(time.Minute))}
	wantSwept(t, s, j.untilFound(t, b), b.Decide, lost)
	soon(t, "beat of another worker", func() { j.beat(t) })
	wantStored(t, s, kept.State())
	release()
	renewal := beatOf(t, locked, 2, longInterval)
	renewal.Held = running(kept)
	if answer := beat(t, s, renewal); len(answer.Lost) > 0 {
		t.Errorf("once its row is free, the worker has lost %v", answer.Lost)
	}
}

func lockedBulk(t *testing.T, s Store, l Locks) {
	tasks := addMany(t, s, 5)
	addBulk(t, s, domain.BulkCancel, domain.TaskFilter{})
	release := l.Task(t, tasks[2].ID())
	soon(t, "steps", func() {
		for range 2 {
			b, _ := stepBulk(t, s, bulkStep(10, 1000))
			if b.Changed != 4 || !slices.Equal(b.Locked, idsOf(tasks[2:3])) || !b.DoneAt.IsZero() {
				t.Errorf("%+v; want four changed, and one left for later", b)
			}
		}
	})
	release()
	b, changed := stepBulk(t, s, bulkStep(10, 1000))
	wantIDs(t, changed, tasks[2:3])
	if b.Changed != 5 || len(b.Locked) > 0 || b.DoneAt.IsZero() {
		t.Errorf("%+v; want all five changed", b)
	}
}
