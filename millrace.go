// Package millrace embeds Millrace in a Go program, with a Go function as the
// handler of its tasks: a worker of a deployment on PostgreSQL and Redis, or API
// and worker together on an embedded store.
package millrace

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/bootstrap"
	"github.com/millrace/millrace/domain"
)

// Task is what a handler gets of the task that it processes.
type Task struct {
	ID      string // of the task; the same in every attempt
	Attempt int    // counts from 1; a task is processed at least once
	Message string // as it was submitted

	Queue       string
	Priority    int
	Metadata    map[string]string // read only
	TraceParent string            // of the attempt, or of what made the task (W3C Trace Context); empty: none
	TraceState  string            // that goes with it
}

// Handler processes one task and returns what the task keeps as its result: text,
// up to 64 KiB. After an error the task is retried, unless the error is Permanent;
// RetryAfter says when. ctx ends at the attempt's deadline, when a stop of the task is
// requested, and when the program stops: return soon after that. A handler is called by
// many goroutines at once.
type Handler func(ctx context.Context, t Task) (result string, err error)

// Permanent marks an error that no retry can help: the task fails at once.
func Permanent(err error) error { return application.Permanent(err) }

// RetryAfter marks an error after which the next attempt makes sense when d has passed.
func RetryAfter(err error, d time.Duration) error { return application.RetryAfter(err, d) }

var errNoHandler = errors.New("millrace: there is no handler")

// Options say how to run. The zero value runs as the programs do without any setting.
type Options struct {
	// Env has the settings as NAME=value, such as "WORKER_QUEUE_MAXSIZE=10": those
	// that cmd/worker and cmd/millrace list with --help. HANDLER and HANDLERS are ignored.
	// Pass os.Environ() to use the environment.
	Env []string
	// Log is Millrace's logger, which must not make its callers wait. nil: JSON on standard
	// error; lines that nobody reads are dropped.
	Log *slog.Logger
	// Traces are where the spans of Millrace go. nil: as the variables OTEL_* in Env say,
	// and those of the process, from which OpenTelemetry's exporters read where they export to.
	Traces trace.TracerProvider
	// Ready, if not nil, is called with the address once the API of Serve listens.
	Ready func(net.Addr)
}

// Work processes the tasks of a deployment, side by side with its other workers,
// until ctx ends, and then as cmd/worker does on a SIGTERM. It waits for
// PostgreSQL and for the schema. A wrong setting is a *bootstrap.SettingError.
func Work(ctx context.Context, handle Handler, o Options) error {
	if handle == nil {
		return errNoHandler
	}
	cfg, err := bootstrap.LoadWorkerWith(o.Env)
	if err != nil {
		return err
	}
	cfg.TracerProvider = o.Traces
	log, closeLog := o.log(cfg.LogLevel)
	defer closeLog()
	worker, closeAll, err := bootstrap.NewWorkerWith(cfg, handler(handle), log)
	if err != nil {
		return err
	}
	defer closeAll()
	return worker.Run(ctx)
}

// Serve runs API and worker in this process on an embedded store, until ctx ends.
func Serve(ctx context.Context, handle Handler, o Options) error {
	if handle == nil {
		return errNoHandler
	}
	cfg, err := bootstrap.LoadEmbeddedWith(o.Env)
	if err != nil {
		return err
	}
	cfg.TracerProvider = o.Traces
	log, closeLog := o.log(cfg.LogLevel)
	defer closeLog()
	all, closeAll, err := bootstrap.NewEmbeddedWith(cfg, handler(handle), log)
	if err != nil {
		return err
	}
	defer closeAll()
	ready := o.Ready
	if ready == nil {
		ready = func(net.Addr) {}
	}
	return all.Run(ctx, ready)
}

// log is Log, or one on standard error; the returned function waits a second at most until
// that is written.
func (o Options) log(level slog.Level) (*slog.Logger, func()) {
	if o.Log != nil {
		return o.Log, func() {}
	}
	out := bootstrap.NewOutput(os.Stderr)
	return bootstrap.NewLog(out, level, false), out.Close
}

// handler adapts a Handler to the port.
type handler Handler

var _ application.Handler = handler(nil)

// Handle calls the function.
func (h handler) Handle(ctx context.Context, t *domain.Task) (string, error) {
	s := t.State()
	return h(ctx, Task{
		ID: s.ID.String(), Attempt: s.Attempt, Message: s.Message,
		Queue: string(s.Queue), Priority: s.Priority, Metadata: s.Metadata, TraceParent: s.TraceParent, TraceState: s.TraceState,
	})
}
