package chaos

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"
)

// The queues whose tasks do not run as soon as a worker has time.
const (
	few     = "few"     // so many run at once at most; set before the first task
	rated   = "rated"   // so many start a second; set before the first task
	toggled = "toggled" // paused and limited now and then
)

const (
	fewRunning = 4
	ratedStart = 10
	// Processes that share a store agree on the time to within this.
	agreed = 100 * time.Millisecond
	// obeyed: a change of a queue's settings holds for all workers by then.
	obeyed = time.Second
)

// unlimited are the queues in which nothing but a fault makes a task wait.
var unlimited = []string{"default", "mail"}

// takesAll is what QUEUES of every worker says.
const takesAll = "default=8,mail=2,few,rated,toggled"

func drawQueue(r *rand.Rand) string {
	switch what := r.IntN(100); {
	case what < 70:
		return "" // the default
	case what < 80:
		return "mail"
	case what < 85:
		return few
	case what < 90:
		return rated
	default:
		return toggled
	}
}

// set changes the settings of a queue, again and again until that is answered
// with success.
func (l *load) set(queue, settings string, r *rand.Rand) {
	for end := time.Now().Add(settleLimit); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		a := l.call(r, 2*time.Second, request{method: http.MethodPatch, path: "/queues/" + queue, body: settings})
		l.count("queue", a)
		l.expect(a, "a change of a queue", http.StatusOK, http.StatusServiceUnavailable)
		if a.status == http.StatusOK {
			return
		}
	}
	l.unexpected("queue %s could not be set to %s within %s", queue, settings, settleLimit)
}

// lift takes all limits off the queue that is toggled.
func (l *load) lift(r *rand.Rand) {
	l.set(toggled, `{"paused":false,"max_running":null,"rate":null}`, r)
}

// toggle limits a queue for a while, again and again, until the clients stop.
func (l *load) toggle(seed uint64) {
	l.clients.Go(func() {
		r := rand.New(rand.NewPCG(seed, 3_000_000))
		for !l.halted(time.Duration(300+r.IntN(1500)) * time.Millisecond) {
			l.set(toggled, []string{`{"paused":true}`, `{"max_running":2}`, `{"rate":"5/s"}`}[r.IntN(3)], r)
			l.halted(time.Duration(500+r.IntN(2500)) * time.Millisecond)
			l.lift(r)
		}
	})
}

// runningSampler counts what runs of a queue, as anybody could at any time.
type runningSampler struct {
	mu       sync.Mutex
	most     int
	took     []time.Duration // each sample, and the pause before it
	end      context.CancelFunc
	sampling sync.WaitGroup
}

func (r *run) sampleRunning(queue string) *runningSampler {
	ctx, end := context.WithCancel(r.t.Context())
	w := &runningSampler{end: end}
	w.sampling.Go(func() {
		for begun := time.Now(); ctx.Err() == nil; begun = time.Now() {
			time.Sleep(sampleInterval)
			found, err := tryRows(r.t, r.direct, func(row *sql.Rows, n *int) error { return row.Scan(n) },
				"SELECT count(*) FROM tasks WHERE queue = $1 AND status = 'processing'", queue)
			if err == nil { // otherwise PostgreSQL is away
				w.mu.Lock()
				w.took, w.most = append(w.took, time.Since(begun)), max(w.most, found[0])
				w.mu.Unlock()
			}
		}
	})
	r.t.Cleanup(w.stop)
	return w
}

func (w *runningSampler) stop() {
	w.end()
	w.sampling.Wait()
}

// slow is what one sample in ten took longer than.
func (w *runningSampler) slow() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.took) == 0 {
		return 0
	}
	took := slices.Sorted(slices.Values(w.took))
	return took[len(took)*9/10]
}

// setting is what was set of a queue for a time, as PostgreSQL has noted it.
type setting struct {
	paused     bool
	maxRunning sql.NullInt64
	rateCount  sql.NullInt64
	ratePer    sql.NullInt64 // microseconds
	from       time.Time     // of its commit, and some time to be obeyed
	until      time.Time     // the next change of it
}

// settings are all that were set of a queue, one after the other.
func (r *run) settings(queue string) []setting {
	r.t.Helper()
	type noted struct {
		setting
		at time.Time
	}
	found := rows(r.t, r.direct, func(row *sql.Rows, n *noted) error {
		return row.Scan(&n.paused, &n.maxRunning, &n.rateCount, &n.ratePer, &n.from, &n.at)
	}, "SELECT paused, max_running, rate_count, rate_per, pg_xact_commit_timestamp(xmin), at FROM settings_audit WHERE queue = $1 ORDER BY n", queue)
	all := make([]setting, len(found))
	for i, n := range found {
		all[i] = n.setting
		all[i].until = time.Now()
		if i > 0 {
			all[i-1].until = n.at
		}
		if queue == toggled { // the others are set before any worker is there
			all[i].from = all[i].from.Add(r.pace.stretch(obeyed))
		}
	}
	return all
}

// move is the beginning or the end of an attempt.
type move struct {
	begins  bool
	at      time.Time // by the clock of PostgreSQL
	started time.Time // as it is stored
}

// movesOf are the beginnings and ends of the queue's attempts, in their order.
func (r *run) movesOf(queue string) []move {
	r.t.Helper()
	return rows(r.t, r.direct, func(row *sql.Rows, m *move) error { return row.Scan(&m.begins, &m.at, &m.started) }, `
		SELECT new_status = 'processing', at, started_at FROM audit WHERE queue = $1
		AND (new_status = 'processing') <> (old_status = 'processing') ORDER BY n`, queue)
}

// mostRunning is how many tasks of the queue ran at once at most.
func (r *run) mostRunning(queue string) (most int) {
	running := 0
	for _, m := range r.movesOf(queue) {
		if m.begins {
			running++
		} else {
			running--
		}
		most = max(most, running)
	}
	return most
}

// mostSpentOf is how much of the burst of the queue's rate was spent at most.
func (r *run) mostSpentOf(queue string) float64 {
	var started []time.Time
	for _, m := range r.movesOf(queue) {
		if m.begins {
			started = append(started, m.started)
		}
	}
	most, _ := mostSpent(started, time.Second/ratedStart)
	return most
}

// checkLimits compares what has run of each limited queue with what was set of it.
// The audit notes moves in the order in which they were made: a beginning while
// its claim holds the queue, an end no later than anybody could see it. So the
// count is exact where it matters, at each beginning.
func (r *run) checkLimits(p *report) {
	for _, queue := range []string{few, rated, toggled} {
		moves := r.movesOf(queue)
		settings := r.settings(queue)
		if queue != toggled && len(settings) != 1 {
			r.t.Errorf("%s was set %d times, not once", queue, len(settings))
		}
		for i, s := range settings {
			r.checkSetting(p, queue, s, moves)
			if i == len(settings)-1 && queue == toggled && (s.paused || s.maxRunning.Valid || s.rateCount.Valid) {
				r.t.Errorf("%s is still limited at the end", queue)
			}
		}
	}
	if p.MostRunningOfFew < fewRunning {
		r.t.Errorf("at most %d tasks of %s ran at once: its limit of %d was not put to the test", p.MostRunningOfFew, few, fewRunning)
	}
	if p.MostSpentOfRated < ratedStart-1 {
		r.t.Errorf("at most %.1f of the burst of %d of %s was spent: its rate was not put to the test", p.MostSpentOfRated, ratedStart, rated)
	}
}

func (r *run) checkSetting(p *report, queue string, s setting, moves []move) {
	var wrong finding
	running, most := 0, 0
	var started, really []time.Time
	for _, m := range moves {
		if !m.begins {
			running--
			continue
		}
		running++
		if m.at.Before(s.from) || m.at.After(s.until) {
			continue
		}
		most = max(most, running)
		started, really = append(started, m.started), append(really, m.at)
		switch {
		case s.paused:
			wrong.add("a task of %s began at %s, while it was paused from %s until %s", queue, m.at, s.from, s.until)
		case s.maxRunning.Valid && running > int(s.maxRunning.Int64):
			wrong.add("%d tasks of %s ran at %s, when at most %d might", running, queue, m.at, s.maxRunning.Int64)
		}
	}
	if s.rateCount.Valid {
		each := time.Duration(s.ratePer.Int64) * time.Microsecond / time.Duration(s.rateCount.Int64)
		burst := max(1, int(time.Second/each))
		spent, at := mostSpent(started, each)
		if spent > float64(burst)+float64(agreed)/float64(each) {
			wrong.add("%.1f tokens of %s were spent at %s, of a burst of %d, one each %s", spent, queue, at, burst, each)
		}
		if queue == rated {
			p.MostSpentOfRated = spent
			p.MostAtOnce, _ = mostSpent(really, each)
		}
	}
	if queue == few {
		p.MostRunningOfFew = most
	}
	if s.paused || s.maxRunning.Valid || s.rateCount.Valid {
		p.LimitsSet++
	}
	p.LimitsExceeded += wrong.n
	wrong.report(r.t)
}

// mostSpent is how many tokens of a bucket, in which there is one more each so
// often, were missing at most, and when: over any time w no more than so many
// tasks and w/each have started.
func mostSpent(started []time.Time, each time.Duration) (most float64, at time.Time) {
	slices.SortFunc(started, time.Time.Compare)
	var full time.Time
	for _, s := range started {
		if full.Before(s) {
			full = s
		}
		full = full.Add(each)
		if spent := float64(full.Sub(s)) / float64(each); spent > most {
			most, at = spent, s
		}
	}
	return most, at
}

// checkSampled compares what the sampler saw with the limit.
func (r *run) checkSampled(p *report) {
	w := r.running
	w.stop()
	p.SamplesOfFew = len(w.took)
	if w.most > fewRunning || len(w.took) == 0 {
		r.t.Errorf("%d tasks of %s ran at once, of %d, in %d samples", w.most, few, fewRunning, len(w.took))
	}
}

// limit sets the limits that stay.
func (r *run) limit() {
	random := rand.New(rand.NewPCG(r.seed, 4_000_000))
	r.load.set(few, fmt.Sprintf(`{"max_running":%d}`, fewRunning), random)
	r.load.set(rated, fmt.Sprintf(`{"rate":"%d/s"}`, ratedStart), random)
	r.load.lift(random)
}

// exhaust fills the limited queues until both limits have been reached, before
// anything else is asked of the workers. What a slow machine starts of the load may
// never reach them. Here it need not be fast: an idle worker pulls more entries of
// a queue than its limit permits and claims them in one statement, which takes all
// that is left of the limit.
func (r *run) exhaust() {
	r.t.Helper()
	random := rand.New(rand.NewPCG(r.seed, 6_000_000))
	for end, round := time.Now().Add(settleLimit), 1; ; round++ {
		for queue, n := range map[string]int{few: 3 * fewRunning, rated: 3 * ratedStart} {
			r.fill(queue, n, round, random)
		}
		running, spent := r.mostRunning(few), r.mostSpentOf(rated)
		if running >= fewRunning && spent >= ratedStart-1 {
			r.t.Logf("both limits were reached in round %d", round)
			return
		}
		if time.Now().After(end) {
			r.t.Fatalf("within %s at most %d of %d ran at once and %.1f of a burst of %d were spent", settleLimit, running, fewRunning, spent, ratedStart)
		}
	}
}

// fill submits n tasks to the queue at once, and waits until they have ended.
func (r *run) fill(queue string, n, round int, random *rand.Rand) {
	r.t.Helper()
	s := &submission{batch: true}
	for i := range n {
		s.specs = append(s.specs, taskSpec{Message: fmt.Sprintf("%s, round %d, item %d", queue, round, i), Queue: queue})
	}
	if !r.load.submit(s, random, settleLimit) {
		r.t.Fatal("no task was accepted before anything was broken")
	}
	const unfinished = "SELECT count(*) FROM tasks WHERE queue = $1 AND status IN ('pending', 'processing')"
	for end := time.Now().Add(settleLimit); number(r.t, r.direct, unfinished, queue) > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("the tasks of %s have not ended within %s, before anything was broken", queue, settleLimit)
		}
	}
}
