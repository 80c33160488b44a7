package contract

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// matches is what a filter means.
func matches(f domain.TaskFilter, s domain.TaskState) bool {
	in := func(at, from, before time.Time) bool {
		return !at.Before(from) && (before.IsZero() || at.Before(before))
	}
	finished := f.FinishedFrom.IsZero() && f.FinishedBefore.IsZero() ||
		s.Status.Ended() && in(s.UpdatedAt, f.FinishedFrom, f.FinishedBefore)
	for key, value := range f.Metadata {
		if got, ok := s.Metadata[key]; !ok || got != value {
			return false
		}
	}
	return (len(f.Statuses) == 0 || slices.Contains(f.Statuses, s.Status)) &&
		(len(f.Queues) == 0 || slices.Contains(f.Queues, s.Queue)) &&
		in(s.CreatedAt, f.CreatedFrom, f.CreatedBefore) && finished && strings.Contains(s.Message, f.Text)
}

func matching(f domain.TaskFilter, tasks []*domain.Task) []*domain.Task {
	return slices.DeleteFunc(newestFirst(tasks), func(task *domain.Task) bool { return !matches(f, task.State()) })
}

// listCombined draws tasks and filters, and checks the pages of each filter
// against what it means.
func listCombined(t *testing.T, s Store) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	draw := rand.New(rand.NewPCG(seed, 1))
	start := now().Add(-time.Hour)
	moment := func() time.Time { return start.Add(time.Duration(draw.IntN(4000)) * time.Microsecond) }
	var tasks []*domain.Task
	for range 80 {
		at, status := moment(), domain.Statuses()[draw.IntN(5)]
		edits := []func(*domain.TaskState){
			born(at), inQueue([]domain.QueueName{"a", "b"}[draw.IntN(2)]), saying([]string{"one", "two", "one and two"}[draw.IntN(3)]), inStatus(status),
		}
		if pairs := draw.IntN(4); pairs > 0 {
			edits = append(edits, described([]string{"k", "1", "l", "2"}[:2*min(pairs, 2)]...))
		}
		if status.Ended() {
			edits = append(edits, endedAt(status, at.Add(time.Duration(draw.IntN(2000))*time.Microsecond)))
		}
		tasks = append(tasks, makeTask(t, edits...))
	}
	add(t, s, tasks...)

	maybe := func() bool { return draw.IntN(4) == 0 }
	for range 150 {
		var f domain.TaskFilter
		for _, i := range draw.Perm(5)[:[]int{0, 0, 1, 1, 2, 3}[draw.IntN(6)]] {
			f.Statuses = append(f.Statuses, domain.Statuses()[i])
		}
		if maybe() {
			f.Queues = []domain.QueueName{"a"}
		}
		for set, at := range map[*time.Time]time.Time{
			&f.CreatedFrom: moment(), &f.CreatedBefore: moment(), &f.FinishedFrom: moment(), &f.FinishedBefore: moment(),
		} {
			if maybe() {
				*set = at
			}
		}
		if maybe() {
			f.Metadata = pairsOf([]string{"k", "1", "l", "2"}[:2+2*draw.IntN(2)]...)
		}
		if maybe() {
			f.Text = "two"
		}
		q := application.TaskQuery{TaskFilter: f, Limit: 1 + draw.IntN(30), Window: []int{3, 10, 79, 80, 81, 1000}[draw.IntN(6)]}
		want := matching(f, tasks)
		wantIDs(t, allPages(t, s, q), want)
		wantCount(t, s, application.TaskQuery{TaskFilter: f, Limit: 1, Window: wide}, len(want), true)
		if t.Failed() {
			t.Fatalf("query %+v", q)
		}
	}
}

// allPages pages to the end, and checks that every page goes on from the last.
func allPages(t *testing.T, s Store, q application.TaskQuery) []*domain.Task {
	t.Helper()
	var got []*domain.Task
	for {
		found := page(t, s, q)
		got = append(got, found.Tasks...)
		next := found.End
		if len(found.Tasks) == q.Limit {
			next = found.Tasks[q.Limit-1].ID()
		}
		for _, task := range found.Tasks {
			if id := task.ID(); slices.Compare(id[:], next[:]) < 0 {
				t.Fatalf("list %+v: stopped at %s, above %s, which it has found", q, next, id)
			}
		}
		if next == (domain.TaskID{}) {
			return got
		}
		if q.Before != (domain.TaskID{}) && slices.Compare(next[:], q.Before[:]) >= 0 {
			t.Fatalf("list %+v: stopped at %s", q, next)
		}
		q.Before = next
	}
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

// listPagesAtWork pages while others add tasks, and misses and doubles none of
// those that were there.
func listPagesAtWork(t *testing.T, s Store) {
	var old []*domain.Task
	for i := range 150 {
		old = append(old, addMade(t, s, saying([]string{"wanted", "other"}[i%2]), described("all", "alike"), inStatus(domain.Statuses()[i%5])))
	}
	stop := make(chan struct{})
	var adding sync.WaitGroup
	adding.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if err := s.Tasks.Add(t.Context(), makeTask(t, saying("wanted"), described("all", "alike"))); err != nil {
					t.Errorf("add: %v", err)
					return
				}
			}
		}
	})
	for _, f := range []domain.TaskFilter{
		{}, {Text: "wanted"}, {Metadata: pairsOf("all", "alike"), Text: "wanted"}, onlyStatus(domain.StatusFailed, domain.StatusCanceled),
		onlyStatus(domain.StatusProcessing), onlyStatus(domain.StatusCompleted), onlyStatus(domain.StatusPending),
	} {
		got := allPages(t, s, application.TaskQuery{TaskFilter: f, Limit: 7, Window: 11})
		for i := 1; i < len(got); i++ {
			if a, b := got[i-1].ID(), got[i].ID(); slices.Compare(a[:], b[:]) <= 0 {
				t.Errorf("%+v: %s comes before %s", f, a, b)
			}
		}
		newest := old[len(old)-1].ID()
		wantIDs(t, slices.DeleteFunc(got, func(task *domain.Task) bool {
			id := task.ID()
			return slices.Compare(id[:], newest[:]) > 0
		}), matching(f, old))
	}
	close(stop)
	adding.Wait()
}

// wantPage checks a page that looks at a part, and where it stopped: nil: nowhere.
func wantPage(t *testing.T, s Store, q application.TaskQuery, end *domain.Task, want ...*domain.Task) {
	t.Helper()
	t.Logf("%+v", q)
	found := page(t, s, q)
	wantIDs(t, found.Tasks, want)
	var wantEnd domain.TaskID
	if end != nil {
		wantEnd = end.ID()
	}
	if found.End != wantEnd {
		t.Errorf("stopped at %s, want %s", found.End, wantEnd)
	}
}

func listWindow(t *testing.T, s Store) {
	var all []*domain.Task // newest first
	for i := range 10 {
		all = slices.Insert(all, 0, addMade(t, s, saying([]string{"one", "two"}[i%2]), ended(domain.StatusCompleted), described("all", fmt.Sprint("of ", i/10))))
	}
	for _, f := range []domain.TaskFilter{
		{Text: "one"}, {Text: "one", Metadata: pairsOf("all", "of 0")}, {Text: "one", Statuses: []domain.Status{domain.StatusCompleted, domain.StatusFailed}},
	} {
		q := application.TaskQuery{TaskFilter: f, Limit: 3, Window: 3}
		wantPage(t, s, q, all[2], all[1])
		q.Window = 4
		wantPage(t, s, q, all[3], all[1], all[3])
		q.Window = 6 // full with the last that it may look at
		wantPage(t, s, q, nil, all[1], all[3], all[5])
		q.Limit, q.Before = 2, all[5].ID()
		wantPage(t, s, q, nil, all[7], all[9])
		q.Limit, q.Window = 3, 4 // has seen everything, and no more than it may
		wantPage(t, s, q, nil, all[7], all[9])
		q.Window = 3
		wantPage(t, s, q, all[8], all[7])
		q.Before, q.Window = all[8].ID(), 1
		wantPage(t, s, q, nil, all[9])
	}
	none := domain.TaskFilter{Text: "three"}
	wantPage(t, s, application.TaskQuery{TaskFilter: none, Limit: 1, Window: 9}, all[8])
	wantPage(t, s, application.TaskQuery{TaskFilter: none, Limit: 1, Window: 10}, nil)
	wantPage(t, s, application.TaskQuery{Limit: 5, Window: 3}, all[2], all[:3]...)
	wantPage(t, s, application.TaskQuery{Limit: 3, Window: 3}, nil, all[:3]...)
	wantPage(t, s, application.TaskQuery{Limit: 1, Window: 1}, nil, all[0])
}

// listRare finds what is rare among all tasks without looking at all the others.
func listRare(t *testing.T, s Store) {
	rare := map[domain.Status]*domain.Task{}
	for _, status := range domain.Statuses() {
		if status != domain.StatusCompleted {
			rare[status] = addMade(t, s, inStatus(status))
		}
	}
	tagged := addMade(t, s, described("only", "one", "other", "pair"), ended(domain.StatusCompleted))
	common := addMany(t, s, 30, ended(domain.StatusCompleted), described("other", "pair"))
	for status, task := range rare {
		wantPage(t, s, application.TaskQuery{TaskFilter: onlyStatus(status), Limit: 5, Window: 10}, nil, task)
	}
	for _, pair := range [][]domain.Status{
		{domain.StatusFailed, domain.StatusCanceled}, {domain.StatusProcessing, domain.StatusPending},
	} {
		q := application.TaskQuery{TaskFilter: onlyStatus(pair...), Limit: 5, Window: 10}
		wantPage(t, s, q, nil, newestFirst([]*domain.Task{rare[pair[0]], rare[pair[1]]})...)
		wantCount(t, s, q, 2, true)
	}
	for _, pairs := range []map[string]string{pairsOf("only", "one"), pairsOf("other", "pair", "only", "one")} {
		wantPage(t, s, application.TaskQuery{TaskFilter: domain.TaskFilter{Metadata: pairs}, Limit: 5, Window: 40}, nil, tagged)
	}
	wantPage(t, s, application.TaskQuery{TaskFilter: domain.TaskFilter{Metadata: pairsOf("only", "one")}, Limit: 5, Window: 1}, nil, tagged)
	// Ranges say where to look.
	at := now().Add(-24 * time.Hour)
	old := addMade(t, s, born(at), ended(domain.StatusCompleted))
	for _, f := range []domain.TaskFilter{
		{CreatedFrom: at, CreatedBefore: at.Add(time.Hour)}, {CreatedBefore: at.Add(time.Hour)},
		{CreatedFrom: at, CreatedBefore: at.Add(time.Second)}, {FinishedFrom: at, FinishedBefore: at.Add(time.Hour)},
	} {
		wantPage(t, s, application.TaskQuery{TaskFilter: f, Limit: 5, Window: 3}, nil, old)
	}
	newest := newestFirst(common)[0].State().CreatedAt
	wantPage(t, s, application.TaskQuery{TaskFilter: domain.TaskFilter{CreatedFrom: newest.Add(time.Second)}, Limit: 5, Window: 1}, nil)
}

// listImpossible asks for what no task can have, half of a character included.
func listImpossible(t *testing.T, s Store) {
	addMade(t, s, described("a", "b"), saying("Hello é"))
	for _, text := range []string{"\x00", "Hello\x00", "\xff", "\xed\xa0\x80", "Hello \xc3"} {
		wantFound(t, s, domain.TaskFilter{Text: text})
		wantFound(t, s, domain.TaskFilter{Metadata: map[string]string{"a": text}})
		wantFound(t, s, domain.TaskFilter{Metadata: map[string]string{text: "b"}})
	}
}

func countWindow(t *testing.T, s Store) {
	for i := range 10 {
		addMade(t, s, saying([]string{"one", "two"}[i%2]), ended(domain.StatusCompleted), described("a", "b"))
	}
	for _, f := range []domain.TaskFilter{{Text: "two"}, {Text: "two", Metadata: pairsOf("a", "b")}} {
		for window, want := range map[int]int{1: 1, 4: 2, 9: 5, 10: 5, 11: 5} {
			wantCount(t, s, application.TaskQuery{TaskFilter: f, Limit: 1, Window: window}, want, window >= 10)
		}
	}
	wantCount(t, s, application.TaskQuery{Limit: 1, Window: 3}, 3, false)
	wantCount(t, s, application.TaskQuery{Limit: 1, Window: 10}, 10, true)
	before := list(t, s, application.TaskQuery{Limit: 10})[3].ID()
	wantCount(t, s, application.TaskQuery{TaskFilter: domain.TaskFilter{Text: "two"}, Before: before, Limit: 1, Window: 10}, 3, true)
}

func countLimit(t *testing.T, s Store) {
	wantCount(t, s, application.TaskQuery{Limit: 1, Window: 1}, 0, true)
	addMany(t, s, 5)
	addMany(t, s, 5, ended(domain.StatusFailed))
	for _, f := range []domain.TaskFilter{{}, onlyStatus(domain.StatusPending, domain.StatusFailed)} {
		wantCount(t, s, application.TaskQuery{TaskFilter: f, Limit: 2, Window: wide}, 10, true)
	}
	wantCount(t, s, application.TaskQuery{TaskFilter: onlyStatus(domain.StatusPending), Limit: 2, Window: wide}, 5, true)
	wantCount(t, s, application.TaskQuery{TaskFilter: onlyStatus(domain.StatusFailed), Limit: 2, Window: wide}, 5, true)
}

// Pages of large tasks are as long as their bytes allow, and none is left out.
func listBytes(t *testing.T, s Store) {
	const size = 10_000
	var want []*domain.Task
	for i := range 12 {
		text := strings.Repeat("x", size)
		large := saying("m" + text)
		if i%2 == 0 { // all texts count
			large = func(s *domain.TaskState) {
				ended(domain.StatusCompleted)(s)
				s.Message, s.Result = "m", text
			}
		}
		want = append(want, addMade(t, s, large, described("a", "b")))
		addMade(t, s, saying("small"))
	}
	want = newestFirst(want)
	for _, f := range []domain.TaskFilter{
		{Metadata: pairsOf("a", "b")},
		{Metadata: pairsOf("a", "b"), Text: "m"},
	} {
		for bytes, n := range map[int]int{1: 1, size: 1, 3 * size: 2, 5*size + 5*application.TaskOverhead + 1000: 5} {
			var all []*domain.Task
			q := application.TaskQuery{TaskFilter: f, Limit: 100, Bytes: bytes, Window: wide}
			for {
				found := page(t, s, q)
				all = append(all, found.Tasks...)
				if !found.Full {
					break
				}
				if len(found.Tasks) != n || found.End != found.Tasks[n-1].ID() {
					t.Fatalf("%d bytes: %d tasks, stopped at %s; want %d tasks", bytes, len(found.Tasks), found.End, n)
				}
				q.Before = found.End
			}
			wantIDs(t, all, want)
		}
	}
	found := page(t, s, application.TaskQuery{Limit: 2, Bytes: 1 << 20, Window: wide})
	if len(found.Tasks) != 2 || found.Full {
		t.Errorf("a page that is full by number: %d tasks, full by bytes: %v", len(found.Tasks), found.Full)
	}
}
