package millrace_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/millrace/millrace"
)

// A Go function behind a durable queue, all in one process: submit a task over
// HTTP and wait for what the function made of it.
func ExampleServe() {
	dir, err := os.MkdirTemp("", "millrace-example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	shout := func(_ context.Context, t millrace.Task) (string, error) {
		if strings.TrimSpace(t.Message) == "" {
			return "", millrace.Permanent(errors.New("nothing to shout"))
		}
		return strings.ToUpper(t.Message), nil
	}
	ctx, stop := context.WithCancel(context.Background())
	listening, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		ended <- millrace.Serve(ctx, shout, millrace.Options{
			Env:   []string{"LISTEN_ADDR=127.0.0.1:0", "DATABASE_URL=sqlite:" + filepath.Join(dir, "tasks.db")},
			Log:   slog.New(slog.DiscardHandler),
			Ready: func(addr net.Addr) { listening <- addr },
		})
	}()
	base := "http://" + (<-listening).String()

	posted, err := http.Post(base+"/tasks", "application/json", bytes.NewBufferString(`{"message":"hello"}`))
	if err != nil {
		panic(err)
	}
	done, err := http.Get(base + posted.Header.Get("Location") + "?wait=10")
	if err != nil {
		panic(err)
	}
	var task struct{ Status, Result string }
	if err := json.NewDecoder(done.Body).Decode(&task); err != nil {
		panic(err)
	}
	fmt.Println(task.Status, task.Result)

	stop()
	fmt.Println(<-ended)
	// Output:
	// completed HELLO
	// <nil>
}
