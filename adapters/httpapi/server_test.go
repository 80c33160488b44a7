package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/adapters/httpapi"
	"github.com/millrace/millrace/adapters/telemetry"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/client"
	"github.com/millrace/millrace/domain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRouter_TakesPathsAsTheyAreSent(t *testing.T) {
	s := newService(t)
	id := s.submit("x")
	for _, path := range []string{"/tasks/", "//tasks", "/tasks//", "/./tasks", "/tasks/../tasks", "/tasks/" + id + "/", "//tasks/" + id, "/tasks//" + id} {
		for _, method := range []string{"GET", "POST", "PATCH"} {
			req, err := http.NewRequestWithContext(t.Context(), method, s.URL, strings.NewReader(`{"message":"x"}`))
			if err != nil {
				t.Fatal(err)
			}
			req.URL.Opaque = "//" + req.URL.Host + path // sent as it stands
			res, err := noRedirect.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != http.StatusNotFound {
				t.Errorf("%s %s: %d %v", method, path, res.StatusCode, res.Header)
			}
		}
	}
	if n := len(s.follow("")); n != 1 {
		t.Errorf("there are %d tasks", n)
	}
}

func TestRouter_TellsTheMethodsOfEveryPath(t *testing.T) {
	s := newService(t)
	id := s.submit("x")
	for path, want := range map[string]string{
		"/tasks":               "GET, HEAD, OPTIONS, POST",
		"/tasks/" + id:         "DELETE, GET, HEAD, OPTIONS, PATCH",
		"/tasks/batch":         "OPTIONS, POST",
		"/tasks/bulk":          "OPTIONS, POST",
		"/queues":              "GET, HEAD, OPTIONS",
		"/stats":               "GET, HEAD, OPTIONS",
		"/queues/default":      "GET, HEAD, OPTIONS, PATCH",
		"/":                    "GET, HEAD, OPTIONS",
		"/healthz":             "GET, HEAD, OPTIONS",
		"/readyz":              "GET, HEAD, OPTIONS",
		"/docs":                "GET, HEAD, OPTIONS",
		"/openapi.yaml":        "GET, HEAD, OPTIONS",
		"/openapi.json":        "GET, HEAD, OPTIONS",
		"/problems":            "GET, HEAD, OPTIONS",
		"/docs/swagger-ui.css": "GET, HEAD, OPTIONS",
	} {
		if a := s.call("OPTIONS", path, ""); a.status != http.StatusNoContent || a.header.Get("Allow") != want {
			t.Errorf("OPTIONS %s: %d, Allow %q", path, a.status, a.header.Get("Allow"))
		}
		a := s.call("PUT", path, "")
		wantProblem(t, a, http.StatusMethodNotAllowed, "method_not_allowed", "")
		if a.header.Get("Allow") != want {
			t.Errorf("PUT %s: Allow %q", path, a.header.Get("Allow"))
		}
		get, head := s.call("GET", path, ""), s.call("HEAD", path, "")
		if head.status != get.status || head.header.Get("Content-Type") != get.header.Get("Content-Type") {
			t.Errorf("HEAD %s: %d %v, GET: %d %v", path, head.status, head.header, get.status, get.header)
		}
		if !strings.HasPrefix(path, "/docs") && // there the length is that of a compressed page, or not known
			(head.header.Get("Content-Length") != get.header.Get("Content-Length") || head.header.Get("ETag") != get.header.Get("ETag")) {
			t.Errorf("HEAD %s: %v, GET: %v", path, head.header, get.header)
		}
		if get.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("GET %s may be sniffed", path)
		}
	}
}

func TestDocs_SuitTheService(t *testing.T) {
	open := newService(t, func(c *httpapi.Config) { c.Version = "v1.2.3<b>" })
	keyed := newService(t, locked)
	page := open.call("GET", "/docs", "").body
	for _, want := range []string{
		"<!DOCTYPE html>", `<meta name="viewport"`, "<title>Millrace API</title>", "Millrace v1.2.3&lt;b&gt;",
		`methods = ["post", "get", "patch"]`, "operationsSorter: byPathAndMethod",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	const noPadlocks = ".authorization__btn { display: none; }"
	if !strings.Contains(page, noPadlocks) {
		t.Error("there are padlocks without keys")
	}
	if strings.Contains(keyed.call("GET", "/docs", "", "Authorization: Bearer old-key").body, noPadlocks) {
		t.Error("there are no padlocks, and yet keys")
	}
}

func TestDocs_NeedNothingFromElsewhere(t *testing.T) {
	s := newService(t)
	page := s.call("GET", "/docs", "", "Accept: text/html,application/xhtml+xml,*/*;q=0.8")
	if page.status != http.StatusOK || !strings.HasPrefix(page.header.Get("Content-Type"), "text/html") {
		t.Fatalf("%d %v", page.status, page.header)
	}
	if !strings.Contains(page.body, `"/openapi.json"`) {
		t.Error("the page does not name the document")
	}
	assets := 0
	for part := range strings.SplitSeq(page.body, `"`) {
		if strings.HasPrefix(part, "/docs/") && strings.Contains(part, ".") {
			assets++
			if a := s.call("GET", part, ""); a.status != http.StatusOK || len(a.body) < 100 {
				t.Errorf("%s: %d, %d bytes", part, a.status, len(a.body))
			}
		}
		if strings.HasPrefix(part, "http") && part != "http://" && part != "https://" {
			t.Errorf("the page names %s", part)
		}
	}
	if assets < 4 {
		t.Errorf("only %d assets", assets)
	}
	index := s.call("GET", "/", "", "Accept: text/html,application/xhtml+xml,*/*;q=0.8")
	if index.status != http.StatusFound || index.header.Get("Location") != "/docs" {
		t.Errorf("a browser gets %d %v", index.status, index.header)
	}
	for _, link := range s.call("GET", "/", "").fields(t) {
		if a := s.call("GET", fmt.Sprint(link), ""); a.status != http.StatusOK {
			t.Errorf("%s: %d", link, a.status)
		}
	}
	if y := s.call("GET", "/openapi.yaml", ""); !strings.HasPrefix(y.body, "openapi: 3.0.3") {
		t.Errorf("openapi.yaml begins %.40q", y.body)
	}
	if j := s.call("GET", "/openapi.json", "").fields(t); j["openapi"] != "3.0.3" {
		t.Errorf("openapi.json is for %v", j["openapi"])
	}
}

func TestReadiness_SaysWhatIsWrongAndNoMore(t *testing.T) {
	s := newService(t)
	secret := errors.New("redis://:hunter2@redis refused")
	for _, c := range []struct {
		db, queue  error
		status     int
		health     string
		checkDB    string
		checkQueue string
	}{
		{nil, nil, 200, "ready", "ok", "ok"},
		{nil, secret, 200, "degraded", "ok", "failed; see the log at level debug"},
		{errors.Join(domain.ErrUnavailable, secret), nil, 503, "unready", "the store is not responding; try again", "ok"},
		{context.DeadlineExceeded, secret, 503, "unready", "did not answer in time", "failed; see the log at level debug"},
	} {
		s.db.err, s.queue.err = c.db, c.queue
		a := s.call("GET", "/readyz?probe=1", "")
		checks, _ := a.fields(t)["checks"].(map[string]any)
		if a.status != c.status || a.fields(t)["status"] != c.health || checks["database"] != c.checkDB || checks["queue"] != c.checkQueue {
			t.Errorf("%+v: %d %s", c, a.status, a.body)
		}
	}
	if !strings.Contains(s.log.String(), "hunter2") {
		t.Error("the log does not have the cause")
	}
	s.db.err, s.queue.err = nil, nil
	s.readiness.Stop()
	if a := s.call("GET", "/readyz", ""); a.status != 503 || a.fields(t)["status"] != "stopping" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := s.call("GET", "/healthz", ""); a.status != 200 || a.fields(t)["status"] != "alive" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// run starts the server and returns its URL, a stop and Run's error.
func run(t *testing.T, server *httpapi.Server) (string, context.CancelFunc, <-chan error) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	select {
	case addr := <-server.Listening():
		return "http://" + addr.String(), stop, ended
	case err := <-ended:
		stop()
		t.Fatal(err)
		return "", nil, nil
	}
}

func status(t *testing.T, url string) int {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

func TestRun_SaysThatItStopsThenFinishesWhatIsInFlight(t *testing.T) {
	s := newService(t)
	base, stop, ended := run(t, s.server)
	if got := status(t, base+"/readyz"); got != http.StatusOK {
		t.Fatalf("readyz: %d", got)
	}
	arrived, release := make(chan struct{}), make(chan struct{})
	s.store.set(func(context.Context) error {
		close(arrived)
		<-release
		return nil
	})
	inFlight := make(chan int, 1)
	go func() { inFlight <- status(t, base+"/tasks") }()
	<-arrived
	s.store.set(nil)

	stop()
	for status(t, base+"/readyz") == http.StatusOK { // until Run has seen the stop
		time.Sleep(time.Millisecond)
	}
	if got := status(t, base+"/readyz"); got != http.StatusServiceUnavailable {
		t.Errorf("readyz while it drains: %d", got)
	}
	if got := status(t, base+"/tasks"); got != http.StatusOK {
		t.Errorf("a request while it drains: %d", got)
	}
	for status(t, base+"/healthz") != 0 { // until the listener is closed
		time.Sleep(time.Millisecond)
	}
	select {
	case err := <-ended:
		t.Fatalf("Run ended with a request in flight: %v", err)
	default:
	}
	close(release)
	if got := <-inFlight; got != http.StatusOK {
		t.Errorf("the request in flight: %d", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestRun_CutsOffWhatTakesTooLong(t *testing.T) {
	s := newService(t)
	arrived := make(chan struct{})
	s.store.set(func(ctx context.Context) error {
		close(arrived)
		<-ctx.Done()
		return ctx.Err()
	})
	log := slog.New(slog.NewJSONHandler(s.log, nil))
	server := httpapi.NewServer(httpapi.Config{ListenAddr: "127.0.0.1:0", DrainTime: 1, ShutdownTimeout: 50 * time.Millisecond},
		httpapi.UseCases{List: usecase.NewListTasks(faultSearch{s.store}), Readiness: s.readiness}, telemetry.NewStore(log, usecase.NewExperience()), log)
	base, stop, ended := run(t, server)
	go status(t, base+"/tasks")
	<-arrived
	stop()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "50ms") {
		t.Errorf("Run: %v", err)
	}
}

func TestRun_FailsWhenTheAddressIsTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	server := httpapi.NewAdminServer(httpapi.AdminConfig{ListenAddr: l.Addr().String()}, usecase.NewCheckReadiness(), slog.New(slog.DiscardHandler))
	if err := server.Run(t.Context()); err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("Run: %v", err)
	}
}

func TestClient_SpeaksToTheServer(t *testing.T) {
	s := newService(t)
	c, err := client.NewClientWithResponses(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	made, err := c.SubmitTaskWithResponse(t.Context(), nil, client.NewTask{Message: "Hello"})
	if err != nil || made.JSON201 == nil {
		t.Fatalf("%v %s", err, made.Body)
	}
	id := made.JSON201.ID
	got, err := c.ChangeTaskWithResponse(t.Context(), id, nil, client.TaskChange{Status: "canceled"})
	if err != nil || got.JSON200 == nil || got.JSON200.Status != client.Canceled || got.JSON200.CreatedAt != made.JSON201.CreatedAt {
		t.Fatalf("%v %s", err, got.Body)
	}
	statuses := []string{"canceled", "failed"}
	list, err := c.ListTasksWithResponse(t.Context(), &client.ListTasksParams{Status: &statuses})
	if err != nil || list.JSON200 == nil || len(list.JSON200.Tasks) != 1 {
		t.Fatalf("%v %s", err, list.Body)
	}
	bad, err := c.SubmitTaskWithResponse(t.Context(), nil, client.NewTask{})
	if err != nil || bad.ApplicationproblemJSON422 == nil || bad.ApplicationproblemJSON422.Errors[0].Pointer != "/message" {
		t.Fatalf("%v %s", err, bad.Body)
	}
}
