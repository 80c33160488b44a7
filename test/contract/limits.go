package contract

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var limitChecks = map[string]check{
	"ClaimTakesNothingFromAPausedQueue":      limitPaused,
	"ClaimTakesNoMoreThanMayRun":             limitMaxRunning,
	"ClaimCountsWhatDeadWorkersHold":         limitDeadWorkers,
	"ClaimTakesNoMoreThanTheRateAllows":      limitRate,
	"ClaimKeepsToTheTighterOfTwoLimits":      limitBoth,
	"ClaimOfManyQueuesKeepsTheirOrder":       limitMixed,
	"ClaimRefusesADoubledIDOnce":             limitDoubled,
	"ClaimFromALimitedQueueNeedsAHeartbeat":  limitStaleWorker,
	"ClaimGoesByNoSettingsThatAreChanging":   limitChanging,
	"ManyWorkersNeverRunMoreThanMayRun":      limitManyWorkers,
	"ManyWorkersNeverStartMoreThanTheRate":   limitManyAtARate,
	"ManyClaimsOfTheSameQueuesDoNotDeadlock": limitManyQueues,
}

// setQueue changes what is set of a queue, and returns it.
func setQueue(t *testing.T, s Store, name domain.QueueName, c domain.QueueChange) domain.QueueSettings {
	t.Helper()
	var state domain.QueueSettings
	if err := s.Queues.Change(t.Context(), name, func(q *domain.QueueSettings) error {
		err := q.Change(c)
		state = *q
		return err
	}); err != nil {
		t.Fatalf("change queue %s: %v", name, err)
	}
	return state
}

func paused(on bool) domain.QueueChange   { return domain.QueueChange{Paused: &on} }
func maxRunning(n int) domain.QueueChange { return domain.QueueChange{MaxRunning: &n} }
func rate(n int, per time.Duration) domain.QueueChange {
	return domain.QueueChange{Rate: &domain.Rate{Count: n, Per: per}}
}

// wantClaimed claims and checks what came of it: the tasks, and of the limited
// queues, in whatever order, what was refused and how much room was left.
func wantClaimed(t *testing.T, s Store, req application.ClaimRequest, tasks []*domain.Task, limited ...application.LimitedQueue) []*domain.Task {
	t.Helper()
	claimed, err := s.Tasks.Claim(t.Context(), req)
	if err != nil {
		t.Fatalf("claim %d tasks: %v", len(req.IDs), err)
	}
	wantIDs(t, claimed.Tasks, tasks)
	byName := func(all []application.LimitedQueue) map[domain.QueueName]application.LimitedQueue {
		named := map[domain.QueueName]application.LimitedQueue{}
		for _, l := range all {
			if _, twice := named[l.Name]; twice {
				t.Errorf("queue %s is named twice", l.Name)
			}
			if len(l.Refused) == 0 {
				l.Refused = nil
			}
			named[l.Name] = l
		}
		return named
	}
	if diff := cmp.Diff(byName(limited), byName(claimed.Limited)); diff != "" {
		t.Errorf("limited queues (-want +got):\n%s", diff)
	}
	return claimed.Tasks
}

// finish ends tasks that were claimed.
func finish(t *testing.T, s Store, tasks ...*domain.Task) {
	t.Helper()
	for _, task := range tasks {
		if err := errors.Join(task.Complete(task.Attempt(), "done", now()), s.Tasks.Save(t.Context(), task)); err != nil {
			t.Fatalf("complete: %v", err)
		}
	}
}

func limitPaused(t *testing.T, s Store) {
	worker := enlist(t, s)
	tasks := addMany(t, s, 3, inQueue("q"))
	state := setQueue(t, s, "q", paused(true))
	req := claimOf(worker, tasks...)
	wantClaimed(t, s, req, nil, application.LimitedQueue{Name: "q", Refused: req.IDs, Capacity: state.Capacity(0, req.Now)})
	for _, task := range tasks {
		wantStored(t, s, task.State())
	}
	setQueue(t, s, "q", paused(false))
	wantClaimed(t, s, req, tasks) // what was limited is not for ever
}

func limitMaxRunning(t *testing.T, s Store) {
	worker, other := enlist(t, s), enlist(t, s)
	tasks := addMany(t, s, 7, inQueue("q"))
	rand.Shuffle(len(tasks), func(i, j int) { tasks[i], tasks[j] = tasks[j], tasks[i] })
	state := setQueue(t, s, "q", maxRunning(3))
	room := func(running int, refused ...*domain.Task) application.LimitedQueue {
		return application.LimitedQueue{Name: "q", Refused: idsOf(refused), Capacity: state.Capacity(running, now())}
	}
	held := wantClaimed(t, s, claimOf(worker, tasks[:2]...), tasks[:2], room(2))
	held = append(held, wantClaimed(t, s, claimOf(other, tasks[2:6]...), tasks[2:3], room(3, tasks[3:6]...))...)
	wantClaimed(t, s, claimOf(worker, tasks[6]), nil, room(3, tasks[6]))
	finish(t, s, held[0])
	wantClaimed(t, s, claimOf(worker, tasks[5], tasks[3]), tasks[5:6], room(3, tasks[3]))
	// A lower limit stops none, and lets none start.
	state = setQueue(t, s, "q", maxRunning(1))
	wantClaimed(t, s, claimOf(worker, tasks[3]), nil, room(3, tasks[3]))
	finish(t, s, held[1], held[2])
	wantClaimed(t, s, claimOf(worker, tasks[3]), nil, room(1, tasks[3]))
	setQueue(t, s, "q", maxRunning(0))
	wantClaimed(t, s, claimOf(worker, tasks[3], tasks[4], tasks[6]), []*domain.Task{tasks[3], tasks[4], tasks[6]})
}

func limitDeadWorkers(t *testing.T, s Store) {
	worker := enlist(t, s)
	state := setQueue(t, s, "q", maxRunning(2))
	addMade(t, s, heldBy("dead", 1), inQueue("q"))
	addMade(t, s, heldBy("dead", 1), inQueue("another"))
	tasks := addMany(t, s, 2, inQueue("q"))
	wantClaimed(t, s, claimOf(worker, tasks...), tasks[:1],
		application.LimitedQueue{Name: "q", Refused: idsOf(tasks[1:]), Capacity: state.Capacity(2, now())})
}

func limitRate(t *testing.T, s Store) {
	worker := enlist(t, s)
	tasks := addMany(t, s, 12, inQueue("q"))
	state := setQueue(t, s, "q", rate(3, time.Second))
	at := now()
	for _, x := range []struct {
		after time.Duration // since the first claim
		asked int
		taken int
	}{
		{0, 5, 3}, {0, 1, 0}, {333 * time.Millisecond, 1, 0}, {334 * time.Millisecond, 2, 1}, {1100 * time.Millisecond, 3, 2},
		{300 * time.Millisecond, 1, 0}, // a clock that steps back finds no tokens
		{time.Minute, 5, 3},            // a pause saves up no more than a burst
	} {
		req := claimOf(worker, tasks[:x.asked]...)
		req.Now = at.Add(x.after)
		want := tasks[:x.taken]
		left := state.Admit(idsOf(want), 0, req.Now).Left
		wantClaimed(t, s, req, want, application.LimitedQueue{
			Name: "q", Refused: idsOf(tasks[x.taken:x.asked]), Capacity: left,
		})
		tasks = tasks[x.taken:]
	}
	if got := info(t, s, "q").FullAt; !got.Equal(state.FullAt) {
		t.Errorf("the rate is spent until %v, want %v", got, state.FullAt)
	}
	setQueue(t, s, "q", rate(0, 0))
	wantClaimed(t, s, claimOf(worker, tasks...), tasks)
}

func limitBoth(t *testing.T, s Store) {
	worker := enlist(t, s)
	tasks := addMany(t, s, 6, inQueue("q"))
	setQueue(t, s, "q", rate(3, time.Hour)) // a burst of one
	state := setQueue(t, s, "q", maxRunning(2))
	at := now()
	for _, x := range []struct {
		after   time.Duration
		taken   int
		running int
		by      domain.Limit
	}{{0, 1, 1, domain.LimitRate}, {30 * time.Minute, 1, 2, domain.LimitMaxRunning}, {time.Hour, 0, 2, domain.LimitMaxRunning}} {
		req := claimOf(worker, tasks...)
		req.Now = at.Add(x.after)
		room := state.Admit(idsOf(tasks[:x.taken]), x.running-x.taken, req.Now).Left
		if room.LimitedBy != x.by {
			t.Fatalf("after %v the domain names %s, want %s", x.after, room.LimitedBy, x.by)
		}
		wantClaimed(t, s, req, tasks[:x.taken], application.LimitedQueue{Name: "q", Refused: idsOf(tasks[x.taken:]), Capacity: room})
		tasks = tasks[x.taken:]
	}
}

func limitMixed(t *testing.T, s Store) {
	worker := enlist(t, s)
	one, five := setQueue(t, s, "one", maxRunning(1)), setQueue(t, s, "five", maxRunning(5))
	shut := setQueue(t, s, "shut", paused(true))
	setQueue(t, s, "busy", maxRunning(1)) // of which nothing is claimable
	setQueue(t, s, "idle", paused(true))  // of which nothing is asked for
	setQueue(t, s, "free", paused(false))
	addMade(t, s, inQueue("idle"))
	made := func(name domain.QueueName) *domain.Task { return addMade(t, s, inQueue(name)) }
	tasks := []*domain.Task{
		made("one"), made("free"), made("shut"), made("five"), addMade(t, s, heldBy("w", 1), inQueue("busy")), made("one"),
		addMade(t, s, waiting(now()), inQueue("busy")), made("five"), made("unset"), addMade(t, s), made("shut"), makeTask(t, inQueue("one")),
	}
	req := claimOf(worker, tasks...)
	wantClaimed(t, s, req, []*domain.Task{tasks[0], tasks[1], tasks[3], tasks[7], tasks[8], tasks[9]},
		application.LimitedQueue{Name: "one", Refused: idsOf(tasks[5:6]), Capacity: one.Capacity(1, req.Now)},
		application.LimitedQueue{Name: "five", Capacity: five.Capacity(2, req.Now)},
		application.LimitedQueue{Name: "shut", Refused: idsOf([]*domain.Task{tasks[2], tasks[10]}), Capacity: shut.Capacity(0, req.Now)})
	for _, i := range []int{2, 4, 5, 6, 10} {
		wantStored(t, s, tasks[i].State())
	}
	for _, i := range []int{0, 1, 3, 7, 8, 9} {
		want := tasks[i]
		if err := want.Claim(req.Claim, req.Now); err != nil {
			t.Fatal(err)
		}
		wantStored(t, s, want.State())
	}
}

func limitDoubled(t *testing.T, s Store) {
	worker := enlist(t, s)
	tasks := addMany(t, s, 3, inQueue("q"))
	state := setQueue(t, s, "q", maxRunning(1))
	wantClaimed(t, s, claimOf(worker, tasks[1], tasks[0], tasks[1], tasks[0], tasks[2], tasks[0]), tasks[1:2],
		application.LimitedQueue{Name: "q", Refused: idsOf([]*domain.Task{tasks[0], tasks[2]}), Capacity: state.Capacity(1, now())})
}

func limitStaleWorker(t *testing.T, s Store) {
	state := setQueue(t, s, "q", rate(1, time.Hour))
	task := addMade(t, s, inQueue("q"))
	claimed, err := s.Tasks.Claim(t.Context(), claimOf(domain.NewWorkerID(), task))
	if !errors.Is(err, domain.ErrWorkerStale) || len(claimed.Tasks) > 0 {
		t.Errorf("claim of a worker that never beat: %d tasks, %v; want ErrWorkerStale", len(claimed.Tasks), err)
	}
	wantStored(t, s, task.State())
	if got := info(t, s, "q"); !got.FullAt.Equal(state.FullAt) {
		t.Errorf("a claim that failed has spent of the rate: %+v", got)
	}
}

// limitChanging: a claim that meets a change of its queue waits for it, or takes
// nothing of the queue for the moment. It never goes by what was set before.
func limitChanging(t *testing.T, s Store) {
	worker := enlist(t, s)
	tasks := addMany(t, s, 3, inQueue("q"))
	setQueue(t, s, "q", maxRunning(3))
	type answer struct {
		application.ClaimResult
		err error
	}
	done := make(chan answer, 1)
	err := s.Queues.Change(t.Context(), "q", func(q *domain.QueueSettings) error {
		go func() {
			claimed, err := s.Tasks.Claim(t.Context(), claimOf(worker, tasks...))
			done <- answer{claimed, err}
		}()
		time.Sleep(300 * time.Millisecond)
		return q.Change(maxRunning(1))
	})
	if err != nil {
		t.Fatalf("change: %v", err)
	}
	got := <-done
	switch {
	case got.err != nil:
		t.Fatalf("claim: %v", got.err)
	case len(got.Tasks) == 0:
		want := []application.LimitedQueue{{Name: "q", Refused: idsOf(tasks), Capacity: domain.BusyCapacity()}}
		if diff := cmp.Diff(want, got.Limited); diff != "" {
			t.Errorf("a claim that did not wait (-want +got):\n%s", diff)
		}
		if got.ClaimResult, err = s.Tasks.Claim(t.Context(), claimOf(worker, tasks...)); err != nil {
			t.Fatalf("claim after the change: %v", err)
		}
	}
	wantIDs(t, got.Tasks, tasks[:1])
}

func limitManyWorkers(t *testing.T, s Store) {
	const limit, count, claimers = 4, 60, 12
	workers := []domain.WorkerID{enlist(t, s), enlist(t, s), enlist(t, s)}
	setQueue(t, s, "q", maxRunning(limit))
	tasks := addMany(t, s, count, inQueue("q"))
	var running, most, ended atomic.Int64
	deadline := time.Now().Add(patience)
	var all sync.WaitGroup
	for i := range claimers {
		all.Go(func() {
			for ended.Load() < count && time.Now().Before(deadline) && !t.Failed() {
				batch := slices.Clone(tasks)
				rand.Shuffle(count, func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
				got, err := s.Tasks.Claim(t.Context(), claimOf(workers[i%len(workers)], batch[:count/3]...))
				if err != nil {
					t.Errorf("claim: %v", err)
					return
				}
				// What is counted here is processing in the store: it was before, and is after.
				n := running.Add(int64(len(got.Tasks)))
				if n > limit {
					t.Errorf("%d run, and %d may", n, limit)
				}
				for high := most.Load(); n > high && !most.CompareAndSwap(high, n); high = most.Load() {
				}
				time.Sleep(rand.N(3 * time.Millisecond))
				for _, task := range got.Tasks {
					running.Add(-1)
					if err := errors.Join(task.Complete(1, "done", now()), s.Tasks.Save(t.Context(), task)); err != nil {
						t.Errorf("complete: %v", err)
					}
					ended.Add(1)
				}
			}
		})
	}
	all.Wait()
	if ended.Load() != count || most.Load() != limit {
		t.Errorf("%d of %d tasks ended, at most %d at once; want all, %d at once", ended.Load(), count, most.Load(), limit)
	}
}

func limitManyAtARate(t *testing.T, s Store) {
	const burst, count, claimers = 20, 100, 10
	worker := enlist(t, s)
	setQueue(t, s, "q", rate(burst, time.Second))
	tasks := addMany(t, s, count, inQueue("q"))
	at := now()
	var started atomic.Int64
	var all sync.WaitGroup
	for i := range claimers {
		all.Go(func() {
			for batch := range slices.Chunk(tasks[i*count/claimers:(i+1)*count/claimers], 2) {
				req := claimOf(worker, batch...)
				req.Now = at
				got, err := s.Tasks.Claim(t.Context(), req)
				if err != nil {
					t.Errorf("claim: %v", err)
				}
				started.Add(int64(len(got.Tasks)))
			}
		})
	}
	all.Wait()
	if started.Load() != burst {
		t.Errorf("%d tasks started in one moment, want the burst of %d", started.Load(), burst)
	}
}

func limitManyQueues(t *testing.T, s Store) {
	const queues, each = 5, 40
	worker := enlist(t, s)
	var tasks []*domain.Task
	for i := range queues {
		name := domain.QueueName("q" + string(rune('0'+i)))
		setQueue(t, s, name, maxRunning(math.MaxInt16))
		tasks = append(tasks, addMany(t, s, each, inQueue(name))...)
	}
	var claimed atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		order := slices.Clone(tasks)
		rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		all.Go(func() {
			for batch := range slices.Chunk(order, 25) {
				got, err := s.Tasks.Claim(t.Context(), claimOf(worker, batch...))
				if err != nil {
					t.Errorf("claim: %v", err)
				}
				claimed.Add(int64(len(got.Tasks)))
			}
		})
	}
	all.Wait()
	if claimed.Load() != queues*each {
		t.Errorf("%d tasks were claimed, want each of %d once", claimed.Load(), queues*each)
	}
}
