package main

import (
	"cmp"
	"context"
	"database/sql"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	redigo "github.com/gomodule/redigo/redis"
	"github.com/google/uuid"
	"github.com/lib/pq"

	"github.com/millrace/millrace/test/programs"
)

const defaultLane = keyPrefix + "queue:default:0" // in Redis

// drain is how tasks are drained.
type drain struct {
	tasks   int // that are measured
	before  int // that warm up; 0: a tenth as many
	waiting int // all that wait at first, if they are more
	slots   int
	workers int // processes; 0 is 1
	limit   int // max_running of the queue; 0: none
}

func (d drain) warm() int { return max(cmp.Or(d.before, d.tasks/10), 1) }

// drain times from the completion of the last task that warms up to that of the
// last measured one, by the table. A worker starts on a queue that is filled already, so
// it is never idle.
func (s *store) drain(b *bench, d drain) reading {
	s.empty(b)
	return s.drainNow(b, d)
}

// drainNow leaves in the store what is in it.
func (s *store) drainNow(b *bench, d drain) reading {
	if d.limit > 0 {
		b.exec(s.db, "INSERT INTO queues (name, paused, max_running) VALUES ('default', false, $1)", d.limit)
	}
	all := max(d.waiting, d.tasks+d.warm())
	s.seed(b, all)
	processes := processGroup{"postgres": b.servers.postgresPID, "redis": b.servers.redisPID}
	var workers []*programs.Process
	for n := range max(1, d.workers) {
		w := programs.Start(b.session, os.TempDir(), s.workerEnv(b, d.slots), "worker")
		processes["worker "+strconv.Itoa(n+1)] = w.PID()
		workers = append(workers, w)
	}

	b.awaitQueueLength(all - d.warm())
	from := b.queueLength()
	spent := processes.startCounting()
	b.awaitQueueLength(all - d.warm() - d.tasks)
	to := b.queueLength()
	if all == d.tasks+d.warm() {
		b.until(time.Minute, 5*time.Millisecond, "all tasks are completed", func() bool {
			return to == 0 && b.number(s.db, "SELECT count(*) FROM tasks WHERE status = 'processing'") == 0 &&
				b.number(s.db, "SELECT count(*) FROM tasks WHERE status = 'pending'") == 0
		})
	}
	r := spent(from - to)
	r.merge("cpu worker")
	for _, w := range workers {
		r["rss worker"] = max(r["rss worker"], memory(w.PID(), "VmHWM"))
		w.Kill()
	}
	tasks, seconds := 0, 0.0
	b.scan(s.db, []any{&tasks, &seconds}, `SELECT count(*) - 1, extract(epoch FROM max(at) - min(at)) FROM (
		SELECT updated_at AS at FROM tasks WHERE status = 'completed' AND ($3 = '' OR created_at > $3::timestamptz)
		ORDER BY at OFFSET $1 LIMIT $2) AS measured`, d.warm()-1, d.tasks+1, s.finished)
	if tasks < d.tasks*9/10 {
		b.Fatalf("%d tasks were completed after the first %d, of %d", tasks, d.warm(), d.tasks)
	}
	r["rate"] = float64(tasks) / seconds
	return r
}

// queueLength is the number of entries in Redis.
func (b *bench) queueLength() int {
	n, err := redigo.Int(b.servers.conn.Do("LLEN", defaultLane))
	b.must(err, "read the length of the queue")
	return n
}

// awaitQueueLength waits until at most n tasks wait.
func (b *bench) awaitQueueLength(n int) {
	b.until(10*time.Minute, 2*time.Millisecond, "the queue gets shorter", func() bool { return b.queueLength() <= n })
}

// updates is the ceiling: clients that move tasks through two prepared UPDATEs, size
// tasks at once, which change the columns that a claim and a completion change.
func (s *store) updates(b *bench, tasks, clients, size int) reading {
	const claim = `UPDATE tasks SET status = 'processing', version = version + 1, updated_at = now(), attempt = attempt + 1, worker = 'ceiling',
		claim_beat = 1, deadline = now() + interval '30 minutes', started_at = now(), queued_at = NULL WHERE id = ANY($1::uuid[])`
	const complete = `UPDATE tasks SET status = 'completed', version = version + 1, updated_at = now(), deadline = NULL WHERE id = ANY($1::uuid[])`
	s.empty(b)
	warm := drain{tasks: tasks}.warm()
	ids := s.seed(b, tasks+warm)

	through := func(ids []uuid.UUID) time.Duration {
		chunks := make(chan []uuid.UUID, len(ids)/size+1)
		for chunk := range slices.Chunk(ids, size) {
			chunks <- chunk
		}
		close(chunks)
		ctx, cancel := context.WithCancelCause(b.ctx)
		defer cancel(nil)
		var all sync.WaitGroup
		start := time.Now()
		for range clients {
			all.Go(func() {
				err := s.prepared(ctx, claim, func(conn *sql.Conn, claim *sql.Stmt) error {
					complete, err := conn.PrepareContext(ctx, complete)
					if err != nil {
						return err
					}
					defer complete.Close()
					for chunk := range chunks {
						array, err := pq.Array(chunk).Value()
						if err != nil {
							return err
						}
						for _, update := range []*sql.Stmt{claim, complete} {
							if _, err := update.ExecContext(ctx, array); err != nil {
								return err
							}
						}
					}
					return nil
				})
				if err != nil {
					cancel(err)
				}
			})
		}
		all.Wait()
		b.must(context.Cause(ctx), "move tasks")
		return time.Since(start)
	}
	through(ids[:warm])
	spent := processGroup{"postgres": b.servers.postgresPID, "load": os.Getpid()}.startCounting()
	took := through(ids[warm:])
	return rated(tasks, took, spent(tasks))
}
