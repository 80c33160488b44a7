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

// life stands in for a test, so that test/services and test/programs serve this
// program too: what they start ends with it. What fails ends the life, and is
// known to whoever called live.
type life struct {
	testing.TB // of which nothing is there but what follows

	ctx      context.Context
	mu       sync.Mutex
	cleanups []func()
	failed   bool
}

// failure is what a life panics with.
type failure struct{ error }

// live runs do, then whatever it has registered to clean up, and returns why it
// failed.
func live(ctx context.Context, do func(l *life)) (err error) {
	l := &life{ctx: ctx}
	defer func() {
		switch f := recover().(type) {
		case nil:
		case failure:
			err = f.error
			if ctx.Err() != nil {
				err = errInterrupted // what broke is a consequence
			}
		default:
			l.end()
			panic(f)
		}
		l.end()
	}()
	do(l)
	return nil
}

var errInterrupted = errors.New("interrupted")

func (l *life) end() {
	for _, cleanup := range slices.Backward(l.cleanups) {
		cleanup()
	}
}

func (l *life) Helper() {}

func (l *life) Cleanup(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cleanups = append(l.cleanups, f)
}

func (l *life) Failed() bool { return l.failed }

func (l *life) Fatal(args ...any) {
	l.failed = true
	panic(failure{errors.New(fmt.Sprint(args...))})
}

func (l *life) Fatalf(format string, args ...any) { l.Fatal(fmt.Errorf(format, args...)) }

// Error is for cleanups, which go on.
func (l *life) Error(args ...any) { fmt.Fprintln(os.Stderr, args...) }

func (l *life) Errorf(format string, args ...any) { l.Error(fmt.Sprintf(format, args...)) }

func (l *life) Logf(format string, args ...any) {
	if l.failed && l.ctx.Err() == nil {
		l.Error(fmt.Sprintf(format, args...))
	}
}

// must ends the life if there is an error.
func (l *life) must(err error, doing string) {
	if err != nil {
		l.Fatalf("%s: %v", doing, err)
	}
}

// until looks every so often until ok holds.
func (l *life) until(atMost, every time.Duration, what string, ok func() bool) {
	for end := time.Now().Add(atMost); !ok(); l.sleep(every) {
		if time.Now().After(end) {
			l.Fatalf("not within %s: %s", atMost, what)
		}
	}
}

func (l *life) sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-l.ctx.Done():
		l.Fatal(errInterrupted)
	}
}
