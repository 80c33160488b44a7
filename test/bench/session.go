package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"
)

// session stands in for a test, so that this program can use test/services and
// test/programs too: what they start ends with it. A failure ends the session, and
// runSession returns it.
type session struct {
	testing.TB // nil: only the methods below exist

	ctx      context.Context
	mu       sync.Mutex
	cleanups []func()
	failed   bool
}

// failure is what a session panics with.
type failure struct{ error }

// runSession runs do and then the cleanups that it has registered. It returns why do
// failed.
func runSession(ctx context.Context, do func(tb *session)) (err error) {
	tb := &session{ctx: ctx}
	defer func() {
		switch f := recover().(type) {
		case nil:
		case failure:
			err = f.error
			if ctx.Err() != nil {
				err = errInterrupted // the failure is a consequence
			}
		default:
			tb.end()
			panic(f)
		}
		tb.end()
	}()
	do(tb)
	return nil
}

var errInterrupted = errors.New("interrupted")

func (tb *session) end() {
	for _, cleanup := range slices.Backward(tb.cleanups) {
		cleanup()
	}
}

func (tb *session) Helper() {}

func (tb *session) Cleanup(f func()) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	tb.cleanups = append(tb.cleanups, f)
}

func (tb *session) Failed() bool { return tb.failed }

func (tb *session) Fatal(args ...any) {
	tb.failed = true
	panic(failure{errors.New(fmt.Sprint(args...))})
}

func (tb *session) Fatalf(format string, args ...any) { tb.Fatal(fmt.Errorf(format, args...)) }

// Error prints; cleanups use it and continue.
func (tb *session) Error(args ...any) { fmt.Fprintln(os.Stderr, args...) }

func (tb *session) Errorf(format string, args ...any) { tb.Error(fmt.Sprintf(format, args...)) }

func (tb *session) Logf(format string, args ...any) {
	if tb.failed && tb.ctx.Err() == nil {
		tb.Error(fmt.Sprintf(format, args...))
	}
}

// must ends the session if there is an error.
func (tb *session) must(err error, doing string) {
	if err != nil {
		tb.Fatalf("%s: %v", doing, err)
	}
}

// until polls until ok holds.
func (tb *session) until(atMost, every time.Duration, what string, ok func() bool) {
	for end := time.Now().Add(atMost); !ok(); tb.sleep(every) {
		if time.Now().After(end) {
			tb.Fatalf("not within %s: %s", atMost, what)
		}
	}
}

func (tb *session) sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-tb.ctx.Done():
		tb.Fatal(errInterrupted)
	}
}
