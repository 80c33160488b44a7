package main

import (
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"

	redigo "github.com/gomodule/redigo/redis"

	"github.com/millrace/millrace/test/programs"
	"github.com/millrace/millrace/test/services"
)

// postgresConf is for everybody who is measured. Nothing is taken from durability:
// fsync, synchronous_commit and full_page_writes are on by default, and checked.
// There is room for all that one measurement writes, and none is disturbed by a
// checkpoint of the one before: each begins with one.
var postgresConf = []string{
	"shared_buffers = '1GB'",
	"max_wal_size = '8GB'",
	"checkpoint_timeout = '30min'",
	"maintenance_work_mem = '256MB'",
}

// servers are the PostgreSQL and the Redis of this program, which all share.
type servers struct {
	postgres    *services.PostgresServer
	postgresPID int
	redis       *services.RedisServer
	redisPID    int
	admin       *sql.DB
	conn        redigo.Conn
}

func startServers(tb *session) *servers {
	s := &servers{postgres: services.StartPostgreSQL(tb, services.PostgresConf(postgresConf...)), redis: services.StartRedis(tb)}
	s.admin = tb.open(s.postgres.URL("postgres"))
	for _, setting := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
		if value := tb.text(s.admin, "SELECT current_setting($1)", setting); value != "on" {
			tb.Fatalf("%s is %s: this would prove nothing", setting, value)
		}
	}
	backend, err := strconv.Atoi(tb.text(s.admin, "SELECT pg_backend_pid()"))
	tb.must(err, "read the process id of PostgreSQL")
	s.postgresPID = statOf(backend).parent

	s.conn, err = redigo.Dial("tcp", s.redisAddr())
	tb.must(err, "connect to Redis")
	tb.Cleanup(func() { _ = s.conn.Close() })
	s.redisPID, err = strconv.Atoi(s.redisInfo(tb, "process_id"))
	tb.must(err, "read the process id of Redis")
	return s
}

func (s *servers) redisAddr() string { return fmt.Sprintf("127.0.0.1:%d", s.redis.Port) }

// keyPrefix starts the names of Millrace's keys in Redis.
const keyPrefix = "bench:"

// queueURL is Millrace's QUEUE_URL.
func (s *servers) queueURL() string { return s.redis.URL() + "?prefix=" + keyPrefix }

// redisInfo is one line of INFO.
func (s *servers) redisInfo(tb *session, name string) string {
	info, err := redigo.String(s.conn.Do("INFO", "server"))
	tb.must(err, "ask Redis")
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// redisCalls is how many commands Redis has executed, but for such questions.
func (s *servers) redisCalls(tb *session) int {
	stats, err := redigo.String(s.conn.Do("INFO", "commandstats"))
	tb.must(err, "ask Redis")
	sum := 0
	for line := range strings.Lines(stats) {
		name, rest, _ := strings.Cut(line, ":calls=")
		calls, _, _ := strings.Cut(rest, ",")
		if n, err := strconv.Atoi(calls); err == nil && name != "cmdstat_info" {
			sum += n
		}
	}
	return sum
}

// database makes an empty database and returns its URL.
func (s *servers) database(tb *session, name string) string {
	tb.exec(s.admin, "CREATE DATABASE "+name+" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'")
	u, err := url.Parse(s.postgres.URL(name))
	tb.must(err, "name the database")
	return u.String()
}

// start starts one of Millrace's programs with the settings and waits until it is
// ready on addr, if that is not empty.
func (tb *session) start(addr string, env []string, name string, args ...string) *programs.Process {
	p := programs.Start(tb, os.TempDir(), append([]string{"LOG_LEVEL=error"}, env...), name, args...)
	if addr != "" {
		programs.WaitReady(tb, addr)
	}
	return p
}

// folder makes a folder on the disk that the servers write to; it goes with tb.
func (tb *session) folder(name string) string {
	dir, err := os.MkdirTemp("", "millrace-"+name+"-")
	tb.must(err, "make a folder")
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (tb *session) open(url string) *sql.DB {
	db, err := sql.Open("postgres", url)
	tb.must(err, "open the database")
	tb.Cleanup(func() { _ = db.Close() })
	return db
}

func (tb *session) exec(db *sql.DB, statement string, args ...any) {
	_, err := db.ExecContext(tb.ctx, statement, args...)
	tb.must(err, statement)
}

// text asks for one value.
func (tb *session) text(db *sql.DB, query string, args ...any) string {
	var value string
	tb.scan(db, []any{&value}, query, args...)
	return value
}

func (tb *session) number(db *sql.DB, query string, args ...any) int {
	var value int
	tb.scan(db, []any{&value}, query, args...)
	return value
}

func (tb *session) scan(db *sql.DB, into []any, query string, args ...any) {
	tb.must(db.QueryRowContext(tb.ctx, query, args...).Scan(into...), query)
}
