package contract

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var onceChecks = map[string]check{
	"AddOnceStoresTheTasksOfANewKey":           onceStores,
	"AddOnceOfARememberedKeyAnswersItsTasks":   onceAnswers,
	"AddOnceAnswersAPortionOfManyBytes":        oncePortions,
	"AddOnceOfAnotherRequestIsRefused":         onceReused,
	"AddOnceNamesATaskThatHasBeenDeleted":      onceDeleted,
	"AddOnceKeepsOwnersAndKeysApart":           onceApart,
	"AddOnceForgetsAKeyThatHasExpired":         onceExpired,
	"AddOnceThatFailsRemembersNothing":         onceFails,
	"OfManyTwinsOneIsStored":                   onceTwins,
	"OfManyRequestsWithAKeyOneIsStored":        onceRivals,
	"ManyKeysAtOnceAreStoredOnceEach":          onceManyKeys,
	"ForgetKeysRemovesWhatHasExpired":          forgetKeysExpired,
	"KeysTakenOverWhileForgottenAreStoredOnce": onceWhileForgetting,
}

// keyOf is a key that is remembered for an hour, of the request that is named.
func keyOf(key, request string) application.IdempotencyKey {
	at := now()
	return application.IdempotencyKey{Key: key, Fingerprint: sha256.Sum256([]byte(request)), Now: at, Expires: at.Add(time.Hour)}
}

// addOnce stores the tasks, unless the key is remembered.
func addOnce(t *testing.T, s Store, k application.IdempotencyKey, tasks ...*domain.Task) []*domain.Task {
	t.Helper()
	first, _, err := s.Tasks.AddOnce(t.Context(), k, tasks...)
	if err != nil {
		t.Fatalf("add %d tasks once, key %q of %q: %v", len(tasks), k.Key, k.Owner, err)
	}
	return first
}

// wantFresh checks that the key's tasks are stored: it was not remembered.
func wantFresh(t *testing.T, s Store, k application.IdempotencyKey, tasks ...*domain.Task) {
	t.Helper()
	if first := addOnce(t, s, k, tasks...); len(first) > 0 {
		t.Errorf("key %q of %q was remembered with %d tasks", k.Key, k.Owner, len(first))
	}
	for _, task := range tasks {
		wantState(t, task, task.State()) // knows itself stored
		wantStored(t, s, task.State())
	}
}

// wantNotStored checks that a request has left no task.
func wantNotStored(t *testing.T, s Store, tasks ...*domain.Task) {
	t.Helper()
	for _, task := range tasks {
		if _, err := s.Tasks.Get(t.Context(), task.ID()); !errors.Is(err, domain.ErrTaskNotFound) {
			t.Errorf("get of a task that was not to be stored: %v", err)
		}
		if task.StoredVersion() != 0 {
			t.Errorf("task %s believes itself stored", task.ID())
		}
	}
}

// makeMany makes tasks, the latest first: the order of a request is not that of ids.
func makeMany(t *testing.T, n int, edits ...func(*domain.TaskState)) []*domain.Task {
	t.Helper()
	tasks := make([]*domain.Task, n)
	for i := range tasks {
		task := makeTask(t, edits...)
		tasks[n-1-i] = task
	}
	return tasks
}

func onceStores(t *testing.T, s Store) {
	wantFresh(t, s, keyOf("one", "a"), makeTask(t))
	tasks := makeMany(t, 100, inQueue("q"), func(s *domain.TaskState) { s.Metadata = map[string]string{"k": "v", "l": ""} })
	wantFresh(t, s, keyOf("many", "a"), tasks...)
	newborn := makeTask(t)
	if addOnce(t, s, keyOf("new", "a"), newborn); newborn.StoredVersion() != 1 {
		t.Errorf("stored version %d after AddOnce, want 1", newborn.StoredVersion())
	}
}

func onceAnswers(t *testing.T, s Store) {
	k := keyOf(`it's "so"; %s $1 \ ~!`, "a")
	tasks := makeMany(t, 20)
	wantFresh(t, s, k, tasks...)
	for range 2 {
		again := makeMany(t, 20) // the same request makes as many
		first := addOnce(t, s, k, again...)
		wantIDs(t, first, tasks)
		for i := range min(len(first), len(tasks)) {
			wantState(t, first[i], tasks[i].State())
		}
		wantNotStored(t, s, again...)
		// They are answered as they are by then.
		if err := errors.Join(tasks[0].RequestStop(now()), s.Tasks.Save(t.Context(), tasks[0])); err != nil {
			t.Fatal(err)
		}
	}
}

// oncePortions: what is not in the first portion is looked at as well.
func oncePortions(t *testing.T, s Store) {
	k := keyOf("key", "a")
	tasks := makeMany(t, 2*application.PortionBytes/longText, saysMuch)
	wantFresh(t, s, k, tasks...)
	again := makeMany(t, len(tasks))
	first, rest, err := s.Tasks.AddOnce(t.Context(), k, again...)
	if err != nil {
		t.Fatal(err)
	}
	wantIDs(t, first, tasks[:len(first)])
	if diff := cmp.Diff(idsOf(tasks[len(first):]), rest); diff != "" || len(first) == 0 || len(first)*longText > application.PortionBytes {
		t.Errorf("%d of %d tasks are answered at once; the rest (-want +got):\n%s", len(first), len(tasks), diff)
	}
	for i, task := range first {
		wantState(t, task, tasks[i].State())
	}
	wantNotStored(t, s, again...)

	last := tasks[len(tasks)-1].ID()
	s.BreakMetadata(t, last)
	wantDamaged(t, "a key with a damaged task", addOnceFails(t, s, k, again), last.String())
	s.Delete(t, last)
	if diff := cmp.Diff(domain.TaskGone(last), domain.Public(addOnceFails(t, s, k, again))); diff != "" {
		t.Errorf("a key whose last task was deleted (-want +got):\n%s", diff)
	}
}

// addOnceFails returns why the tasks of a key that is remembered are not answered.
func addOnceFails(t *testing.T, s Store, k application.IdempotencyKey, tasks []*domain.Task) error {
	t.Helper()
	first, rest, err := s.Tasks.AddOnce(t.Context(), k, tasks...)
	if err == nil || len(first)+len(rest) > 0 {
		t.Fatalf("add once: %d and %d tasks, %v; want an error", len(first), len(rest), err)
	}
	wantNotStored(t, s, tasks...)
	return err
}

func onceReused(t *testing.T, s Store) {
	k := keyOf("key", "a")
	task := makeTask(t)
	wantFresh(t, s, k, task)
	other := keyOf("key", "b")
	for range 2 { // the refusal is not remembered either
		again := makeTask(t)
		if first, _, err := s.Tasks.AddOnce(t.Context(), other, again); !errors.Is(err, domain.ErrKeyReused) || len(first) > 0 {
			t.Errorf("another request with the key: %d tasks, %v; want ErrKeyReused", len(first), err)
		}
		wantNotStored(t, s, again)
	}
	wantIDs(t, addOnce(t, s, k, makeTask(t)), []*domain.Task{task})
	wantStored(t, s, task.State())
}

func onceDeleted(t *testing.T, s Store) {
	k := keyOf("key", "a")
	tasks := makeMany(t, 3)
	wantFresh(t, s, k, tasks...)
	s.Delete(t, tasks[1].ID())
	for range 2 {
		again := makeMany(t, 3)
		first, _, err := s.Tasks.AddOnce(t.Context(), k, again...)
		if diff := cmp.Diff(domain.TaskGone(tasks[1].ID()), domain.Public(err)); len(first) > 0 || diff != "" {
			t.Errorf("a key whose task was deleted: %d tasks, %v %s", len(first), err, diff)
		}
		wantNotStored(t, s, again...)
	}
	other := keyOf("key", "b")
	if _, _, err := s.Tasks.AddOnce(t.Context(), other, makeTask(t)); !errors.Is(err, domain.ErrKeyReused) {
		t.Errorf("another request with the key: %v, want ErrKeyReused", err)
	}
}

func onceApart(t *testing.T, s Store) {
	stored := map[[2]string]*domain.Task{}
	long := string(slices.Repeat([]byte("~"), 255))
	for _, name := range [][2]string{{"", "key"}, {"a", "key"}, {"b", "key"}, {"a", "Key"}, {"a", "ke"}, {"ak", "ey"}, {"a", long}, {"a", long[1:]}, {"a", "0"}, {"a", "00"}} {
		k := keyOf(name[1], "a")
		k.Owner = name[0]
		stored[name] = makeTask(t)
		wantFresh(t, s, k, stored[name])
	}
	for name, task := range stored {
		k := keyOf(name[1], "a")
		k.Owner = name[0]
		wantIDs(t, addOnce(t, s, k, makeTask(t)), []*domain.Task{task})
	}
}

func onceExpired(t *testing.T, s Store) {
	k := keyOf("key", "a")
	first := makeTask(t)
	wantFresh(t, s, k, first)
	later := func(k application.IdempotencyKey, by time.Duration, request string) application.IdempotencyKey {
		next := keyOf(k.Key, request)
		next.Now = k.Expires.Add(by)
		next.Expires = next.Now.Add(time.Minute)
		return next
	}
	wantIDs(t, addOnce(t, s, later(k, -time.Microsecond, "a"), makeTask(t)), []*domain.Task{first})
	// With its time over, the key takes another request, for its own time.
	k = later(k, 0, "b")
	second := makeMany(t, 2)
	wantFresh(t, s, k, second...)
	wantStored(t, s, first.State())
	if _, _, err := s.Tasks.AddOnce(t.Context(), later(k, -time.Microsecond, "a"), makeTask(t)); !errors.Is(err, domain.ErrKeyReused) {
		t.Errorf("the former request once the key was taken over: %v, want ErrKeyReused", err)
	}
	wantIDs(t, addOnce(t, s, later(k, -time.Microsecond, "b"), makeMany(t, 2)...), second)
	wantFresh(t, s, later(k, time.Hour, "b"), makeTask(t))
}

func onceFails(t *testing.T, s Store) {
	taken := addMade(t, s)
	k := keyOf("key", "a")
	good := makeTask(t)
	twin := makeTask(t, func(s *domain.TaskState) { s.ID, s.Message = taken.ID(), "another" })
	if first, _, err := s.Tasks.AddOnce(t.Context(), k, good, twin); err == nil {
		t.Errorf("a batch with an id that is taken was stored, %d tasks before", len(first))
	}
	wantNotStored(t, s, good)
	wantStored(t, s, taken.State())
	wantFresh(t, s, k, good)
}

func onceTwins(t *testing.T, s Store) {
	const twins = 50
	k := keyOf("key", "a")
	var mu sync.Mutex
	var stored []*domain.Task
	answered := map[domain.TaskID]int{}
	start := make(chan struct{})
	var all sync.WaitGroup
	for range twins {
		mine := makeMany(t, 2)
		all.Go(func() {
			<-start
			first, _, err := s.Tasks.AddOnce(t.Context(), k, mine...)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				t.Errorf("a twin: %v", err)
			case len(first) == 0:
				stored = append(stored, mine...)
			case len(first) != 2:
				t.Errorf("a twin is answered with %d tasks, want 2", len(first))
			default:
				answered[first[0].ID()]++
				answered[first[1].ID()]++
			}
		})
	}
	close(start)
	all.Wait()
	if len(stored) != 2 || len(answered) != 2 || answered[stored[0].ID()] != twins-1 || answered[stored[1].ID()] != twins-1 {
		t.Errorf("%d tasks were stored, and %v answered; want 2, to %d", len(stored), answered, twins-1)
	}
}

func onceRivals(t *testing.T, s Store) {
	const rivals = 20
	results := make(chan error, rivals)
	var all sync.WaitGroup
	for i := range rivals {
		k, mine := keyOf("key", fmt.Sprint("request ", i)), makeTask(t)
		all.Go(func() {
			_, _, err := s.Tasks.AddOnce(t.Context(), k, mine)
			results <- err
		})
	}
	all.Wait()
	close(results)
	stored := 0
	for err := range results {
		switch {
		case err == nil:
			stored++
		case !errors.Is(err, domain.ErrKeyReused):
			t.Errorf("a rival: %v, want ErrKeyReused", err)
		}
	}
	if stored != 1 {
		t.Errorf("%d of %d requests with one key were stored", stored, rivals)
	}
}

func onceManyKeys(t *testing.T, s Store) {
	keys := make([]application.IdempotencyKey, 30)
	for i := range keys {
		keys[i] = keyOf(fmt.Sprint("key ", i), "a")
	}
	wantStoredOnceEach(t, s, keys)
}

// wantStoredOnceEach sends requests with each of the keys from many sides.
func wantStoredOnceEach(t *testing.T, s Store, keys []application.IdempotencyKey) {
	t.Helper()
	const callers = 8
	var mu sync.Mutex
	stored := map[string]int{}
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			for n := range keys {
				k := keys[(n*7+i*len(keys)/callers)%len(keys)] // each in another order
				task := makeMany(t, 1)
				first, _, err := s.Tasks.AddOnce(t.Context(), k, task...)
				mu.Lock()
				switch {
				case err != nil:
					t.Errorf("key %s: %v", k.Key, err)
				case len(first) == 0:
					stored[k.Key]++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	for _, k := range keys {
		if stored[k.Key] != 1 {
			t.Errorf("key %s was stored %d times", k.Key, stored[k.Key])
		}
	}
}

func forgetKeysExpired(t *testing.T, s Store) {
	at := now()
	keys := make([]application.IdempotencyKey, 10)
	tasks := makeMany(t, len(keys))
	for i := range keys { // the last expires first
		keys[i] = keyOf(fmt.Sprint("key ", i), "a")
		keys[i].Now, keys[i].Expires = at, at.Add(time.Duration(len(keys)-i)*time.Minute)
		wantFresh(t, s, keys[i], tasks[i])
	}
	wantForgotten := func(now time.Time, limit, want int) {
		t.Helper()
		if n, err := s.Dispatch.ForgetKeys(t.Context(), now, limit); err != nil || n != want {
			t.Errorf("%d keys are forgotten, %v; want %d", n, err, want)
		}
	}
	wantForgotten(at.Add(time.Minute-time.Microsecond), 100, 0)
	wantForgotten(at.Add(6*time.Minute), 4, 4)
	wantForgotten(at.Add(6*time.Minute), 4, 2)
	wantForgotten(at.Add(6*time.Minute), 4, 0)
	for i, k := range keys {
		if again := makeMany(t, 1); i < 4 {
			wantIDs(t, addOnce(t, s, k, again...), tasks[i:i+1])
		} else {
			wantFresh(t, s, k, again...)
		}
		wantStored(t, s, tasks[i].State()) // a forgotten key takes no task with it
	}
}

func onceWhileForgetting(t *testing.T, s Store) {
	const rounds, count = 5, 20
	for round := range rounds {
		keys := make([]application.IdempotencyKey, count)
		for i := range keys {
			keys[i] = keyOf(fmt.Sprint("key ", i), fmt.Sprint("round ", round))
			keys[i].Now = keys[i].Now.Add(time.Duration(round) * 2 * time.Hour) // the keys of the round before have expired
			keys[i].Expires = keys[i].Now.Add(time.Hour)
		}
		done := make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, err := s.Dispatch.ForgetKeys(t.Context(), keys[0].Now, 3); err != nil {
					t.Errorf("forget keys: %v", err)
					return
				}
			}
		})
		wantStoredOnceEach(t, s, keys)
		close(done)
		all.Wait()
	}
}
