package client_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/millrace/millrace"
	"github.com/millrace/millrace/client"
)

// Submit a task, wait for its result, and see what a request that is wrong is told.
func Example() {
	address, stop := serve()
	defer stop()

	ctx := context.Background()
	c, err := client.NewClientWithResponses("http://" + address)
	if err != nil {
		panic(err)
	}
	made, err := c.SubmitTaskWithResponse(ctx, nil, client.NewTask{Message: "hello", Metadata: map[string]string{"customer": "42"}})
	if err != nil {
		panic(err) // there was no answer
	}
	if made.JSON201 == nil {
		panic(made.Status()) // another answer
	}
	id := made.JSON201.ID

	wait := 30
	done, err := c.GetTaskWithResponse(ctx, id, &client.GetTaskParams{Wait: &wait})
	if err != nil || done.JSON200 == nil {
		panic(fmt.Sprint(err, done))
	}
	fmt.Println(done.JSON200.Status, done.JSON200.Result, done.JSON200.ID == id)

	late, err := c.ChangeTaskWithResponse(ctx, id, nil, client.TaskChange{Status: "canceled"})
	if err != nil || late.ApplicationproblemJSON409 == nil {
		panic(fmt.Sprint(err, late))
	}
	fmt.Println(late.ApplicationproblemJSON409.Type, late.ApplicationproblemJSON409.Detail)
	// Output:
	// completed HELLO true
	// /problems/conflict a completed task cannot become canceled
}

// serve runs a Millrace in this process, whose tasks are put in capitals.
func serve() (address string, stop func()) {
	dir, err := os.MkdirTemp("", "millrace-example-")
	if err != nil {
		panic(err)
	}
	capitals := func(_ context.Context, t millrace.Task) (string, error) { return strings.ToUpper(t.Message), nil }
	ctx, cancel := context.WithCancel(context.Background())
	listening, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		ended <- millrace.Serve(ctx, capitals, millrace.Options{
			Env:   []string{"LISTEN_ADDR=127.0.0.1:0", "DATABASE_URL=sqlite:" + filepath.Join(dir, "tasks.db")},
			Log:   slog.New(slog.DiscardHandler),
			Ready: func(addr net.Addr) { listening <- addr },
		})
	}()
	return (<-listening).String(), func() {
		cancel()
		if err := <-ended; err != nil {
			panic(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			panic(err)
		}
	}
}
