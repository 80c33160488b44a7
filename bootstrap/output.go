package bootstrap

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"
)

const (
	// outputLimit bounds what waits for a reader, in bytes; what comes on top is dropped.
	outputLimit = 1 << 20
	// outputChunk bounds one write, so that a slow reader makes room bit by bit.
	outputChunk = 64 << 10
	// outputPatience is how long Close waits for a reader.
	outputPatience = time.Second
)

// Output writes to a stream, such as standard error, without making anybody wait for
// whoever reads it. Up to 1 MiB waits for a reader; what does not fit, and what the stream
// refuses, is dropped and counted. It is safe for concurrent use.
type Output struct {
	to   io.Writer
	done chan struct{} // closed when all is written after Close

	mu      sync.Mutex
	changed *sync.Cond // there is something to write, or Close was called
	waiting []byte     // whole writes
	dropped int        // lines, since the last report
	closed  bool
	report  func(dropped int)
}

// NewOutput makes an Output. Close ends its goroutine, unless a write never returns.
func NewOutput(to io.Writer) *Output {
	if f, ok := to.(*os.File); ok {
		to = detached(f)
	}
	o := &Output{to: to, done: make(chan struct{}), report: func(int) {}}
	o.changed = sync.NewCond(&o.mu)
	go o.run()
	return o
}

// NewLog makes a log on out, in JSON for machines or as text. When lines were dropped,
// the log says how many as soon as it can be written again.
func NewLog(out *Output, level slog.Level, text bool) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	var handler slog.Handler = slog.NewJSONHandler(out, opts)
	if text {
		handler = slog.NewTextHandler(out, opts)
	}
	log := slog.New(handler)
	out.mu.Lock()
	defer out.mu.Unlock()
	out.report = func(dropped int) { log.Warn("log lines were dropped: nobody read them in time", "lines", dropped) }
	return log
}

// Write keeps p to be written, or drops it. It never waits and never fails.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || len(o.waiting)+len(p) > outputLimit {
		o.dropped += lines(p)
		return len(p), nil
	}
	o.waiting = append(o.waiting, p...)
	o.changed.Signal()
	return len(p), nil
}

// lines counts the lines of p, at least one.
func lines(p []byte) int { return max(1, bytes.Count(p, []byte("\n"))) }

// Close waits until everything is written, for a second at most. What is written to the
// Output afterwards is dropped.
func (o *Output) Close() {
	o.mu.Lock()
	o.closed = true
	o.changed.Signal()
	o.mu.Unlock()
	select {
	case <-o.done:
	case <-time.After(outputPatience):
	}
}

func (o *Output) run() {
	defer close(o.done)
	for {
		chunk, ok := o.next()
		if !ok {
			return
		}
		n, err := o.to.Write(chunk)
		o.wrote(chunk[n:], err)
	}
}

// next waits for something to write. It returns false when the Output is closed and
// everything is written.
func (o *Output) next() ([]byte, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.waiting) == 0 && !o.closed {
		o.changed.Wait()
	}
	n := min(len(o.waiting), outputChunk)
	if end := bytes.LastIndexByte(o.waiting[:n], '\n'); end >= 0 {
		n = end + 1 // a refused write drops whole lines
	}
	chunk := bytes.Clone(o.waiting[:n])
	o.waiting = append(o.waiting[:0], o.waiting[n:]...)
	return chunk, n > 0
}

// wrote counts what the stream has refused, and reports what was dropped when it takes
// something again.
func (o *Output) wrote(refused []byte, err error) {
	o.mu.Lock()
	if err != nil {
		o.dropped += lines(refused)
		o.mu.Unlock()
		return
	}
	// While it is closed, or full, the report itself would be dropped.
	dropped, report := o.dropped, o.report
	if dropped == 0 || o.closed || len(o.waiting) > outputLimit/2 {
		o.mu.Unlock()
		return
	}
	o.dropped = 0
	o.mu.Unlock()
	report(dropped)
}
