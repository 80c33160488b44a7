// Package cli has what the command lines of the programs share: help with all settings,
// signals, logs, exit codes, and the healthcheck sub-command.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/millrace/millrace/bootstrap"
)

// The exit codes of every program.
const (
	exitFailure = 1
	exitUsage   = 2 // a wrong setting, argument or command
)

// usageError reports a wrong command line.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }

// Root makes the root command of a program, which calls run.
func Root(name, short, settings string, run func(context.Context, Console) error) *cobra.Command {
	cmd := &cobra.Command{
		Use: name, Short: short, Version: bootstrap.Version(),
		Long:          short + "\n\nSettings, read from the environment:\n\n" + settings,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), consoleOf(cmd)) },
	}
	cmd.CompletionOptions.HiddenDefaultCmd = true
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	return cmd
}

// Sub makes a sub-command.
func Sub(name, short string, run func(context.Context, Console) error) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), consoleOf(cmd)) },
	}
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unknown command %q; see %s --help", args[0], cmd.CommandPath())}
	}
	return nil
}

// gcPercent suits programs in which only a few megabytes outlive a request: with Go's
// default of 100 they collect garbage all the time. It costs some tens of megabytes.
// GOGC overrides it, and GOMEMLIMIT bounds it as usual.
const gcPercent = 400

// Main runs the command until it returns. SIGINT, SIGTERM and SIGHUP end its context, and
// a second SIGINT or SIGTERM ends the process at once. Main returns the exit code; an error
// is one line on standard error. Nothing that the command prints makes it wait.
func Main(cmd *cobra.Command) int {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	limitMemory()
	console := Console{Out: bootstrap.NewOutput(os.Stdout), Err: bootstrap.NewOutput(os.Stderr)}
	defer console.close()
	cmd.SetOut(console.Out)
	cmd.SetErr(console.Err)
	log.SetOutput(console.Err) // of packages that log by themselves

	ctx, stop := signal.NotifyContext(context.Background(), stopSignals()...)
	defer stop()
	context.AfterFunc(ctx, stop) // the next signal has its default effect

	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(console.Err, "%s: %s\n", cmd.Name(), strings.ReplaceAll(err.Error(), "\n", " "))
	if _, ok := errors.AsType[*bootstrap.SettingError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	return exitFailure
}

// limitMemory makes Go collect garbage rather than reach the memory limit of the
// container. The last tenth is for what Go does not count, such as SQLite's memory and
// page tables. GOMEMLIMIT overrides it. Without a limit, or where it cannot be read, the
// program runs as ever.
func limitMemory() {
	_, _ = memlimit.Set(memlimit.WithRatio(0.9))
}

// stopSignals are the signals that stop a program. SIGHUP, which a terminal sends as it
// closes, is one of them unless it was ignored at the start, as nohup does. It may come
// several times, from the terminal and from the shell, so a second one has no effect.
// SIGPIPE, which a write to a closed pipe causes, has none at all: who reads the log may
// go away. It is caught rather than ignored, because a program that Millrace starts would
// inherit that.
func stopSignals() []os.Signal {
	stop, without := []os.Signal{os.Interrupt, syscall.SIGTERM}, []os.Signal{syscall.SIGPIPE}
	if !signal.Ignored(syscall.SIGHUP) {
		stop, without = append(stop, syscall.SIGHUP), append(without, syscall.SIGHUP)
	}
	signal.Notify(make(chan os.Signal, 1), without...)
	return stop
}

// Console is where a program prints.
type Console struct{ Out, Err *bootstrap.Output }

// consoleOf is the console that Main has given the command.
func consoleOf(cmd *cobra.Command) Console {
	out, _ := cmd.OutOrStdout().(*bootstrap.Output)
	errs, _ := cmd.ErrOrStderr().(*bootstrap.Output)
	return Console{out, errs}
}

// close waits until everything is printed, for a second at most.
func (c Console) close() {
	var both sync.WaitGroup
	both.Go(c.Out.Close)
	both.Go(c.Err.Close)
	both.Wait()
}

// Log makes the program's log on standard error: JSON for machines, text on a terminal.
func (c Console) Log(level slog.Level) *slog.Logger {
	return bootstrap.NewLog(c.Err, level, isatty.IsTerminal(os.Stderr.Fd()))
}

// Healthcheck asks the program that listens on addr whether it is ready.
func Healthcheck(ctx context.Context, console Console, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q is not an address: %w", addr, err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		return fmt.Errorf("ask %s: %w", addr, err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("not ready: %w", err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 4<<10)) // after an error, show what has arrived
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s %s", res.Status, body)
	}
	fmt.Fprintf(console.Out, "%s\n", strings.TrimSpace(string(body)))
	return nil
}
