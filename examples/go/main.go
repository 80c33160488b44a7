// Command go is a worker of Millrace whose handler is a Go function: it counts
// the words of each message. It takes the settings of cmd/worker from the
// environment, and works beside the other workers of the deployment.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/millrace/millrace"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := millrace.Work(ctx, count, millrace.Options{Env: os.Environ()}); err != nil {
		fmt.Fprintln(os.Stderr, "count:", err)
		os.Exit(1) //nolint:gocritic // stop has nothing to undo by now
	}
}

func count(_ context.Context, t millrace.Task) (string, error) {
	words := strings.Fields(t.Message)
	if len(words) == 0 {
		return "", millrace.Permanent(errors.New("there are no words in it"))
	}
	return strconv.Itoa(len(words)) + " words", nil
}
