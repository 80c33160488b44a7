// Command bench measures Millrace beside what it is compared with: pgbench, an HTTP
// server that does nothing, River, Asynq, and the statements that are the ceiling.
// All are measured in turn, in the same run, on the same servers with fsync on.
//
// It starts PostgreSQL and Redis, builds the programs, measures the goals, and
// writes tables, charts and a JSON file. Run it from the top of the repository:
// `make bench`. It needs Linux, wrk and pgbench.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// goals are all that can be measured, in the order of the report.
var goals = []goal{acceptGoal, batchGoal, drainGoal, latencyGoal, embeddedGoal, costGoal, retentionGoal, tuneGoal}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// order is what the flags ask for.
type order struct {
	options
	chosen        []goal
	write, render bool
}

func parse(args []string) (o order, err error) {
	var names string
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&names, "goal", "", "goals to measure, separated by commas; none: all but retention and tune; there are "+goalNames())
	flags.IntVar(&o.runs, "runs", 3, "how often each is measured")
	flags.DurationVar(&o.warm, "warm", time.Second, "how long to warm up before each measurement")
	flags.DurationVar(&o.measured, "measured", 4*time.Second, "how long a measurement lasts, where time is what ends it; pgbench and wrk know whole seconds only")
	flags.IntVar(&o.tasks, "tasks", 100_000, "how many tasks to drain, after a tenth as many that warm up")
	flags.IntVar(&o.waiting, "waiting", 1_000_000, "how many tasks wait at most")
	flags.IntVar(&o.finished, "finished", 2_000_000, "how many finished tasks a full table has")
	flags.DurationVar(&o.idle, "idle", 20*time.Second, "how long an idle worker is watched")
	flags.DurationVar(&o.steady, "slope", 60*time.Second, "how long memory is watched under a steady load")
	flags.DurationVar(&o.held, "held", time.Minute, "how long a snapshot is held, after a quarter of that without")
	flags.IntVar(&o.expiredTasks, "expired", 200_000, "how many tasks are purged")
	flags.BoolVar(&o.write, "write", true, "write the results to "+document+", "+chartsDir+" and "+resultFile)
	flags.BoolVar(&o.render, "render", false, "measure nothing: judge "+resultFile+" by the goals of now, and write "+document+" and "+chartsDir+" anew")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.runs < 1 || o.tasks < 100 || o.held < pinnedInterval {
		return o, fmt.Errorf("-runs must be 1 or more, -tasks 100 or more, -held %s or more", pinnedInterval)
	}
	o.chosen, err = choose(names)
	return o, err
}

func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	all, err := readResults(resultFile)
	if err != nil {
		return fmt.Errorf("read %s: %w", resultFile, err)
	}
	if o.render {
		all.judge(o.options)
		return all.write()
	}
	fresh := results{}
	if err := runSession(ctx, func(tb *session) {
		buildPrograms(tb)
		measureAll(newBench(tb, o.options), o.chosen, fresh)
	}); err != nil {
		return err
	}
	show(o.chosen, fresh)
	if o.write {
		maps.Copy(all, fresh)
		if err := all.write(); err != nil {
			return fmt.Errorf("write the results: %w", err)
		}
	}
	for _, m := range fresh {
		if m.Failure != "" {
			return errors.New("not all could be measured: " + m.Failure)
		}
	}
	return nil
}

func goalNames() string {
	names := make([]string, len(goals))
	for i, g := range goals {
		names[i] = g.name
	}
	return strings.Join(names, ", ")
}

// choose finds the goals that are named.
func choose(names string) ([]goal, error) {
	var chosen []goal
	if names == "" {
		for _, g := range goals {
			if !g.named {
				chosen = append(chosen, g)
			}
		}
		return chosen, nil
	}
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(goals, func(g goal) bool { return g.name == strings.TrimSpace(name) })
		if i < 0 {
			return nil, fmt.Errorf("there is no goal %q: there are %s", name, goalNames())
		}
		chosen = append(chosen, goals[i])
	}
	return chosen, nil
}

// measureAll measures the goals. One that fails is told, and the next one tried.
func measureAll(b *bench, chosen []goal, into results) {
	b.progress = &progress{w: os.Stderr, start: time.Now()}
	for _, g := range chosen {
		b.progress.total += g.measurements(b.options)
	}
	m := measured{
		Machine: describeMachine(b), Commit: commit(b.ctx), At: time.Now().UTC().Format("2006-01-02 15:04 UTC"),
		Settings: fmt.Sprintf("median of %d runs (least–most) of %s, each after %s of warm-up", b.runs, b.measured, b.warm),
	}
	fmt.Fprintln(os.Stderr, m.Machine)
	due := 0
	for _, g := range chosen {
		due += g.measurements(b.options)
		s, err := g.run(b)
		if b.ctx.Err() != nil {
			b.Fatal(errInterrupted)
		}
		each := m
		if g.course != nil {
			each.Settings += fmt.Sprintf("; over time one run, the snapshot held for %s, %s tasks that expire",
				b.held, round(float64(b.expiredTasks)))
		}
		if err != nil {
			b.progress.failed(err, due)
			each.Failure = err.Error()
		}
		each.Readings, each.Verdicts = s, g.judge(s, b.options)
		into[g.name] = each
	}
}

// show prints what came out.
func show(chosen []goal, all results) {
	for _, g := range chosen {
		m := all[g.name]
		fmt.Printf("\n%s\n\n%s\n", g.title, g.tables(m))
		for _, v := range m.Verdicts {
			sign := map[bool]string{true: "met    ", false: "NOT MET"}[v.Met]
			fmt.Printf("%s  %s: %s, wanted %s\n", sign, v.Text, v.Got, v.Want)
		}
	}
}
