package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/lib/pq"

	"github.com/millrace/millrace/test/services"
)

// kind is a kind of fault.
type kind struct {
	name string
	part string // what it befalls: two faults at once befall two parts
	// least, most: how long it lasts, if its end waits for nothing more.
	least, most time.Duration
	// begin begins the fault and returns what ends it.
	begin func(r *run, f fault) (end func())
	// first: a run of any length begins with these.
	first bool
	// limit: what the fault stranded goes on within this time. Such a fault comes alone.
	limit time.Duration
}

// fault is one fault, drawn from a seed.
type fault struct {
	*kind
	target int           // which of the programs, where it is about one
	all    bool          // all the links at once, where it is about links
	after  time.Duration // from the beginning of the step
	lasts  time.Duration
}

// The limits on what a lost worker held and on what a Redis without memory forgot.
const (
	rescueLimit = lease + 5*time.Second
	refillLimit = 15 * time.Second
)

var kinds = []*kind{
	{name: "worker killed", part: "workers", least: 200 * time.Millisecond, most: 2 * time.Second, first: true, limit: rescueLimit, begin: killWorker},
	{name: "worker frozen past its lease", part: "workers", least: time.Second, most: lease, first: true, limit: rescueLimit, begin: freezeForLong},
	{name: "worker frozen briefly", part: "workers", least: 100 * time.Millisecond, most: lease - time.Second, begin: freezeWorker},
	{name: "worker told to stop", part: "workers", most: time.Second, begin: stopWorker},
	{name: "API killed", part: "APIs", most: 2 * time.Second, first: true, begin: killAPI},
	{name: "API frozen", part: "APIs", least: 500 * time.Millisecond, most: 6 * time.Second, begin: freezeAPI},
	{name: "Redis flushed", part: "Redis", first: true, limit: refillLimit, begin: flushRedis},
	{name: "Redis killed", part: "Redis", least: 100 * time.Millisecond, most: 3 * time.Second, limit: refillLimit, begin: killRedis},
	{name: "PostgreSQL restarted", part: "PostgreSQL", first: true, begin: restartPostgres},
	{name: "PostgreSQL killed", part: "PostgreSQL", least: 100 * time.Millisecond, most: 4 * time.Second, begin: killPostgres},
	{name: "links to PostgreSQL cut", part: "links to PostgreSQL", most: 4 * time.Second, begin: cut(toPostgres)},
	{name: "links to PostgreSQL slow", part: "links to PostgreSQL", least: time.Second, most: 5 * time.Second, begin: slow(toPostgres)},
	{name: "links to PostgreSQL stalled", part: "links to PostgreSQL", least: time.Second, most: 8 * time.Second, begin: stall(toPostgres)},
	{name: "links to Redis cut", part: "links to Redis", most: 4 * time.Second, begin: cut(toRedis)},
	{name: "links to Redis slow", part: "links to Redis", least: time.Second, most: 5 * time.Second, begin: slow(toRedis)},
	{name: "links to Redis stalled", part: "links to Redis", least: time.Second, most: 8 * time.Second, begin: stall(toRedis)},
}

// schedule draws steps of one fault or two: all kinds come up before any comes again.
type schedule struct {
	r    *rand.Rand
	left []*kind
}

func newSchedule(seed uint64) *schedule {
	s := &schedule{r: rand.New(rand.NewPCG(seed, 0))}
	s.shuffle()
	// Stable, so that the order within each half is still the seed's.
	var first, rest []*kind
	for _, k := range s.left {
		if k.first {
			first = append(first, k)
		} else {
			rest = append(rest, k)
		}
	}
	s.left = slices.Concat(first, rest)
	return s
}

func (s *schedule) shuffle() {
	s.left = slices.Clone(kinds)
	s.r.Shuffle(len(s.left), func(i, j int) { s.left[i], s.left[j] = s.left[j], s.left[i] })
}

// next draws a step. Every draw is made whatever the kind, so that a seed means
// the same schedule after a change of one of them.
func (s *schedule) next() []fault {
	if len(s.left) == 0 {
		s.shuffle()
	}
	one := s.draw(s.left[0])
	s.left = s.left[1:]
	alone, after := s.r.IntN(2) == 0, s.r.Int64N(int64(time.Second))
	if alone || one.limit > 0 {
		return []fault{one}
	}
	for i, k := range s.left {
		if k.part == one.part || k.limit > 0 || k.first {
			continue
		}
		s.left = slices.Concat(s.left[:i], s.left[i+1:])
		two := s.draw(k)
		two.after = time.Duration(after)
		return []fault{one, two}
	}
	return []fault{one}
}

func (s *schedule) draw(k *kind) fault {
	return fault{
		kind: k, target: s.r.IntN(apis + workers), all: s.r.IntN(2) == 0,
		lasts: k.least + time.Duration(s.r.Int64N(int64(k.most-k.least)+1)),
	}
}

func (f fault) String() string {
	return fmt.Sprintf("%s (target %d, all %t, after %s, for %s)", f.name, f.target, f.all, f.after.Round(time.Millisecond), f.lasts.Round(time.Millisecond))
}

func (r *run) worker(f fault) *member { return r.workers[f.target%workers] }

func (r *run) api(f fault) *member { return r.apis[f.target%apis] }

// heldBy finds what a process holds.
const heldBy = `SELECT t.id, t.attempt FROM tasks AS t JOIN workers AS w ON w.id = t.worker WHERE t.status = 'processing' AND w.pid = $1`

func killWorker(r *run, f fault) func() {
	w := r.worker(f)
	w.process().Kill()
	r.noteStranded(f, processing, heldBy, w.process().PID())
	return w.start
}

func freezeWorker(r *run, f fault) func() {
	p := r.worker(f).process()
	p.Signal(syscall.SIGSTOP)
	return func() { p.Signal(syscall.SIGCONT) }
}

// freezeForLong freezes the worker with the longest tasks until others have
// begun with what it held: that is when it must not end them.
func freezeForLong(r *run, f fault) func() {
	p := r.workers[workers-1].process()
	p.Signal(syscall.SIGSTOP)
	w := r.noteStranded(f, processing, heldBy, p.PID())
	return func() {
		if w != nil {
			r.awaitTaken(w)
		}
		p.Signal(syscall.SIGCONT)
	}
}

// stopWorker tells a worker to stop, as a deployment does; it has to end well
// whatever else is broken.
func stopWorker(r *run, f fault) func() {
	w := r.worker(f)
	w.process().Signal(syscall.SIGTERM)
	return func() {
		if code := w.process().Wait(settleLimit); code != 0 { // a second signal would end it at once
			r.t.Errorf("a worker that was told to stop ended with code %d", code)
		}
		w.start()
	}
}

func killAPI(r *run, f fault) func() {
	r.api(f).process().Kill()
	return r.api(f).start
}

func freezeAPI(r *run, f fault) func() {
	p := r.api(f).process()
	p.Signal(syscall.SIGSTOP)
	return func() { p.Signal(syscall.SIGCONT) }
}

// backlog holds the workers while tasks arrive, so that there is something on
// the queue to be forgotten, and notes those tasks.
func backlog(r *run, f fault, forget func()) {
	for _, w := range r.workers {
		w.process().Signal(syscall.SIGSTOP)
	}
	time.Sleep(time.Second)
	r.noteStranded(f, pending, `SELECT id, attempt FROM tasks WHERE status = 'pending' AND queued_at IS NOT NULL AND queue = ANY($1)`, pq.Array(unlimited))
	forget()
	for _, w := range r.workers {
		w.process().Signal(syscall.SIGCONT)
	}
}

func flushRedis(r *run, f fault) func() {
	backlog(r, f, func() {
		conn, err := redis.DialURL(r.redis.URL())
		if err != nil {
			r.t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Do("FLUSHALL"); err != nil {
			r.t.Fatal(err)
		}
	})
	return func() {}
}

func killRedis(r *run, f fault) func() {
	backlog(r, f, r.redis.Kill)
	return r.redis.Start
}

func restartPostgres(r *run, _ fault) func() {
	r.postgres.Stop(services.StopImmediate)
	return r.postgres.Start
}

func killPostgres(r *run, _ fault) func() {
	r.postgres.Kill()
	return r.postgres.Start
}

func toPostgres(m *member) *link { return m.postgres }

func toRedis(m *member) *link { return m.redis }

// links are the ones that a fault is about: all of a sort, or that of one program.
func (r *run) links(f fault, of func(*member) *link) []*link {
	var all []*link
	for i, m := range slices.Concat(r.apis, r.workers) {
		if f.all || i == f.target {
			all = append(all, of(m))
		}
	}
	return all
}

func cut(of func(*member) *link) func(*run, fault) func() {
	return onLinks(of, (*link).cut, (*link).restore)
}

// slow makes a link one of a long distance, and a narrow one.
func slow(of func(*member) *link) func(*run, fault) func() {
	return onLinks(of, func(l *link) {
		l.addToxic("latency", `{"latency":150,"jitter":100}`)
		l.addToxic("bandwidth", `{"rate":30}`)
	}, (*link).removeToxics)
}

// stall swallows what is sent, and tells nobody.
func stall(of func(*member) *link) func(*run, fault) func() {
	return onLinks(of, func(l *link) { l.addToxic("timeout", `{"timeout":0}`) }, (*link).removeToxics)
}

func onLinks(of func(*member) *link, begin, end func(*link)) func(*run, fault) func() {
	return func(r *run, f fault) func() {
		links := r.links(f, of)
		for _, l := range links {
			begin(l)
		}
		return func() {
			for _, l := range links {
				end(l)
			}
		}
	}
}
