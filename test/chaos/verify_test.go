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

// storedTask is a task as PostgreSQL has it at the end.
type storedTask struct {
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

// verify checks everything, once nothing is broken and the load is over.
func (r *run) verify() {
	r.awaitAllEnded()
	stored := r.storedTasks()
	p := report{
		Seed: r.seed, Duration: durationFlag.String(), Lease: lease.String(), Steps: len(r.steps),
		Accepted: len(r.load.accepted), Stored: len(stored),
	}
	r.checkAccepted(&p, stored)
	r.checkAudit(&p)
	r.checkRuns(&p, stored)
	r.checkSubmissions(&p, stored)
	r.checkStarts(&p, stored)
	r.checkLimits(&p)
	r.checkSampled(&p)
	r.checkBulks(&p)
	r.readAll(stored)
	r.load.client.CloseIdleConnections()
	r.checkAnswers(&p)
	p.Faults = r.byKind(stored)
	r.checkReadiness(&p)
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

// awaitAllEnded waits until every task has ended, with no limits on any queue.
func (r *run) awaitAllEnded() {
	r.t.Helper()
	// The second is for a change of which nothing was heard, and that came after the first.
	random := rand.New(rand.NewPCG(r.seed, 5_000_000))
	r.load.lift(random)
	time.Sleep(r.pace.stretch(obeyed))
	r.load.lift(random)
	r.awaitBulks() // before the others: they may reopen some
	const unfinished = "SELECT count(*) FROM tasks WHERE status IN ('pending', 'processing')"
	limit := r.pace.stretch(endLimit)
	for end := time.Now().Add(limit); number(r.t, r.direct, unfinished) > 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Errorf("%d tasks have not ended within %s", number(r.t, r.direct, unfinished), limit)
			return
		}
	}
}

// checkAccepted looks for tasks that were accepted and are lost, and for those that are
// stored twice.
func (r *run) checkAccepted(p *report, stored []storedTask) {
	var lost, doubled finding
	byID := map[string]storedTask{}
	messages := map[string]int{}
	for _, t := range stored {
		byID[t.id] = t
		messages[t.message]++
		if messages[t.message] == 2 {
			p.DoubledSubmissions++
			doubled.add("%q was submitted once and is stored twice", t.message)
		}
		switch t.status {
		case completed:
			p.Completed++
		case canceled:
			p.Canceled++
		case failed:
			p.Failed++
		}
	}
	for _, a := range r.load.accepted {
		if t, ok := byID[a.id]; !ok || t.message != a.key {
			p.Losses++
			lost.add("task %s, %q, was accepted at %s and is lost", a.id, a.key, a.at.Format(time.RFC3339Nano))
		}
	}
	lost.report(r.t)
	doubled.report(r.t)
}

// checkAnswers looks at the answers one by one, and at all of them together.
func (r *run) checkAnswers(p *report) {
	p.Answers, p.Replays = r.load.answers, r.load.replays
	for _, n := range p.Answers {
		p.Requests += n
	}
	r.load.wrong.report(r.t)
	result := checkHistory(r.load.withBulks(), checkLimit)
	p.History = string(result)
	if result != porcupine.Ok {
		r.t.Errorf("what the clients saw is not what one correct service could have answered: %s", result)
		r.explain()
	}
}

func (r *run) storedTasks() []storedTask {
	r.t.Helper()
	ordinary := map[string]bool{}
	for _, s := range r.load.submissions {
		for _, w := range s.specs {
			ordinary[w.Message] = w.ordinary()
		}
	}
	return rows(r.t, r.direct, func(row *sql.Rows, t *storedTask) error {
		var metadata []byte
		if err := row.Scan(&t.id, &t.message, &t.status, &t.attempt, &t.created, &t.ended,
			&t.queue, &t.priority, &t.timeout, &t.maxAttempts, &metadata, &t.runAt); err != nil {
			return err
		}
		if t.ordinary = ordinary[t.message]; metadata == nil {
			return nil
		}
		return json.Unmarshal(metadata, &t.metadata)
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

// handled are the runs that the handlers themselves have logged.
type handled struct {
	byAttempt map[attempt]int
	byTask    map[string]int
	done      map[attempt]time.Time // when the handler returned, at the earliest
}

// handled reads the logs of all workers.
func (r *run) handled() handled {
	h := handled{byAttempt: map[attempt]int{}, byTask: map[string]int{}, done: map[attempt]time.Time{}}
	for i, w := range r.workers {
		for _, process := range w.processes {
			for line := range strings.Lines(process.Output()) {
				var entry struct {
					Time      time.Time
					Msg, Task string
					Attempt   int
				}
				if !strings.Contains(line, `"msg":"task"`) || json.Unmarshal([]byte(line), &entry) != nil {
					continue
				}
				a := attempt{entry.Task, entry.Attempt}
				h.byAttempt[a]++
				h.byTask[entry.Task]++
				h.done[a] = entry.Time.Add(work[i])
			}
		}
	}
	return h
}

// checkRuns compares what is stored with what the handlers have logged.
func (r *run) checkRuns(p *report, stored []storedTask) {
	h := r.handled()
	var again finding
	for a, n := range h.byAttempt {
		p.Runs += n
		if n > 1 {
			p.ExtraRuns += n - 1
			again.add("attempt %d of task %s was handled %d times", a.number, a.task, n)
		}
	}
	for _, n := range h.byTask {
		p.RepeatedRuns += n - 1
		p.MostRunsOfATask = max(p.MostRunsOfATask, n)
	}
	again.report(r.t)
	r.checkCompletions(p, stored, h)
}

// checkCompletions compares when tasks were completed with when their handlers returned.
func (r *run) checkCompletions(p *report, stored []storedTask, h handled) {
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
	var unhandled, byOthers finding
	for _, t := range stored {
		if t.status != completed {
			continue
		}
		switch at, ok := h.done[attempt{t.id, t.attempt}]; {
		case !ok:
			unhandled.add("task %s is completed, and no handler has seen its attempt %d", t.id, t.attempt)
		case completions[t.id].Before(at):
			byOthers.add("task %s was completed at %s, while the handler of its attempt %d was at work until %s", t.id, completions[t.id], t.attempt, at)
		}
	}
	p.CompletedUnhandled, p.CompletedByOthers = unhandled.n, byOthers.n
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

// readAll reads every task once more through the service, for the history. Tasks
// whose submission had no answer are known by their message.
func (r *run) readAll(stored []storedTask) {
	tasks := map[string]acceptance{}
	for _, t := range stored {
		tasks[t.id] = acceptance{key: t.message, id: t.id}
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
