package worker

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

const endless = math.MaxInt

// pullLoop runs a schedule over queues that have entries; limited queues answer claims
// with their room.
type pullLoop struct {
	*schedule
	t       *testing.T
	now     time.Time
	entries map[domain.QueueName]int
	limits  map[domain.QueueName]roomLeft
	taken   map[domain.QueueName]int
	pulls   int
	refused int
}

// roomLeft is the room that a claim leaves in a limited queue.
type roomLeft struct {
	domain.Capacity
	more bool // the same room at each claim: the limit is far away
}

func newPullLoop(t *testing.T, queues ...QueueWeight) *pullLoop {
	return &pullLoop{
		schedule: newSchedule(queues), t: t, now: noon, entries: map[domain.QueueName]int{},
		limits: map[domain.QueueName]roomLeft{}, taken: map[domain.QueueName]int{},
	}
}

// pull makes one pull into the free slots, and returns the queue that had entries, and
// how many were taken.
func (m *pullLoop) pull(free int) (gave domain.QueueName, n int) {
	m.t.Helper()
	p := m.next(free, m.now)
	if len(p.Queues) == 0 {
		m.now = p.until
		return "", 0
	}
	if p.Max < 1 || p.Max > free {
		m.t.Fatalf("a pull of %d into %d free slots", p.Max, free)
	}
	m.pulls++
	var entries []application.Entry
	for _, name := range p.Queues {
		if n = min(p.Max, m.entries[name]); n > 0 {
			gave, m.entries[name] = name, m.entries[name]-n
			entries = slices.Repeat([]application.Entry{{Lane: application.Lane{Queue: name}}}, n)
			break
		}
	}
	if n == 0 {
		m.now = m.now.Add(p.Wait)
	}
	m.pulled(p.Queues, entries)
	if n > 0 {
		m.claim(gave, entries)
	}
	return gave, n
}

func (m *pullLoop) claim(name domain.QueueName, entries []application.Entry) {
	n := len(entries)
	room, ok := m.limits[name]
	if !ok {
		m.taken[name] += n
		m.claimed(entries, nil, m.now)
		return
	}
	starts := min(n, room.Available)
	l := application.LimitedQueue{Name: name, Capacity: room.Capacity, Refused: make([]domain.TaskID, n-starts)}
	if !room.more {
		l.Capacity.Available -= starts
	}
	m.limits[name] = roomLeft{l.Capacity, room.more}
	m.taken[name] += starts
	m.refused += n - starts
	m.entries[name] += n - starts
	m.claimed(entries, []application.LimitedQueue{l}, m.now)
}

// wantTaken fails the test unless that many were taken of the queue, give or take one.
func (m *pullLoop) wantTaken(name domain.QueueName, want int) {
	m.t.Helper()
	if got := m.taken[name]; got < want-1 || got > want+1 {
		m.t.Errorf("%d were taken of %s, want %d", got, name, want)
	}
}

func TestSchedule_GivesEachQueueItsShareByWeight(t *testing.T) {
	for _, free := range []int{1, 7} {
		m := newPullLoop(t, QueueWeight{"a", 3}, QueueWeight{"b", 1}, QueueWeight{"c", 1})
		m.entries["a"], m.entries["b"], m.entries["c"] = endless, endless, endless
		n := 0
		for n < 5000 {
			_, got := m.pull(free)
			n += got
		}
		for name, want := range map[domain.QueueName]int{"a": 3000, "b": 1000, "c": 1000} {
			if got := m.taken[name]; got < want-2*free || got > want+2*free {
				t.Errorf("with %d free slots %d were taken of %s, want about %d", free, got, name, want)
			}
		}
	}
}

// A queue without entries must not give its schedule to the one that happens to
// stand behind it.
func TestSchedule_SharesAmongQueuesThatHaveEntries(t *testing.T) {
	queues := []QueueWeight{{"a", 1}, {"b", 1}}
	for i := range 8 {
		queues = append(queues, QueueWeight{domain.QueueName(fmt.Sprint("empty", i)), 1})
	}
	m := newPullLoop(t, queues...)
	m.entries["a"], m.entries["b"] = endless, endless
	for range 1000 {
		m.pull(1)
	}
	m.wantTaken("a", 500)
	m.wantTaken("b", 500)
}

func TestSchedule_StarvesNone(t *testing.T) {
	m := newPullLoop(t, QueueWeight{"a", 1000}, QueueWeight{"b", 1})
	m.entries["a"], m.entries["b"] = endless, endless
	for range 3003 {
		m.pull(1)
	}
	m.wantTaken("b", 3)
}

func TestSchedule_ServesAtOnceAQueueThatHasEntriesAgain(t *testing.T) {
	m := newPullLoop(t, QueueWeight{"a", 1000}, QueueWeight{"b", 1})
	m.entries["a"] = endless
	for range 100 {
		m.pull(1)
	}
	m.entries["b"] = 1
	if name, _ := m.pull(1); name != "b" {
		t.Errorf("%q was served, want the queue that was empty until then", name)
	}
}

// What a queue did not take while it was empty is not owed to it later.
func TestSchedule_OwesNothingToAQueueThatWasEmptyOrBlocked(t *testing.T) {
	for name, closed := range map[string]bool{"Empty": false, "Closed": true} {
		t.Run(name, func(t *testing.T) {
			m := newPullLoop(t, QueueWeight{"a", 1}, QueueWeight{"b", 1})
			m.entries["a"] = endless
			if closed {
				m.entries["b"] = endless
				m.limits["b"] = roomLeft{Capacity: domain.Capacity{LimitedBy: domain.LimitPaused, RetryIn: 500 * time.Millisecond}}
			}
			for range 1000 {
				m.pull(1)
			}
			delete(m.limits, "b")
			m.entries["b"], m.now = endless, m.now.Add(time.Minute)
			clear(m.taken)
			for range 100 {
				m.pull(1)
			}
			m.wantTaken("a", 50)
			m.wantTaken("b", 50)
		})
	}
}

// A limit that is far away must neither put the queue before others nor behind.
func TestSchedule_IsFairToQueuesWithALimit(t *testing.T) {
	far := roomLeft{Capacity: domain.Capacity{Available: 900, LimitedBy: domain.LimitMaxRunning}, more: true}
	for name, limits := range map[string]map[domain.QueueName]roomLeft{
		"OneLimited":  {"a": far},
		"TheOther":    {"b": far},
		"BothLimited": {"a": far, "b": far},
		"LittleRoom":  {"a": far, "b": {Capacity: domain.Capacity{Available: 1, LimitedBy: domain.LimitMaxRunning}, more: true}},
	} {
		for _, free := range []int{1, 10} {
			t.Run(fmt.Sprint(name, free), func(t *testing.T) {
				m := newPullLoop(t, QueueWeight{"a", 1}, QueueWeight{"b", 1})
				m.entries["a"], m.entries["b"], m.limits = endless, endless, limits
				for m.taken["a"]+m.taken["b"] < 1000 {
					m.pull(free)
				}
				for _, q := range []domain.QueueName{"a", "b"} {
					if got := m.taken[q]; got < 480 || got > 520 {
						t.Errorf("%d were taken of %s, want about half of 1000", got, q)
					}
				}
			})
		}
	}
}

func TestSchedule_AnEmptyQueueThatIsNotKnownToBeDoesNotHoldUpOneWithLittleRoom(t *testing.T) {
	m := newPullLoop(t, QueueWeight{"a", 100}, QueueWeight{"b", 1})
	m.entries["b"] = endless
	m.limits["b"] = roomLeft{Capacity: domain.Capacity{Available: 1, LimitedBy: domain.LimitMaxRunning}, more: true}
	for range 20 {
		m.pull(10)
	}
	if m.taken["b"] < 18 {
		t.Errorf("%d of 20 schedule were for the queue that has entries", m.taken["b"])
	}
}

func TestSchedule_PullsFromALimitedQueueNoMoreThanItHasRoomFor(t *testing.T) {
	m := newPullLoop(t, QueueWeight{"a", 1})
	m.entries["a"] = endless
	m.limits["a"] = roomLeft{Capacity: domain.Capacity{Available: 25, LimitedBy: domain.LimitRate, RetryIn: 40 * time.Millisecond}}
	var took []int
	for range 4 {
		_, n := m.pull(10)
		took = append(took, n)
	}
	// The last pull waits: there is no room.
	if want := []int{10, 10, 5, 0}; !slices.Equal(took, want) || m.refused != 0 {
		t.Errorf("the schedule took %v, want %v; %d were refused", took, want, m.refused)
	}
	if want := noon.Add(40 * time.Millisecond); !m.now.Equal(want) {
		t.Errorf("the queue is asked again at %s, want %s", m.now, want)
	}
	if _, n := m.pull(10); n != 1 {
		t.Errorf("the first pull after it takes %d, want 1", n)
	}
}

func TestSchedule_TriesABlockedQueueAgainInTime(t *testing.T) {
	for name, c := range map[string]struct {
		by          domain.Limit
		again, want time.Duration
		endsInClaim bool
	}{
		"Paused":          {domain.LimitPaused, 500 * time.Millisecond, 500 * time.Millisecond, false},
		"MaxRunning":      {domain.LimitMaxRunning, 250 * time.Millisecond, 250 * time.Millisecond, false},
		"Rate":            {domain.LimitRate, 20 * time.Millisecond, 20 * time.Millisecond, false},
		"ARateOfHours":    {domain.LimitRate, 12 * time.Minute, retryLatest, false},
		"EndedInTheClaim": {domain.LimitMaxRunning, 250 * time.Millisecond, retrySoon, true},
		"EndedAndPaused":  {domain.LimitPaused, 500 * time.Millisecond, 500 * time.Millisecond, true},
	} {
		t.Run(name, func(t *testing.T) {
			schedule, entries := newSchedule([]QueueWeight{{"a", 1}}), []application.Entry{{Lane: application.Lane{Queue: "a"}}}
			schedule.next(1, noon)
			schedule.pulled([]domain.QueueName{"a"}, entries)
			if c.endsInClaim {
				schedule.attemptEnded("a", noon)
			}
			schedule.claimed(entries, []application.LimitedQueue{{Name: "a", Capacity: domain.Capacity{LimitedBy: c.by, RetryIn: c.again}}}, noon)

			p := schedule.next(1, noon)
			if got := p.until.Sub(noon); got != c.want || len(p.Queues) > 0 {
				t.Errorf("pull from %v, or again in %s, want %s", p.Queues, got, c.want)
			}
			if p := schedule.next(1, noon.Add(c.want-1)); len(p.Queues) > 0 {
				t.Error("the gate is tried too early")
			}
			if p := schedule.next(1, noon.Add(c.want)); len(p.Queues) != 1 || p.Max != 1 {
				t.Errorf("the gate is tried by %+v", p)
			}
		})
	}
}

func closedBy(by domain.Limit, again time.Duration) *schedule {
	t := newSchedule([]QueueWeight{{"a", 1}, {"b", 1}})
	t.claimed(nil, []application.LimitedQueue{{Name: "a", Capacity: domain.Capacity{LimitedBy: by, RetryIn: again}}}, noon)
	return t
}

func TestSchedule_WaitsNoLongerThanAGateIsClosed(t *testing.T) {
	for name, c := range map[string]struct {
		schedule *schedule
		want     time.Duration
	}{
		"NoGate":     {newSchedule([]QueueWeight{{"a", 1}, {"b", 1}}), pullWait},
		"Paused":     {closedBy(domain.LimitPaused, 500*time.Millisecond), 500 * time.Millisecond},
		"Rate":       {closedBy(domain.LimitRate, 20*time.Millisecond), 20 * time.Millisecond},
		"MaxRunning": {closedBy(domain.LimitMaxRunning, 250*time.Millisecond), pullWaitShort},
		"AlmostOpen": {closedBy(domain.LimitRate, time.Microsecond), pullWaitLeast},
	} {
		if got := c.schedule.next(1, noon).Wait; got != c.want {
			t.Errorf("%s: a pull from the others waits for %s, want %s", name, got, c.want)
		}
	}
}

func TestSchedule_AnEndOpensAGateThatIsClosedByMaxRunningAndNoOther(t *testing.T) {
	for by, opens := range map[domain.Limit]bool{domain.LimitMaxRunning: true, domain.LimitPaused: false, domain.LimitRate: false} {
		schedule := newSchedule([]QueueWeight{{"a", 1}, {"b", 1}})
		for _, name := range []domain.QueueName{"a", "b"} {
			schedule.claimed(nil, []application.LimitedQueue{{Name: name, Capacity: domain.Capacity{LimitedBy: by, RetryIn: 100 * time.Millisecond}}}, noon)
		}
		schedule.attemptEnded("b", noon)
		schedule.attemptEnded("b", noon)
		p := schedule.next(10, noon)
		if got := slices.Equal(p.Queues, []domain.QueueName{"b"}) && p.Max == 2; got != opens {
			t.Errorf("%s: after two ends there is a pull of %d from %v", by, p.Max, p.Queues)
		}
		if got := len(schedule.unblocked) == 1; got != opens {
			t.Errorf("%s: whoever waits is woken: %t", by, got)
		}
	}
}

func TestSchedule_AQueueWithoutEntriesNeedsNoGate(t *testing.T) {
	schedule := closedBy(domain.LimitRate, 20*time.Millisecond)
	p := schedule.next(10, noon.Add(time.Second))
	schedule.pulled(p.Queues, nil)
	if p := schedule.next(10, noon.Add(time.Second)); p.Max != 10 || len(p.Queues) != 2 {
		t.Errorf("the next pull is of %d from %v, want all", p.Max, p.Queues)
	}
}

func TestSchedule_AClaimThatMeetsNoLimitRemovesTheGate(t *testing.T) {
	schedule := closedBy(domain.LimitPaused, time.Millisecond)
	schedule.claimed([]application.Entry{{Lane: application.Lane{Queue: "a"}}}, nil, noon)
	if p := schedule.next(10, noon); len(p.Queues) != 2 {
		t.Errorf("the next pull is from %v, want both", p.Queues)
	}
}

func TestSchedule_LeavesOutOfAPullWhatHasLessRoomAndDoesNotWait(t *testing.T) {
	schedule := newSchedule([]QueueWeight{{"a", 1}, {"b", 1}})
	one := []application.Entry{{Lane: application.Lane{Queue: "a"}}}
	schedule.pulled([]domain.QueueName{"a"}, one)
	schedule.claimed(one, []application.LimitedQueue{{Name: "a", Capacity: domain.Capacity{Available: 3, LimitedBy: domain.LimitMaxRunning}}}, noon)

	if p := schedule.next(10, noon); !slices.Equal(p.Queues, []domain.QueueName{"b"}) || p.Max != 5 || p.Wait != 0 {
		t.Errorf("the pull is %+v, want 5 of b at once", p)
	}
	if p := schedule.next(6, noon); len(p.Queues) != 2 || p.Max != 3 || p.Wait != pullWait {
		t.Errorf("the pull is %+v, want 3 of both", p)
	}
}

func TestSchedule_ChargesNothingForWhatWasRefused(t *testing.T) {
	schedule := newSchedule([]QueueWeight{{"a", 1}, {"b", 1}})
	two, refused := slices.Repeat([]application.Entry{{Lane: application.Lane{Queue: "a"}}}, 2), make([]domain.TaskID, 2)
	schedule.pulled([]domain.QueueName{"a"}, two)
	schedule.claimed(two, []application.LimitedQueue{{Name: "a", Refused: refused, Capacity: domain.Capacity{LimitedBy: domain.LimitRate}}}, noon)

	if p := schedule.next(10, noon); p.Queues[0] != "a" {
		t.Errorf("the pull is from %v, want from a first: it has given nothing yet", p.Queues)
	}
}
