package millrace_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/millrace/millrace"
	"github.com/millrace/millrace/test/programs"
)

const (
	callerTrace  = "0af7651916cd43dd8448eb211c80319c"
	callerParent = "00-" + callerTrace + "-b7ad6b7169203331-01"
)

// traced is a Millrace whose spans are kept in memory.
type traced struct {
	t     *testing.T
	spans *tracetest.InMemoryExporter
	url   string
	log   *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func serveTraced(t *testing.T, handle millrace.Handler) *traced {
	t.Helper()
	s := &traced{t: t, spans: tracetest.NewInMemoryExporter(), log: &lockedBuffer{}}
	ctx, stop := context.WithCancel(context.Background())
	ready, done := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		done <- millrace.Serve(ctx, handle, millrace.Options{
			Env:    []string{"LISTEN_ADDR=127.0.0.1:0", "RETRY_BASE=1ms", "DATABASE_URL=sqlite:" + filepath.Join(t.TempDir(), "tasks.db")},
			Log:    slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			Ready:  func(addr net.Addr) { ready <- addr },
			Traces: sdktrace.NewTracerProvider(sdktrace.WithSyncer(s.spans)),
		})
	}()
	select {
	case addr := <-ready:
		s.url = "http://" + addr.String()
	case err := <-done:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *traced) post(path, body string, header http.Header) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	header.Set("Content-Type", "application/json")
	req.Header = header
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	if answer, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusCreated {
		s.t.Fatalf("%s %s", res.Status, answer)
	}
}

// named waits until there are n spans of that name, and returns them as they began.
func (s *traced) named(name string, n int) []tracetest.SpanStub {
	s.t.Helper()
	var spans []tracetest.SpanStub
	programs.Eventually(s.t, programs.Patience, fmt.Sprintf("there are %d spans %q", n, name), func() bool {
		spans = slices.DeleteFunc(s.spans.GetSpans(), func(span tracetest.SpanStub) bool { return span.Name != name })
		return len(spans) == n
	})
	slices.SortFunc(spans, func(a, b tracetest.SpanStub) int { return a.StartTime.Compare(b.StartTime) })
	return spans
}

// has checks an attribute.
func has(t *testing.T, span tracetest.SpanStub, key string, want attribute.Value) {
	t.Helper()
	for _, a := range span.Attributes {
		if string(a.Key) == key && a.Value == want {
			return
		}
	}
	t.Errorf("span %s does not have %s = %v: %v", span.Name, key, want.AsInterface(), span.Attributes)
}

// under checks that the spans are children of the parent, and linked to it if they are to be.
func under(t *testing.T, parent trace.SpanContext, linked bool, spans ...tracetest.SpanStub) {
	t.Helper()
	for _, span := range spans {
		if span.SpanContext.TraceID() != parent.TraceID() || span.Parent.SpanID() != parent.SpanID() {
			t.Errorf("span %s is under %s of trace %s", span.Name, span.Parent.SpanID(), span.SpanContext.TraceID())
		}
		if got := slices.ContainsFunc(span.Links, func(l sdktrace.Link) bool { return l.SpanContext.SpanID() == parent.SpanID() }); got != linked {
			t.Errorf("span %s is linked to its parent: %t", span.Name, got)
		}
	}
}

func TestTraces_FollowATaskFromItsCallerThroughEveryAttempt(t *testing.T) {
	attempts := make(chan trace.SpanContext, 2)
	tasks := make(chan millrace.Task, 2)
	s := serveTraced(t, func(ctx context.Context, task millrace.Task) (string, error) {
		attempts <- trace.SpanContextFromContext(ctx)
		tasks <- task
		if task.Attempt == 1 {
			return "", errors.New("not yet \xff")
		}
		return "done", nil
	})
	s.post("/tasks", `{"message":"hello","priority":7}`, http.Header{"Traceparent": {callerParent}, "Tracestate": {"a=b"}})

	post, send := s.named("POST /tasks", 1)[0], s.named("send default", 1)[0]
	process, nack, ack := s.named("process default", 2), s.named("nack default", 1), s.named("ack default", 1)
	if got := post.Parent; got.TraceID().String() != callerTrace || got.SpanID().String() != "b7ad6b7169203331" || post.SpanKind != trace.SpanKindServer {
		t.Errorf("the request is a %s under %v", post.SpanKind, got)
	}
	has(t, post, "http.route", attribute.StringValue("/tasks"))
	under(t, post.SpanContext, false, send)
	under(t, send.SpanContext, true, slices.Concat(process, nack, ack)...)
	for i, span := range process {
		has(t, span, "millrace.task.attempt", attribute.IntValue(i+1))
		has(t, span, "millrace.task.priority", attribute.IntValue(7))
		has(t, span, "messaging.system", attribute.StringValue("millrace"))
		has(t, span, "messaging.destination.name", attribute.StringValue("default"))
		if got := <-attempts; got.SpanID() != span.SpanContext.SpanID() {
			t.Errorf("the handler of attempt %d is in the span %s", i+1, got.SpanID())
		}
		task := <-tasks
		if want := "00-" + callerTrace + "-" + span.SpanContext.SpanID().String() + "-01"; task.TraceParent != want || task.TraceState != "a=b" {
			t.Errorf("the task of attempt %d has the context %s with %q, want %s", i+1, task.TraceParent, task.TraceState, want)
		}
		has(t, span, "messaging.message.id", attribute.StringValue(task.ID))
	}
	if first, second := process[0].Status, process[1].Status; first.Code != codes.Error || first.Description != "not yet \uFFFD" || second.Code != codes.Unset {
		t.Errorf("the attempts ended with %v and %v", first, second)
	}
	has(t, nack[0], "millrace.task.attempt", attribute.IntValue(1))
	has(t, ack[0], "millrace.task.attempt", attribute.IntValue(2))
	wantLogged(t, s.log.String(), "attempt started", "trace_id="+callerTrace)
	wantLogged(t, s.log.String(), "attempt ended", "trace_id="+callerTrace)
	receive := s.named("receive default", 2)
	for _, span := range receive {
		if span.Parent.IsValid() || len(span.Links) != 1 || span.Links[0].SpanContext.SpanID() != send.SpanContext.SpanID() {
			t.Errorf("a claim is under %v, linked to %v", span.Parent, span.Links)
		}
	}
}

// wantLogged checks that all lines with the message have the attribute.
func wantLogged(t *testing.T, log, message, attr string) {
	t.Helper()
	n := 0
	for line := range strings.Lines(log) {
		if strings.Contains(line, message) {
			n++
			if !strings.Contains(line, attr) {
				t.Errorf("a line without %s: %s", attr, line)
			}
		}
	}
	if n == 0 {
		t.Errorf("no line %q", message)
	}
}

func TestTraces_ARepeatedRequestIsInItsOwnTraceAndItsTaskInTheFirst(t *testing.T) {
	parents := make(chan string, 1)
	s := serveTraced(t, func(_ context.Context, task millrace.Task) (string, error) {
		parents <- task.TraceParent
		return "", nil
	})
	s.post("/tasks", `{"message":"a","delay":0.5}`, http.Header{"Traceparent": {callerParent}, "Idempotency-Key": {`"one"`}})
	s.post("/tasks", `{"message":"a","delay":0.5}`, http.Header{"Idempotency-Key": {`"one"`}})
	sent := s.named("send default", 2)
	under(t, sent[0].SpanContext, true, s.named("process default", 1)...)
	if got := <-parents; !strings.HasPrefix(got, "00-"+callerTrace+"-") {
		t.Errorf("the attempt is in the trace of %s", got)
	}
	for _, a := range sent[0].Attributes {
		if a.Key == "messaging.message.id" {
			has(t, sent[1], "messaging.message.id", a.Value)
		}
	}
	if got := sent[1].SpanContext.TraceID().String(); got == callerTrace {
		t.Errorf("the repeat is in the trace of the first request")
	}
}

func TestTraces_OfABatchHaveOneSpanThatSendsIt(t *testing.T) {
	s := serveTraced(t, func(context.Context, millrace.Task) (string, error) { return "", nil })
	s.post("/tasks/batch", `{"tasks":[{"message":"a"},{"message":"b"}]}`, http.Header{"Traceparent": {"not-one"}})
	send := s.named("send default", 1)[0]
	has(t, send, "messaging.batch.message_count", attribute.IntValue(2))
	under(t, send.SpanContext, true, s.named("process default", 2)...)
	if post := s.named("POST /tasks/batch", 1)[0]; post.Parent.IsValid() {
		t.Errorf("a header that is none has become a parent: %v", post.Parent)
	}
}
