package contract

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var settingsChecks = map[string]check{
	"QueuesCountWhatWaitsAndRuns":       infoCounts,
	"QueuesNameWhateverIsKnownOfThem":   infoNames,
	"QueuesCountTheWorkersThatTakeThem": infoWorkers,
	"QueuesCountNoWorkerThatIsLost":     infoSilent,
	"QueuesCountAbandonedHandlers":      infoAbandoned,
	"QueuesPageByName":                  infoPages,
	"GetOfAnUnknownQueueIsNotFound":     infoUnknown,
	"ChangeStoresWhatIsSetOfAQueue":     changeStores,
	"ChangeThatIsRefusedStoresNothing":  changeRefused,
	"ChangesOfAQueueWaitForOneAnother":  changeConcurrently,
	"AheadCountsWhatIsPulledBefore":     aheadCounts,
	"AheadStopsAtItsLimit":              aheadStops,
	"TakersSayHowTheirSlotsAreInUse":    takers,
}

// info looks at one queue.
func info(t *testing.T, s Store, name domain.QueueName) application.QueueInfo {
	t.Helper()
	q, err := s.Queues.Get(t.Context(), name)
	if err != nil {
		t.Fatalf("get queue %s: %v", name, err)
	}
	return q
}

// wantInfos checks the list of queues, and what Get says of each.
func wantInfos(t *testing.T, s Store, want ...application.QueueInfo) {
	t.Helper()
	got, err := s.Queues.List(t.Context(), application.QueueQuery{Limit: 1000})
	if err != nil {
		t.Fatalf("list queues: %v", err)
	}
	if len(got) != 0 || len(want) != 0 {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("queues (-want +got):\n%s", diff)
		}
	}
	for _, q := range want {
		got, err := s.Queues.Get(t.Context(), q.Name)
		if err != nil {
			t.Errorf("get queue %s: %v", q.Name, err)
		}
		if diff := cmp.Diff(q, got); diff != "" {
			t.Errorf("queue %s (-want +got):\n%s", q.Name, diff)
		}
	}
}

func infoCounts(t *testing.T, s Store) {
	at := now()
	in := func(name domain.QueueName, edits ...func(*domain.TaskState)) {
		addMade(t, s, append(edits, inQueue(name))...)
	}
	since := func(at time.Time) func(*domain.TaskState) {
		return func(s *domain.TaskState) { s.RunAt, s.QueuedAt = at, at }
	}
	in("a", since(at.Add(-time.Minute)))
	in("a", since(at.Add(-2*time.Minute)), marked(at.Add(-time.Second))) // pushed again: it waits no less for that
	in("a", since(at), func(s *domain.TaskState) { s.Priority = 9 })
	in("a", waiting(at.Add(-90*time.Second))) // due
	in("a", waiting(at.Add(time.Hour)))
	in("a", waiting(at.Add(time.Hour)), tried(1)) // backs off
	in("a", heldBy("w", 1))
	in("b", waiting(at.Add(-time.Hour))) // nothing but due
	in("c", waiting(at.Add(time.Hour)))
	in("d", heldBy("w", 1))
	in("d", heldBy("dead", 1), askedToStop)
	for _, status := range []domain.Status{domain.StatusCompleted, domain.StatusCanceled, domain.StatusFailed} {
		in("a", ended(status))
		in("ended", ended(status))
	}
	wantInfos(t, s,
		application.QueueInfo{QueueSettings: domain.QueueSettings{Name: "a"}, Pending: 4, Scheduled: 2, Processing: 1, Oldest: at.Add(-2 * time.Minute)},
		application.QueueInfo{QueueSettings: domain.QueueSettings{Name: "b"}, Pending: 1, Oldest: at.Add(-time.Hour)},
		application.QueueInfo{QueueSettings: domain.QueueSettings{Name: "c"}, Scheduled: 1},
		application.QueueInfo{QueueSettings: domain.QueueSettings{Name: "d"}, Processing: 2})
}

func infoNames(t *testing.T, s Store) {
	wantInfos(t, s)
	at := now()
	add(t, s, makeTask(t, inQueue("b.task"), waiting(at)), makeTask(t, inQueue("b"), waiting(at)), makeTask(t, inQueue("0"), waiting(at)))
	set := setQueue(t, s, "b-set", maxRunning(7))
	b := beatOf(t, domain.NewWorkerID(), 1, longInterval)
	b.Worker.Queues = []domain.QueueName{"b_worker", "b-set"}
	beat(t, s, b)
	one := func(name domain.QueueName) application.QueueInfo {
		return application.QueueInfo{QueueSettings: domain.QueueSettings{Name: name}, Pending: 1, Oldest: at}
	}
	wantInfos(t, s, one("0"), one("b"), // in the order of their bytes
		application.QueueInfo{QueueSettings: set, Workers: 1}, one("b.task"),
		application.QueueInfo{QueueSettings: domain.QueueSettings{Name: "b_worker"}, Workers: 1})
}

func infoWorkers(t *testing.T, s Store) {
	setQueue(t, s, "q", paused(true))
	wantWorkers := func(want int) {
		t.Helper()
		if got, err := s.Queues.Get(t.Context(), "q"); err != nil || got.Workers != want {
			t.Errorf("%d workers take the queue, %v; want %d", got.Workers, err, want)
		}
	}
	wantWorkers(0)
	first, second := beatOf(t, domain.NewWorkerID(), 1, longInterval), beatOf(t, domain.NewWorkerID(), 1, longInterval)
	first.Worker.Queues = []domain.QueueName{"q", "other"}
	second.Worker.Queues = []domain.QueueName{"other", "q"}
	beat(t, s, first)
	beat(t, s, second)
	enlist(t, s) // takes none
	wantWorkers(2)
	if err := s.Workers.Leave(t.Context(), second.Worker.ID); err != nil {
		t.Fatal(err)
	}
	wantWorkers(1)
	first.Number, first.Worker.Queues = 2, []domain.QueueName{"other"}
	beat(t, s, first)
	wantWorkers(0)
}

// infoAbandoned checks the sums over the workers that live and take the queue, one of
// which names it twice, as their latest beats tell.
func infoAbandoned(t *testing.T, s Store) {
	some, full, lost := beatOf(t, domain.NewWorkerID(), 1, longInterval), beatOf(t, domain.NewWorkerID(), 1, longInterval), beatOf(t, domain.NewWorkerID(), 1, time.Millisecond)
	some.Worker.Queues, some.Worker.Abandoned = []domain.QueueName{"q", "other", "q"}, 2
	full.Worker.Queues, full.Worker.Abandoned, full.Worker.Stuck = []domain.QueueName{"q"}, 5, true
	lost.Worker.Queues, lost.Worker.Abandoned, lost.Worker.Stuck = []domain.QueueName{"q"}, 100, true
	for _, b := range []application.Beat{some, full, lost} {
		beat(t, s, b)
	}
	time.Sleep(domain.BeatsPerLease * 2 * time.Millisecond)
	want := func(name domain.QueueName, workers, abandoned, stuck int) {
		t.Helper()
		if got := info(t, s, name); got.Workers != workers || got.Abandoned != abandoned || got.Stuck != stuck {
			t.Errorf("queue %s: %d workers, %d abandoned handlers, %d stuck; want %d, %d, %d",
				name, got.Workers, got.Abandoned, got.Stuck, workers, abandoned, stuck)
		}
	}
	want("q", 2, 7, 1)
	want("other", 1, 2, 0)
	full.Number, full.Worker.Abandoned, full.Worker.Stuck = 2, 1, false
	beat(t, s, full)
	want("q", 2, 3, 0)
}

// Each worker is judged by its own beats: one that beats once in an hour lives
// while one that beats a thousand times a second is lost.
func infoSilent(t *testing.T, s Store) {
	slow, quick := beatOf(t, domain.NewWorkerID(), 1, time.Hour), beatOf(t, domain.NewWorkerID(), 1, time.Millisecond)
	slow.Worker.Queues = []domain.QueueName{"both"}
	quick.Worker.Queues = []domain.QueueName{"both", "quick"}
	beat(t, s, slow)
	beat(t, s, quick)
	time.Sleep(domain.BeatsPerLease * 2 * time.Millisecond)
	if got := info(t, s, "both"); got.Workers != 1 {
		t.Errorf("%d workers take the queue; want the one that lives", got.Workers)
	}
	if got, err := s.Queues.Get(t.Context(), "quick"); !errors.Is(err, domain.ErrQueueNotFound) {
		t.Errorf("a queue that only a lost worker takes: %+v, %v; want ErrQueueNotFound", got, err)
	}
}

func infoPages(t *testing.T, s Store) {
	// A dash sorts before a digit only where bytes are compared.
	want := []domain.QueueName{"q", "q-1", "q.1", "q0", "q1", "q_1", "qa"}
	tasks := make([]*domain.Task, len(want))
	for i, name := range want {
		tasks[len(want)-1-i] = makeTask(t, inQueue(name))
	}
	add(t, s, tasks...)
	setQueue(t, s, "q00", maxRunning(1)) // without a task
	want = slices.Insert(want, 4, "q00")
	for limit := 1; limit <= len(want)+1; limit++ {
		var got []domain.QueueName
		for q := (application.QueueQuery{Limit: limit}); ; q.After = got[len(got)-1] {
			page, err := s.Queues.List(t.Context(), q)
			if err != nil || len(page) > limit {
				t.Fatalf("list %+v: %d queues, %v", q, len(page), err)
			}
			for _, info := range page {
				if got = append(got, info.Name); info.Name != "q00" && info.Pending != 1 {
					t.Errorf("queue %s has %d tasks that wait", info.Name, info.Pending)
				}
			}
			if len(page) < limit {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pages of %d (-want +got):\n%s", limit, diff)
		}
	}
}

func infoUnknown(t *testing.T, s Store) {
	addMade(t, s, inQueue("ended"), ended(domain.StatusFailed))
	addMade(t, s, inQueue("q"))
	for _, name := range []domain.QueueName{"ended", "never", "q.", "Q"} {
		if got, err := s.Queues.Get(t.Context(), name); !errors.Is(err, domain.ErrQueueNotFound) {
			t.Errorf("get queue %s: %+v, %v; want ErrQueueNotFound", name, got, err)
		}
	}
}

func changeStores(t *testing.T, s Store) {
	other := setQueue(t, s, "other", maxRunning(9))
	state := domain.QueueSettings{Name: "q"}
	for _, c := range []domain.QueueChange{
		{}, paused(true), maxRunning(1_000_000), rate(1_000_000, time.Second), rate(1, time.Hour), paused(false), maxRunning(0), rate(0, 0),
	} {
		if err := state.Change(c); err != nil {
			t.Fatal(err)
		}
		if got := setQueue(t, s, "q", c); got != state {
			t.Errorf("decide saw %+v, want %+v", got, state)
		}
		wantInfos(t, s, application.QueueInfo{QueueSettings: other}, application.QueueInfo{QueueSettings: state})
	}
	// All that decide has made of it is stored.
	state = domain.QueueSettings{Name: "q", Paused: true, MaxRunning: 3, Rate: domain.Rate{Count: 7, Per: time.Minute}, FullAt: now().Add(time.Hour)}
	if err := s.Queues.Change(t.Context(), "q", func(q *domain.QueueSettings) error { *q = state; return nil }); err != nil {
		t.Fatal(err)
	}
	wantInfos(t, s, application.QueueInfo{QueueSettings: other}, application.QueueInfo{QueueSettings: state})
}

func changeRefused(t *testing.T, s Store) {
	state := setQueue(t, s, "q", maxRunning(2))
	refusal := errors.New("not this one")
	refuse := func(q *domain.QueueSettings) error {
		q.Paused, q.MaxRunning = true, 1
		return refusal
	}
	for _, name := range []domain.QueueName{"q", "unset"} {
		if err := s.Queues.Change(t.Context(), name, refuse); !errors.Is(err, refusal) {
			t.Errorf("change of %s: %v, want what decide says", name, err)
		}
	}
	wantInfos(t, s, application.QueueInfo{QueueSettings: state})
}

func changeConcurrently(t *testing.T, s Store) {
	const changers = 20
	var all sync.WaitGroup
	for range changers {
		all.Go(func() {
			if err := s.Queues.Change(t.Context(), "q", func(q *domain.QueueSettings) error { q.MaxRunning++; return nil }); err != nil {
				t.Errorf("change: %v", err)
			}
		})
	}
	all.Wait()
	if got := info(t, s, "q"); got.MaxRunning != changers {
		t.Errorf("%d changes of %d are stored", got.MaxRunning, changers)
	}
}

func aheadCounts(t *testing.T, s Store) {
	at := now().Add(-time.Hour)
	made := func(name domain.QueueName, priority int, mark time.Time) *domain.Task {
		return addMade(t, s, inQueue(name), marked(mark), func(s *domain.TaskState) { s.Priority, s.RunAt = priority, at })
	}
	high, higher := made("q", 5, at), made("q", 9, at.Add(time.Minute))
	first, second, twin := made("q", 3, at), made("q", 3, at.Add(time.Microsecond)), made("q", 3, at.Add(time.Microsecond))
	low := made("q", 0, at.Add(-time.Minute))
	other := made("q.", 9, at.Add(-time.Minute))
	for _, edit := range []func(*domain.TaskState){waiting(at), heldBy("w", 1), ended(domain.StatusCompleted), ended(domain.StatusFailed)} {
		addMade(t, s, inQueue("q"), func(s *domain.TaskState) { s.Priority = 9 }, edit)
	}
	for name, x := range map[string]struct {
		task *domain.Task
		want int
	}{
		"highest": {higher, 0}, "high": {high, 1}, "first": {first, 2}, "second": {second, 3}, "marked together": {twin, 3},
		"low": {low, 5}, "alone": {other, 0}, "of no other": {makeTask(t, inQueue("none")), 0},
	} {
		if got, err := s.Queues.Ahead(t.Context(), x.task, 100); err != nil || got != x.want {
			t.Errorf("%s: %d are ahead, %v; want %d", name, got, err, x.want)
		}
	}
}

func aheadStops(t *testing.T, s Store) {
	at := now().Add(-time.Hour)
	addMany(t, s, 3, inQueue("q"), marked(at), func(s *domain.TaskState) { s.Priority, s.RunAt = 1, at })
	addMany(t, s, 4, inQueue("q"), marked(at), func(s *domain.TaskState) { s.RunAt = at })
	task := addMade(t, s, inQueue("q"))
	for limit, want := range map[int]int{1: 1, 3: 3, 5: 5, 7: 7, 8: 7} {
		if got, err := s.Queues.Ahead(t.Context(), task, limit); err != nil || got != want {
			t.Errorf("at most %d: %d are ahead, %v; want %d", limit, got, err, want)
		}
	}
}

// takers checks who takes a queue: neither who has left nor who is lost, and one that
// names it twice only once.
func takers(t *testing.T, s Store) {
	some, full, lost, other := beatOf(t, domain.NewWorkerID(), 1, longInterval), beatOf(t, domain.NewWorkerID(), 1, longInterval),
		beatOf(t, domain.NewWorkerID(), 1, time.Millisecond), beatOf(t, domain.NewWorkerID(), 1, longInterval)
	some.Worker.Capacity, some.Worker.Running, some.Worker.Queues = 10, 3, []domain.QueueName{"q", "a", "q", "b"}
	full.Worker.Capacity, full.Worker.Running, full.Worker.Queues, full.Worker.Stuck = 20, 20, []domain.QueueName{"q"}, true
	lost.Worker.Queues, other.Worker.Queues = []domain.QueueName{"q"}, []domain.QueueName{"a", "b"}
	for _, b := range []application.Beat{some, full, lost, other} {
		beat(t, s, b)
	}
	time.Sleep(domain.BeatsPerLease * 2 * time.Millisecond)
	want := func(name domain.QueueName, want ...application.Taker) {
		t.Helper()
		got, err := s.Queues.Takers(t.Context(), name)
		if err != nil {
			t.Fatalf("takers of %s: %v", name, err)
		}
		slices.SortFunc(got, func(a, b application.Taker) int { return a.Slots - b.Slots })
		if diff := cmp.Diff(want, got); diff != "" && len(want)+len(got) > 0 {
			t.Errorf("takers of %s (-want +got):\n%s", name, diff)
		}
	}
	fullUse := domain.SlotUse{Slots: 20, Running: 20, Queues: 1}
	want("q", application.Taker{SlotUse: domain.SlotUse{Slots: 10, Running: 3, Queues: 3}, Idle: true}, application.Taker{SlotUse: fullUse, Idle: true, Stuck: true})
	want("nobody's")
	held := func(by application.Beat, name domain.QueueName) {
		addMade(t, s, inQueue(name), heldBy(by.Worker.ID, 1))
	}
	held(some, "q")
	held(some, "q")
	held(some, "b")
	held(some, "formerly") // it took this queue in an earlier life
	held(full, "a")
	addMade(t, s, inQueue("a"), waiting(now()))
	use := domain.SlotUse{Slots: 10, Running: 3, Queues: 3, Busy: 2}
	want("q", application.Taker{SlotUse: use}, application.Taker{SlotUse: fullUse, Idle: true, Stuck: true})
	want("b", application.Taker{SlotUse: use}, application.Taker{SlotUse: domain.SlotUse{Slots: 100, Running: 7, Queues: 2}, Idle: true})
	want("a", application.Taker{SlotUse: use, Idle: true}, application.Taker{SlotUse: domain.SlotUse{Slots: 100, Running: 7, Queues: 2}, Idle: true})
}
