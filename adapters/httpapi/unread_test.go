package httpapi_test

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/adapters/httpapi"
)

// slowBody is a body that a client sends for longer than a test lasts.
const slowBody = "Content-Length: 100000\r\n\r\n"

func TestAnswers_DoNotWaitForABodyThatNobodyReads(t *testing.T) {
	const post = "POST /tasks HTTP/1.1\r\nHost: localhost\r\n"
	withKey := func(cfg *httpapi.Config) {
		cfg.Credentials = []httpapi.Credential{{Name: "ada", SHA256: sha256.Sum256([]byte("key"))}}
	}
	for name, c := range map[string]struct {
		text, drop string
		change     func(*httpapi.Config)
		starting   bool
		want       int
	}{
		"another host":       {text: "POST /tasks HTTP/1.1\r\nHost: evil.example\r\n" + slowBody, want: 421},
		"another origin":     {text: post + "Sec-Fetch-Site: cross-site\r\n" + slowBody, want: 403},
		"no key":             {text: post + slowBody, change: withKey, want: 401},
		"starting":           {text: post + slowBody, starting: true, want: 503},
		"no such path":       {text: "POST /nowhere HTTP/1.1\r\nHost: localhost\r\n" + slowBody, want: 404},
		"no such method":     {text: "PUT /tasks HTTP/1.1\r\nHost: localhost\r\n" + slowBody, want: 405},
		"not acceptable":     {text: post + "Accept: text/html\r\n" + slowBody, want: 406},
		"not JSON":           {text: post + "Content-Type: text/plain\r\n" + slowBody, want: 415},
		"not JSON, chunked":  {text: post + "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n", drop: "1\r\n \r\n", want: 415},
		"a wrong key":        {text: post + "Idempotency-Key: a b\r\n" + slowBody, want: 422},
		"an announced giant": {text: post + "Content-Length: 40000000\r\n\r\n", want: 413},
		"a batch of a giant": {text: "POST /tasks/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40000000\r\n\r\n", want: 413},
		"a read":             {text: "GET /tasks HTTP/1.1\r\nHost: localhost\r\n" + slowBody, want: 200},
		"a long answer":      {text: "GET /openapi.yaml HTTP/1.1\r\nHost: localhost\r\n" + slowBody, want: 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(t, func(cfg *httpapi.Config) {
				cfg.ReadTimeout = time.Hour // what net/http would wait for
				if c.change != nil {
					c.change(cfg)
				}
			})
			base := runAndStop(t, s.server)
			if c.starting {
				s.readiness.Hold()
			}
			conn := dial(t, base)
			dropBytes(t, conn, c.text, c.drop)
			got := bufio.NewReader(conn)
			res, err := http.ReadResponse(got, nil)
			if err != nil || res.StatusCode != c.want || !res.Close {
				t.Fatalf("the answer is %+v, %v; want %d, closing the connection", res, err, c.want)
			}
			if _, err := io.ReadAll(res.Body); err != nil {
				t.Errorf("the body of the answer: %v", err)
			}
			if _, err := got.ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the connection goes on: %v", err)
			}
		})
	}
}

// dropBytes sends the text, then a byte every 20 ms, or what drop says, until the end of
// the test. Reads give up in a minute.
func dropBytes(t *testing.T, c net.Conn, text, drop string) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if drop == "" {
		drop = " "
	}
	go func() {
		_, err := io.WriteString(c, text)
		for ; err == nil; _, err = io.WriteString(c, drop) {
			time.Sleep(20 * time.Millisecond)
		}
	}()
}

func TestAnswers_KeepTheConnectionOfABodyThatHasArrived(t *testing.T) {
	base := runAndStop(t, newService(t).server)
	conn := dial(t, base)
	got := bufio.NewReader(conn)
	for i := range 3 {
		_, _ = fmt.Fprintf(conn, "POST /tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\n%s", strings.Repeat("x", 1000))
		res, err := http.ReadResponse(got, nil)
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		if _, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusUnsupportedMediaType || res.Close {
			t.Fatalf("request %d: %d, closing: %t, %v", i, res.StatusCode, res.Close, err)
		}
	}
	// What has been refused leaves no deadline behind.
	time.Sleep(700 * time.Millisecond)
	_, _ = io.WriteString(conn, "POST /tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 15\r\n\r\n"+`{"message":"x"`)
	time.Sleep(700 * time.Millisecond)
	_, _ = io.WriteString(conn, "}")
	res, err := http.ReadResponse(got, nil)
	if err != nil || res.StatusCode != http.StatusCreated {
		t.Fatalf("the next request: %+v, %v", res, err)
	}
}
