//go:build !linux

package command

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"time"
)

var errUnsupported = errors.New("programs can be run on Linux only, where a group of processes can be ended without fail")

func supported() error { return errUnsupported }

func prepare() {}

type process struct{}

func start(*exec.Cmd, io.Writer, io.Writer) (*process, error) { return nil, errUnsupported }

func (*process) waitOrStop(context.Context, time.Duration) bool { return false }

func (*process) end() error { return errUnsupported }
