package webhook

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// secret makes a signing secret of one repeated byte.
func secret(b byte, n int) string {
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(rune(b)), n)))
}

// claimed makes a task of its first attempt, which began at the given time.
func claimed(t *testing.T, message string, at time.Time) *domain.Task {
	t.Helper()
	task, err := domain.NewTask(domain.TaskSpec{Message: message, MaxAttempts: new(3)}, at)
	if err != nil {
		t.Fatal(err)
	}
	if err := task.Claim(domain.Claim{Worker: domain.NewWorkerID(), Beat: 1, Timeout: time.Hour}, at); err != nil {
		t.Fatal(err)
	}
	return task
}

// post hands the message to a handler whose receiver is receive.
func post(t *testing.T, receive http.HandlerFunc) (string, error) {
	t.Helper()
	return open(t, serve(t, receive), Config{}).Handle(t.Context(), claimed(t, "Hello World", time.Now()))
}

func unixTime(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }

// received is a request as a receiver sees it.
type received struct {
	*http.Request
	body []byte
}

// capture posts a task and returns what arrived.
func capture(t *testing.T, ctx context.Context, cfg Config, task *domain.Task) received { //nolint:revive // t comes first
	t.Helper()
	var got received
	server := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = received{r.Clone(context.Background()), body}
	})
	if _, err := open(t, server, cfg).Handle(ctx, task); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestHandler_SignsWithEverySecret(t *testing.T) {
	t.Parallel()
	secrets := []string{secret('a', 24), secret('b', 64)}
	task := claimed(t, "Hello\nWorld", time.Now())
	got := capture(t, t.Context(), Config{Secrets: secrets}, task)
	if id := got.Header.Get("webhook-id"); id != task.ID().String() {
		t.Errorf("webhook-id %q, not %s", id, task.ID())
	}
	if n := len(strings.Split(got.Header.Get("webhook-signature"), " ")); n != 2 {
		t.Errorf("%d signatures: %q", n, got.Header.Get("webhook-signature"))
	}
	for _, s := range secrets {
		verifier, err := standardwebhooks.NewWebhook(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := verifier.Verify(got.body, got.Header); err != nil {
			t.Error(err)
		}
		if err := verifier.Verify([]byte("Hello World"), got.Header); err == nil {
			t.Error("another body verifies")
		}
	}
	stranger, err := standardwebhooks.NewWebhook(secret('c', 24))
	if err != nil {
		t.Fatal(err)
	}
	if err := stranger.Verify(got.body, got.Header); err == nil {
		t.Error("another secret verifies")
	}
}

func TestHandler_WithoutSecretsSignsNothing(t *testing.T) {
	t.Parallel()
	got := capture(t, t.Context(), Config{}, claimed(t, "Hello World", time.Now()))
	if v, ok := got.Header["Webhook-Signature"]; ok {
		t.Errorf("signature %q", v)
	}
	if got.Header.Get("webhook-id") == "" || got.Header.Get("webhook-timestamp") == "" {
		t.Errorf("no id or no time: %v", got.Header)
	}
}

// The store's clock is an hour ahead of this machine's.
func TestHandler_TellsTimesInTheStoresTime(t *testing.T) {
	t.Parallel()
	at := time.Now().Add(time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	got := capture(t, ctx, Config{UserAgent: "Millrace/1.2.3"}, claimed(t, "Hello World", at))
	if s := got.Header.Get("webhook-timestamp"); s != unixTime(at) {
		t.Errorf("webhook-timestamp %s, not %s", s, unixTime(at))
	}
	deadline, err := time.Parse(time.RFC3339, got.Header.Get("Millrace-Deadline"))
	if off := deadline.Sub(at.Add(10 * time.Minute)).Abs(); err != nil || off > 5*time.Second {
		t.Errorf("Millrace-Deadline %s is %s off, error %v", got.Header.Get("Millrace-Deadline"), off, err)
	}
	for name, want := range map[string]string{"Millrace-Attempt": "1", "Millrace-Queue": "default", "User-Agent": "Millrace/1.2.3"} {
		if v := got.Header.Get(name); v != want {
			t.Errorf("%s: %q, not %q", name, v, want)
		}
	}
}

func TestHandler_ContentTypeIsThatOfTheMessage(t *testing.T) {
	t.Parallel()
	const text = "text/plain; charset=utf-8"
	for message, want := range map[string]string{
		`{"a": [1, null, "é"]}`: "application/json", " 17\n": "application/json", `"text"`: "application/json",
		"Hello World": text, `{"a":1} {"b":2}`: text, "{'a':1}": text, "NaN": text,
	} {
		got := capture(t, t.Context(), Config{}, claimed(t, message, time.Now()))
		if v := got.Header.Get("Content-Type"); v != want || string(got.body) != message {
			t.Errorf("%q arrived as %q, of type %s", message, got.body, v)
		}
	}
}

func TestHandler_PutsCredentialsOfTheURLIntoTheHeader(t *testing.T) {
	t.Parallel()
	var user, password, query string
	server := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		user, password, _ = r.BasicAuth()
		query = r.URL.RawQuery
	})
	h, closeHandler, err := New(Config{URL: strings.Replace(server.URL, "://", "://me:pa%20ss@", 1) + "/tasks?token=t0ken"})
	if err != nil {
		t.Fatal(err)
	}
	defer closeHandler()
	if _, err := h.Handle(t.Context(), claimed(t, "Hello World", time.Now())); err != nil {
		t.Fatal(err)
	}
	if user != "me" || password != "pa ss" || query != "token=t0ken" {
		t.Errorf("user %q, password %q, query %q", user, password, query)
	}
}

func TestHandler_ErrorsHoldNoSecret(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	addr := server.Listener.Addr().String()
	server.Close() // connections are refused
	h, closeHandler, err := New(Config{URL: "http://s3cret:s3cret@" + addr + "/s3cret?token=s3cret"})
	if err != nil {
		t.Fatal(err)
	}
	defer closeHandler()
	_, err = h.Handle(t.Context(), claimed(t, "Hello World", time.Now()))
	if err == nil || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), "refused") || application.FailureOf(err).Permanent {
		t.Errorf("error %v", err)
	}

	for _, bad := range []string{
		"", "s3cret", "ftp://s3cret@host", "https://", "https://:443/s3cret", "https://s3cret:s3cret@ho st/", "https://host:s3cret/",
		"https://host:0/", "https://host:65536/", "https://host/%s3cret%", "https://host/#s3cret", "https://s3cr\x00et@host",
	} {
		if _, _, err := New(Config{URL: bad}); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: error %v", bad, err)
		}
	}
	for _, bad := range []string{
		"", "whsec_", "whsec_s3cret!", strings.TrimPrefix(secret('a', 24), "whsec_"), secret('a', 23), secret('a', 65),
	} {
		if _, _, err := New(Config{URL: "https://host", Secrets: []string{bad}}); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: error %v", bad, err)
		}
	}
}

func TestHandler_SpeaksHTTP2AndOneOverTLS(t *testing.T) {
	t.Parallel()
	for proto, http2 := range map[string]bool{"HTTP/2.0": true, "HTTP/1.1": false} {
		var got atomic.Value
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got.Store(r.Proto) }))
		server.EnableHTTP2 = http2
		server.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of the stranger below
		server.StartTLS()
		t.Cleanup(server.Close)
		h := open(t, server, Config{})
		h.transport(t).TLSClientConfig = &tls.Config{RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
		if _, err := h.Handle(t.Context(), claimed(t, "Hello World", time.Now())); err != nil || got.Load() != proto {
			t.Errorf("%v, error %v; want %s", got.Load(), err, proto)
		}
		stranger := open(t, server, Config{})
		if _, err := stranger.Handle(t.Context(), claimed(t, "Hello World", time.Now())); err == nil {
			t.Error("it trusts a certificate that nobody vouches for")
		}
	}
}

func (h *Handler) transport(t *testing.T) *http.Transport {
	t.Helper()
	transport, ok := h.client.Transport.(*http.Transport)
	if !ok {
		t.Fatalf("a %T", h.client.Transport)
	}
	return transport
}

func TestHandler_DoesNotWaitForWhatIsNotKept(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	h := open(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("x", domain.MaxResult+2))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done() // and says no more
	}), Config{})
	got, err := h.Handle(ctx, claimed(t, "Hello World", time.Now()))
	if err != nil || len(got) != domain.MaxResult+1 || ctx.Err() != nil {
		t.Errorf("%d bytes, error %v, waited for the deadline: %v", len(got), err, ctx.Err() != nil)
	}
}

func TestHandler_UsesItsConnectionsAgain(t *testing.T) {
	t.Parallel()
	var opened atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if string(body) == "fail" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = io.WriteString(w, strings.Repeat("x", domain.MaxResult+maxDrain/2)) // longer than what counts
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	h := open(t, server, Config{})
	const together = 20
	for range 5 {
		var all sync.WaitGroup
		for i := range together {
			task := claimed(t, []string{"succeed", "fail"}[i%2], time.Now())
			all.Go(func() { _, _ = h.Handle(t.Context(), task) })
		}
		all.Wait()
	}
	if n := opened.Load(); n > 3*together { // a connection that is not kept yet costs one more
		t.Errorf("%d connections for %d tasks at once", n, together)
	}
}

func TestHandler_SaysWhyItsContextEnded(t *testing.T) {
	t.Parallel()
	for name, receive := range map[string]http.HandlerFunc{
		"no answer": func(_ http.ResponseWriter, r *http.Request) { _, _ = io.ReadAll(r.Body); <-r.Context().Done() },
		"was cut short": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadAll(r.Body)
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cause := errors.New("the attempt's time is over")
			ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Second, cause) // long enough for half an answer
			defer cancel()
			_, err := open(t, serve(t, receive), Config{}).Handle(ctx, claimed(t, "Hello World", time.Now()))
			if !errors.Is(err, cause) || !strings.Contains(err.Error(), name) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestExcerpt(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", maxExcerpt)
	for text, want := range map[string]string{
		"": "", " \r\n ": "", "one\r\ntwo": "one", "\n\n  one \ntwo": "one", "a\x00b\x1b[31mc\u202e": "a\uFFFDb\uFFFD[31mc\uFFFD",
		"\xff\xfe": "\uFFFD", "x" + long: "x" + long[:maxExcerpt-2] + "\uFFFD…", long[:maxExcerpt]: long[:maxExcerpt],
	} {
		if got := excerpt(text); got != want {
			t.Errorf("%q became %q, not %q", text, got, want)
		}
	}
}
