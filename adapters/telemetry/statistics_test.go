package telemetry_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/adapters/telemetry"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// machineTime is the time of the bubble, or of the machine.
type machineTime struct{}

func (machineTime) Now() time.Time { return time.Now().UTC() }

// statisticsStore adds up what it is given, by queue and minute; while it is away, nothing.
type statisticsStore struct {
	mu    sync.Mutex
	err   error
	hangs bool
	calls int
	last  application.StatisticsBatch
	sums  map[domain.QueueName]map[time.Time]domain.QueueCounts
}

func (s *statisticsStore) Add(ctx context.Context, b application.StatisticsBatch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	s.last = b
	if s.hangs {
		<-ctx.Done()
		return domain.ErrUnavailable
	}
	if s.err != nil {
		return s.err
	}
	for _, m := range b.Minutes {
		if s.sums == nil {
			s.sums = map[domain.QueueName]map[time.Time]domain.QueueCounts{}
		}
		if s.sums[m.Queue] == nil {
			s.sums[m.Queue] = map[time.Time]domain.QueueCounts{}
		}
		s.sums[m.Queue][m.Minute] = s.sums[m.Queue][m.Minute].Plus(m.QueueCounts)
	}
	return nil
}

func (*statisticsStore) Read(context.Context, application.StatisticsQuery) ([]domain.QueueMinute, error) {
	return nil, nil
}
func (*statisticsStore) Forget(context.Context, time.Time, int) (int, error) { return 0, nil }

// total is what was added of a queue.
func (s *statisticsStore) total(queue domain.QueueName) (sum domain.QueueCounts) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.sums[queue] {
		sum = sum.Plus(c)
	}
	return sum
}

func newStatistics(store application.StatisticsRepository) *telemetry.Statistics {
	return telemetry.NewStatistics(store, machineTime{}, slog.New(slog.DiscardHandler))
}

// madeIn makes a task of the queue.
func madeIn(t testing.TB, queue domain.QueueName) *domain.Task {
	t.Helper()
	task, err := domain.NewTask(domain.TaskSpec{Message: "m", MaxAttempts: new(3), Queue: new(queue)}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return task
}

func TestStatistics_CountEachThingOnce(t *testing.T) {
	store, ctx := new(statisticsStore), t.Context()
	s := newStatistics(store)
	end := func(how func(*domain.Task) error, began bool) {
		task := claimed(t)
		if began {
			s.AttemptStarting(ctx, task, time.Second)
		}
		if err := how(task); err != nil {
			t.Fatal(err)
		}
		s.AttemptEnded(ctx, task, application.AttemptEnd{Outcome: task.LastOutcome(), Began: began, Took: time.Minute})
	}
	now, policy := time.Now(), domain.RetryPolicy{MaxRescues: 1}
	fail := func(permanent bool) func(*domain.Task) error {
		return func(task *domain.Task) error {
			return task.Fail(1, domain.Failure{Permanent: permanent}, policy, 0, now)
		}
	}
	s.TasksSubmitted(ctx, []*domain.Task{claimed(t), claimed(t)})
	s.TasksCanceled(ctx, []*domain.Task{claimed(t)})
	end(func(task *domain.Task) error { return task.Complete(1, "", now) }, true)
	end(fail(false), true)
	end(fail(true), true)
	end(func(task *domain.Task) error { return task.Release(1, now) }, true)      // its run says nothing
	end(func(task *domain.Task) error { return task.Release(1, now) }, false)     // it was not started
	end(func(task *domain.Task) error { return task.Rescue(policy, now) }, false) // and has failed
	end(func(task *domain.Task) error {
		if err := task.RequestStop(now); err != nil {
			return err
		}
		return task.Release(1, now)
	}, true)

	s.Flush(ctx)
	s.Flush(ctx) // there is nothing more

	got := store.total(domain.DefaultQueue)
	want := domain.QueueCounts{Submitted: 2, Started: 5, Completed: 1, FailedAttempts: 2, Failed: 2, Canceled: 2, Rescued: 1, Wait: got.Wait, Run: got.Run}
	if diff := cmp.Diff(want, got); diff != "" || store.calls != 1 {
		t.Errorf("%d calls, counts (-want +got):\n%s", store.calls, diff)
	}
	if got.Wait.Count() != 5 || got.Wait[domain.BucketOf(time.Second)] != 5 || got.Run.Count() != 4 || got.Run[domain.BucketOf(time.Minute)] != 4 {
		t.Errorf("waits %v, runs %v", got.Wait, got.Run)
	}
}

func TestStatistics_AreStoredEveryTenSecondsUnderTheMinuteInWhichTheyHappened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(statisticsStore)
		s, task := newStatistics(store), claimed(t)
		ctx, stop := context.WithCancel(t.Context())
		go s.Run(ctx)
		begun := time.Now().UTC()
		for range 130 {
			s.TasksSubmitted(ctx, []*domain.Task{task})
			time.Sleep(time.Second)
		}
		stop()
		synctest.Wait()
		want := map[time.Time]int64{begun: 60, begun.Add(time.Minute): 60, begun.Add(2 * time.Minute): 10}
		for minute, n := range want {
			if got := store.sums[domain.DefaultQueue][minute].Submitted; got < n-1 || got > n+1 { // what happens at the very end of an interval is in either
				t.Errorf("%d at %s, want %d", got, minute, n)
			}
		}
		s.Flush(context.WithoutCancel(ctx))
		if got := store.total(domain.DefaultQueue).Submitted; got != 130 {
			t.Errorf("%d in all", got)
		}
	})
}

func TestStatistics_WaitForAStoreThatIsAwayAndSendTheSameBatchAgain(t *testing.T) {
	var out bytes.Buffer
	store := &statisticsStore{err: domain.ErrUnavailable}
	s := telemetry.NewStatistics(store, machineTime{}, slog.New(slog.NewTextHandler(&out, nil)))
	one := []*domain.Task{claimed(t)}
	s.TasksSubmitted(t.Context(), one)
	s.Flush(t.Context())
	first := store.last
	s.TasksSubmitted(t.Context(), one)
	s.TasksSubmitted(t.Context(), one)
	s.Flush(t.Context())
	if diff := cmp.Diff(first, store.last); diff != "" { // the store may have the first after all
		t.Errorf("another batch under the same number (-first +second):\n%s", diff)
	}
	store.err = nil
	s.Flush(t.Context())
	if got := store.total(domain.DefaultQueue).Submitted; got != 3 || store.last.Number != first.Number+1 {
		t.Errorf("%d are stored, with batch %d after %d", got, store.last.Number, first.Number)
	}
	if n := strings.Count(out.String(), "statistics failing"); n != 1 {
		t.Errorf("the outage is told %d times:\n%s", n, out.String())
	}
}

// Who has stopped a program waits for it.
func TestStatistics_AStoreThatHangsHoldsUpNoStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &statisticsStore{hangs: true}
		s := newStatistics(store)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan time.Time, 1)
		go func() {
			s.Run(ctx)
			ended <- time.Now()
		}()
		s.TasksSubmitted(ctx, []*domain.Task{claimed(t)})
		time.Sleep(application.StatisticsInterval + time.Second) // it is being stored
		begun := time.Now()
		stop()
		if took := (<-ended).Sub(begun); took != 0 || store.calls != 1 {
			t.Errorf("it ends after %v, with %d calls", took, store.calls)
		}
		patience, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun = time.Now()
		s.Flush(patience)
		if took := time.Since(begun); took != time.Second {
			t.Errorf("a flush of a second takes %v", took)
		}
		store.hangs = false
		s.Flush(t.Context())
		if got := store.total(domain.DefaultQueue).Submitted; got != 1 {
			t.Errorf("%d are stored of what was given up", got)
		}
	})
}

func TestStatistics_TellSoManyQueuesApartAndLetGoOfThoseThatAreIdle(t *testing.T) {
	store := new(statisticsStore)
	s := newStatistics(store)
	submit := func(from, to int) {
		for i := from; i < to; i++ {
			s.TasksSubmitted(t.Context(), []*domain.Task{madeIn(t, domain.QueueName(fmt.Sprint("q", i)))})
		}
		s.Flush(t.Context())
	}
	submit(0, 250)
	if got := store.total(domain.OtherQueues).Submitted; got != 50 || len(store.sums) != 201 {
		t.Errorf("%d are counted as others, and %d queues", got, len(store.sums))
	}
	for range 100 { // q0 to q49 go on
		submit(0, 50)
	}
	submit(300, 400)
	if got := store.total("q399").Submitted; got != 1 {
		t.Errorf("a new queue counts %d though others are idle", got)
	}
	if got := store.total("q0").Submitted; got != 101 {
		t.Errorf("a queue that is not idle has lost counts: %d", got)
	}
}

func TestStatistics_LoseNothingThatIsCountedMeanwhile(t *testing.T) {
	store := new(statisticsStore)
	s, task := newStatistics(store), claimed(t)
	const each, counters = 20_000, 4
	var all sync.WaitGroup
	for range counters {
		all.Go(func() {
			for range each {
				s.AttemptStarting(t.Context(), task, time.Second)
			}
		})
	}
	for range 50 {
		s.Flush(t.Context())
	}
	all.Wait()
	s.Flush(t.Context())
	if got := store.total(domain.DefaultQueue); got.Started != each*counters || got.Wait.Count() != each*counters {
		t.Errorf("%d started and %d waited, want %d", got.Started, got.Wait.Count(), each*counters)
	}
}

// BenchmarkStatistics is what the statistics of one task cost those who submit and run it.
func BenchmarkStatistics(b *testing.B) {
	s, task, ctx := newStatistics(new(statisticsStore)), madeIn(b, domain.DefaultQueue), b.Context()
	one, end := []*domain.Task{task}, application.AttemptEnd{Outcome: domain.OutcomeCompleted, Began: true, Took: time.Second}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			s.TasksSubmitted(ctx, one)
			s.AttemptStarting(ctx, task, time.Millisecond)
			s.AttemptEnded(ctx, task, end)
		}
	})
}
