// Package cli has what the command lines of the programs share: help with all settings,
// signals, logs, exit codes, and the healthcheck sub-command.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

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
func Root(name, short, settings string, run func(ctx context.Context) error) *cobra.Command {
	cmd := &cobra.Command{
		Use: name, Short: short, Version: bootstrap.Version(),
		Long:          short + "\n\nSettings, read from the environment:\n\n" + settings,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return run(cmd.Context()) },
	}
	cmd.CompletionOptions.HiddenDefaultCmd = true
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	return cmd
}

// Sub makes a sub-command.
func Sub(name, short string, run func(ctx context.Context) error) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd.Context()) },
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

// Main runs the command until it returns. SIGINT and SIGTERM end its context, and a second
// one ends the process at once. Main returns the exit code; an error is one line on
// standard error.
func Main(cmd *cobra.Command) int {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the next signal has its default effect

	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "%s: %s\n", cmd.Name(), strings.ReplaceAll(err.Error(), "\n", " "))
	if _, ok := errors.AsType[*bootstrap.SettingError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	return exitFailure
}

// NewLog makes the program's log on standard error: JSON for machines, text on
// a terminal.
func NewLog(level slog.Level) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	if isatty.IsTerminal(os.Stderr.Fd()) {
		return slog.New(slog.NewTextHandler(os.Stderr, opts))
	}
	return slog.New(slog.NewJSONHandler(os.Stderr, opts))
}

// Healthcheck asks the program that listens on addr whether it is ready.
func Healthcheck(ctx context.Context, addr string) error {
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
	fmt.Printf("%s\n", strings.TrimSpace(string(body)))
	return nil
}
