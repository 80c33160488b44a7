// Command count has a Go function as the handler of Millrace's tasks: it counts
// the words of each message. It reads its settings from the environment. If
// DATABASE_URL names a PostgreSQL it is one more worker of that deployment; otherwise
// it is API and worker in one process on an embedded store.
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
	run := millrace.Serve
	if strings.HasPrefix(os.Getenv("DATABASE_URL"), "postgres") {
		run = millrace.Work
	}
	err := run(ctx, count, millrace.Options{Env: os.Environ()})
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "count:", err)
		os.Exit(1)
	}
}

func count(_ context.Context, t millrace.Task) (string, error) {
	words := strings.Fields(t.Message)
	if len(words) == 0 {
		return "", millrace.Permanent(errors.New("there are no words in it"))
	}
	return strconv.Itoa(len(words)) + " words", nil
}
