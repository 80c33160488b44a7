package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"
)

// pgbenchID makes a UUID of version 7 in the server: pgbench knows numbers only.
const pgbenchID = "(lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') || '7' || right(gen_random_uuid()::text, 21))::uuid"

var pgbenchSays = regexp.MustCompile(`(?s)number of transactions actually processed: (\d+).*\ntps = ([0-9.]+) `)

// pgbench inserts one task after the other into the product's own table, with the
// product's own columns, by prepared statements of so many clients.
func (s *store) pgbench(b *bench, clients int) reading {
	s.empty(b)
	names, values, defined := []string{"id"}, []string{pgbenchID}, []string(nil)
	for _, c := range s.pending {
		switch {
		case c.name == "id" || !c.value.Valid:
		case c.value.String == "": // which pgbench does not take for the value of a variable
			names, values = append(names, c.name), append(values, "''")
		default:
			names, values = append(names, c.name), append(values, ":c_"+c.name)
			defined = append(defined, "--define=c_"+c.name+"="+c.value.String)
		}
	}
	script := filepath.Join(b.folder("pgbench"), "insert.sql")
	insert := fmt.Sprintf("INSERT INTO tasks (%s) VALUES (%s);\n", strings.Join(names, ", "), strings.Join(values, ", "))
	b.must(os.WriteFile(script, []byte(insert), 0o600), "write a script for pgbench")

	args := append([]string{"--client=" + strconv.Itoa(clients), "--jobs=2", "--protocol=prepared", "--no-vacuum", "--file=" + script}, defined...)
	args = append(args, s.url)
	b.runPgbench(b.warm, args)
	spent := processGroup{"postgres": b.servers.postgresPID}.startCounting()
	tasks, rate, cpu := b.runPgbench(b.measured, args)
	r := spent(tasks)
	r["rate"], r["cpu load"] = rate, cpu.Seconds()*1000/float64(max(1, tasks))
	return r
}

// runPgbench returns how many transactions there were, how many a second, without
// the time that it took to connect, and what pgbench itself used.
func (b *bench) runPgbench(d time.Duration, args []string) (tasks int, rate float64, cpu time.Duration) {
	seconds := 1 + max(1, int(d.Round(time.Second).Seconds())) // whole ones only; in the first it connects
	cmd := exec.CommandContext(b.ctx, pgbenchPath(), append([]string{"--time=" + strconv.Itoa(seconds)}, args...)...)
	out, err := cmd.CombinedOutput()
	b.must(err, "run pgbench: "+string(out))
	found := pgbenchSays.FindSubmatch(out)
	if found == nil {
		b.Fatalf("pgbench does not say how much it did: %s", out)
	}
	tasks, _ = strconv.Atoi(string(found[1]))          // digits only
	rate, _ = strconv.ParseFloat(string(found[2]), 64) // digits and a point
	return tasks, rate, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// pgbenchPath is where pgbench is: packages for several versions keep it out of PATH.
func pgbenchPath() string {
	if path, err := exec.LookPath("pgbench"); err == nil {
		return path
	}
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin/pgbench", "/usr/pgsql-*/bin/pgbench", "/usr/libexec/postgresql*/pgbench"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 { // the pattern is right
			return found[len(found)-1]
		}
	}
	return "pgbench"
}

// unnest is the ceiling of batches: clients that insert size tasks with a statement,
// prepared, whose arguments are one array a column, as tasks that differ need it.
// Only the array of the ids is made anew each time.
func (s *store) unnest(b *bench, clients, size int) reading {
	s.empty(b)
	var names, params []string
	var args []any
	for _, c := range s.pending {
		if !c.value.Valid {
			continue
		}
		column := make([]string, size)
		for i := range column {
			column[i] = c.value.String
		}
		array, err := pq.Array(column).Value()
		b.must(err, "make an array")
		args = append(args, array)
		names, params = append(names, c.name), append(params, fmt.Sprintf("$%d::%s[]", len(args), c.sqlType))
	}
	query := fmt.Sprintf("INSERT INTO tasks (%s) SELECT * FROM unnest(%s)", strings.Join(names, ", "), strings.Join(params, ", "))
	id := slices.Index(names, "id")

	return s.clients(b, query, clients, func(ctx context.Context, insert *sql.Stmt) (int, error) {
		ids := make([]string, size)
		for i := range ids {
			ids[i] = uuid.Must(uuid.NewV7()).String()
		}
		own := append([]any(nil), args...)
		own[id] = pq.Array(ids)
		_, err := insert.ExecContext(ctx, own...)
		return size, err
	})
}

// clients have so many connections execute a statement, to warm up and then for the
// time that is measured. do returns how many tasks it was for.
func (s *store) clients(b *bench, query string, clients int, do func(context.Context, *sql.Stmt) (int, error)) reading {
	ctx, cancel := context.WithCancelCause(b.ctx)
	defer cancel(nil)
	var done atomic.Int64
	var all sync.WaitGroup
	var ending atomic.Bool
	for range clients {
		all.Go(func() {
			if err := s.prepared(ctx, query, func(_ *sql.Conn, statement *sql.Stmt) error {
				for !ending.Load() {
					n, err := do(ctx, statement)
					if err != nil {
						return err
					}
					done.Add(int64(n))
				}
				return nil
			}); err != nil {
				cancel(err)
			}
		})
	}
	b.sleep(b.warm)
	spent := processGroup{"postgres": b.servers.postgresPID, "load": os.Getpid()}.startCounting()
	before, start := done.Load(), time.Now()
	b.sleep(b.measured)
	tasks, took := int(done.Load()-before), time.Since(start)
	r := rated(tasks, took, spent(tasks))
	ending.Store(true)
	all.Wait()
	b.must(context.Cause(ctx), "insert")
	return r
}
