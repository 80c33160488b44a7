package e2e

import (
	"database/sql"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	redigo "github.com/gomodule/redigo/redis"

	"github.com/millrace/millrace/test/programs"
	"github.com/millrace/millrace/test/services"
)

// statement matches what PostgreSQL logs of each one that it executes.
var statement = regexp.MustCompile(`LOG:  (statement|execute [^:]*):`)

// commands counts what Redis has executed, without what the count itself costs.
func commands(t *testing.T, c redigo.Conn) int {
	t.Helper()
	stats, err := redigo.String(c.Do("INFO", "commandstats"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(stats) {
		name, rest, ok := strings.Cut(line, ":calls=")
		if !ok || name == "cmdstat_info" {
			continue
		}
		calls, _, _ := strings.Cut(rest, ",")
		count, err := strconv.Atoi(calls)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		n += count
	}
	return n
}

func TestWorker_ThatIsIdleHardlyAsksAnything(t *testing.T) {
	t.Parallel()
	const watched, limit = 13 * time.Second, 5 // over several rounds of each loop; a second, of each server
	database, queue := services.StartPostgreSQL(t, services.PostgresConf("log_statement = 'all'")), services.StartRedis(t)
	d := deploy(t, database.URL("postgres"), queue.URL())
	w := d.worker()
	d.becomes(d.submit("it works").ID, "completed")
	d.api.Stop()
	c := dialRedis(t, queue)

	statementsBefore, commandsBefore := len(statement.FindAllString(database.Log(), -1)), commands(t, c)
	time.Sleep(watched)
	statements := float64(len(statement.FindAllString(database.Log(), -1))-statementsBefore) / watched.Seconds()
	asked := float64(commands(t, c)-commandsBefore) / watched.Seconds()
	if statements >= limit || statements < 1 { // fewer would say that they are not counted
		t.Errorf("%.1f statements a second", statements)
	}
	if asked >= limit || asked < 0.1 {
		t.Errorf("%.1f commands a second", asked)
	}
	t.Logf("%.1f statements and %.1f commands a second", statements, asked)
	if !w.Alive() {
		t.Error("the worker has ended")
	}
	programs.Eventually(t, programs.Patience, "the worker has nothing to complain of", func() bool { return !strings.Contains(w.Output(), "fails") })
}

// Others have ten thousand queues, in each of which a task waits for a worker of theirs.
func TestWorker_QueuesOfOthersCostAnIdleWorkerNothing(t *testing.T) {
	t.Parallel()
	const queues, watched, limit = 10_000, 13 * time.Second, 15 // statements a second, of both workers
	database, server := services.StartPostgreSQL(t, services.PostgresConf("log_statement = 'all'")), services.StartRedis(t)
	queue := server.URL() + "?prefix=millrace:"
	d := deploy(t, database.URL("postgres"), queue)
	d.api.Stop()
	db, err := sql.Open("postgres", database.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	insertWaiting(t, db, "'q' || n", queues)
	pushAll(t, db, newServerHarness(t, database.URL("postgres"), queue, time.Now).queue)
	for range 2 {
		d.worker("HANDLER=noop:")
	}
	time.Sleep(7 * time.Second) // until each has swept twice

	before := len(statement.FindAllString(database.Log(), -1))
	time.Sleep(watched)
	statements := float64(len(statement.FindAllString(database.Log(), -1))-before) / watched.Seconds()
	t.Logf("%.1f statements a second", statements)
	if statements >= limit || statements < 1 {
		t.Errorf("%.1f statements a second", statements)
	}

	c := dialRedis(t, server)
	if _, err := c.Do("FLUSHALL"); err != nil {
		t.Fatal(err)
	}
	flushed := time.Now()
	programs.Eventually(t, programs.Patience, "every task is on its list again", func() bool {
		lists, err := redigo.Int(c.Do("DBSIZE"))
		return err == nil && lists >= queues
	})
	t.Logf("recovered within %v", time.Since(flushed).Round(time.Millisecond))
}
