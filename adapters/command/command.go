// Package command is the handler that runs a program for each task: the message
// on its standard input, its standard output as the result, its exit code as the
// outcome. It knows processes, and nothing of queues and stores.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/adapters/internal/shortage"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var _ application.Handler = (*Handler)(nil)

// defaultGrace is a second less than the worker waits for a handler.
const defaultGrace = 2 * time.Second

// maxProblem is how much of the end of standard error an error quotes, in bytes. Together
// with the text before it, that is less than a task keeps of a reason.
const maxProblem = 2 << 10

// Config says what to run.
type Config struct {
	Path string   // of the program, or its name in a folder of PATH; no shell is involved
	Args []string // without the program's name
	// Env is the program's environment, as NAME=value, besides the variables that describe
	// the task.
	Env []string
	// Grace is how long a program may go on after SIGTERM; 0: two seconds.
	Grace time.Duration
}

// Handler runs a program for each task, in a process group of its own. It is
// safe for concurrent use.
type Handler struct {
	cfg   Config
	start func(cmd *exec.Cmd, stdout, stderr io.Writer) (*process, error)
}

// New makes the handler. It fails if the program is missing or not executable, so that not
// every task does.
func New(cfg Config) (*Handler, error) {
	if err := supported(); err != nil {
		return nil, err
	}
	path, err := exec.LookPath(cfg.Path)
	if err != nil {
		if e, ok := errors.AsType[*exec.Error](err); ok {
			err = e.Err
		}
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			err = e.Err
		}
		return nil, fmt.Errorf("the program %q cannot be run: %w", cfg.Path, err)
	}
	cfg.Path = path
	prepare()
	if cfg.Grace <= 0 {
		cfg.Grace = defaultGrace
	}
	return &Handler{cfg: cfg, start: start}, nil
}

// Handle runs the program. Exit code 0 completes the task, unless ctx ended before: a
// program that exits with 0 on SIGTERM may not have finished its work, so it counts as
// interrupted. 65 (EX_DATAERR) is a permanent error; any other code and death by a signal
// are retried. A program that cannot be started for want of descriptors, processes or
// memory is NotStarted. When ctx ends, the whole process group gets SIGTERM, and SIGKILL after the
// grace. When the program has ended, the rest of its group is killed, and so is the whole
// group when the process that runs it dies. Only a process that has left the group
// survives that.
func (h *Handler) Handle(ctx context.Context, t *domain.Task) (string, error) {
	if ctx.Err() != nil {
		return "", fmt.Errorf("the program was not started: %w", context.Cause(ctx))
	}
	result, problem := &head{limit: domain.MaxResult + 1}, &tail{limit: maxProblem}
	p, err := h.start(h.command(ctx, t), result, problem)
	if err != nil {
		err = fmt.Errorf("start the program: %w", err)
		if shortage.Is(err) {
			err = application.NotStarted(err)
		}
		return "", err
	}
	stopped := p.waitOrStop(ctx, h.cfg.Grace)
	err = p.end()
	switch {
	case err == nil && !stopped:
		return result.String(), nil
	case err == nil:
		return "", fmt.Errorf("the program was terminated: %w", context.Cause(ctx))
	}
	return "", failure(ctx, stopped, err, problem.String())
}

// command makes the command. Package exec must not end it: it would kill the program
// alone and not the group.
func (h *Handler) command(ctx context.Context, t *domain.Task) *exec.Cmd {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), h.cfg.Path, h.cfg.Args...)
	cmd.Stdin = strings.NewReader(t.Message()) // the program need not read it
	cmd.Env = append(cmd.Env, h.cfg.Env...)
	cmd.Env = append(cmd.Env, "MILLRACE_TASK_ID="+t.ID().String(), "MILLRACE_ATTEMPT="+strconv.Itoa(t.Attempt()),
		"MILLRACE_QUEUE="+string(t.Queue()))
	if s := t.State(); s.TraceParent != "" { // by the names that OpenTelemetry's tools read
		cmd.Env = append(cmd.Env, "TRACEPARENT="+s.TraceParent)
		if s.TraceState != "" {
			cmd.Env = append(cmd.Env, "TRACESTATE="+s.TraceState)
		}
	}
	if deadline, ok := ctx.Deadline(); ok {
		// By this machine's clock, which is the program's too.
		cmd.Env = append(cmd.Env, "MILLRACE_DEADLINE="+deadline.UTC().Format(time.RFC3339))
	}
	return cmd
}
