package chaos

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

const (
	// endLimit: once nothing is broken and nothing arrives, all tasks end within this.
	endLimit = 45 * time.Second
	// checkLimit bounds the check of the history: one that takes longer has found nothing.
	checkLimit = time.Minute
)

// life is a task as PostgreSQL has it at the end.
type life struct {
	id, message string
	status      status
	attempt     int
	created     time.Time
	ended       time.Time
}

// verify checks everything, once all is mended and the load is over.
func (r *run) verify() {
	t := r.t
	const unfinished = "SELECT count(*) FROM tasks WHERE status IN ('pending', 'processing')"
	for end := time.Now().Add(endLimit); number(t, r.direct, unfinished) > 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("%d tasks have not ended within %s", number(t, r.direct, unfinished), endLimit)
			break
		}
	}
	lives := r.lives()

	p := report{
		Seed: r.seed, Duration: durationFlag.String(), Lease: lease.String(), Steps: len(r.steps),
		Accepted: len(r.load.accepted), Stored: len(lives),
	}
	var lost, doubled finding
	byID := map[string]life{}
	messages := map[string]int{}
	for _, l := range lives {
		byID[l.id] = l
		messages[l.message]++
		if messages[l.message] == 2 {
			p.DoubledSubmissions++
			doubled.add("%q was submitted once and is stored twice", l.message)
		}
		switch l.status {
		case completed:
			p.Completed++
		case canceled:
			p.Canceled++
		case failed:
			p.Failed++
		}
	}
	for _, a := range r.load.accepted {
		if l, ok := byID[a.id]; !ok || l.message != a.key {
			p.Losses++
			lost.add("task %s, %q, was accepted at %s and is lost", a.id, a.key, a.at.Format(time.RFC3339Nano))
		}
	}
	lost.report(t)
	doubled.report(t)
	r.checkAudit(&p)
	r.checkRuns(&p, lives)
	r.readAll(lives)
	r.load.client.CloseIdleConnections()

	p.Requests = len(r.load.history)
	p.Answers = r.load.answers
	r.load.wrong.report(t)
	result := checkHistory(r.load.history, checkLimit)
	p.History = string(result)
	if result != porcupine.Ok {
		t.Errorf("what the clients saw is not what one correct service could have answered: %s", result)
		r.explain()
	}
	p.Faults = r.byKind(lives)
	for _, f := range p.Faults {
		p.LongestWaitMS, p.LongestRecovery = max(p.LongestWaitMS, f.WaitMS), max(p.LongestRecovery, f.RecoveryMS)
		switch f.Kind {
		case "worker killed":
			p.RescueAfterKill = f.LeftMS
		case "Redis flushed":
			p.RefillAfterFlush = f.LeftMS
		}
	}
	r.publish(p)
}

func (r *run) lives() []life {
	r.t.Helper()
	return rows(r.t, r.direct, func(row *sql.Rows, l *life) error {
		return row.Scan(&l.id, &l.message, &l.status, &l.attempt, &l.created, &l.ended)
	}, "SELECT id, message, status, attempt, created_at, updated_at FROM tasks")
}

// checkAudit looks at every change of a task that PostgreSQL has noted.
func (r *run) checkAudit(p *report) {
	p.DoubleCompletions = number(r.t, r.direct, `SELECT count(*) FROM (
		SELECT FROM audit WHERE new_status = 'completed' GROUP BY task HAVING count(*) > 1) AS doubled`)
	p.ChangesAfterTheEnd = number(r.t, r.direct, `SELECT count(*) FROM audit WHERE old_status IN ('completed', 'canceled', 'failed') OR new_status = 'deleted'`)
	if p.DoubleCompletions+p.ChangesAfterTheEnd > 0 {
		r.t.Errorf("%d tasks were completed twice, %d changes were made to tasks that had ended", p.DoubleCompletions, p.ChangesAfterTheEnd)
	}
	unnoted := number(r.t, r.direct, `SELECT count(*) FROM tasks AS t WHERE t.status IN ('completed', 'canceled', 'failed')
		AND NOT EXISTS (SELECT FROM audit AS a WHERE a.task = t.id AND a.new_status = t.status)`)
	if unnoted > 0 {
		r.t.Errorf("%d tasks have ended and the audit does not say how", unnoted)
	}
}

// attempt names an attempt of a task.
type attempt struct {
	task   string
	number int
}

// checkRuns compares what is stored with what the handlers themselves have logged.
func (r *run) checkRuns(p *report, lives []life) {
	// By the clock of the machine, as the logs are; updated_at is a worker's estimate of it.
	completions := map[string]time.Time{}
	type completion struct {
		task string
		at   time.Time
	}
	for _, c := range rows(r.t, r.direct, func(row *sql.Rows, c *completion) error { return row.Scan(&c.task, &c.at) },
		"SELECT task, min(at) FROM audit WHERE new_status = 'completed' GROUP BY task") {
		completions[c.task] = c.at
	}
	var again, unhandled, byOthers finding
	done := map[attempt]time.Time{} // when its handler returned, at the earliest
	byAttempt, byTask := map[attempt]int{}, map[string]int{}
	for i, w := range r.workers {
		for _, process := range w.lives {
			for line := range strings.Lines(process.Output()) {
				var entry struct {
					Time      time.Time
					Msg, Task string
					Attempt   int
				}
				if !strings.Contains(line, `"msg":"task"`) || json.Unmarshal([]byte(line), &entry) != nil {
					continue
				}
				p.Runs++
				a := attempt{entry.Task, entry.Attempt}
				byAttempt[a]++
				byTask[entry.Task]++
				done[a] = entry.Time.Add(work[i])
			}
		}
	}
	for a, n := range byAttempt {
		if n > 1 {
			p.ExtraRuns += n - 1
			again.add("attempt %d of task %s was handled %d times", a.number, a.task, n)
		}
	}
	for _, n := range byTask {
		p.RepeatedRuns += n - 1
		p.MostRunsOfATask = max(p.MostRunsOfATask, n)
	}
	for _, l := range lives {
		if l.status != completed {
			continue
		}
		a := attempt{l.id, l.attempt}
		switch at, ok := done[a]; {
		case !ok:
			p.CompletedUnhandled++
			unhandled.add("task %s is completed, and no handler has seen its attempt %d", l.id, l.attempt)
		case completions[l.id].Before(at):
			p.CompletedByOthers++
			byOthers.add("task %s was completed at %s, while the handler of its attempt %d was at work until %s", l.id, completions[l.id], l.attempt, at)
		}
	}
	again.report(r.t)
	unhandled.report(r.t)
	byOthers.report(r.t)
}

// finding is something wrong that may be wrong many times over.
type finding struct {
	n       int
	example string
}

func (f *finding) add(format string, args ...any) {
	if f.n++; f.n == 1 {
		f.example = fmt.Sprintf(format, args...)
	}
}

// report fails the test if anything was found.
func (f *finding) report(t *testing.T) {
	t.Helper()
	if f.n > 0 {
		t.Errorf("%d times: %s", f.n, f.example)
	}
}

// readAll has the service tell of every task once more, for the history. Tasks
// whose submission had no answer are known by their message.
func (r *run) readAll(lives []life) {
	l := r.load
	l.mu.Lock()
	ids := map[string]bool{}
	for _, task := range lives {
		l.keyOf[task.id] = task.message
		ids[task.id] = true
	}
	for _, a := range l.accepted {
		ids[a.id] = true
	}
	l.mu.Unlock()
	queue := make(chan string)
	var readers sync.WaitGroup
	for i := range 8 {
		random := rand.New(rand.NewPCG(r.seed, uint64(i)+2_000_000))
		readers.Go(func() {
			for id := range queue {
				for tries := 0; !l.get(id, random, 5*time.Second); tries++ {
					if tries == 20 {
						r.t.Errorf("task %s cannot be read", id)
						break
					}
					time.Sleep(100 * time.Millisecond)
				}
			}
		})
	}
	for id := range ids {
		queue <- id
	}
	close(queue)
	readers.Wait()
}

// explain shows tasks whose histories are at fault.
func (r *run) explain() {
	byKey := map[string][]operation{}
	for _, op := range r.load.history {
		byKey[op.key] = append(byKey[op.key], op)
	}
	shown := 0
	for key, ops := range byKey {
		if shown < 3 && checkHistory(ops, 5*time.Second) != porcupine.Ok {
			shown++
			r.t.Logf("%q:", key)
			for _, op := range ops {
				r.t.Logf("  %s from %d to %d ns: %+v, unknown: %t", op.kind, op.start, op.end, op.saw, op.unknown)
			}
		}
	}
}
