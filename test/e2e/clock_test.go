package e2e

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/bootstrap"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/programs"
	"github.com/millrace/millrace/test/services"
)

// TestService_OnAServerWhoseClockIsAnHourOff submits, runs, retries and rescues
// by the time of a server that is an hour from that of the programs.
func TestService_OnAServerWhoseClockIsAnHourOff(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(off.String(), func(t *testing.T) {
			t.Parallel()
			server := services.StartPostgreSQL(t, services.PostgresTime(off))
			d := deploy(t, server.URL("postgres"), services.Redis(t), leaseEnv, "MAX_ATTEMPTS=2", "RETRY_BASE=1s")
			d.observer()
			retried := d.submit("too long").ID
			first := d.worker("HANDLER=sleep:1h", "TASK_TIMEOUT=500ms")
			got := d.becomes(retried, "failed")
			if got.Attempt != 2 || got.Failures != 2 {
				t.Errorf("retried: %+v", got)
			}
			for name, text := range map[string]string{"created": got.CreatedAt, "updated": got.UpdatedAt} {
				at, err := time.Parse(time.RFC3339, text)
				if wrong := time.Until(at) - off; err != nil || wrong.Abs() > 5*time.Minute {
					t.Errorf("%s at %s, which is not the server's time, %v", name, text, err)
				}
			}
			first.Stop()

			rescued := d.submit("held by a worker that dies").ID
			victim := d.worker("HANDLER=sleep:1h")
			d.becomes(rescued, "processing")
			time.Sleep(shortLease + time.Second)
			if got := d.get(rescued); got.Attempt != 1 || got.Status != "processing" {
				t.Errorf("while its worker lives: %+v", got)
			}
			killed := time.Now()
			victim.Kill()
			d.becomes(rescued, "pending")
			if took := time.Since(killed); took < shortLease/2 {
				t.Errorf("rescued %v after the kill, before its lease could lapse", took)
			}
			d.worker()
			if got := d.becomes(rescued, "completed"); got.Attempt != 2 || got.Failures != 0 {
				t.Errorf("rescued: %+v", got)
			}
			d.patch(retried, "pending", http.StatusOK)
			d.becomes(retried, "completed")
		})
	}
}

// TestWorkers_WhoseClocksDisagreeAgreeOnEveryTask runs a worker whose clock is an
// hour ahead and one whose clock is an hour behind beside one that is right.
func TestWorkers_WhoseClocksDisagreeAgreeOnEveryTask(t *testing.T) {
	t.Parallel()
	const wait = 2 * time.Second
	database, queue := migratedDatabase(t), services.Redis(t)
	var mu sync.Mutex
	starts := map[string][]time.Time{} // by message
	var client harness
	for _, off := range []time.Duration{0, time.Hour, -time.Hour} {
		p := newServerHarness(t, database, queue, func() time.Time { return time.Now().Add(off) })
		if off == 0 {
			client = p
		}
		cfg := workerConfig()
		cfg.Capacity = 4
		p.run(t, cfg, func(ctx context.Context, task *domain.Task) error {
			mu.Lock()
			starts[task.Message()] = append(starts[task.Message()], time.Now())
			mu.Unlock()
			switch {
			case strings.HasPrefix(task.Message(), "long"): // longer than the lease
				select {
				case <-time.After(2 * shortLease):
				case <-ctx.Done():
				}
				return context.Cause(ctx)
			case task.Attempt() == 1:
				return application.RetryAfter(errors.New("later"), wait)
			}
			return nil
		})
	}
	var tasks []*domain.Task
	for i := range 6 {
		tasks = append(tasks, client.submit(t, fmt.Sprint("long ", i)), client.submit(t, fmt.Sprint("retry ", i)))
	}
	for _, task := range tasks {
		programs.Eventually(t, programs.Patience, task.Message()+" is completed", func() bool {
			return client.get(t, task.ID()).Status() == domain.StatusCompleted
		})
		s := client.get(t, task.ID()).State()
		mu.Lock()
		runs := starts[task.Message()]
		mu.Unlock()
		if strings.HasPrefix(task.Message(), "long") {
			if s.Attempt != 1 || s.Rescues != 0 || len(runs) != 1 {
				t.Errorf("%s: %d attempts, %d rescues", s.Message, s.Attempt, s.Rescues)
			}
		} else if len(runs) != 2 || s.Failures != 1 || runs[1].Sub(runs[0]) < wait || runs[1].Sub(runs[0]) > wait+programs.Patience {
			t.Errorf("%s: started at %v, %d failures", s.Message, runs, s.Failures)
		}
		if took := s.UpdatedAt.Sub(s.CreatedAt); took < 0 || took > programs.Patience || time.Since(s.CreatedAt).Abs() > 10*time.Minute {
			t.Errorf("%s: created %v, updated %v", s.Message, s.CreatedAt, s.UpdatedAt)
		}
	}
}

// TestWorkers_AssembledOnClocksThatDisagree is the same with workers as the
// program has them.
func TestWorkers_AssembledOnClocksThatDisagree(t *testing.T) {
	t.Parallel()
	d := deployAll(t)
	cfg, err := bootstrap.LoadWorker(append(d.env, leaseEnv, "HANDLER=sleep:7s", "WORKER_QUEUE_MAXSIZE=2"))
	if err != nil {
		t.Fatal(err)
	}
	for _, off := range []time.Duration{0, time.Hour, -time.Hour} {
		w, closeWorker, err := bootstrap.NewWorkerOn(cfg, slog.New(slog.NewTextHandler(t.Output(), nil)), func() time.Time { return time.Now().Add(off) })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(closeWorker)
		runBeside(t, func(ctx context.Context) {
			if err := w.Run(ctx); err != nil {
				t.Errorf("a worker %v off: %v", off, err)
			}
		})
	}
	const tasks = 12
	d.submitMany(tasks)
	begun := time.Now()
	programs.Eventually(t, programs.Patience, "all tasks are completed", func() bool { return d.count("completed") == tasks })
	var page struct{ Tasks []task }
	d.call(http.MethodGet, "/tasks?limit=200", "", http.StatusOK, &page)
	for _, got := range page.Tasks {
		at, err := time.Parse(time.RFC3339, got.UpdatedAt)
		if err != nil || at.Before(begun) || at.After(time.Now().Add(time.Second)) || got.Attempt != 1 || got.Failures != 0 {
			t.Errorf("by workers that disagree: %+v, %v", got, err)
		}
	}
}
