package chaos

import (
	"fmt"
	"slices"
	"syscall"
	"time"

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
	// limit: what the fault stranded goes on within this time.
	limit time.Duration
	// goesOn waits, while the fault lasts, for what it must not prevent, which has to
	// happen within that time.
	goesOn func(r *run, f fault)
	within time.Duration
	// stops: no program can run any task, or accept any, until it is over.
	stops bool
}

// alone reports whether the fault comes alone, as something is measured during it or
// after it.
func (k *kind) alone() bool { return k.limit > 0 || k.within > 0 || k.stops }

// fault is one fault, drawn from a seed.
type fault struct {
	*kind
	target int           // which of the programs, where it is about one
	all    bool          // all the links at once, where it is about links
	after  time.Duration // from the beginning of the step
	lasts  time.Duration

	began, ended time.Time     // ended: just before its end is begun
	took         time.Duration // what it must not prevent, for this long
}

// The limits on what a lost worker held and on what a Redis without memory forgot.
const (
	rescueLimit = lease + 5*time.Second
	refillLimit = 15 * time.Second
	// besideLimit: what has nothing to do with a locked or a bad row ends within this. A
	// claim passes over a row that a PATCH or a sweep has locked just then, too, and the
	// sweep for stranded tasks takes up to eleven seconds to bring it back (decision 17).
	besideLimit = 15 * time.Second
	// hostLimit: a program whose first host does not answer is ready over the second.
	hostLimit = 12 * time.Second
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
	{name: "first host swallows packets", part: "hosts", least: time.Second, most: 3 * time.Second, begin: stallFirstHost, goesOn: secondHost, within: hostLimit},
	{name: "pending row locked", part: "PostgreSQL", least: 2 * time.Second, most: 6 * time.Second, limit: refillLimit, begin: lockPending, goesOn: beside, within: besideLimit},
	{name: "processing row locked", part: "PostgreSQL", least: 2 * time.Second, most: 6 * time.Second, limit: rescueLimit, begin: lockProcessing, goesOn: beside, within: besideLimit},
	{name: "row of a queue locked", part: "PostgreSQL", least: 2 * time.Second, most: 6 * time.Second, begin: lockQueue, goesOn: beside, within: besideLimit},
	{name: "table of tasks locked", part: "PostgreSQL", least: 12 * time.Second, most: 16 * time.Second, begin: lockTable, stops: true},
	{name: "PostgreSQL read-only", part: "PostgreSQL", least: 12 * time.Second, most: 16 * time.Second, begin: makeReadOnly, stops: true},
	{name: "disk of PostgreSQL full", part: "PostgreSQL", least: 12 * time.Second, most: 16 * time.Second, begin: fillDisk, stops: true},
	{name: "password changed", part: "PostgreSQL", least: 12 * time.Second, most: 16 * time.Second, begin: changePassword, stops: true},
	{name: "Redis full", part: "Redis", least: 18 * time.Second, most: 22 * time.Second, begin: fillRedis, stops: true},
	{name: "Redis read-only", part: "Redis", least: 18 * time.Second, most: 22 * time.Second, begin: demoteRedis, stops: true},
	{name: "bad row: infinite time", part: "rows", least: time.Second, most: 6 * time.Second, begin: badTime.begin, goesOn: besideBadRow, within: besideLimit},
	{name: "bad row: counter at its end", part: "rows", least: time.Second, most: 6 * time.Second, begin: badCounter.begin, goesOn: besideBadRow, within: besideLimit},
	{name: "bad row: name of a queue", part: "rows", least: time.Second, most: 6 * time.Second, begin: badQueue.begin, goesOn: besideBadRow, within: besideLimit},
	{name: "bad row: metadata", part: "rows", least: time.Second, most: 6 * time.Second, begin: badMetadata.begin, goesOn: besideBadRow, within: besideLimit},
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
		w.stop()
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
	backlog(r, f, func() { r.tellRedis("FLUSHALL") })
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

func toPostgres(m *member) []*link { return m.postgres }

func toRedis(m *member) []*link { return []*link{m.redis} }

func (r *run) members() []*member { return slices.Concat(r.apis, r.workers) }

// links are the ones that a fault is about: all of a sort, or that of one program.
func (r *run) links(f fault, of func(*member) []*link) []*link {
	var all []*link
	for i, m := range r.members() {
		if f.all || i == f.target {
			all = append(all, of(m)...)
		}
	}
	return all
}

func cut(of func(*member) []*link) func(*run, fault) func() {
	return onLinks(of, (*link).cut, (*link).restore)
}

// slow makes a link one of a long distance, and a narrow one.
func slow(of func(*member) []*link) func(*run, fault) func() {
	return onLinks(of, func(l *link) {
		l.addToxic("latency", `{"latency":150,"jitter":100}`)
		l.addToxic("bandwidth", `{"rate":30}`)
	}, (*link).removeToxics)
}

// stall swallows what is sent, and tells nobody.
func stall(of func(*member) []*link) func(*run, fault) func() {
	return onLinks(of, func(l *link) { l.addToxic("timeout", `{"timeout":0}`) }, (*link).removeToxics)
}

func onLinks(of func(*member) []*link, begin, end func(*link)) func(*run, fault) func() {
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
