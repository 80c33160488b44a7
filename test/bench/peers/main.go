// Command peers runs the queues that Millrace is measured against: River on
// PostgreSQL and Asynq on Redis. It is a module of its own, so that Millrace's
// go.mod knows nothing of them, and test/bench builds and starts it.
//
// It prints one line of JSON when what is measured begins and one when it has
// ended: meanwhile the one who reads them looks at what the processes cost.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are what the flags say; each command uses some of them.
type options struct {
	database, redis string
	clients         int // goroutines that insert
	conns           int // to the server
	batch           int
	workers         int
	tasks           int // to drain, besides those that warm up
	warmTasks       int
	rate            int // a second
	warm, measured  time.Duration
	cooldown, poll  time.Duration
	interval        time.Duration
	window          int
	message         string
}

// commands are what can be measured.
var commands = map[string]func(context.Context, options) error{
	"river-migrate": riverMigrate,
	"river-insert":  riverInsert,
	"river-batch":   riverBatch,
	"river-drain":   riverDrain,
	"river-latency": riverLatency,
	"river-course":  riverCourse,
	"asynq-drain":   asynqDrain,
	"asynq-latency": asynqLatency,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 || commands[args[0]] == nil {
		return fmt.Errorf("want one of the commands %v", names())
	}
	var o options
	var size int
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.StringVar(&o.database, "database", "", "URL of PostgreSQL")
	flags.StringVar(&o.redis, "redis", "", "host:port of Redis")
	flags.IntVar(&o.clients, "clients", 64, "goroutines that insert")
	flags.IntVar(&o.conns, "conns", 0, "connections to the server; 0: the library's own choice")
	flags.IntVar(&o.batch, "batch", 1000, "tasks that are inserted at once")
	flags.IntVar(&o.workers, "workers", 2000, "tasks that run at once")
	flags.IntVar(&o.tasks, "tasks", 100_000, "tasks to drain")
	flags.IntVar(&o.warmTasks, "warm-tasks", 10_000, "tasks that are drained before")
	flags.IntVar(&o.rate, "rate", 200, "tasks a second, one by one; 0: batches, as fast as tasks start")
	flags.IntVar(&o.window, "window", 4000, "tasks that have not started, at most, with -rate 0")
	flags.DurationVar(&o.interval, "interval", 5*time.Second, "time between two lines of what is measured until this program is stopped")
	flags.DurationVar(&o.warm, "warm", time.Second, "how long to warm up")
	flags.DurationVar(&o.measured, "measured", 4*time.Second, "how long to measure")
	flags.DurationVar(&o.cooldown, "cooldown", 0, "least time between two fetches; 0: the library's own choice")
	flags.DurationVar(&o.poll, "poll", 0, "time between two looks; 0: the library's own choice")
	flags.IntVar(&size, "size", 100, "bytes of a message")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	o.message = strings.Repeat("x", size)
	return commands[args[0]](ctx, o)
}

func names() []string {
	all := make([]string, 0, len(commands))
	for name := range commands {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// result is what was measured.
type result struct {
	Tasks   int     `json:"tasks"`
	Seconds float64 `json:"seconds"`
	P50     float64 `json:"p50,omitempty"` // milliseconds
	P99     float64 `json:"p99,omitempty"`
}

func say(event string, r result) {
	_ = json.NewEncoder(os.Stdout).Encode(struct { // whoever does not listen does not want to know
		Event string `json:"event"`
		result
	}{event, r})
}

func begin() { say("begin", result{}) }

func end(tasks int, took time.Duration) { say("end", result{Tasks: tasks, Seconds: took.Seconds()}) }

// endWaits ends a measurement of how long tasks waited for their start.
func endWaits(waits []time.Duration, took time.Duration) error {
	if len(waits) == 0 {
		return fmt.Errorf("no task was started")
	}
	say("end", waited(waits, took))
	return nil
}

func waited(waits []time.Duration, took time.Duration) result {
	if len(waits) == 0 {
		return result{Seconds: took.Seconds()}
	}
	slices.Sort(waits)
	at := func(share float64) float64 {
		return float64(waits[min(len(waits)-1, int(share*float64(len(waits))))]) / float64(time.Millisecond)
	}
	return result{Tasks: len(waits), Seconds: took.Seconds(), P50: at(0.50), P99: at(0.99)}
}

// quiet is a log of what goes wrong.
func quiet() *slog.Logger {
	return slog.New(slog.NewTextHandler(io.Writer(os.Stderr), &slog.HandlerOptions{Level: slog.LevelError}))
}
