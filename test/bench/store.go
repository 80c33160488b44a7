package main

import (
	"context"
	"database/sql"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"

	"github.com/millrace/millrace/adapters/redis"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/programs"
)

// cell is one column of a task as Millrace has stored it.
type cell struct {
	name, sqlType string
	value         sql.NullString // as text
}

// store is a database with Millrace's schema.
type store struct {
	url string
	db  *sql.DB
	// A pending and a completed task, as the programs themselves have written them:
	// what seeds a table, and what the references insert, is a copy of them, whatever
	// columns there are.
	pending, completed []cell
	finished           string // tasks from before this time stay when the store is emptied; "": none
}

// newStore makes the database, and has Millrace make its schema and two tasks.
func newStore(b *bench, name string) *store {
	s := &store{url: b.servers.database(b.session, name)}
	s.db = b.open(s.url)
	b.must(runSession(b.ctx, func(tb *session) {
		b := b.within(tb)
		b.emptyRedis() // of another store's tasks
		api := b.startAPI(s)
		b.post(api.addr, "/tasks", taskBody())
		s.pending = s.cells(b, "pending")
		b.startWorker(s, 1)
		b.until(30*time.Second, 10*time.Millisecond, "a task is completed", func() bool { return s.count(b, "completed") == 1 })
		s.completed = s.cells(b, "completed")
	}), "make the first tasks")
	return s
}

// cells reads one task of that status.
func (s *store) cells(b *bench, status string) []cell {
	rows, err := s.db.QueryContext(b.ctx, `SELECT c.column_name, c.udt_name, (
			SELECT to_jsonb(t) ->> c.column_name FROM tasks AS t WHERE status = $1 LIMIT 1
		) FROM information_schema.columns AS c WHERE c.table_schema = 'public' AND c.table_name = 'tasks' ORDER BY c.ordinal_position`, status)
	b.must(err, "read a task")
	defer rows.Close()
	var cells []cell
	for rows.Next() {
		var c cell
		b.must(rows.Scan(&c.name, &c.sqlType, &c.value), "read a task")
		cells = append(cells, c)
	}
	b.must(rows.Err(), "read a task")
	return cells
}

// count counts tasks of the status.
func (s *store) count(b *bench, status string) int {
	return b.number(s.db, "SELECT count(*) FROM tasks WHERE status = $1", status)
}

// empty leaves both servers as each measurement finds them: no tasks but those that
// stay, and nothing left to do in the background.
func (s *store) empty(b *bench) {
	b.emptyRedis()
	// The tables of Millrace's own have rows of its migrations, by which one worker sweeps for all.
	tables := b.text(s.db, `SELECT string_agg(quote_ident(tablename), ', ') FROM pg_tables
		WHERE schemaname = 'public' AND tablename NOT LIKE 'millrace\_%' AND ($1 OR tablename NOT IN ('tasks', 'attempts'))`,
		s.finished == "")
	b.exec(s.db, "TRUNCATE "+tables)
	b.exec(s.db, "UPDATE millrace_sweeps SET until = to_timestamp(0)") // a worker that was killed may have one
	if s.finished != "" {
		b.exec(s.db, "DELETE FROM tasks WHERE created_at > $1::timestamptz", s.finished)
	}
	s.settle(b)
}

func (b *bench) emptyRedis() {
	_, err := b.servers.conn.Do("FLUSHALL")
	b.must(err, "empty Redis")
}

// settle does now what the server would do at some time.
func (s *store) settle(b *bench) {
	b.exec(s.db, "VACUUM (ANALYZE) tasks")
	b.exec(b.servers.admin, "CHECKPOINT")
}

// copies inserts copies of a task, made now, under ids of their own, and returns these.
func (s *store) copies(b *bench, task []cell, n int, now time.Time) []uuid.UUID {
	names, values, args := []string{"id"}, []string{"id"}, []any{nil, now}
	for _, c := range task {
		if c.name == "id" || !c.value.Valid {
			continue
		}
		names = append(names, c.name)
		if c.sqlType == "timestamptz" {
			values = append(values, "$2::timestamptz")
			continue
		}
		args = append(args, c.value.String)
		values = append(values, "$"+strconv.Itoa(len(args))+"::"+c.sqlType)
	}
	insert, err := s.db.PrepareContext(b.ctx, "INSERT INTO tasks ("+strings.Join(names, ", ")+") SELECT "+
		strings.Join(values, ", ")+" FROM unnest($1::uuid[]) AS id, (SELECT $2::timestamptz) AS now")
	b.must(err, "prepare to fill the table")
	defer insert.Close()
	ids := make([]uuid.UUID, n)
	for i := range ids {
		ids[i] = uuid.Must(uuid.NewV7())
	}
	for chunk := range slices.Chunk(ids, 10_000) {
		args[0] = pq.Array(chunk)
		_, err := insert.ExecContext(b.ctx, args...)
		b.must(err, "fill the table")
	}
	return ids
}

// seed stores so many tasks that wait, and queues them.
func (s *store) seed(b *bench, n int) []uuid.UUID {
	var now time.Time
	b.scan(s.db, []any{&now}, "SELECT clock_timestamp()")
	ids := s.copies(b, s.pending, n, now)
	s.settle(b)

	pool, closePool, err := redis.Open(redis.Config{URL: b.servers.queueURL()})
	b.must(err, "open Redis")
	defer closePool()
	queue := redis.NewQueue(pool, slog.New(slog.DiscardHandler))
	for chunk := range slices.Chunk(ids, 10_000) {
		entries := make([]application.Entry, len(chunk))
		for i, id := range chunk {
			entries[i] = application.Entry{Lane: application.Lane{Queue: domain.DefaultQueue}, ID: domain.TaskID(id), QueuedAt: now}
		}
		b.must(queue.Push(b.ctx, entries...), "queue the tasks")
	}
	return ids
}

// finish stores so many tasks that are completed, and stay.
func (s *store) finish(b *bench, n int) {
	var now time.Time
	b.scan(s.db, []any{&now}, "SELECT clock_timestamp()")
	s.copies(b, s.completed, n, now)
	s.finished = now.Format(time.RFC3339Nano)
	s.settle(b)
}

// api is a running cmd/api.
type api struct {
	*programs.Process
	addr string
}

func (b *bench) startAPI(s *store) api {
	addr := programs.FreeAddr(b.session)
	return api{b.start(addr, []string{"LISTEN_ADDR=" + addr, "DATABASE_URL=" + s.url, "QUEUE_URL=" + b.servers.queueURL()}, "api"), addr}
}

// startWorker starts a cmd/worker, with more settings if there are, and waits until
// it is ready.
func (b *bench) startWorker(s *store, slots int, more ...string) *programs.Process {
	addr := programs.FreeAddr(b.session)
	return b.start(addr, append(append(s.workerEnv(b, slots), "ADMIN_ADDR="+addr), more...), "worker")
}

// workerEnv is for a cmd/worker that does nothing with so many tasks at once.
func (s *store) workerEnv(b *bench, slots int) []string {
	return []string{
		"DATABASE_URL=" + s.url, "QUEUE_URL=" + b.servers.queueURL(), "LOG_LEVEL=error",
		"HANDLER=noop:", "WORKER_QUEUE_MAXSIZE=" + strconv.Itoa(slots),
	}
}

// prepared does something with a connection of its own and a statement on it.
func (s *store) prepared(ctx context.Context, query string, do func(*sql.Conn, *sql.Stmt) error) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	statement, err := conn.PrepareContext(ctx, query)
	if err != nil {
		return err
	}
	defer statement.Close()
	return do(conn, statement)
}
