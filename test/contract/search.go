package contract

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var searchChecks = map[string]check{
	"ListIsNewestFirst":             listNewestFirst,
	"ListSelectsByStatus":           listByStatus,
	"ListSelectsByQueue":            listByQueue,
	"ListSelectsByMetadata":         listByMetadata,
	"ListSelectsByText":             listByText,
	"ListSelectsByCreation":         listByCreation,
	"ListSelectsByEnd":              listByEnd,
	"ListFollowsChanges":            listFollowsChanges,
	"ListIsWhatTheFiltersSay":       listCombined,
	"ListPagesByKeyset":             listPages,
	"ListPagesWhileOthersArrive":    listPagesAtWork,
	"ListStopsAtItsBytes":           listBytes,
	"ListStopsAtItsWindow":          listWindow,
	"ListFindsWhatIsRareAtOnce":     listRare,
	"ListOfTheImpossibleIsEmpty":    listImpossible,
	"CountIsOfTheWindow":            countWindow,
	"CountIgnoresTheLimitOfThePage": countLimit,
}

// wide is a window over all that any check stores.
const wide = 1 << 20

// list returns the tasks of a page; without a window, of one that sees everything.
func list(t *testing.T, s Store, q application.TaskQuery) []*domain.Task {
	t.Helper()
	if q.Window == 0 {
		q.Window = wide
	}
	found := page(t, s, q)
	if q.Window == wide && found.End != (domain.TaskID{}) {
		t.Errorf("list %+v: stopped at %s, having seen everything", q, found.End)
	}
	return found.Tasks
}

// page lists, and checks what holds of every list.
func page(t *testing.T, s Store, q application.TaskQuery) application.SearchResult {
	t.Helper()
	found, err := s.Search.List(t.Context(), q)
	if err != nil {
		t.Fatalf("list %+v: %v", q, err)
	}
	full := len(found.Tasks) >= q.Limit
	if len(found.Tasks) > q.Limit || full && found.End != (domain.TaskID{}) {
		t.Fatalf("list %+v: %d tasks, stopped at %s", q, len(found.Tasks), found.End)
	}
	return found
}

// wantFound checks which tasks a filter finds, in one list and in the count.
func wantFound(t *testing.T, s Store, f domain.TaskFilter, want ...*domain.Task) {
	t.Helper()
	t.Logf("%+v", f)
	wantIDs(t, list(t, s, application.TaskQuery{TaskFilter: f, Limit: 1000}), newestFirst(want))
	wantCount(t, s, application.TaskQuery{TaskFilter: f, Limit: 1, Window: wide}, len(want), true)
}

func wantCount(t *testing.T, s Store, q application.TaskQuery, want int, wantAll bool) {
	t.Helper()
	if n, all, err := s.Search.Count(t.Context(), q); err != nil || n != want || all != wantAll {
		t.Errorf("count %+v: %d, all %v, %v; want %d, all %v", q, n, all, err, want, wantAll)
	}
}

// born makes it a task of that moment.
func born(at time.Time) func(*domain.TaskState) {
	return func(s *domain.TaskState) {
		s.ID, s.CreatedAt, s.UpdatedAt, s.RunAt = domain.NewTaskID(at), at, at, at
		if !s.QueuedAt.IsZero() {
			s.QueuedAt = at
		}
	}
}

// endedAt makes it a task that has ended then.
func endedAt(status domain.Status, at time.Time) func(*domain.TaskState) {
	return func(s *domain.TaskState) {
		ended(status)(s)
		s.UpdatedAt = at
	}
}

func inQueue(name domain.QueueName) func(*domain.TaskState) {
	return func(s *domain.TaskState) { s.Queue = name }
}

func saying(message string) func(*domain.TaskState) {
	return func(s *domain.TaskState) { s.Message = message }
}

// described gives the task metadata: a key, its value, and so on.
func described(pairs ...string) func(*domain.TaskState) {
	return func(s *domain.TaskState) { s.Metadata = pairsOf(pairs...) }
}

func pairsOf(texts ...string) map[string]string {
	pairs := map[string]string{}
	for pair := range slices.Chunk(texts, 2) {
		pairs[pair[0]] = pair[1]
	}
	return pairs
}

// inStatus makes it a task of that status.
func inStatus(status domain.Status) func(*domain.TaskState) {
	switch status {
	case domain.StatusPending:
		return func(*domain.TaskState) {}
	case domain.StatusProcessing:
		return heldBy("worker", 1)
	default:
		return ended(status)
	}
}

func onlyStatus(statuses ...domain.Status) domain.TaskFilter {
	return domain.TaskFilter{Statuses: statuses}
}

func listNewestFirst(t *testing.T, s Store) {
	wantIDs(t, list(t, s, application.TaskQuery{Limit: 10}), nil)
	tasks := addMany(t, s, 20)
	// Ids decide, not times, and they sort as unsigned bytes.
	for _, id := range []uuid.UUID{uuid.Max, uuid.MustParse("7fffffff-ffff-4fff-bfff-ffffffffffff"),
		uuid.MustParse("80000000-0000-4000-8000-000000000000"), uuid.MustParse("00000000-0000-4000-8000-000000000001")} {
		tasks = append(tasks, addMade(t, s, described("a", "b"), func(s *domain.TaskState) {
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
	wantFound(t, s, domain.TaskFilter{Metadata: pairsOf("a", "b")}, tasks[20:]...)
	wantFound(t, s, onlyStatus(domain.StatusPending), tasks...)
}

func listByStatus(t *testing.T, s Store) {
	byStatus := map[domain.Status][]*domain.Task{}
	for range 3 {
		for _, status := range domain.Statuses() {
			byStatus[status] = append(byStatus[status], addMade(t, s, inStatus(status)))
		}
	}
	// Pending is one status, whether it waits for its time or for a worker.
	byStatus[domain.StatusPending] = append(byStatus[domain.StatusPending], addMade(t, s, waiting(now().Add(time.Hour))))
	sets := [][]domain.Status{{domain.StatusFailed, domain.StatusFailed}, domain.Statuses()}
	for i, one := range domain.Statuses() {
		sets = append(sets, []domain.Status{one})
		for _, other := range domain.Statuses()[:i] {
			sets = append(sets, []domain.Status{one, other})
		}
	}
	for _, statuses := range sets {
		var want []*domain.Task
		for _, status := range domain.Statuses() {
			if slices.Contains(statuses, status) {
				want = append(want, byStatus[status]...)
			}
		}
		wantFound(t, s, onlyStatus(statuses...), want...)
		// From one on, and no more than one.
		want = newestFirst(want)
		wantIDs(t, list(t, s, application.TaskQuery{TaskFilter: onlyStatus(statuses...), Before: want[0].ID(), Limit: 1}), want[1:2])
	}
}

func listByQueue(t *testing.T, s Store) {
	first, twin, second := addMade(t, s, inQueue("a")), addMade(t, s, inQueue("a")), addMade(t, s, inQueue("a.b"))
	other := addMade(t, s)
	for _, x := range []struct {
		queues []domain.QueueName
		want   []*domain.Task
	}{
		{[]domain.QueueName{"a"}, []*domain.Task{first, twin}},
		{[]domain.QueueName{"a.b"}, []*domain.Task{second}},
		{[]domain.QueueName{"a", "a.b", "a"}, []*domain.Task{first, twin, second}},
		{[]domain.QueueName{domain.DefaultQueue, "none"}, []*domain.Task{other}},
		{[]domain.QueueName{"b"}, nil},
	} {
		wantFound(t, s, domain.TaskFilter{Queues: x.queues}, x.want...)
	}
}

func listByMetadata(t *testing.T, s Store) {
	odd := `it's "100%" \ _ é` + "\n\U0001F4A5"
	plain := addMade(t, s, described("user", "7", "order", "12"))
	twin := addMade(t, s, described("user", "7"), ended(domain.StatusCompleted))
	other := addMade(t, s, described("user", "77", "order", "7"))
	strange := addMade(t, s, described("user", odd, "empty", ""))
	addMade(t, s)
	for _, x := range []struct {
		pairs map[string]string
		want  []*domain.Task
	}{
		{pairsOf("user", "7"), []*domain.Task{plain, twin}},
		{pairsOf("user", "7", "order", "12"), []*domain.Task{plain}},
		{pairsOf("order", "7"), []*domain.Task{other}},
		{pairsOf("user", "7", "order", "7"), nil}, // each of another task
		{pairsOf("user", "7", "order", "1"), nil},
		{pairsOf("User", "7"), nil},
		{pairsOf("user", ""), nil},
		{pairsOf("7", "user"), nil},
		{pairsOf("empty", ""), []*domain.Task{strange}},
		{pairsOf("user", odd, "empty", ""), []*domain.Task{strange}},
		{pairsOf("none", "x"), nil},
	} {
		wantFound(t, s, domain.TaskFilter{Metadata: x.pairs}, x.want...)
	}
	// Metadata is written with the task, and stays when the task changes.
	canceled := get(t, s, plain.ID())
	if err := canceled.Cancel(now()); err != nil {
		t.Fatal(err)
	}
	if err := s.Tasks.Save(t.Context(), canceled); err != nil {
		t.Fatal(err)
	}
	wantFound(t, s, domain.TaskFilter{Metadata: pairsOf("user", "7"), Statuses: []domain.Status{domain.StatusCanceled}}, plain)
}

func listByText(t *testing.T, s Store) {
	plain := addMade(t, s, saying("Invoice 100% of O'Brien\nsecond_line \\ \"quoted\""))
	other := addMade(t, s, saying("invoice 1000 of Ümit \U0001F469\u200D\U0001F680"))
	long := addMade(t, s, saying(strings.Repeat("padding ", 20_000)+"needle"))
	for text, want := range map[string][]*domain.Task{
		"Invoice":        {plain}, // as it is written
		"nvoice":         {plain, other},
		"invoice 100":    {other},
		"100%":           {plain},
		"1%":             nil, // no pattern
		"second_line":    {plain},
		"second-line":    nil,
		"O'Brien\nsec":   {plain},
		`\ "quoted"`:     {plain},
		"Ümit":           {other},
		"U\u0308mit":     nil, // no other spelling of the same
		"\U0001F680":     {other},
		"needle":         {long},
		" ":              {plain, other, long},
		"needle padding": nil,
		"{}":             nil,
	} {
		wantFound(t, s, domain.TaskFilter{Text: text}, want...)
	}
}

// bounds are moments at which a range may go wrong: a whole millisecond, which is
// what an id tells, and one within.
func bounds() []time.Time {
	at := now().Truncate(time.Millisecond)
	return []time.Time{at, at.Add(437 * time.Microsecond), at.Add(999 * time.Microsecond)}
}

func listByCreation(t *testing.T, s Store) {
	for i, at := range bounds() {
		queue := domain.QueueName(fmt.Sprint("q", i))
		before, exact, after := addMade(t, s, inQueue(queue), born(at.Add(-time.Microsecond))),
			addMade(t, s, inQueue(queue), born(at)), addMade(t, s, inQueue(queue), born(at.Add(time.Microsecond)))
		wantRange(t, s, at, []*domain.Task{before, exact, after}, func(from, to time.Time) domain.TaskFilter {
			return domain.TaskFilter{Queues: []domain.QueueName{queue}, CreatedFrom: from, CreatedBefore: to}
		})
	}
}

func listByEnd(t *testing.T, s Store) {
	for i, at := range bounds() {
		queue := domain.QueueName(fmt.Sprint("q", i))
		finished := func(status domain.Status, after time.Duration) *domain.Task {
			return addMade(t, s, inQueue(queue), born(at.Add(-time.Hour)), endedAt(status, at.Add(after)))
		}
		three := []*domain.Task{finished(domain.StatusCompleted, -time.Microsecond), finished(domain.StatusFailed, 0), finished(domain.StatusCanceled, time.Microsecond)}
		// What has not ended has no end, whenever it changed.
		touch := func(s *domain.TaskState) { s.UpdatedAt = at }
		addMade(t, s, inQueue(queue), born(at.Add(-time.Hour)), touch)
		addMade(t, s, inQueue(queue), born(at.Add(-time.Hour)), heldBy("worker", 1), touch)
		filter := func(from, to time.Time) domain.TaskFilter {
			return domain.TaskFilter{Queues: []domain.QueueName{queue}, FinishedFrom: from, FinishedBefore: to}
		}
		wantRange(t, s, at, three, filter)

		// A task that ends in the moment of its birth is no exception.
		f := filter(at.Add(time.Minute), at.Add(time.Minute+time.Microsecond))
		born := addMade(t, s, inQueue(queue), born(at.Add(time.Minute)), ended(domain.StatusCanceled))
		wantFound(t, s, f, born)
		f.Statuses = []domain.Status{domain.StatusPending, domain.StatusProcessing}
		wantFound(t, s, f)
		f = filter(at, time.Time{})
		f.Statuses = []domain.Status{domain.StatusPending, domain.StatusCanceled}
		wantFound(t, s, f, three[2], born)
	}
}

// wantRange checks ranges around three tasks that are a microsecond before, at and
// a microsecond after the given time.
func wantRange(t *testing.T, s Store, at time.Time, three []*domain.Task, filter func(from, to time.Time) domain.TaskFilter) {
	t.Helper()
	var open time.Time
	old, far := time.Date(1960, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC)
	const tick = time.Microsecond
	for _, x := range []struct {
		from, to time.Time
		want     []*domain.Task
	}{
		{at, open, three[1:]},
		{open, at, three[:1]},
		{at, at.Add(tick), three[1:2]},
		{at.Add(-tick), at.Add(2 * tick), three},
		{at.Add(tick), open, three[2:]},
		{open, at.Add(tick), three[:2]},
		{at, at, nil},
		{at.Add(tick), at.Add(-tick), nil},
		{at.Add(time.Nanosecond), open, three[2:]}, // between two moments
		{open, at.Add(time.Nanosecond), three[:2]},
		{at.Add(time.Hour), open, nil},
		{open, at.Add(-time.Hour).Add(-tick), nil},
		{old, far, three},
		{open, old, nil},
		{far, open, nil},
		{at.In(time.FixedZone("", 3600)), open, three[1:]},
	} {
		wantFound(t, s, filter(x.from, x.to), x.want...)
	}
}

func listFollowsChanges(t *testing.T, s Store) {
	task := addMade(t, s, described("a", "b"), ended(domain.StatusFailed))
	reopened := get(t, s, task.ID())
	if err := reopened.Reopen(now()); err != nil {
		t.Fatal(err)
	}
	if err := s.Tasks.Save(t.Context(), reopened); err != nil {
		t.Fatal(err)
	}
	for _, status := range domain.Statuses() {
		var want []*domain.Task
		if status == domain.StatusPending {
			want = []*domain.Task{task}
		}
		wantFound(t, s, onlyStatus(status), want...)
		wantFound(t, s, domain.TaskFilter{Statuses: []domain.Status{status}, Metadata: pairsOf("a", "b")}, want...)
	}
	for _, found := range list(t, s, application.TaskQuery{Limit: 2}) {
		wantState(t, found, reopened.State())
	}
}
