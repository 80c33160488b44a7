package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/millrace/millrace/adapters/httpapi"
	"github.com/millrace/millrace/adapters/telemetry"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/usecase"
)

// messageBytes is the limit on messages in these tests.
const messageBytes = 4000

// maxWaiters is the limit on requests that wait for a task in these tests.
const maxWaiters = 5

// probe is a Probe that fails as a test says. Else it asks the next one, if any.
type probe struct {
	err  error
	next application.Probe
}

func (p *probe) Probe(ctx context.Context) error {
	if p.err != nil || p.next == nil {
		return p.err
	}
	return p.next.Probe(ctx)
}

// service is the API over real use cases, on an embedded store unless a test says otherwise.
type service struct {
	*httptest.Server
	t         *testing.T
	store     *faultStore
	work      *probe
	db, queue *probe
	readiness *usecase.CheckReadiness
	server    *httpapi.Server
	log       *logBuffer
	clock     application.Clock
	// stopWaiting ends all waiting: requests that wait are answered at once.
	stopWaiting func()
}

func newService(t *testing.T, change ...func(*httpapi.Config)) *service {
	t.Helper()
	return newServiceOn(t, openStores(t), change...)
}

// newServiceOn is newService on stores that the test has opened.
func newServiceOn(t *testing.T, on stores, change ...func(*httpapi.Config)) *service {
	t.Helper()
	s := &service{
		t: t, store: newFaultStore(on), work: new(probe), db: &probe{next: on.tasksProbe}, queue: &probe{next: on.queueProbe},
		log: &logBuffer{}, clock: on.clock,
	}
	s.readiness = usecase.NewCheckReadiness( // as an API's
		usecase.NamedProbe{Name: "work", Probe: s.work, Needs: true},
		usecase.NamedProbe{Name: "side_work", Probe: new(probe)},
		usecase.NamedProbe{Name: "database", Probe: s.db, Needs: true},
		usecase.NamedProbe{Name: "queue", Probe: s.queue})
	cfg := httpapi.Config{
		ListenAddr: "127.0.0.1:0", MessageBytes: messageBytes,
		DrainTime: 100 * time.Millisecond, ShutdownTimeout: 5 * time.Second, ReadTimeout: time.Minute,
	}
	for _, c := range change {
		c(&cfg)
	}
	limits := usecase.SubmitLimits{MessageBytes: cfg.MessageBytes, MaxAttempts: 5, KeyLife: time.Hour}
	log := slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	wait := usecase.NewWaitTask(s.store, on.signals, telemetry.NewLogs(log), maxWaiters)
	ctx, stop := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() { wait.Serve(ctx) })
	s.stopWaiting = func() { stop(); serving.Wait() }
	t.Cleanup(s.stopWaiting)
	s.server = httpapi.NewServer(cfg, httpapi.UseCases{
		Submit:    usecase.NewSubmitTasks(s.store, on.queue, on.clock, application.NoEvents{}, limits),
		Get:       usecase.NewGetTask(s.store),
		List:      usecase.NewListTasks(faultSearch{s.store}),
		Cancel:    usecase.NewCancelTask(s.store, on.signals, on.clock, application.NoEvents{}),
		Reopen:    usecase.NewReopenTask(s.store, on.queue, on.signals, on.clock, application.NoEvents{}),
		Wait:      wait,
		Attempts:  usecase.NewListAttempts(s.store),
		Bulk:      usecase.NewBulkTasks(faultSearch{s.store}, faultBulks{s.store}, on.clock, limits),
		Queues:    usecase.NewManageQueues(faultQueues{s.store}),
		Explain:   usecase.NewExplainTask(s.store, faultQueues{s.store}, on.queue, s.db, working{}, on.clock),
		Readiness: s.readiness,
	}, telemetry.NewStore(log, usecase.NewExperience()), log)
	s.Server = httptest.NewUnstartedServer(s.server.Handler())
	s.Config.ReadTimeout = cfg.ReadTimeout
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// logBuffer collects what is logged.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// answer is a response that has been read and was found to be as documented.
type answer struct {
	status int
	header http.Header
	body   string
}

// fields reads the body as a JSON object.
func (a answer) fields(t *testing.T) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal([]byte(a.body), &out); err != nil {
		t.Fatalf("body %q: %v", a.body, err)
	}
	return out
}

// problemDocument is a problem as a client reads it.
type problemDocument struct {
	Type, Title, Detail string
	Status              int
	Errors              []struct {
		Pointer, Parameter *string
		Detail             string
	}
}

func (a answer) problem(t *testing.T) problemDocument {
	t.Helper()
	var p problemDocument
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Fatalf("body %q: %v", a.body, err)
	}
	return p
}

// call sends a request, with headers as "Name: value", and checks the answer.
func (s *service) call(method, path, body string, headers ...string) answer {
	s.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+path, reader)
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if value == "" {
			req.Header.Del(name)
			continue
		}
		if name == "Content-Type" {
			req.Header.Del(name)
		}
		req.Header.Add(name, value)
	}
	return s.do(req, body)
}

func (s *service) do(req *http.Request, body string) answer {
	s.t.Helper()
	res, err := noRedirect.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	a := answer{res.StatusCode, res.Header, string(got)}
	if err := documented(req, body, a); err != nil {
		s.t.Errorf("%s %s: answer %d %.300s is not as documented: %v", req.Method, req.URL.RequestURI(), a.status, a.body, err)
	}
	return a
}

var noRedirect = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// submit makes a task and returns its id.
func (s *service) submit(message string) string {
	s.t.Helper()
	body, _ := json.Marshal(map[string]string{"message": message})
	a := s.call(http.MethodPost, "/tasks", string(body))
	if a.status != http.StatusCreated {
		s.t.Fatalf("submit: %d %s", a.status, a.body)
	}
	id, _ := a.fields(s.t)["id"].(string)
	return id
}

// document is openapi.yaml, found to be valid, its examples included.
var document = sync.OnceValues(func() (*openapi3.T, error) {
	loader := openapi3.NewLoader()
	text, err := os.ReadFile("openapi.yaml")
	if err != nil {
		return nil, err
	}
	doc, err := loader.LoadFromData(text)
	if err != nil {
		return nil, err
	}
	if err := doc.Validate(loader.Context); err != nil {
		return nil, err
	}
	return doc, nil
})

// spec is openapi.yaml as a validator reads it.
var spec = sync.OnceValues(func() (routers.Router, error) {
	openapi3filter.RegisterBodyDecoder("text/html", openapi3filter.FileBodyDecoder)
	smallLetters := openapi3.NewRegexpFormatValidator("(?i)" + openapi3.FormatOfStringDateTime) // as RFC 3339 allows
	openapi3.DefineStringFormatValidator("date-time", smallLetters)
	doc, err := document()
	if err != nil {
		return nil, err
	}
	problemSchema = doc.Components.Schemas["Problem"].Value
	return gorillamux.NewRouter(doc)
})

var problemSchema *openapi3.Schema

// documented checks an answer against openapi.yaml, and the request too if it was
// found to be well-formed. Paths and methods that the document does not have are
// answered by a problem. HEAD is GET without a body.
func documented(req *http.Request, body string, a answer) error {
	router, err := spec()
	if err != nil {
		return err
	}
	if req.Method == http.MethodHead || a.status == http.StatusNoContent {
		if a.body != "" {
			return errors.New("has a body")
		}
		return nil
	}
	doc := &http.Request{Method: req.Method, URL: &url.URL{Path: req.URL.Path, RawPath: req.URL.RawPath, RawQuery: req.URL.RawQuery}, Header: req.Header.Clone(), Body: io.NopCloser(strings.NewReader(body))}
	found, params, err := router.FindRoute(doc)
	if err != nil || a.status == http.StatusMethodNotAllowed || strings.HasPrefix(req.URL.Path, "/docs/") {
		if strings.HasPrefix(req.URL.Path, "/docs/") && a.status == http.StatusOK {
			return nil // assets
		}
		var v any
		if err := json.Unmarshal([]byte(a.body), &v); err != nil {
			return err
		}
		return problemSchema.VisitJSON(v)
	}
	if body != "" && doc.Header.Get("Content-Type") != "application/merge-patch+json" {
		doc.Header.Set("Content-Type", "application/json") // the document lists no other names of it
	}
	in := &openapi3filter.RequestValidationInput{Request: doc, PathParams: params, Route: found,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc}}
	wellFormed := a.status < 400 || a.status == http.StatusNotFound || a.status == http.StatusConflict
	if wellFormed {
		if err := openapi3filter.ValidateRequest(context.Background(), in); err != nil {
			return err
		}
	}
	return openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: a.status, Header: a.header,
		Body:    io.NopCloser(strings.NewReader(a.body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	})
}

// working is a queue that does its work.
type working struct{}

func (working) Probe(context.Context) error { return nil }

func (working) ProbeLane(context.Context, application.Lane) error { return nil }
