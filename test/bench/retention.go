package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/millrace/millrace/test/programs"
)

const (
	pinnedInterval = 5 * time.Second
	pinnedRate     = 800  // tasks a second of the part that has a rate
	pinnedWindow   = 4000 // tasks that are submitted and have not started, at most, of the part that has none
	pinnedBatch    = 100  // tasks of a request in that part
	pinnedClients  = 4    // that send them
	pinnedSlots    = 1000 // and workers
)

// retentionGoal is about what stays in the tables: dead rows that somebody's snapshot keeps, and
// tasks that have ended.
var retentionGoal = goal{
	name: "retention", title: "Retention", named: true,
	about: "Somebody holds a `REPEATABLE READ` transaction open, so that no dead row of its database can be removed, " +
		"while tasks are submitted and worked on. First 800 tasks a second, one by one, at the moments that are " +
		"due. Then as many as are sustained: batches of 100 from 4 clients, which wait while 4,000 tasks have not " +
		"started. 1,000 slots or workers, River with the fetches of part 4. Starts are counted as in part 4: the " +
		"rate is of tasks that started, and p99 is of the times from when they were sent. Dead rows are those of " +
		"all tables, by `pg_stat_user_tables`. The end is the last quarter of the time with the snapshot. Then the " +
		"load of part 1 and the drain of part 3 with 100 slots beside expired tasks, once while they stay and once " +
		"while a worker of another queue purges them. At last a table is filled with a tenth as many expired tasks, " +
		"its size read, and all of them purged, again and again.",
	contenders: func(o options) []contender {
		return append([]contender{
			{name: riverAtRate, once: true, over: riverPinned(pinnedRate)},
			{name: millraceAtRate, once: true, over: millracePinned(atPinnedRate)},
			{name: riverAtMost, once: true, over: riverPinned(0)},
			{name: millraceAtMost, once: true, over: millracePinned(flood)},
		}, purgeContenders(o)...)
	},
	judge: func(s series, _ options) []verdict {
		return append([]verdict{
			atLeast("rate at 800/s, end / before the snapshot", s.endToBefore(millraceAtRate, "rate"), 0.95),
			atMost("p99 at 800/s, end / before the snapshot", s.endToBefore(millraceAtRate, "p99"), 1.5),
			atLeast("sustained rate, end / before the snapshot", s.endToBefore(millraceAtMost, "rate"), 0.95),
			above("sustained rate, end / River's", ratios(s.end(millraceAtMost, "rate"), s.end(riverAtMost, "rate")), 1),
		}, judgePurge(s)...)
	},
	charts: []chart{{file: "retention-purge", title: "Tasks a second while others are purged", metric: "rate", names: purgeShown}},
	course: course{
		{file: "retention-800", title: "A snapshot is held: 800 tasks a second", unit: "s", names: []string{riverAtRate, millraceAtRate}},
		{file: "retention-most", title: "A snapshot is held: as many tasks as are sustained", unit: "s", names: []string{riverAtMost, millraceAtMost}},
		{file: "retention-turnovers", title: "The table of tasks, filled and purged again and again", unit: "turnovers", names: []string{turnedOver}},
	},
}

const (
	riverAtRate    = "River, 800/s"
	millraceAtRate = "Millrace, 800/s"
	riverAtMost    = "River, sustained"
	millraceAtMost = "Millrace, sustained"
)

// deadRows is what the server counts: of those in its tables that no new snapshot sees.
const deadRows = "SELECT coalesce(sum(n_dead_tup), 0) FROM pg_stat_user_tables"

// pinned reads a system under load interval by interval: for a quarter of the time as it
// is, then while a snapshot of its database is held. next returns when an interval is over.
func (b *bench) pinned(database string, next func() (reading, error)) []reading {
	db := b.open(database)
	held := int(b.held / pinnedInterval)
	before := max(1, held/4)
	var all []reading
	check := func() {}
	for n := range before + held {
		if n == before {
			check = b.holdSnapshot(db)
		}
		spent := processGroup{"postgres": b.servers.postgresPID}.startCounting()
		r, err := next()
		b.must(err, "measure an interval")
		if started := int(r["rate"] * pinnedInterval.Seconds()); started > 0 {
			r["cpu postgres"] = spent(started)["cpu postgres"]
		}
		r["at"] = float64(n+1-before) * pinnedInterval.Seconds()
		r["dead"] = float64(b.number(db, deadRows))
		b.progress.interval(r)
		all = append(all, r)
	}
	check()
	return all
}

// holdSnapshot takes a snapshot and keeps it for the rest of the session. The returned
// function fails the session if the snapshot is not the same as at the beginning.
func (b *bench) holdSnapshot(db *sql.DB) (check func()) {
	tx, err := db.BeginTx(b.ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
	b.must(err, "take a snapshot")
	b.Cleanup(func() { _ = tx.Rollback() }) // nothing was changed
	read := func() (snapshot string) {
		b.must(tx.QueryRowContext(b.ctx, "SELECT pg_current_snapshot()").Scan(&snapshot), "read the snapshot")
		return snapshot
	}
	first := read()
	return func() {
		if last := read(); last != first {
			b.Fatalf("the snapshot was %s and is %s: it was not held", first, last)
		}
	}
}

// load submits tasks until its context ends.
type load func(ctx context.Context, addr string, t *tally)

func millracePinned(l load) func(b *bench) []reading {
	return func(b *bench) []reading { return b.plain().pinned(b, l) }
}

// pinned is of Millrace.
func (s *store) pinned(b *bench, l load) []reading {
	s.empty(b)
	api := b.startAPI(s)
	t := s.startTallied(b, pinnedSlots)
	ctx, stop := context.WithCancel(b.ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l(ctx, api.addr, t)
	}()
	defer func() {
		stop()
		<-ended
	}()
	b.sleep(b.warm)
	t.take(time.Now()) // they have warmed up
	ticker := time.NewTicker(pinnedInterval)
	defer ticker.Stop()
	return b.pinned(s.url, func() (reading, error) {
		select {
		case now := <-ticker.C:
			return t.take(now), nil
		case <-b.ctx.Done():
			return nil, b.ctx.Err()
		}
	})
}

func atPinnedRate(ctx context.Context, addr string, t *tally) {
	openLoop(ctx, addr, pinnedRate, 0, func(res *vegeta.Result) {
		if res.Code != http.StatusCreated {
			t.refused.Add(1)
		}
	})
}

// flood submits batches as long as few enough tasks wait for their start.
func flood(ctx context.Context, addr string, t *tally) {
	var submitted atomic.Int64
	body := batchBody(pinnedBatch)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: pinnedClients}}
	var clients sync.WaitGroup
	for range pinnedClients {
		clients.Go(func() {
			for ctx.Err() == nil {
				if submitted.Load()-t.started.Load() >= pinnedWindow {
					time.Sleep(time.Millisecond)
					continue
				}
				submitted.Add(pinnedBatch)
				if submitBatch(ctx, client, addr, strings.ReplaceAll(body, message, stamped())) != nil {
					submitted.Add(-pinnedBatch) // of those that were stored all the same, a few more wait
					t.refused.Add(pinnedBatch)
				}
			}
		})
	}
	clients.Wait()
}

func submitBatch(ctx context.Context, client *http.Client, addr, body string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/tasks/batch", strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		return fmt.Errorf("a batch of tasks was answered %s", res.Status)
	}
	_, err = io.Copy(io.Discard, res.Body) // or the connection could not be used again
	return err
}

// riverPinned is of River, at a rate, or as fast as tasks start if that is 0.
func riverPinned(rate int) func(b *bench) []reading {
	return func(b *bench) []reading {
		database := b.river()
		ctx, stop := context.WithCancel(b.ctx)
		cmd := exec.CommandContext(ctx, programs.Path("peers"), "river-course", "-database", database,
			"-warm", b.warm.String(), "-interval", pinnedInterval.String(), "-rate", strconv.Itoa(rate),
			"-window", strconv.Itoa(pinnedWindow), "-batch", strconv.Itoa(pinnedBatch), "-clients", strconv.Itoa(pinnedClients),
			"-workers", strconv.Itoa(pinnedSlots), "-cooldown", latencyBest[0], "-poll", latencyBest[1], "-conns", "10")
		var problems strings.Builder
		cmd.Stderr = &problems
		out, err := cmd.StdoutPipe()
		b.must(err, "run the peers")
		b.must(cmd.Start(), "run the peers")
		defer func() {
			stop()
			_ = cmd.Wait() // it was killed
		}()
		lines := json.NewDecoder(out)
		return b.pinned(database, func() (reading, error) {
			for {
				var line peerResult
				if err := lines.Decode(&line); err != nil {
					_ = cmd.Wait() // what it has printed says why
					return nil, errors.New("River has ended: " + problems.String())
				}
				if line.Event == "interval" {
					r := reading{"rate": float64(line.Tasks) / line.Seconds}
					if line.Tasks > 0 {
						r["p50"], r["p99"] = line.P50, line.P99
					}
					return r, nil
				}
			}
		})
	}
}
