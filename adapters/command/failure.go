package command

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"

	"github.com/millrace/millrace/application"
)

// exDataErr says that the input was wrong: no retry can help.
const exDataErr = 65

// sysexits are the names that sysexits.h gives to exit codes.
var sysexits = map[int]string{
	64: "EX_USAGE", exDataErr: "EX_DATAERR", 66: "EX_NOINPUT", 67: "EX_NOUSER", 68: "EX_NOHOST",
	69: "EX_UNAVAILABLE", 70: "EX_SOFTWARE", 71: "EX_OSERR", 72: "EX_OSFILE", 73: "EX_CANTCREAT",
	74: "EX_IOERR", 75: "EX_TEMPFAIL", 76: "EX_PROTOCOL", 77: "EX_NOPERM", 78: "EX_CONFIG",
}

// failure says how the program ended, and quotes the end of its standard error.
func failure(ctx context.Context, stopped bool, err error, problem string) error {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return fmt.Errorf("wait for the program: %w", err)
	}
	code := exit.ExitCode()
	text := "the program exited with " + fmt.Sprint(code)
	if name, known := sysexits[code]; known {
		text += " (" + name + ")"
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		text = "the program was ended by a signal: " + status.Signal().String()
	}
	if problem = strings.TrimSpace(problem); problem != "" {
		text += ": " + problem
	}
	switch {
	case stopped:
		return fmt.Errorf("%w; %s", context.Cause(ctx), text)
	case code == exDataErr:
		return application.Permanent(errors.New(text))
	}
	return errors.New(text)
}
