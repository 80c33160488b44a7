package contract

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var statisticsChecks = map[string]check{
	"StatisticsAddUp":                    statisticsAddUp,
	"StatisticsOfABatchAreAddedOnce":     statisticsOnce,
	"StatisticsLoseNothingToOneAnother":  statisticsTogether,
	"StatisticsAreReadByQueueAndTime":    statisticsRead,
	"StatisticsForgetInPortions":         statisticsForget,
	"StatisticsTakeAllThatAHistogramHas": statisticsWhole,
}

// minuteOf is a minute of which every count differs.
func minuteOf(queue domain.QueueName, at time.Time, n int64) domain.QueueMinute {
	return domain.QueueMinute{Queue: queue, Minute: at, QueueCounts: domain.QueueCounts{
		Submitted: n, Started: 2 * n, Completed: 3 * n, FailedAttempts: 4 * n, Failed: 5 * n, Canceled: 6 * n, Rescued: 7 * n,
		Wait: domain.Histogram{0, n, 2 * n}, Run: domain.Histogram{3 * n},
	}}
}

func addStatistics(t *testing.T, s Store, source string, number int64, minutes ...domain.QueueMinute) {
	t.Helper()
	b := application.StatisticsBatch{Source: domain.WorkerID(source), Number: number, Minutes: minutes}
	if err := s.Statistics.Add(t.Context(), b); err != nil {
		t.Fatalf("add batch %d of %s: %v", number, source, err)
	}
}

// wantMinutes checks what is stored of a time.
func wantMinutes(t *testing.T, s Store, q application.StatisticsQuery, want ...domain.QueueMinute) {
	t.Helper()
	got, err := s.Statistics.Read(t.Context(), q)
	if err != nil {
		t.Fatalf("read statistics: %v", err)
	}
	slices.SortFunc(got, func(a, b domain.QueueMinute) int {
		if c := strings.Compare(string(a.Queue), string(b.Queue)); c != 0 {
			return c
		}
		return a.Minute.Compare(b.Minute)
	})
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("statistics (-want +got):\n%s", diff)
	}
}

// anHour is all that these checks store.
func anHour(at time.Time) application.StatisticsQuery {
	return application.StatisticsQuery{From: at, Until: at.Add(time.Hour)}
}

func statisticsAddUp(t *testing.T, s Store) {
	at := now().Truncate(time.Minute)
	addStatistics(t, s, "a", 1, minuteOf("mail", at, 1), minuteOf("mail", at.Add(time.Minute), 10))
	more := minuteOf("mail", at, 100)
	more.Wait, more.Run = domain.Histogram{1, 0, 0, 5}, nil // longer, and none
	addStatistics(t, s, "b", 1, more)
	sum := minuteOf("mail", at, 101)
	sum.Wait, sum.Run = domain.Histogram{1, 1, 2, 5}, domain.Histogram{3}
	wantMinutes(t, s, anHour(at), sum, minuteOf("mail", at.Add(time.Minute), 10))
}

func statisticsOnce(t *testing.T, s Store) {
	at := now().Truncate(time.Minute)
	addStatistics(t, s, "a", 2, minuteOf("mail", at, 1))
	addStatistics(t, s, "a", 2, minuteOf("mail", at, 1))   // whoever does not know sends it again
	addStatistics(t, s, "a", 1, minuteOf("mail", at, 100)) // it comes late
	addStatistics(t, s, "b", 1, minuteOf("mail", at, 10))
	wantMinutes(t, s, anHour(at), minuteOf("mail", at, 11))
}

func statisticsTogether(t *testing.T, s Store) {
	at := now().Truncate(time.Minute)
	const callers, batches, queues = 8, 10, 5
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			for n := range batches {
				b := application.StatisticsBatch{Source: domain.WorkerID(fmt.Sprint(c)), Number: int64(n + 1)}
				for q := range queues {
					b.Minutes = append(b.Minutes, minuteOf(domain.QueueName(fmt.Sprint("q", q)), at, 1))
				}
				if c%2 == 0 { // in the other order
					slices.Reverse(b.Minutes)
				}
				if err := s.Statistics.Add(t.Context(), b); err != nil {
					t.Errorf("caller %d, batch %d: %v", c, n, err)
				}
			}
		})
	}
	all.Wait()
	var want []domain.QueueMinute
	for q := range queues {
		want = append(want, minuteOf(domain.QueueName(fmt.Sprint("q", q)), at, callers*batches))
	}
	wantMinutes(t, s, anHour(at), want...)
}

func statisticsRead(t *testing.T, s Store) {
	at := now().Truncate(time.Minute)
	first, next, other := minuteOf("a", at, 1), minuteOf("a", at.Add(time.Minute), 2), minuteOf(domain.OtherQueues, at, 3)
	addStatistics(t, s, "a", 1, first, next, other)
	wantMinutes(t, s, anHour(at), other, first, next)
	wantMinutes(t, s, application.StatisticsQuery{Queue: "a", From: at, Until: at.Add(time.Hour)}, first, next)
	wantMinutes(t, s, application.StatisticsQuery{Queue: "a", From: at, Until: at.Add(time.Minute)}, first) // the end is left out
	wantMinutes(t, s, application.StatisticsQuery{Queue: "a", From: at.Add(time.Minute), Until: at.Add(time.Hour)}, next)
	wantMinutes(t, s, application.StatisticsQuery{Queue: "unknown", From: at, Until: at.Add(time.Hour)})
}

func statisticsForget(t *testing.T, s Store) {
	at := now().Add(-time.Hour).Truncate(time.Minute)
	minutes := make([]domain.QueueMinute, 6)
	for i := range minutes {
		minutes[i] = minuteOf("a", at.Add(time.Duration(i)*time.Minute), int64(i+1))
	}
	addStatistics(t, s, "a", 1, minutes...)
	for _, want := range []int{3, 2, 0} {
		n, err := s.Statistics.Forget(t.Context(), at.Add(5*time.Minute), 3)
		if err != nil || n != want {
			t.Errorf("forgot %d, %v; want %d", n, err, want)
		}
	}
	wantMinutes(t, s, anHour(at), minutes[5])
	addStatistics(t, s, "a", 1, minutes[5]) // its source is still known, which was added now
	wantMinutes(t, s, anHour(at), minutes[5])
	if _, err := s.Statistics.Forget(t.Context(), now().Add(time.Hour), 1); err != nil {
		t.Fatal(err)
	}
	addStatistics(t, s, "a", 1, minutes[5]) // and now it is not
	wantMinutes(t, s, anHour(at), minutes[5])
}

func statisticsWhole(t *testing.T, s Store) {
	full := minuteOf("a", now().Truncate(time.Minute), 1)
	full.Wait, full.Run = make(domain.Histogram, domain.HistogramBuckets), nil
	for i := range full.Wait {
		full.Wait[i] = 1 << 40
	}
	addStatistics(t, s, "a", 1, full)
	addStatistics(t, s, "a", 2, full)
	full.QueueCounts = full.Plus(full.QueueCounts)
	wantMinutes(t, s, anHour(full.Minute), full)
}
