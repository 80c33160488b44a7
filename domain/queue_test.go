package domain_test

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/millrace/millrace/domain"
)

func TestParseQueueName(t *testing.T) {
	for _, name := range []string{"a", "0", "default", "mail.high-prio_2", "9..--__", strings.Repeat("q", 64)} {
		got, err := domain.ParseQueueName(name)
		must(t, err)
		if string(got) != name {
			t.Errorf("%q is read as %q", name, got)
		}
	}
	for _, name := range []string{
		"", ".a", "-a", "_a", "A", "aB", "a b", "a/b", "a:b", "a\x00", "ä", "aä", "a\n", "\xff", strings.Repeat("q", 65),
	} {
		got, err := domain.ParseQueueName(name)
		if got != "" {
			t.Errorf("%q is taken as %q", name, got)
		}
		wantInvalid(t, err, "queue")
	}
}

func TestParseRate_ReadsWhatStringSpells(t *testing.T) {
	for text, want := range map[string]domain.Rate{
		"1/s": {1, time.Second}, "100/s": {100, time.Second}, "1000000/s": {1_000_000, time.Second},
		"30/m": {30, time.Minute}, "5/h": {5, time.Hour}, "1000000/h": {1_000_000, time.Hour},
	} {
		got, err := domain.ParseRate(text)
		must(t, err)
		if got != want || got.String() != text {
			t.Errorf("%s is read as %+v and spelled %s", text, got, got)
		}
	}
	for _, text := range []string{
		"", "/", "1", "1/", "/s", "0/s", "-1/s", "1000001/s", "1/d", "1/S", "1 /s", "1/s ", "01/s", "+1/s", "1.5/s", "1e3/s", "1/s/s",
		"99999999999999999999/s",
	} {
		got, err := domain.ParseRate(text)
		if got != (domain.Rate{}) {
			t.Errorf("%q is read as %+v", text, got)
		}
		wantInvalid(t, err, "rate")
	}
	if got := (domain.Rate{}).String(); got != "" {
		t.Errorf("no limit is spelled %q", got)
	}
}

func TestRate_BurstIsWhatOneSecondBringsAndAtLeastOne(t *testing.T) {
	for text, want := range map[string]int{
		"1/s": 1, "100/s": 100, "1000000/s": 1_000_000, "59/m": 1, "60/m": 1, "600/m": 10, "119/m": 1, "5/h": 1, "7200/h": 2,
	} {
		if got := rate(t, text).Burst(); got != want {
			t.Errorf("the burst of %s is %d, want %d", text, got, want)
		}
	}
	if got := (domain.Rate{}).Burst(); got != 0 {
		t.Errorf("the burst of no limit is %d", got)
	}
}

func rate(t *testing.T, text string) domain.Rate {
	t.Helper()
	r, err := domain.ParseRate(text)
	must(t, err)
	return r
}

func TestQueueSettings_CapacityNamesTheTightestLimit(t *testing.T) {
	perSecond := domain.Rate{Count: 10, Per: time.Second}
	spent := at(0.5) // at 0: half of the bucket is left
	for name, c := range map[string]struct {
		queue   domain.QueueSettings
		running int
		tasks   int
		by      domain.Limit
	}{
		"no limit":                 {domain.QueueSettings{}, 1000, math.MaxInt, ""},
		"paused":                   {domain.QueueSettings{Paused: true}, 0, 0, domain.LimitPaused},
		"paused outweighs":         {domain.QueueSettings{Paused: true, MaxRunning: 5, Rate: perSecond}, 5, 0, domain.LimitPaused},
		"none runs":                {domain.QueueSettings{MaxRunning: 5}, 0, 5, domain.LimitMaxRunning},
		"some run":                 {domain.QueueSettings{MaxRunning: 5}, 3, 2, domain.LimitMaxRunning},
		"all run":                  {domain.QueueSettings{MaxRunning: 5}, 5, 0, domain.LimitMaxRunning},
		"limit lowered below":      {domain.QueueSettings{MaxRunning: 5}, 9, 0, domain.LimitMaxRunning},
		"a full bucket":            {domain.QueueSettings{Rate: perSecond}, 1000, 10, domain.LimitRate},
		"half a bucket":            {domain.QueueSettings{Rate: perSecond, FullAt: spent}, 1000, 5, domain.LimitRate},
		"rate tighter":             {domain.QueueSettings{MaxRunning: 9, Rate: perSecond, FullAt: spent}, 3, 5, domain.LimitRate},
		"running tighter":          {domain.QueueSettings{MaxRunning: 9, Rate: perSecond, FullAt: spent}, 5, 4, domain.LimitMaxRunning},
		"a token that is not full": {domain.QueueSettings{Rate: perSecond, FullAt: at(0.000001)}, 0, 9, domain.LimitRate},
		"less than a token full":   {domain.QueueSettings{Rate: perSecond, FullAt: at(0.999999)}, 0, 0, domain.LimitRate},
		"empty":                    {domain.QueueSettings{Rate: perSecond, FullAt: at(1)}, 0, 0, domain.LimitRate},
	} {
		got := c.queue.Capacity(c.running, at(0))
		if got.Available != c.tasks || got.LimitedBy != c.by {
			t.Errorf("%s: room for %d by %q, want %d by %q", name, got.Available, got.LimitedBy, c.tasks, c.by)
		}
		if got.Available == 0 && (got.RetryIn < 20*time.Millisecond || got.RetryIn > time.Second) {
			t.Errorf("%s: ask again after %s", name, got.RetryIn)
		}
		if limited := c.by != ""; c.queue.Limited() != limited {
			t.Errorf("%s: Limited is %t", name, !limited)
		}
	}
}

func TestQueueSettings_ASlowRateSaysWhenTheNextTaskMayStart(t *testing.T) {
	q := domain.QueueSettings{Rate: rate(t, "6/h")}
	q.Admit(many[:1], 0, at(0))
	room := q.Capacity(0, at(60))
	if room.Available != 0 || room.RetryIn != 9*time.Minute {
		t.Errorf("a minute after a start there is room for %d, again in %s", room.Available, room.RetryIn)
	}
	if got := q.Capacity(0, at(600)).Available; got != 1 {
		t.Errorf("ten minutes after a start there is room for %d", got)
	}
}

// many are ids to ask for.
var many = make([]domain.TaskID, 1_000_000)

func TestQueueSettings_AdmitTakesTheFirstAndRefusesTheRest(t *testing.T) {
	ids := make([]domain.TaskID, 5)
	for i := range ids {
		ids[i] = domain.NewTaskID(start)
	}
	perHour := rate(t, "7200/h") // a burst of two
	for name, c := range map[string]struct {
		queue    domain.QueueSettings
		running  int
		admitted int
		left     domain.Limit
		spent    bool
	}{
		"no limit":    {domain.QueueSettings{}, 100, 5, "", false},
		"paused":      {domain.QueueSettings{Paused: true}, 0, 0, domain.LimitPaused, false},
		"max running": {domain.QueueSettings{MaxRunning: 8}, 5, 3, domain.LimitMaxRunning, false},
		"a rate":      {domain.QueueSettings{Rate: perHour}, 0, 2, domain.LimitRate, true},
		"spent":       {domain.QueueSettings{Rate: perHour, FullAt: at(1)}, 0, 0, domain.LimitRate, false},
		"both":        {domain.QueueSettings{MaxRunning: 6, Rate: perHour}, 5, 1, domain.LimitMaxRunning, true},
		"paused rate": {domain.QueueSettings{Paused: true, Rate: perHour}, 0, 0, domain.LimitPaused, false},
	} {
		q := c.queue
		got := q.Admit(ids, c.running, at(0))
		want := domain.Admission{
			Admitted: ids[:c.admitted], Refused: ids[c.admitted:], Spent: c.spent, Left: q.Capacity(c.running+c.admitted, at(0)),
		}
		if !reflect.DeepEqual(got, want) || got.Left.LimitedBy != c.left {
			t.Errorf("%s: %+v, want %+v, limited by %q", name, got, want, c.left)
		}
		if before := c.queue; got.Spent == q.FullAt.Equal(before.FullAt) {
			t.Errorf("%s: spent %v, the bucket full at %s and before at %s", name, got.Spent, q.FullAt, before.FullAt)
		}
	}
}

// pace is a queue under random claims, with all that started.
type pace struct {
	queue   domain.QueueSettings
	now     time.Time
	starts  []started
	running int
}

type started struct {
	at time.Time
	n  int
}

func rates(t *rapid.T) domain.Rate {
	return domain.Rate{
		Count: rapid.OneOf(rapid.IntRange(1, 50), rapid.IntRange(1, 1_000_000)).Draw(t, "count"),
		Per:   rapid.SampledFrom([]time.Duration{time.Second, time.Minute, time.Hour}).Draw(t, "per"),
	}
}

// claim starts as many of the wanted tasks as there is room for.
func (p *pace) claim(t *rapid.T, want int) {
	room := p.queue.Capacity(p.running, p.now)
	n := len(p.queue.Admit(many[:min(want, len(many))], p.running, p.now).Admitted)
	if n != min(want, room.Available) {
		t.Fatalf("%d of %d were admitted, with room for %d", n, want, room.Available)
	}
	p.starts, p.running = append(p.starts, started{p.now, n}), p.running+n
	if left := p.queue.Capacity(p.running, p.now); room.Available < math.MaxInt && left.Available > room.Available-n {
		t.Fatalf("after %d of %d there is room for %d", n, room.Available, left.Available)
	}
}

func TestQueueSettings_NeverStartsMoreThanTheBurstAndTheRateAllowInAnyTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &pace{queue: domain.QueueSettings{Rate: rates(t)}, now: start}
		r := p.queue.Rate
		for range rapid.IntRange(1, 60).Draw(t, "claims") {
			unit := rapid.SampledFrom([]time.Duration{time.Microsecond, r.Per / time.Duration(r.Count), r.Per}).Draw(t, "unit")
			pause := time.Duration(rapid.Float64Range(0, 3).Draw(t, "pause") * float64(unit))
			p.now = p.now.Add(pause.Truncate(time.Microsecond)) // as a Clock tells it
			p.claim(t, rapid.SampledFrom([]int{0, 1, 2, r.Burst() - 1, r.Burst(), math.MaxInt}).Draw(t, "want"))
		}
		for i := range p.starts {
			n := 0
			for _, s := range p.starts[i:] {
				n += s.n
				window := s.at.Sub(p.starts[i].at)
				if over := int64(n - r.Burst()); over > 0 && float64(over) > float64(r.Count)*window.Seconds()/r.Per.Seconds()+1e-9 {
					t.Fatalf("%d tasks started within %s at %s", n, window, r)
				}
			}
		}
	})
}

// What is asked again when it was said to make sense gets a task, and all in all
// what the rate promises.
func TestQueueSettings_StartsAsManyAsTheRateAllowsIfAskedAgainInTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rates(t)
		r.Count = min(r.Count, 1000) // beyond that, whole microseconds make a difference
		p := &pace{queue: domain.QueueSettings{Rate: r}, now: start}
		p.claim(t, math.MaxInt)
		for range 50 {
			room := p.queue.Capacity(0, p.now)
			if room.Available != 0 || room.RetryIn <= 0 {
				t.Fatalf("after a claim of all there is room for %d, again in %s", room.Available, room.RetryIn)
			}
			p.now = p.now.Add(room.RetryIn)
			before := len(p.starts)
			p.claim(t, math.MaxInt)
			if p.starts[before].n == 0 {
				t.Fatalf("no task starts at %s after %s", r, room.RetryIn)
			}
		}
		n := 0
		for _, s := range p.starts {
			n += s.n
		}
		want := float64(r.Count) * p.now.Sub(start).Seconds() / r.Per.Seconds()
		if float64(n) < 0.99*want {
			t.Fatalf("%d tasks started in %s at %s, want %.0f", n, p.now.Sub(start), r, want)
		}
	})
}

func TestQueueSettings_NeverRunsMoreThanMaxRunning(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &pace{now: start, queue: domain.QueueSettings{MaxRunning: rapid.IntRange(1, 20).Draw(t, "max running")}}
		if rapid.Bool().Draw(t, "with a rate") {
			p.queue.Rate = rates(t)
		}
		for range 50 {
			p.now = p.now.Add(time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "pause")))
			p.running -= rapid.IntRange(0, p.running).Draw(t, "ended")
			p.claim(t, rapid.IntRange(0, 30).Draw(t, "want"))
			if p.running > p.queue.MaxRunning {
				t.Fatalf("%d run of %d", p.running, p.queue.MaxRunning)
			}
		}
	})
}

// A clock that is stepped back leaves a bucket that is full only in a time to
// come: that must not lock the queue, nor let more than a task through.
func TestQueueSettings_GoesOnAtItsRateAfterTheClockWasSteppedBack(t *testing.T) {
	for _, text := range []string{"100/s", "30/m", "5/h"} {
		q := domain.QueueSettings{Rate: rate(t, text)}
		token := q.Rate.Per / time.Duration(q.Rate.Count)
		q.Admit(many[:q.Rate.Burst()], 0, at(1e6))
		n, now := 0, at(0)
		for end := now.Add(20 * token); now.Before(end); {
			room := q.Capacity(0, now)
			n += room.Available
			q.Admit(many[:room.Available], 0, now)
			now = now.Add(min(token/4, time.Second))
		}
		if n < 20 || n > 21 {
			t.Errorf("%d tasks started at %s in the time of 20", n, text)
		}
	}
}

// Clocks differ a little, and a claim may arrive long after it was sent: that must
// not make tokens.
func TestQueueSettings_ATimeThatIsALittleBehindStartsNothingMore(t *testing.T) {
	q := domain.QueueSettings{Rate: rate(t, "100/s")}
	q.Admit(many[:100], 0, at(0))
	for _, behind := range []float64{0, 0.1, 0.5, 1, 3, 10, 30} {
		room := q.Capacity(0, at(-behind))
		if room.Available != 0 || room.RetryIn < time.Duration(behind*float64(time.Second)) {
			t.Errorf("%g s behind there is room for %d, again in %s", behind, room.Available, room.RetryIn)
		}
	}
}

func TestQueueSettings_ChangeSetsWhatItNames(t *testing.T) {
	yes, no, five, none := true, false, 5, 0
	fast, free := rate(t, "10/s"), domain.Rate{}
	slow := rate(t, "1/s")
	was := domain.QueueSettings{Name: "mail", Paused: true, MaxRunning: 3, Rate: fast, FullAt: at(1)}
	for name, c := range map[string]struct {
		change domain.QueueChange
		want   func(*domain.QueueSettings)
	}{
		"nothing":       {domain.QueueChange{}, func(*domain.QueueSettings) {}},
		"paused":        {domain.QueueChange{Paused: &yes}, func(*domain.QueueSettings) {}},
		"not paused":    {domain.QueueChange{Paused: &no}, func(q *domain.QueueSettings) { q.Paused = false }},
		"max running":   {domain.QueueChange{MaxRunning: &five}, func(q *domain.QueueSettings) { q.MaxRunning = 5 }},
		"as many":       {domain.QueueChange{MaxRunning: &none}, func(q *domain.QueueSettings) { q.MaxRunning = 0 }},
		"another rate":  {domain.QueueChange{Rate: &slow}, func(q *domain.QueueSettings) { q.Rate, q.FullAt = slow, time.Time{} }},
		"the same rate": {domain.QueueChange{Rate: &fast}, func(*domain.QueueSettings) {}}, // with the bucket as it is
		"no rate":       {domain.QueueChange{Rate: &free}, func(q *domain.QueueSettings) { q.Rate, q.FullAt = free, time.Time{} }},
	} {
		got, want := was, was
		c.want(&want)
		must(t, got.Change(c.change))
		if got != want {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
}

func TestQueueSettings_ChangeRefusesALimitOutOfRangeAndChangesNothing(t *testing.T) {
	yes, below, above := true, -1, 1_000_001
	for name, c := range map[string]struct {
		change domain.QueueChange
		field  string
	}{
		"below":             {domain.QueueChange{Paused: &yes, MaxRunning: &below}, "max_running"},
		"above":             {domain.QueueChange{Paused: &yes, MaxRunning: &above}, "max_running"},
		"a rate of no time": {domain.QueueChange{Paused: &yes, Rate: &domain.Rate{Count: 5}}, "rate"},
		"a negative rate":   {domain.QueueChange{Paused: &yes, Rate: &domain.Rate{Count: -5, Per: time.Second}}, "rate"},
		"a rate above":      {domain.QueueChange{Paused: &yes, Rate: &domain.Rate{Count: above, Per: time.Second}}, "rate"},
	} {
		var q domain.QueueSettings
		wantInvalid(t, q.Change(c.change), c.field)
		if q != (domain.QueueSettings{}) {
			t.Errorf("%s: changed to %+v", name, q)
		}
	}
}
