package e2e

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/millrace/millrace/test/programs"
)

// spans are what a receiver of OTLP has got, by the services that sent them.
type spans struct {
	t   *testing.T
	mu  sync.Mutex
	all []*otlp.Span
	of  map[*otlp.Span]string
}

// collect receives spans over HTTP, as a collector does.
func collect(t *testing.T) (s *spans, url string) {
	t.Helper()
	s = &spans{t: t, of: map[*otlp.Span]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var got collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &got)
		}
		if err != nil {
			t.Error(err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.take(&got)
		w.Header().Set("Content-Type", "application/x-protobuf")
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return s, server.URL
}

func (s *spans) take(got *collector.ExportTraceServiceRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, resource := range got.GetResourceSpans() {
		service := ""
		for _, a := range resource.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				s.all, s.of[span] = append(s.all, span), service
			}
		}
	}
}

// await waits for n spans of that service that meet the condition, as they began.
func (s *spans) await(service string, n int, what string, meets func(*otlp.Span) bool) []*otlp.Span {
	s.t.Helper()
	var found []*otlp.Span
	programs.Eventually(s.t, programs.Patience, service+" sends "+what, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		found = slices.DeleteFunc(slices.Clone(s.all), func(span *otlp.Span) bool { return s.of[span] != service || !meets(span) })
		return len(found) >= n
	})
	if len(found) != n {
		s.t.Fatalf("%s sends %d spans %s, want %d", service, len(found), what, n)
	}
	slices.SortFunc(found, func(a, b *otlp.Span) int {
		return int(int64(a.GetStartTimeUnixNano()) - int64(b.GetStartTimeUnixNano()))
	})
	return found
}

// inTrace waits for n spans of that name in a trace.
func (s *spans) inTrace(service, trace, name string, n int) []*otlp.Span {
	s.t.Helper()
	return s.await(service, n, name, func(span *otlp.Span) bool {
		return span.GetName() == name && hex.EncodeToString(span.GetTraceId()) == trace
	})
}

// parentOf is the traceparent of what the span calls.
func parentOf(span *otlp.Span) string {
	return "00-" + hex.EncodeToString(span.GetTraceId()) + "-" + hex.EncodeToString(span.GetSpanId()) + "-01"
}

func wantUnder(t *testing.T, parent *otlp.Span, children ...*otlp.Span) {
	t.Helper()
	for _, child := range children {
		if string(child.GetParentSpanId()) != string(parent.GetSpanId()) {
			t.Errorf("span %s is not under %s", child.GetName(), parent.GetName())
		}
	}
}

func TestTraces_AreOneFromTheCallerToTheWebhookOfEachAttempt(t *testing.T) {
	t.Parallel()
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	got := make(chan string, 2)
	webhook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header.Get("Traceparent") + " " + r.Header.Get("Tracestate")
		if r.Header.Get("Millrace-Attempt") == "1" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(webhook.Close)
	received, url := collect(t)
	d := deployAll(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+url, "OTEL_BSP_SCHEDULE_DELAY=20", "LOG_LEVEL=debug")
	w := d.worker("HANDLER="+webhook.URL, "QUEUES=default,programs", "HANDLERS=programs=exec:/usr/bin/env", "RETRY_BASE=1ms")

	parent := "traceparent: 00-" + trace + "-00f067aa0ba902b7-01"
	id := d.submitWith(`{"message":"hello"}`, parent, "tracestate: vendor=1")
	post, send := received.inTrace("millrace-api", trace, "POST /tasks", 1)[0], received.inTrace("millrace-api", trace, "send default", 1)[0]
	process := received.inTrace("millrace-worker", trace, "process default", 2)
	wantUnder(t, post, send)
	wantUnder(t, send, process...)
	wantUnder(t, send, received.inTrace("millrace-worker", trace, "nack default", 1)[0], received.inTrace("millrace-worker", trace, "ack default", 1)[0])
	if hex.EncodeToString(post.GetParentSpanId()) != "00f067aa0ba902b7" {
		t.Errorf("the request is under %x", post.GetParentSpanId())
	}
	for _, span := range process {
		if want, have := parentOf(span)+" vendor=1", <-got; have != want {
			t.Errorf("the webhook got the context %s, want %s", have, want)
		}
		if links := span.GetLinks(); len(links) != 1 || string(links[0].GetSpanId()) != string(send.GetSpanId()) {
			t.Errorf("an attempt is linked to %v", links)
		}
	}
	for _, line := range []string{"attempt started", "attempt ended"} {
		wantTraced(t, w, line, id, trace)
	}

	program := d.submitWith(`{"message":"hello","queue":"programs"}`, parent)
	result := d.becomes(program, "completed").Result
	if want := "TRACEPARENT=" + parentOf(received.inTrace("millrace-worker", trace, "process programs", 1)[0]) + "\n"; !strings.Contains(result, want) {
		t.Errorf("the program's environment is %s, want %s", result, want)
	}
	receive := received.await("millrace-worker", 1, "receive programs", func(span *otlp.Span) bool { return span.GetName() == "receive programs" })[0]
	claims := received.await("millrace-worker", 1, "the statement of a claim", func(span *otlp.Span) bool {
		return span.GetName() == "sql.conn.query" && string(span.GetParentSpanId()) == string(receive.GetSpanId())
	})
	wantUnder(t, receive, claims...)
}

// wantTraced checks that a line of the log about the task names its trace.
func wantTraced(t *testing.T, p *programs.Process, message, id, trace string) {
	t.Helper()
	programs.Eventually(t, programs.Patience, "the line is logged with its trace: "+message, func() bool {
		for line := range strings.Lines(p.Output()) {
			if strings.Contains(line, `"msg":"`+message+`"`) && strings.Contains(line, `"task":"`+id+`"`) && strings.Contains(line, `"trace_id":"`+trace+`"`) {
				return true
			}
		}
		return false
	})
}

func TestTraces_NobodyWaitsForACollectorThatIsAway(t *testing.T) {
	t.Parallel()
	d := deployAll(t, "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+programs.FreeAddr(t), "OTEL_BSP_SCHEDULE_DELAY=20")
	w := d.worker("HANDLER=noop:")
	for range 20 {
		d.becomes(d.submit("hello").ID, "completed")
	}
	w.Stop()
	d.api.Stop()
	if n := strings.Count(w.Output(), `"msg":"export of traces failing`); n > 1 {
		t.Errorf("%d lines about exports that fail:\n%s", n, w.Output())
	}
}

func TestTraces_AreOffWithoutOTEL(t *testing.T) {
	t.Parallel()
	received, url := collect(t)
	d := deployAll(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+url, "OTEL_SDK_DISABLED=true", "QUEUES=programs", "HANDLER=exec:/usr/bin/env")
	w := d.worker()
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	id := d.submitWith(`{"message":"hello","queue":"programs"}`, "traceparent: "+parent, "tracestate: vendor=1")
	if result := d.becomes(id, "completed").Result; !strings.Contains(result, "TRACEPARENT="+parent+"\n") || !strings.Contains(result, "TRACESTATE=vendor=1\n") {
		t.Errorf("the caller's context is not handed on: %s", result)
	}
	w.Stop()
	d.api.Stop()
	if n := len(received.all); n > 0 {
		t.Errorf("%d spans were sent", n)
	}
}

// submitWith submits a task with these headers and returns its id.
func (d *deployment) submitWith(body string, headers ...string) string {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), http.MethodPost, "http://"+d.addr+"/tasks", strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusCreated {
		d.t.Fatalf("%s, %v: %s", res.Status, err, text)
	}
	return decoded(string(text)).ID
}
