package contract

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// queueOf asks for entries without waiting.
func queueOf(n int, queues ...domain.QueueName) application.PullRequest {
	return application.PullRequest{Queues: queues, Max: n}
}

// queueInterleaved takes one entry of each in turn.
func queueInterleaved(of ...[]application.Entry) []application.Entry {
	var all []application.Entry
	for i := range slices.MaxFunc(of, func(a, b []application.Entry) int { return len(a) - len(b) }) {
		for _, entries := range of {
			if i < len(entries) {
				all = append(all, entries[i])
			}
		}
	}
	return all
}

func queueListsAreApart(t *testing.T, q application.Queue) {
	// Names that an adapter could take for one another.
	names := []domain.QueueName{"a", "a.1", "a-1", "a_1", "1", "a1", "default", "default.9"}
	of := make([][]application.Entry, len(names))
	for i, name := range names {
		of[i] = queueEntriesOf(application.Lane{Queue: name, Priority: 1}, 5+i)
	}
	queuePush(t, q, queueInterleaved(of...)...)
	for i, name := range names {
		queueWant(t, queueTake(t, q, queueOf(100, name)), of[i])
		queueWant(t, queueTake(t, q, queueOf(100, name)), nil)
	}
}

func queuePriorities(t *testing.T, q application.Queue) {
	var of [][]application.Entry
	for priority := range domain.MaxPriority + 1 {
		of = append(of, queueEntriesOf(application.Lane{Queue: domain.DefaultQueue, Priority: priority}, 3))
	}
	queuePush(t, q, queueInterleaved(of...)...)
	for len(of) > 0 {
		last := len(of) - 1
		queueWant(t, queueTake(t, q, queueOf(2, domain.DefaultQueue)), of[last][:2])
		if last == 4 { // what comes meanwhile with a higher priority goes first
			late := queueEntriesOf(application.Lane{Queue: domain.DefaultQueue, Priority: 8}, 1)
			queuePush(t, q, late...)
			queueWant(t, queueTake(t, q, queueRequest(100)), late)
		}
		queueWant(t, queueTake(t, q, queueRequest(1)), of[last][2:])
		of = of[:last]
	}
}

func queueOrderOfQueues(t *testing.T, q application.Queue) {
	push := func() map[application.Lane][]application.Entry {
		of := map[application.Lane][]application.Entry{}
		for _, name := range []domain.QueueName{"a", "b", "c"} {
			for _, priority := range []int{0, 9} {
				l := application.Lane{Queue: name, Priority: priority}
				of[l] = queueEntriesOf(l, 2)
			}
		}
		queuePush(t, q, queueInterleaved(slices.Collect(maps.Values(of))...)...)
		return of
	}
	for _, order := range [][]domain.QueueName{{"a", "b", "c"}, {"c", "b", "a"}, {"b", "c", "a"}} {
		of := push()
		for _, name := range order {
			for _, priority := range []int{9, 0} {
				request := queueOf(100, order...)
				request.Wait = time.Duration(priority) * time.Second // one way or the other
				queueWant(t, queueTake(t, q, request), of[application.Lane{Queue: name, Priority: priority}])
			}
		}
	}
}

func queueOneList(t *testing.T, q application.Queue) {
	a := queueEntriesOf(application.Lane{Queue: "a", Priority: 2}, 3)
	b := queueEntriesOf(application.Lane{Queue: "b", Priority: 2}, 3)
	queuePush(t, q, queueInterleaved(a, b)...)
	queueWant(t, queueTake(t, q, queueOf(100, "b", "a")), b)
	queueWant(t, queueTake(t, q, queueOf(100, "b")), nil)
	short := queueOf(100, "b", "c")
	short.Wait = 20 * time.Millisecond
	queueWant(t, queueTake(t, q, short), nil)
	queueWant(t, queueTake(t, q, queueOf(2, "c", "a")), a[:2])
	queueWant(t, queueTake(t, q, queueOf(2, "c", "a")), a[2:])
}

func queueWokenByAny(t *testing.T, q application.Queue) {
	request := application.PullRequest{Queues: []domain.QueueName{"b", "a", "c"}, Max: 10, Wait: 5 * time.Second}
	for _, l := range []application.Lane{{Queue: "a", Priority: 0}, {Queue: "c", Priority: 9}, {Queue: "b", Priority: 4}} {
		usuallyWithin(t, queueLimit, fmt.Sprintf("a pull that waits, after a push to %v", l), func() time.Duration {
			pulled := queuePullBehind(t, q, request)
			other := queueEntriesOf(application.Lane{Queue: "other", Priority: l.Priority}, 1)
			queuePush(t, q, other...)
			select {
			case got := <-pulled:
				t.Fatalf("pulled %v, of a queue that was not asked for", got)
			case <-time.After(50 * time.Millisecond):
			}
			all := queueEntriesOf(l, 2)
			queuePush(t, q, all...)
			took := queueArrives(t, pulled, all)
			queueWant(t, queueTake(t, q, queueOf(10, "other")), other)
			return took
		})
	}
}

func queuePutBack(t *testing.T, q application.Queue) {
	all := queueEntries(8)
	queuePush(t, q, all[:6]...)
	queueWant(t, queuePull(t, q, 4, 4), all[:4])
	queueBack(t, q, all[2:4]...)
	queueBack(t, q, all[:2]...) // pulled earlier by somebody slower
	queuePush(t, q, all[6:]...) // a push goes to the tail all the same
	queueWant(t, queuePull(t, q, 3, 3), all[:3])
	queueBack(t, q, all[1:3]...)
	queueWant(t, queueTake(t, q, queueRequest(100)), all[1:])
	queueBack(t, q, all[3:6]...) // to an empty lane
	queuePush(t, q, all[6:]...)
	queueWant(t, queueTake(t, q, queueRequest(1)), all[3:4])
	queueWant(t, queueTake(t, q, queueRequest(100)), all[4:])
}

func queuePutBackLists(t *testing.T, q application.Queue) {
	lanes := []application.Lane{{Queue: "a", Priority: 0}, {Queue: "a", Priority: 9}, {Queue: "b", Priority: 0}}
	var of, heads [][]application.Entry
	for _, l := range lanes {
		entries := queueEntriesOf(l, 6)
		of, heads = append(of, entries), append(heads, entries[:3])
	}
	queuePush(t, q, queueInterleaved(of...)...)
	for _, l := range []int{1, 2} { // of a, only the higher priority
		queueWant(t, queueTake(t, q, queueOf(3, lanes[l].Queue)), heads[l])
	}
	queueBack(t, q, queueInterleaved(heads[1:]...)...)
	for _, l := range []int{2, 1, 0} {
		queueWant(t, queueTake(t, q, queueOf(100, lanes[l].Queue)), of[l])
	}
}

func queuePutBackWakes(t *testing.T, q application.Queue) {
	usuallyWithin(t, queueLimit, "a pull that waits, after entries were put back", func() time.Duration {
		pulled := queuePullBehind(t, q, queueRequest(10))
		time.Sleep(50 * time.Millisecond) // until it waits; if it does not yet, it finds them at once
		all := queueEntries(3)
		queueBack(t, q, all...)
		return queueArrives(t, pulled, all)
	})
}

func queuePutBackMany(t *testing.T, q application.Queue) {
	all := queueEntries(3500)
	queuePush(t, q, all...)
	got := queuePull(t, q, 3000, 2750)
	queueBack(t, q, got...)
	queueWant(t, queuePull(t, q, 10_000, len(all)), all)
}

func queueOldest(t *testing.T, q application.Queue) {
	lanes := []application.Lane{{Queue: "a", Priority: 0}, {Queue: "a", Priority: 9}, {Queue: "b", Priority: 0}, {Queue: "none", Priority: 0}}
	want := func(want map[application.Lane]time.Time, asked ...application.Lane) {
		t.Helper()
		got, err := q.Oldest(t.Context(), asked...)
		if err != nil || !maps.EqualFunc(got, want, time.Time.Equal) {
			t.Fatalf("the oldest are %v, error %v, want %v", got, err, want)
		}
	}
	want(nil)
	want(nil, lanes...)
	var of [][]application.Entry
	for i, l := range lanes[:3] {
		entries := queueEntriesOf(l, 3)
		entries[0].QueuedAt = entries[2].QueuedAt.Add(time.Duration(1+i) * time.Hour) // the head counts, not the time
		of = append(of, entries)
	}
	queuePush(t, q, queueInterleaved(of...)...)
	heads := map[application.Lane]time.Time{lanes[0]: of[0][0].QueuedAt, lanes[1]: of[1][0].QueuedAt, lanes[2]: of[2][0].QueuedAt}
	want(heads, lanes...)
	want(map[application.Lane]time.Time{lanes[1]: heads[lanes[1]]}, lanes[3], lanes[1])
	want(nil, lanes[3])
	want(nil)

	queueWant(t, queueTake(t, q, queueOf(2, "b")), of[2][:2])
	heads[lanes[2]] = of[2][2].QueuedAt
	want(heads, lanes...)
	queueBack(t, q, of[2][1])
	heads[lanes[2]] = of[2][1].QueuedAt
	want(heads, lanes...)
	queueWant(t, queueTake(t, q, queueOf(3, "b")), of[2][1:])
	queueWant(t, queueTake(t, q, queueOf(3, "a")), of[1])
	want(map[application.Lane]time.Time{lanes[0]: heads[lanes[0]]}, lanes...)
}

func queueLargeBatchOfLists(t *testing.T, q application.Queue) {
	var of [][]application.Entry
	for _, name := range []domain.QueueName{"a", "b"} {
		for priority := range domain.MaxPriority + 1 {
			of = append(of, queueEntriesOf(application.Lane{Queue: name, Priority: priority}, 130))
		}
	}
	all := queueInterleaved(of...)
	queuePush(t, q, all...)
	for range 2 {
		for _, entries := range slices.Backward(of) {
			queueWant(t, queueTake(t, q, queueOf(1000, entries[0].Queue)), entries)
		}
		queueBack(t, q, all...)
	}
	var lanes []application.Lane
	for _, entries := range of {
		lanes = append(lanes, entries[0].Lane)
	}
	for i := range 1200 { // more than an adapter may ask for at once
		lanes = append(lanes, application.Lane{Queue: domain.QueueName("x" + string(rune('a'+i%26))), Priority: i % 10})
	}
	if got, err := q.Oldest(t.Context(), lanes...); err != nil || len(got) != len(of) {
		t.Errorf("%d lanes have an oldest entry, error %v, want %d", len(got), err, len(of))
	}
}
