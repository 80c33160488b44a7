package contract

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// queueLimit is how long a check waits for what has to happen promptly. It is
// below the time after which a queue may look again by itself.
const queueLimit = time.Second

// Queue is the suite of application.Queue. open returns an empty queue of its
// own for the test, whose server nothing happens to: so nothing may be lost or
// doubled.
func Queue(t *testing.T, open func(t *testing.T) application.Queue) {
	for name, check := range map[string]func(*testing.T, application.Queue){
		"WhatIsPushedFirstIsPulledFirst":            queueFirstInFirstOut,
		"PullTakesAtMostN":                          queueAtMostN,
		"PullTakesWhatIsThereWithoutWaiting":        queueNoWaitForMore,
		"PullWaitsUntilThereIsOne":                  queueWaits,
		"PullWaitsNoLongerThanItIsTo":               queueWaitsNoLonger,
		"PullThatIsNotToWaitReturnsAtOnce":          queueDoesNotWait,
		"EveryWaitingPullIsWokenWhenThereIsOne":     queueWakesAll,
		"PullComesBackWhenNothingComes":             queueComesBack,
		"PullEndsWithItsContext":                    queueEndsWithContext,
		"PullWithAnEndedContextTakesNothing":        queueEndedContext,
		"NothingIsLostWhenPullsAreStopped":          queueStopsLoseNothing,
		"OfManyPullersOneGetsTheEntry":              queueManyPullers,
		"ConcurrentPushesKeepTheirOwnOrder":         queueManyPushers,
		"ListsAreApart":                             queueListsAreApart,
		"TheHighestPriorityIsPulledFirst":           queuePriorities,
		"QueuesArePulledInTheOrderOfTheRequest":     queueOrderOfQueues,
		"APullTakesFromOneListAndOnlyWhatItNames":   queueOneList,
		"AnEntryOfAnyOfItsListsWakesAPull":          queueWokenByAny,
		"WhatIsPutBackIsPulledNextInItsOrder":       queuePutBack,
		"WhatIsPutBackGoesToItsOwnList":             queuePutBackLists,
		"PutBackWakesAPullThatWaits":                queuePutBackWakes,
		"ALargeBatchIsPutBackWholeAndKeepsItsOrder": queuePutBackMany,
		"OldestIsTheTimeOfTheHeadOfEachList":        queueOldest,
		"PushAndPutBackOfNothingChangeNothing":      queuePushNothing,
		"AnEntryMayBePushedTwice":                   queueDoubles,
		"ALargeBatchIsTakenWholeAndKeepsItsOrder":   queueLargeBatch,
		"ALargeBatchOfManyListsKeepsTheOrderOfEach": queueLargeBatchOfLists,
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); check(t, open(t)) })
	}
}

func queueFirstInFirstOut(t *testing.T, q application.Queue) {
	all := queueEntries(50)
	queuePush(t, q, all[:1]...)
	queuePush(t, q, all[1:20]...)
	queuePush(t, q, all[20:]...)
	queueWant(t, queuePull(t, q, 7, len(all)), all)
}

func queueAtMostN(t *testing.T, q application.Queue) {
	all := queueEntries(10)
	queuePush(t, q, all...)
	for _, n := range []int{1, 3, 6} {
		got, err := q.Pull(t.Context(), queueRequest(n))
		if err != nil {
			t.Fatal(err)
		}
		queueWant(t, got, all[:n])
		all = all[n:]
	}
}

func queueNoWaitForMore(t *testing.T, q application.Queue) {
	usuallyWithin(t, queueLimit, "a pull of more than there is", func() time.Duration {
		all := queueEntries(3)
		queuePush(t, q, all...)
		begin := time.Now()
		queueWant(t, queueTake(t, q, queueRequest(100)), all)
		return time.Since(begin)
	})
}

func queueWaits(t *testing.T, q application.Queue) {
	usuallyWithin(t, queueLimit, "a pull that waits, after the push", func() time.Duration {
		all := queueEntries(1)
		pulled := queuePullOne(t, q)
		select {
		case got := <-pulled:
			t.Fatalf("pulled %v from an empty queue", got)
		case <-time.After(50 * time.Millisecond):
		}
		queuePush(t, q, all...)
		return queueArrives(t, pulled, all)
	})
}

func queueWaitsNoLonger(t *testing.T, q application.Queue) {
	for _, wait := range []time.Duration{1, time.Microsecond, 999 * time.Microsecond, 20 * time.Millisecond, 200 * time.Millisecond} {
		usuallyWithin(t, wait+queueLimit/2, fmt.Sprintf("a pull that waits for %v", wait), func() time.Duration {
			begin := time.Now()
			queueWant(t, queueTake(t, q, application.PullRequest{Queues: []domain.QueueName{domain.DefaultQueue}, Max: 1, Wait: wait}), nil)
			return time.Since(begin)
		})
	}
}

func queueDoesNotWait(t *testing.T, q application.Queue) {
	request := application.PullRequest{Queues: []domain.QueueName{"other", domain.DefaultQueue}, Max: 2}
	want := func(want []application.Entry) time.Duration {
		t.Helper()
		begin := time.Now()
		queueWant(t, queueTake(t, q, request), want)
		return time.Since(begin)
	}
	for range 7 { // each of them three times
		usuallyWithin(t, queueLimit, "a pull that does not wait", func() time.Duration {
			took := want(nil)
			all := queueEntries(3)
			queuePush(t, q, all...)
			return max(took, want(all[:2]), want(all[2:]))
		})
	}
}

func queueWakesAll(t *testing.T, q application.Queue) {
	usuallyWithin(t, queueLimit, "many pulls that wait, after the push", func() time.Duration {
		all := queueEntries(4)
		var waiting []<-chan []application.Entry
		for range all {
			waiting = append(waiting, queuePullOne(t, q))
		}
		time.Sleep(50 * time.Millisecond) // until they wait; if one does not yet, it finds its entry at once
		begin := time.Now()
		queuePush(t, q, all...)
		var got []application.Entry
		for _, pulled := range waiting {
			select {
			case entries := <-pulled:
				got = append(got, entries...)
			case <-time.After(patience):
				t.Fatalf("%d of %d waiting pulls have got an entry", len(got), len(all))
			}
		}
		queueWantOnce(t, got, all)
		return time.Since(begin)
	})
}

func queueEndsWithContext(t *testing.T, q application.Queue) {
	for name, begin := range map[string]func() (context.Context, context.CancelFunc){
		"a pull whose context is canceled": func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(50*time.Millisecond, cancel)
			return ctx, cancel
		},
		"a pull with a deadline": func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(t.Context(), 50*time.Millisecond)
		},
	} {
		usuallyWithin(t, queueLimit, name, func() time.Duration {
			ctx, cancel := begin()
			defer cancel()
			return queueEnds(t, q, ctx)
		})
	}
	// What was interrupted takes nothing any more.
	all := queueEntries(2)
	queuePush(t, q, all...)
	queueWant(t, queuePull(t, q, 10, 2), all)
}

// queueEnds pulls from an empty queue until there is an error, which has to be
// that of the context, and returns how long the last pull took.
func queueEnds(t *testing.T, q application.Queue, ctx context.Context) time.Duration { //nolint:revive // t comes first
	t.Helper()
	for {
		begin := time.Now()
		got, err := q.Pull(ctx, queueRequest(10))
		switch {
		case len(got) > 0:
			t.Fatalf("pulled %v from an empty queue", got)
		case err == nil: // a queue may return none and no error
		case !errors.Is(err, ctx.Err()):
			t.Fatalf("got the error %v, want %v", err, ctx.Err())
		default:
			return time.Since(begin)
		}
	}
}

func queueEndedContext(t *testing.T, q application.Queue) {
	all := queueEntries(2)
	queuePush(t, q, all...)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := q.Pull(ctx, queueRequest(1)); len(got) > 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("pulled %v, error %v", got, err)
	}
	queueWant(t, queuePull(t, q, 10, 2), all)
}

// A worker shows that it makes progress by the turns of its pull.
func queueComesBack(t *testing.T, q application.Queue) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if got, err := q.Pull(ctx, queueRequest(1)); len(got) != 0 || err != nil {
		t.Fatalf("a pull from an empty queue: %v, error %v; want none and none within %v", got, err, patience)
	}
}

func queuePushNothing(t *testing.T, q application.Queue) {
	queuePush(t, q)
	queueBack(t, q)
	if oldest, err := q.Oldest(t.Context(), defaultList); len(oldest) != 0 || err != nil {
		t.Errorf("there are entries: %v, error %v", oldest, err)
	}
}

func queueDoubles(t *testing.T, q application.Queue) {
	e := queueEntries(1)[0]
	queuePush(t, q, e)
	queuePush(t, q, e)
	queueWant(t, queuePull(t, q, 10, 2), []application.Entry{e, e})
}

func queueLargeBatch(t *testing.T, q application.Queue) {
	all := queueEntries(10_000)
	queuePush(t, q, all...)
	queueWant(t, queuePull(t, q, 10_000, len(all)), all)
}
