package chaos

import (
	"cmp"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lib/pq"
)

const (
	clients = 24
	// rate is how many requests a second the clients make together, outages apart.
	rate = 200
	// settleLimit bounds the wait for anything that has to come true at some time.
	settleLimit = 4 * time.Minute
)

// run is one run of the chaos.
type run struct {
	*cluster
	load     *load
	seed     uint64
	pace     pace
	steps    []*step
	stranded []*strandedTasks
	running  *runningSampler
	ready    *readinessSampler
	locked   string // the task that an operator has locked
}

// step is a fault, or two at once, and what came after.
type step struct {
	faults  []fault
	began   time.Time
	ended   time.Time // the last fault is over
	settled time.Time // a task that was submitted after that is completed
}

// strandedTasks are a set of tasks that a fault has stranded.
type strandedTasks struct {
	fault    fault
	began    time.Time
	from     status // which they have to leave
	ids      []string
	attempts []int64
}

func TestChaos(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = 1 + rand.Uint64N(1_000_000)
	}
	t.Logf("seed %d: `make chaos SEED=%d DURATION=%s` runs this schedule again", seed, seed, *durationFlag)
	r := &run{cluster: startCluster(t), seed: seed}
	var addrs []*addr
	for _, a := range r.apis {
		addrs = append(addrs, &a.addr)
	}
	r.load = newLoad(t, addrs)
	r.limit()
	for _, w := range r.workers {
		w.start()
	}
	r.running, r.ready = r.sampleRunning(few), r.sampleReadiness()
	r.exhaust()
	r.load.start(clients, rate, seed)
	r.load.toggle(seed)
	r.measurePace("before")

	schedule := newSchedule(seed, chosen(t, *onlyFlag))
	for end := time.Now().Add(*durationFlag); time.Now().Before(end); {
		time.Sleep(time.Duration(schedule.r.Int64N(int64(time.Second))))
		r.step(schedule.next())
	}
	r.measurePace("after")
	r.load.stop()
	r.measureSamples()
	r.verify()
}

// action is the beginning or the end of a fault.
type action struct {
	at time.Duration
	do func()
}

// step begins the faults and ends them, and waits until the service works again.
func (r *run) step(faults []fault) {
	r.awaitQuiet()
	s := &step{faults: faults, began: time.Now()}
	var names []string
	for _, f := range faults {
		names = append(names, f.String())
	}
	r.t.Log(strings.Join(names, " and "))
	for _, a := range r.actions(s) {
		time.Sleep(time.Until(s.began.Add(a.at)))
		a.do()
	}
	s.ended = time.Now()
	r.probe(len(r.steps) + 1)
	s.settled = time.Now()
	r.steps = append(r.steps, s)
	for _, w := range r.stranded {
		r.awaitLeft(w)
	}
	if len(faults) == 1 && faults[0].part == "PostgreSQL" {
		r.checkNobodyLost(s)
	}
}

// actions are the beginnings and ends of the step's faults, in their order.
func (r *run) actions(s *step) (all []action) {
	for i := range s.faults {
		f := &s.faults[i]
		var end func()
		begin := func() {
			f.began = time.Now()
			end = f.begin(r, *f)
			if f.goesOn != nil {
				f.goesOn(r, *f)
				f.took = time.Since(f.began)
			}
		}
		all = append(all, action{f.after, begin}, action{f.after + f.lasts, func() {
			f.ended = time.Now()
			end()
		}})
	}
	slices.SortStableFunc(all, func(a, b action) int { return cmp.Compare(a.at, b.at) })
	return all
}

// awaitQuiet waits until nobody that is not there holds a task, so that what a
// step takes from a worker can be told from what came before.
func (r *run) awaitQuiet() {
	r.t.Helper()
	for end := time.Now().Add(settleLimit); number(r.t, r.direct, `SELECT count(*) FROM tasks AS t LEFT JOIN workers AS w ON w.id = t.worker
		WHERE t.status = 'processing' AND coalesce(w.seen_at < clock_timestamp() - interval '1 second', true)`) > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("a worker that is not there still holds tasks after %s", settleLimit)
		}
	}
}

// checkNobodyLost: after an outage of PostgreSQL every heartbeat is old, and no
// worker that stored loses a task.
func (r *run) checkNobodyLost(s *step) {
	r.t.Helper()
	time.Sleep(time.Second) // the workers' first sweeps since
	if n := number(r.t, r.direct, "SELECT count(*) FROM audit WHERE rescued AND at > $1", s.began); n > 0 {
		r.t.Errorf("%s: %d tasks were taken from workers that live", s.faults[0].name, n)
	}
}

// probe submits a task and waits until it is completed.
func (r *run) probe(n int) {
	r.t.Helper()
	random := rand.New(rand.NewPCG(r.seed, uint64(n)+1_000_000))
	end := time.Now().Add(settleLimit)
	for try := 0; time.Now().Before(end); try++ {
		s := single(fmt.Sprintf("probe %d, try %d", n, try))
		if !r.load.submit(s, random, time.Second) {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		if r.awaitEnd(s.ids[0], end) {
			return
		}
	}
	r.t.Fatalf("after step %d: no task went through within %s", n, settleLimit)
}

// noteStranded notes the tasks that query finds, which have to leave the status from. It
// is nil if PostgreSQL is down as well, and nobody can tell.
func (r *run) noteStranded(f fault, from status, query string, args ...any) *strandedTasks {
	w := &strandedTasks{fault: f, began: time.Now(), from: from}
	found, err := tryRows(r.t, r.direct, func(row *sql.Rows, h *held) error { return row.Scan(&h.id, &h.attempt) }, query, args...)
	if err != nil {
		return nil
	}
	for _, h := range found {
		w.ids, w.attempts = append(w.ids, h.id), append(w.attempts, h.attempt)
	}
	r.stranded = append(r.stranded, w)
	return w
}

const stillThere = `SELECT count(*) FROM tasks AS t JOIN unnest($1::uuid[], $2::bigint[]) AS h(id, attempt) USING (id, attempt) WHERE t.status = $3`

// awaitLeft waits until none of the tasks is where the fault has left it.
func (r *run) awaitLeft(w *strandedTasks) {
	r.t.Helper()
	for end := w.began.Add(settleLimit); number(r.t, r.direct, stillThere, pq.Array(w.ids), pq.Array(w.attempts), string(w.from)) > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("%s: what was %s still is after %s", w.fault.name, w.from, settleLimit)
		}
	}
}

// awaitTaken waits until another attempt has begun with one of the tasks.
func (r *run) awaitTaken(w *strandedTasks) {
	r.t.Helper()
	const taken = `SELECT count(*) FROM tasks AS t JOIN unnest($1::uuid[], $2::bigint[]) AS h(id, attempt) USING (id) WHERE t.attempt > h.attempt`
	for end := w.began.Add(settleLimit); len(w.ids) > 0 && number(r.t, r.direct, taken, pq.Array(w.ids), pq.Array(w.attempts)) == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("%s: nobody has taken what it held within %s", w.fault.name, settleLimit)
		}
	}
}

// took is how long the last of the tasks took to leave, by the clock of PostgreSQL.
func (r *run) took(w *strandedTasks) time.Duration {
	found := rows(r.t, r.direct, func(row *sql.Rows, at *sql.NullTime) error { return row.Scan(at) }, `
		SELECT max(at) FROM (
			SELECT min(a.at) AS at FROM audit AS a JOIN unnest($1::uuid[], $2::bigint[]) AS h(id, attempt) ON h.id = a.task AND h.attempt = a.old_attempt
			WHERE a.old_status = $3 AND a.at > $4 GROUP BY a.task
		) AS moves`, pq.Array(w.ids), pq.Array(w.attempts), string(w.from), w.began)
	if !found[0].Valid {
		return 0
	}
	return found[0].Time.Sub(w.began)
}
