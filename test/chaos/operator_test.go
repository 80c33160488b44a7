package chaos

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/lib/pq"
)

// held is a task that something holds: a worker, or the lock of an operator.
type held struct {
	id      string
	attempt int64
}

// lock executes the statement in an operator's transaction, which holds what it locks
// until unlock.
func (r *run) lock(statement string, args ...any) (unlock func()) {
	r.t.Helper()
	tx := r.begin()
	if _, err := tx.ExecContext(r.t.Context(), statement, args...); err != nil {
		r.t.Fatalf("%s: %v", statement, err)
	}
	return func() { r.rollBack(tx) }
}

func (r *run) begin() *sql.Tx {
	r.t.Helper()
	tx, err := r.direct.BeginTx(context.WithoutCancel(r.t.Context()), nil)
	if err != nil {
		r.t.Fatalf("begin an operator's transaction: %v", err)
	}
	return tx
}

func (r *run) rollBack(tx *sql.Tx) {
	r.t.Helper()
	if err := tx.Rollback(); err != nil {
		r.t.Errorf("end an operator's transaction: %v", err)
	}
}

// lockTask locks the task that the query finds, as soon as it finds one. Once it is
// unlocked, the task has to leave its status as those do that a fault has stranded.
func (r *run) lockTask(f fault, in status, query string, args ...any) (unlock func()) {
	r.t.Helper()
	tx := r.begin()
	var h held
	for end := time.Now().Add(settleLimit); ; time.Sleep(5 * time.Millisecond) {
		err := tx.QueryRowContext(r.t.Context(), query, args...).Scan(&h.id, &h.attempt)
		if err == nil {
			break
		}
		if !errors.Is(err, sql.ErrNoRows) || time.Now().After(end) {
			r.t.Fatalf("%s: lock a task that is %s: %v", f.name, in, err)
		}
	}
	r.locked = h.id
	return func() {
		r.locked = ""
		r.stranded = append(r.stranded, &strandedTasks{fault: f, began: time.Now(), from: in, ids: []string{h.id}, attempts: []int64{h.attempt}})
		r.rollBack(tx)
	}
}

// lockPending locks a task that has been pushed and waits for a worker, or one that the
// dispatcher is about to push.
func lockPending(r *run, f fault) func() {
	if !f.all {
		return r.lockTask(f, pending, `SELECT id, attempt FROM tasks WHERE status = 'pending' AND queued_at IS NULL AND queue = ANY($1)
			AND run_at > clock_timestamp() + interval '100 ms' ORDER BY run_at LIMIT 1 FOR UPDATE SKIP LOCKED`, pq.Array(unlimited))
	}
	for _, w := range r.workers {
		w.process().Signal(syscall.SIGSTOP)
	}
	time.Sleep(time.Second)
	unlock := r.lockTask(f, pending, `SELECT id, attempt FROM tasks WHERE status = 'pending' AND queued_at IS NOT NULL AND queue = ANY($1)
		ORDER BY queued_at LIMIT 1 FOR UPDATE SKIP LOCKED`, pq.Array(unlimited))
	for _, w := range r.workers {
		w.process().Signal(syscall.SIGCONT)
	}
	return unlock
}

// lockProcessing locks a task that a worker has just begun, so that its outcome meets
// the lock.
func lockProcessing(r *run, f fault) func() {
	return r.lockTask(f, processing, heldBy+" AND t.stop_requested_at IS NULL ORDER BY t.started_at DESC LIMIT 1 FOR UPDATE OF t SKIP LOCKED",
		r.workers[workers-1].process().PID())
}

// lockQueue locks the row of a queue that has a limit.
func lockQueue(r *run, _ fault) func() {
	return r.lock("SELECT FROM queues WHERE name = $1 FOR UPDATE", rated)
}

// lockTable does what a plain CREATE INDEX does. What is given up meanwhile goes on
// waiting at no server: there are never more connections than the documents promise.
func lockTable(r *run, f fault) func() {
	unlock := r.lock("LOCK TABLE tasks IN SHARE MODE")
	return func() {
		if n := number(r.t, r.direct, "SELECT count(*) FROM pg_stat_activity WHERE usename = $1", role); n > maxConns {
			r.t.Errorf("%s: the programs have %d connections, of at most %d", f.name, n, maxConns)
		}
		unlock()
	}
}

// makeReadOnly does what an operator does to a database that is about to be moved: new
// transactions are read-only unless they say otherwise, or the server becomes a standby.
func makeReadOnly(r *run, f fault) func() {
	if f.all {
		r.postgres.Demote()
		return r.postgres.Promote
	}
	r.exec("ALTER SYSTEM SET default_transaction_read_only = on")
	r.exec("SELECT pg_reload_conf()")
	return func() {
		r.exec("ALTER SYSTEM RESET default_transaction_read_only")
		r.exec("SELECT pg_reload_conf()")
	}
}

// fillDisk lets no table of the server grow. What finds room in its pages goes on.
func fillDisk(r *run, _ fault) func() {
	r.postgres.FillDisk()
	return r.postgres.MakeRoom
}

// changePassword changes the password of the programs' role, and ends their sessions.
func changePassword(r *run, _ fault) func() {
	const alter = "ALTER ROLE " + role + " PASSWORD '%s'"
	r.exec(fmt.Sprintf(alter, "second"))
	r.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", role)
	return func() { r.exec(fmt.Sprintf(alter, password)) }
}

// tellRedis executes a command past all links.
func (r *run) tellRedis(command string, args ...any) {
	r.t.Helper()
	conn, err := redis.DialURL(r.redis.URL())
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Do(command, args...); err != nil {
		r.t.Fatalf("%s %v: %v", command, args, err)
	}
}

// fillRedis has Redis refuse whatever needs memory.
func fillRedis(r *run, _ fault) func() {
	r.tellRedis("CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", 1)
	return func() { r.tellRedis("CONFIG", "SET", "maxmemory", 0) }
}

// demoteRedis makes Redis the replica of a server that is not there: it refuses writes.
func demoteRedis(r *run, _ fault) func() {
	r.tellRedis("REPLICAOF", "127.0.0.1", 1)
	return func() { r.tellRedis("REPLICAOF", "NO", "ONE") }
}

// haveTwoHosts are the programs with two hosts in their DATABASE_URL.
func (r *run) haveTwoHosts() []*member { return []*member{r.apis[twoHosts], r.workers[twoHosts]} }

// stallFirstHost has the first host of two swallow what is sent. The programs start while
// it does, or run already.
func stallFirstHost(r *run, f fault) func() {
	if f.all {
		for _, m := range r.haveTwoHosts() {
			m.stop()
		}
	}
	for _, m := range r.haveTwoHosts() {
		m.postgres[0].addToxic("timeout", `{"timeout":0}`)
		if f.all {
			m.start()
		}
	}
	return func() {
		for _, m := range r.haveTwoHosts() {
			m.postgres[0].removeToxics()
		}
	}
}

// secondHost waits until the programs with two hosts are ready over the second.
func secondHost(r *run, f fault) {
	if !f.all { // what they say at once is about the connections that they had
		time.Sleep(6 * time.Second)
	}
	end := f.began.Add(2 * r.pace.stretch(f.within))
	for _, m := range r.haveTwoHosts() {
		for r.ready.ask(m) != ready && time.Now().Before(end) {
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// beside waits until all tasks have ended that have nothing to do with the fault: those
// that were submitted since the step before, and some more, of which a few are delayed.
func beside(r *run, f fault) {
	var since time.Time
	if n := len(r.steps); n > 0 {
		since = r.steps[n-1].settled // what that step has stranded may take longer
	}
	end := f.began.Add(2 * r.pace.stretch(f.within))
	ids := rows(r.t, r.direct, func(row *sql.Rows, id *string) error { return row.Scan(id) }, `SELECT id FROM tasks WHERE status IN ('pending', 'processing')
		AND queue = ANY($1) AND run_at < clock_timestamp() + interval '1 second' AND id::text <> $2 AND message <> $3 AND created_at > $4`, pq.Array(unlimited), r.locked, badRow, since)
	ids = append(ids, r.submitBeside(end)...)
	const left = "SELECT count(*) FROM tasks WHERE id = ANY($1) AND status IN ('pending', 'processing')"
	for number(r.t, r.direct, left, pq.Array(ids)) > 0 && time.Now().Before(end) {
		time.Sleep(20 * time.Millisecond)
	}
}

// submitBeside submits tasks again and again until they are accepted, and returns their ids.
func (r *run) submitBeside(end time.Time) []string {
	random := rand.New(rand.NewPCG(r.seed, uint64(len(r.steps))+8_000_000))
	for try := 0; time.Now().Before(end); try++ {
		s := &submission{batch: true}
		for i := range 24 {
			spec := taskSpec{Message: fmt.Sprintf("beside the fault of step %d, try %d, item %d", len(r.steps)+1, try, i)}
			if i%3 == 0 {
				spec.Delay = 0.3
			}
			s.specs = append(s.specs, spec)
		}
		if r.load.submit(s, random, time.Until(end)) {
			return s.ids
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil
}
