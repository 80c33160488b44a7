package redis

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/services"
)

// A key of another type stands where the list of a lane would be.
func TestQueue_AKeyThatIsNoListConcernsItsLaneAlone(t *testing.T) {
	q, log := openQueue(t, Config{URL: services.Redis(t)})
	bad, good := entry(), entry()
	bad.Priority = 9 // pulled first
	if _, err := q.pool.do(t.Context(), "SET", q.key(bad.Lane), "not a list"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := q.Push(t.Context(), bad, good); err != nil {
			t.Fatal(err)
		}
		if err := q.PutBack(t.Context(), bad); err != nil {
			t.Fatal(err)
		}
		got, err := q.Oldest(t.Context(), bad.Lane, good.Lane)
		if want := map[application.Lane]time.Time{good.Lane: good.QueuedAt}; err != nil || !maps.Equal(got, want) {
			t.Errorf("the oldest are %v, error %v, want %v", got, err, want)
		}
		for _, wait := range []time.Duration{0, time.Minute} {
			p := request(1)
			p.Wait = wait
			if got, err := q.Pull(t.Context(), p); err != nil || wait == 0 && (len(got) != 1 || got[0] != good) {
				t.Errorf("pulled %v, error %v, want %v", got, err, good)
			}
		}
	}
	if err := q.pool.Probe(t.Context()); err != nil {
		t.Errorf("the probe says %v", err)
	}
	if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, q.key(bad.Lane)) {
		t.Errorf("the log names the key once, not: %s", text)
	}
	if _, err := q.pool.do(t.Context(), "DEL", q.key(bad.Lane)); err != nil {
		t.Fatal(err)
	}
	if err := q.Push(t.Context(), bad); err != nil {
		t.Fatal(err)
	}
	if got, err := q.Pull(t.Context(), request(1)); err != nil || len(got) != 1 || got[0] != bad {
		t.Errorf("once the key is deleted, pulled %v, error %v, want %v", got, err, bad)
	}
}

// Whoever asks has not to look for it in a log.
func TestLanes_NamesTheKeyThatIsNoList(t *testing.T) {
	url := services.Redis(t)
	q, _ := openQueue(t, Config{URL: url})
	bad, other, good := entry(), entry(), entry()
	bad.Priority, other.Priority = 9, 8
	wants := func(of string, err error, want string) {
		t.Helper()
		if got := application.ReasonOf(err); (err == nil) != (want == "") || err != nil && got != want {
			t.Errorf("%s: %v, want %q", of, err, want)
		}
	}
	set := func(lane application.Lane) string {
		t.Helper()
		if _, err := q.pool.do(t.Context(), "SADD", q.key(lane), "not a list"); err != nil {
			t.Fatal(err)
		}
		return "the key " + q.key(lane) + " holds something other than a list: its tasks wait until it is deleted"
	}
	push := func() {
		t.Helper()
		if err := q.Push(t.Context(), bad, other, good); err != nil {
			t.Fatal(err)
		}
	}
	want := set(bad.Lane)
	wants("before anything was done", q.Lanes().Probe(t.Context()), "")
	wants("the lane that is asked for", q.ProbeLane(t.Context(), bad.Lane), want)
	wants("another lane", q.ProbeLane(t.Context(), good.Lane), "")
	push()
	wants("the queue, which works", q.Probe(t.Context()), "")
	wants("the lanes", q.Lanes().Probe(t.Context()), want)
	if _, err := q.pool.do(t.Context(), "DEL", q.key(other.Lane)); err != nil {
		t.Fatal(err)
	}
	set(other.Lane)
	push()
	wants("two lanes", q.Lanes().Probe(t.Context()),
		"the keys "+q.key(other.Lane)+" and 1 more hold something other than a list: their tasks wait until they are deleted")
	if _, err := q.pool.do(t.Context(), "DEL", q.key(bad.Lane), q.key(other.Lane)); err != nil {
		t.Fatal(err)
	}
	wants("once the keys are deleted", q.Lanes().Probe(t.Context()), "")
	wants("and that one", q.ProbeLane(t.Context(), bad.Lane), "")
}

func TestQueue_APullFromKeysThatAreNoListsWaitsAndFindsNothing(t *testing.T) {
	q, _ := openQueue(t, Config{URL: services.Redis(t)})
	for priority := range domain.MaxPriority + 1 {
		if _, err := q.pool.do(t.Context(), "SET", q.key(application.Lane{Queue: domain.DefaultQueue, Priority: priority}), "x"); err != nil {
			t.Fatal(err)
		}
	}
	p, begin := request(1), time.Now()
	p.Wait = 200 * time.Millisecond
	if got, err := q.Pull(t.Context(), p); len(got) > 0 || err != nil || time.Since(begin) < p.Wait {
		t.Errorf("pulled %v, error %v, after %v", got, err, time.Since(begin))
	}
}
