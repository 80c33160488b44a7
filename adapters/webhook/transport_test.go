package webhook

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// closing is a receiver that keeps its connections open, reads another request on them,
// and closes them without an answer; broken: also the first request of each.
type closing struct {
	requests atomic.Int64
	broken   bool
}

// serveClosing starts the receiver and returns its address.
func serveClosing(t *testing.T, c *closing) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	var broken atomic.Bool
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go c.serve(conn, broken.Swap(c.broken))
		}
	}()
	return "http://" + l.Addr().String()
}

// serve answers the first request, unless it is broken, and closes under the second.
func (c *closing) serve(conn net.Conn, broken bool) {
	defer conn.Close()
	for n := range 2 {
		buf := make([]byte, 64<<10)
		if _, err := conn.Read(buf); err != nil {
			return
		}
		c.requests.Add(1)
		if n == 1 || broken {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	}
}

func openURL(t *testing.T, cfg Config) *Handler {
	t.Helper()
	cfg.Concurrency = 100
	h, closeHandler, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closeHandler)
	return h
}

// Every second request meets a connection that is closed under it.
func TestHandler_RepeatsARequestWhoseKeptConnectionWasClosed(t *testing.T) {
	t.Parallel()
	var receiver closing
	h := openURL(t, Config{URL: serveClosing(t, &receiver)})
	for i := range 6 {
		if got, err := h.Handle(t.Context(), claimed(t, "Hello World", time.Now())); err != nil || got != "ok" {
			t.Errorf("request %d: %q, error %v", i, got, err)
		}
	}
	if n := receiver.requests.Load(); n < 7 {
		t.Errorf("%d requests: no connection was closed under one", n)
	}
}

// The receiver may have begun with the task.
func TestHandler_RepeatsARequestOnceAtMost(t *testing.T) {
	t.Parallel()
	receiver := closing{broken: true}
	h := openURL(t, Config{URL: serveClosing(t, &receiver)})
	if _, err := h.Handle(t.Context(), claimed(t, "Hello World", time.Now())); err != nil {
		t.Fatal(err)
	}
	_, err := h.Handle(t.Context(), claimed(t, "Hello World", time.Now()))
	if n := receiver.requests.Load(); err == nil || application.IsNotStarted(err) || n != 3 {
		t.Errorf("%d requests, not 3; error %v", n, err)
	}
}

func TestHandler_DoesNotRepeatOnANewConnection(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	_, err := post(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_ = conn.Close()
	})
	if n := asked.Load(); err == nil || n != 1 {
		t.Errorf("%d requests, error %v", n, err)
	}
}

func TestHandler_WaitsNoLongerThanItsTimeout(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]string{"no answer": "", "half an answer": "half"} {
		server := serve(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // only then it notices the end of the connection
			if begin != "" {
				_, _ = io.WriteString(w, begin)
				_ = http.NewResponseController(w).Flush()
			}
			<-r.Context().Done()
		})
		h := open(t, server, Config{Timeout: 100 * time.Millisecond})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		_, err := h.Handle(ctx, claimed(t, "Hello World", time.Now()))
		if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "it took longer than 100ms") || application.FailureOf(err).Permanent {
			t.Errorf("%s: error %v, waited for the deadline: %v", name, err, ctx.Err() != nil)
		}
		cancel()
	}
}

func TestHandler_TellsTheDeadlineThatItsTimeoutSets(t *testing.T) {
	t.Parallel()
	at := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	got := capture(t, ctx, Config{Timeout: 30 * time.Second}, claimed(t, "Hello World", at))
	deadline, err := time.Parse(time.RFC3339, got.Header.Get("Millrace-Deadline"))
	if off := deadline.Sub(at.Add(30 * time.Second)).Abs(); err != nil || off > 5*time.Second {
		t.Errorf("Millrace-Deadline is %s off, error %v", off, err)
	}
}

func TestHandler_AsksForNoCompression(t *testing.T) {
	t.Parallel()
	got := capture(t, t.Context(), Config{}, claimed(t, "Hello World", time.Now()))
	if v := got.Header.Get("Accept-Encoding"); v != "identity" {
		t.Errorf("Accept-Encoding: %q", v)
	}
}

// zipped compresses the text.
func zipped(text string, to func(io.Writer) io.WriteCloser) string {
	var b bytes.Buffer
	w := to(&b)
	_, err := io.WriteString(w, text)
	if err := errors.Join(err, w.Close()); err != nil {
		panic(err)
	}
	return b.String()
}

func withGzip(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }
func withZlib(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }

func TestHandler_DecodesAnAnswerIntoText(t *testing.T) {
	t.Parallel()
	const want = "Grüße, 世界"
	for name, c := range map[string]struct {
		body, want string
		headers    []string
	}{
		"gzip":              {zipped(want, withGzip), want, []string{"Content-Encoding", "gzip"}},
		"deflate":           {zipped(want, withZlib), want, []string{"Content-Encoding", "Deflate"}},
		"gzip of Latin-1":   {zipped("Gr\xfc\xdfe", withGzip), "Grüße", []string{"Content-Encoding", "x-gzip", "Content-Type", "text/plain; charset=ISO-8859-1"}},
		"Latin-1":           {"Gr\xfc\xdfe", "Grüße", []string{"Content-Type", "text/html; charset=latin1"}},
		"JSON in Latin-1":   {"\"Gr\xfc\xdfe\"", `"Grüße"`, []string{"Content-Type", "application/json;charset=ISO-8859-1"}},
		"Windows":           {"\x80 5", "€ 5", []string{"Content-Type", "text/plain; charset=\"windows-1252\""}},
		"UTF-16":            {"\xff\xfeH\x00i\x00", "Hi", []string{"Content-Type", "text/plain; charset=utf-16"}},
		"UTF-16BE":          {"\x00H\x00i", "Hi", []string{"Content-Type", "text/plain; charset=UTF-16BE"}},
		"UTF-16, by a mark": {"\xfe\xff\x00H\x00i", "Hi", []string{"Content-Type", "text/plain"}},
		"UTF-8":             {want, want, []string{"Content-Type", "text/plain; charset=UTF-8"}},
		"an unknown set":    {want, want, []string{"Content-Type", "text/plain; charset=utf8mb4"}},
		"a wrong type":      {want, want, []string{"Content-Type", "text/plain; charset="}},
		"an empty gzip":     {"", "", []string{"Content-Encoding", "gzip"}},
		"no gzip at all":    {want, want, []string{"Content-Encoding", "gzip"}},
		"no deflate at all": {want, want, []string{"Content-Encoding", "deflate"}},
		"gzip of one byte":  {"x", "x", []string{"Content-Encoding", "gzip"}},
	} {
		if got, err := post(t, answer(http.StatusOK, c.body, c.headers...)); err != nil || got != c.want {
			t.Errorf("%s: %q, error %v", name, got, err)
		}
		_, err := post(t, answer(http.StatusInternalServerError, c.body, c.headers...))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, of a failure: error %v", name, err)
		}
	}
}

// kept is what a task keeps that the handler completes with this answer.
func kept(t *testing.T, receive http.HandlerFunc) domain.TaskState {
	t.Helper()
	task := claimed(t, "Hello World", time.Now())
	result, err := open(t, serve(t, receive), Config{}).Handle(t.Context(), task)
	if err := errors.Join(err, task.Complete(task.Attempt(), result, time.Now())); err != nil {
		t.Fatal(err)
	}
	return task.State()
}

func TestHandler_LetsTheTaskSayThatItsResultIsAltered(t *testing.T) {
	t.Parallel()
	typed := func(charset string) []string { return []string{"Content-Type", "text/plain; charset=" + charset} }
	long := strings.Repeat("x", domain.MaxResult)
	for name, c := range map[string]struct {
		body, want         string
		headers            []string
		altered, truncated bool
	}{
		"text":                          {"Grüße\r\n", "Grüße\r\n", nil, false, false},
		"U+FFFD":                        {"a\uFFFDb", "a\uFFFDb", typed("utf-8"), false, false},
		"gzip":                          {zipped("Grüße", withGzip), "Grüße", []string{"Content-Encoding", "gzip"}, false, false},
		"Latin-1":                       {"Gr\xfc\xdfe", "Grüße", typed("ISO-8859-1"), false, false},
		"UTF-16":                        {"\xff\xfeH\x00i\x00", "Hi", typed("utf-16"), false, false},
		"Latin-1, unnamed":              {"Gr\xfc\xdfe", "Gr\uFFFDe", nil, true, false},
		"Latin-1 as UTF-8":              {"Gr\xfc\xdfe", "Gr\uFFFDe", typed("utf-8"), true, false},
		"an unknown set":                {"Gr\xfc\xdfe", "Gr\uFFFDe", typed("x-unheard-of"), true, false},
		"a set that is not decoded":     {"text", "\uFFFD", typed("iso-2022-kr"), true, false},
		"half a character of Shift JIS": {"a\x81", "a\uFFFD", typed("shift_jis"), true, false},
		"half a surrogate of UTF-16":    {"a\x00\x00\xd8b\x00", "a\uFFFDb", typed("utf-16le"), true, false},
		"half a surrogate, by a mark":   {"\xff\xfea\x00\x00\xd8b\x00", "a\uFFFDb", nil, true, false},
		"UTF-8 by a mark, and not":      {"\xef\xbb\xbfa\xff", "a\uFFFD", typed("latin1"), true, false},
		"NUL":                           {"a\x00b", "a\uFFFDb", typed("latin1"), true, false},
		"an unknown compression":        {"\x8b\x02\x80", "\uFFFD\x02\uFFFD", []string{"Content-Encoding", "br"}, true, false},
		"too long":                      {long + "x", long, typed("latin1"), false, true},
		"too long, and no text":         {"\x81\xff" + long, "\uFFFD" + long[3:], typed("shift_jis"), true, true},
		"gzip, too long":                {zipped(long+"x", withGzip), long, []string{"Content-Encoding", "gzip"}, false, true},
	} {
		got := kept(t, answer(http.StatusOK, c.body, c.headers...))
		if got.Result != c.want || got.ResultAltered != c.altered || got.ResultTruncated != c.truncated {
			t.Errorf("%s: %d bytes %.40q, altered %v, truncated %v; want %d bytes %.40q, %v, %v", name,
				len(got.Result), got.Result, got.ResultAltered, got.ResultTruncated, len(c.want), c.want, c.altered, c.truncated)
		}
	}
}

// A small answer may unfold into a large one.
func TestHandler_UnfoldsNoMoreThanATaskKeeps(t *testing.T) {
	t.Parallel()
	got, err := post(t, answer(http.StatusOK, zipped(strings.Repeat("x", 10<<20), withGzip), "Content-Encoding", "gzip"))
	if err != nil || len(got) != domain.MaxResult+1 {
		t.Errorf("%d bytes, error %v", len(got), err)
	}
}

func TestHandler_TriesACompressedAnswerThatBrokeOffAgain(t *testing.T) {
	t.Parallel()
	whole := zipped(strings.Repeat("Hello World", 100), withGzip)
	_, err := post(t, answer(http.StatusOK, whole[:len(whole)-10], "Content-Encoding", "gzip"))
	if err == nil || !strings.Contains(err.Error(), "was cut short") {
		t.Errorf("error %v", err)
	}
}

// What the resolver could not open is in a text alone.
func TestLacking(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want bool
	}{
		{&net.DNSError{Err: "dial udp 127.0.0.1:53: socket: too many open files", Name: "host"}, true},
		{&net.DNSError{Err: "no such host", Name: "host", IsNotFound: true}, false},
		{&net.OpError{Op: "read", Err: errors.New("connection reset by peer")}, false},
	} {
		if got := lacking(c.err); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}
