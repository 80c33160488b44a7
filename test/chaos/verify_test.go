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
	checkLimit = 5 * time.Minute
)

// life is a task as PostgreSQL has it at the end.
type life struct {
	id, message string
	status      status
	attempt     int
	created     time.Time
	ended       time.Time

	queue       string
	priority    int
	timeout     sql.NullInt64 // microseconds
	maxAttempts int
	metadata    map[string]string
	runAt       time.Time
	ordinary    bool // nothing but a fault made it wait
}

// verify checks everything, once all is mended and the load is over.
func (r *run) verify() {
	t := r.t
	// The second is for a change of which nothing was heard, and that came after the first.
	random := rand.New(rand.NewPCG(r.seed, 5_000_000))
	r.load.lift(random)
	time.Sleep(r.pace.stretch(obeyed))
	r.load.lift(random)
	r.awaitBulks() // before the others: they may reopen some
	const unfinished = "SELECT count(*) FROM tasks WHERE status IN ('pending', 'processing')"
	limit := r.pace.stretch(endLimit)
	for end := time.Now().Add(limit); number(t, r.direct, unfinished) > 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("%d tasks have not ended within %s", number(t, r.direct, unfinished), limit)
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
	r.checkSubmissions(&p, lives)
	r.checkStarts(&p, lives)
	r.checkLimits(&p)
	r.checkWatcher(&p)
	r.checkBulks(&p)
	r.readAll(lives)
	r.load.client.CloseIdleConnections()

	p.Answers, p.Replays = r.load.answers, r.load.replays
	for _, n := range p.Answers {
		p.Requests += n
	}
	r.load.wrong.report(t)
	result := checkHistory(r.load.withBulks(), checkLimit)
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
	ordinary := map[string]bool{}
	for _, s := range r.load.submissions {
		for _, w := range s.wishes {
			ordinary[w.Message] = w.ordinary()
		}
	}
	return rows(r.t, r.direct, func(row *sql.Rows, l *life) error {
		var metadata []byte
		if err := row.Scan(&l.id, &l.message, &l.status, &l.attempt, &l.created, &l.ended,
			&l.queue, &l.priority, &l.timeout, &l.maxAttempts, &metadata, &l.runAt); err != nil {
			return err
		}
		if l.ordinary = ordinary[l.message]; metadata == nil {
			return nil
		}
		return json.Unmarshal(metadata, &l.metadata)
	}, "SELECT id, message, status, attempt, created_at, updated_at, queue, priority, timeout, max_attempts, metadata, run_at FROM tasks")
}

// checkAudit looks at every change of a task that PostgreSQL has noted.
func (r *run) checkAudit(p *report) {
	p.DoubleCompletions = number(r.t, r.direct, `SELECT count(*) FROM (
		SELECT FROM audit WHERE new_status = 'completed' GROUP BY task HAVING count(*) > 1) AS doubled`)
	// What belongs to a group may be reopened once it has failed.
	p.ChangesAfterTheEnd = number(r.t, r.direct, `SELECT count(*) FROM audit AS a LEFT JOIN tasks AS t ON t.id = a.task
		WHERE a.new_status = 'deleted' OR a.old_status IN ('completed', 'canceled', 'failed')
		AND NOT (a.old_status = 'failed' AND a.new_status = 'pending' AND coalesce(t.metadata ? 'group', false))`)
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
	tasks := map[string]acceptance{}
	for _, l := range lives {
		tasks[l.id] = acceptance{key: l.message, id: l.id}
	}
	for _, a := range r.load.accepted {
		tasks[a.id] = a
	}
	queue := make(chan acceptance)
	var readers sync.WaitGroup
	for i := range 8 {
		random := rand.New(rand.NewPCG(r.seed, uint64(i)+2_000_000))
		readers.Go(func() {
			for task := range queue {
				for tries := 0; !r.load.get(task, random, 5*time.Second); tries++ {
					if tries == 20 {
						r.t.Errorf("task %s cannot be read", task.id)
						break
					}
					time.Sleep(100 * time.Millisecond)
				}
			}
		})
	}
	for _, task := range tasks {
		queue <- task
	}
	close(queue)
	readers.Wait()
}

// explain shows tasks whose histories are at fault.
func (r *run) explain() {
	byKey := map[string][]operation{}
	for _, op := range r.load.withBulks() {
		byKey[op.key] = append(byKey[op.key], op)
	}
	shown := 0
	for key, ops := range byKey {
		if shown < 3 && checkHistory(ops, 5*time.Second) != porcupine.Ok {
			shown++
			r.t.Logf("%q:", key)
			for _, op := range ops {
				r.t.Logf("  %s from %d to %d ns: %+v, unknown: %t, by %d", op.kind, op.start, op.end, op.saw, op.unknown, op.by)
			}
		}
	}
}
