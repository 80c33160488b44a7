package chaos

import (
	"fmt"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/millrace/millrace/test/programs"
	"github.com/millrace/millrace/test/services"
)

// failoverLimit: a task goes through this soon after the promotion.
const failoverLimit = 10 * time.Second

// replicated is Millrace on a primary whose commits wait for its standby.
type replicated struct {
	t                *testing.T
	primary, standby *services.PostgresServer
	programs         []*programs.Process
	load             *load
	pace             pace
}

func startReplicated(t *testing.T) *replicated {
	t.Helper()
	f := &replicated{t: t, primary: services.StartPostgreSQL(t, services.PostgresConf(
		"synchronous_standby_names = 'standby'",
		"wal_retrieve_retry_interval = '200ms'", // a standby looks for its primary, or its promotion, this often; not every 5 s
	))}
	f.standby = services.StartStandby(t, f.primary, "standby")
	f.primary.AwaitStandbys(1)
	env := []string{
		fmt.Sprintf("DATABASE_URL=postgres://postgres@127.0.0.1:%d,127.0.0.1:%d/postgres?sslmode=disable", f.primary.Port, f.standby.Port),
		"QUEUE_URL=" + services.StartRedis(t).URL(),
	}
	var addrs []*addr
	for range apis {
		at := programs.FreeAddr(t)
		f.programs = append(f.programs, programs.Start(t, t.TempDir(), append([]string{"LISTEN_ADDR=" + at}, env...), "api"))
		programs.WaitReady(t, at)
		a := &addr{}
		a.set(at)
		addrs = append(addrs, a)
	}
	for range workers - 1 {
		f.programs = append(f.programs, programs.Start(t, t.TempDir(), append([]string{"HANDLER=log:20ms", "QUEUES=" + takesAll, "LEASE_TIMEOUT=" + lease.String()}, env...), "worker"))
	}
	f.load = newLoad(t, addrs)
	f.load.start(clients, rate/2, 1)
	return f
}

// accepted counts the submissions that were answered with success.
func (f *replicated) accepted() int {
	f.load.mu.Lock()
	defer f.load.mu.Unlock()
	return len(f.load.accepted)
}

// acceptedSince counts those that were sent after some time.
func (f *replicated) acceptedSince(begun time.Time) int {
	f.load.mu.Lock()
	defer f.load.mu.Unlock()
	n := 0
	for _, a := range f.load.accepted {
		if a.sent.After(begun) {
			n++
		}
	}
	return n
}

// goesOn waits until tasks are accepted.
func (f *replicated) goesOn(atMost time.Duration) {
	f.t.Helper()
	before := f.accepted()
	programs.Eventually(f.t, atMost, "tasks are accepted", func() bool { return f.accepted() > before+100 })
}

// begins waits until tasks are accepted, and measures the machine meanwhile.
func (f *replicated) begins() {
	f.t.Helper()
	f.goesOn(settleLimit)
	db := open(f.t, f.primary.URL("postgres"))
	r := &run{cluster: &cluster{t: f.t, direct: db}, load: f.load}
	r.measurePace("before")
	f.pace = r.pace
	if err := db.Close(); err != nil { // the primary will be gone
		f.t.Error(err)
	}
}

// failOver promotes the standby and returns how long it took until a task that
// was submitted then was completed.
func (f *replicated) failOver() time.Duration {
	f.t.Helper()
	crashed := time.Now()
	f.standby.Promote()
	f.t.Logf("the promotion took %s", time.Since(crashed).Round(time.Millisecond))
	promoted := time.Now()
	db := open(f.t, f.standby.URL("postgres"))
	programs.Eventually(f.t, settleLimit, "a task goes through the promoted standby", func() bool {
		return number(f.t, db, "SELECT count(*) FROM tasks WHERE status = 'completed' AND created_at > $1", promoted) > 0
	})
	took := time.Since(promoted)
	if limit := f.pace.stretch(failoverLimit); took > limit {
		f.t.Errorf("a task went through %s after the promotion, not within %s", took, limit)
	}
	for _, p := range f.programs {
		if !p.Alive() {
			f.t.Error("a program has ended")
		}
	}
	f.goesOn(settleLimit)
	return took
}

// verify checks that the promoted standby has all that was accepted.
func (f *replicated) verify(took time.Duration) {
	f.t.Helper()
	f.load.stop()
	r := &run{cluster: &cluster{t: f.t, direct: open(f.t, f.standby.URL("postgres"))}, load: f.load, pace: f.pace}
	r.awaitBulks()
	programs.Eventually(f.t, f.pace.stretch(endLimit), "all tasks have ended", func() bool {
		return number(f.t, r.direct, "SELECT count(*) FROM tasks WHERE status IN ('pending', 'processing')") == 0
	})
	stored := r.storedTasks()
	r.checkSubmissions(&report{}, stored)
	byID := map[string]storedTask{}
	for _, task := range stored {
		byID[task.id] = task
	}
	lost := 0
	for _, a := range f.load.accepted {
		if _, ok := byID[a.id]; !ok {
			lost++
		}
	}
	if lost > 0 {
		f.t.Errorf("%d of %d accepted tasks are lost", lost, len(f.load.accepted))
	}
	r.readAll(stored)
	f.load.wrong.report(f.t)
	if result := checkHistory(f.load.withBulks(), checkLimit); result != porcupine.Ok {
		f.t.Errorf("what the clients saw is not what one correct service could have answered: %s", result)
		r.explain()
	}
	f.t.Logf("a task went through %s after the promotion; %d accepted, %d stored, %d lost; answers: %v",
		took.Round(time.Millisecond), len(f.load.accepted), len(stored), lost, f.load.answers)
}

func TestFailover_LosesNothingThatWasAccepted(t *testing.T) {
	f := startReplicated(t)
	f.begins()

	// While the standby is away commits wait, and so must every answer.
	f.standby.Stop(services.StopImmediate)
	f.primary.AwaitStandbys(0)
	away := time.Now()
	time.Sleep(7 * time.Second) // longer than a call may take
	if n := f.acceptedSince(away); n > 0 {
		t.Errorf("%d tasks were accepted that only the primary had", n)
	}
	f.standby.Start()
	f.goesOn(settleLimit)

	f.primary.Crash()
	f.verify(f.failOver())
}

// TestFailover_WhileCommitsWait has the primary die with commits that no standby
// has: nobody may have been told that those tasks were accepted.
func TestFailover_WhileCommitsWait(t *testing.T) {
	f := startReplicated(t)
	f.begins()
	f.standby.Stop(services.StopImmediate)
	f.primary.AwaitStandbys(0)
	time.Sleep(6 * time.Second) // clients and programs have given up on the first of them
	db := open(t, f.primary.URL("postgres"))
	db.SetMaxOpenConns(1)
	programs.Eventually(t, settleLimit, "a commit waits", func() bool {
		return number(t, db, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") > 0
	})
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	f.primary.Crash()
	f.standby.Start()
	f.verify(f.failOver())
}
