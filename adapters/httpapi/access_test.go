package httpapi_test

import (
	"context"
	"crypto/sha256"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace/millrace/adapters/httpapi"
	"github.com/millrace/millrace/client"
)

// locked opens the API to the keys of ann, who is rotating hers, and bob.
func locked(cfg *httpapi.Config) {
	for _, c := range [][2]string{{"ann", "old-key"}, {"bob", "bobs-key"}, {"ann", "new-key"}} {
		cfg.Credentials = append(cfg.Credentials, httpapi.Credential{Name: c[0], SHA256: sha256.Sum256([]byte(c[1]))})
	}
}

func TestAccess_EveryRouteButHealthWantsAKey(t *testing.T) {
	s := newService(t, locked)
	for _, path := range []string{"/", "/tasks", "/tasks/x", "/tasks/x/attempts", "/tasks/x/explain", "/tasks/batch", "/tasks/bulk", "/bulk/x", "/queues", "/queues/x", "/stats", "/docs", "/docs/swagger-ui.css", "/openapi.yaml", "/openapi.json", "/problems", "/problems/conflict", "/nowhere", "/healthz/", "/%68ealthz", "//readyz"} {
		for _, method := range []string{"GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS"} {
			a := s.call(method, path, "")
			if a.status != http.StatusUnauthorized || a.header.Get("WWW-Authenticate") != `Bearer realm="millrace"` {
				t.Errorf("%s %s: %d %v", method, path, a.status, a.header)
			}
		}
	}
	for _, path := range []string{"/healthz", "/readyz", "/readyz?probe=1"} {
		if a := s.call("GET", path, ""); a.status != http.StatusOK {
			t.Errorf("GET %s: %d", path, a.status)
		}
	}
	wantProblem(t, s.call("GET", "/tasks", ""), http.StatusUnauthorized, "unauthorized", "")
}

func TestAccess_OnlyAWholeKeyOpens(t *testing.T) {
	s := newService(t, locked)
	for header, want := range map[string]string{
		"Bearer old-key":           "200",
		"bearer new-key":           "200",
		"BEARER  bobs-key":         "200",
		"Bearer":                   `401 Bearer realm="millrace"`,
		"Bearer ":                  `401 Bearer realm="millrace"`,
		"Basic bobs-key":           `401 Bearer realm="millrace"`,
		"bobs-key":                 `401 Bearer realm="millrace"`,
		"Bearer bobs-ke":           `401 Bearer realm="millrace", error="invalid_token"`,
		"Bearer bobs-key2":         `401 Bearer realm="millrace", error="invalid_token"`,
		"Bearer bob":               `401 Bearer realm="millrace", error="invalid_token"`,
		"Bearer bobs-key, old-key": `401 Bearer realm="millrace", error="invalid_token"`,
	} {
		a := s.call("GET", "/tasks", "", "Authorization: "+header)
		if got := strings.TrimSpace(strconv.Itoa(a.status) + " " + a.header.Get("WWW-Authenticate")); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
	if a := s.call("GET", "/tasks", "", "Authorization: Bearer bobs-key", "Authorization: Bearer old-key"); a.status != http.StatusUnauthorized {
		t.Errorf("two keys at once: %d", a.status)
	}
	if strings.Contains(s.log.String(), "bobs-ke") {
		t.Error("a key is in the log")
	}
}

func TestAccess_TellsWhoseTheKeyIs(t *testing.T) {
	s := newService(t, locked)
	var whose string
	s.store.set(func(ctx context.Context) error {
		whose = httpapi.CredentialName(ctx)
		return nil
	})
	for key, want := range map[string]string{"old-key": "ann", "new-key": "ann", "bobs-key": "bob"} {
		c, err := client.NewClientWithResponses(s.URL, client.WithAPIKey(key))
		if err != nil {
			t.Fatal(err)
		}
		a, err := c.SubmitTaskWithResponse(t.Context(), nil, client.NewTask{Message: "x"})
		if err != nil || a.JSON201 == nil || whose != want {
			t.Errorf("%s: %v %s, of %q, want %q", key, err, a.Body, whose, want)
		}
	}
	c, err := client.NewClientWithResponses(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := c.SubmitTaskWithResponse(t.Context(), nil, client.NewTask{Message: "x"}); err != nil || a.ApplicationproblemJSON401 == nil {
		t.Errorf("a client without a key: %v %s", err, a.Body)
	}
}

// A page of another site must not give work to a Millrace on its visitor's
// machine; the page at /docs, and programs, may.
func TestAPI_RefusesPagesOfOtherSites(t *testing.T) {
	s := newService(t)
	own := strings.TrimPrefix(s.URL, "http://")
	for header, want := range map[string]int{
		"Sec-Fetch-Site: cross-site":  http.StatusForbidden,
		"Sec-Fetch-Site: same-site":   http.StatusForbidden,
		"Sec-Fetch-Site: same-origin": http.StatusCreated,
		"Sec-Fetch-Site: none":        http.StatusCreated,
		"Origin: http://evil.example": http.StatusForbidden,
		"Origin: http://" + own:       http.StatusCreated,
	} {
		if got := s.call(http.MethodPost, "/tasks", `{"message":"hello"}`, header); got.status != want {
			t.Errorf("%s: %d, not %d", header, got.status, want)
		}
	}
	if got := s.call(http.MethodGet, "/tasks", "", "Sec-Fetch-Site: cross-site"); got.status != http.StatusOK {
		t.Errorf("a read: %d", got.status)
	}
}

// A name that a page makes point to this machine must not reach the service: the
// page would be of the service's own origin.
func TestAPI_AnswersForItsOwnHostsOnly(t *testing.T) {
	s := newService(t, func(cfg *httpapi.Config) {
		cfg.ListenAddr = "Millrace.internal:8000"
		cfg.AllowedHosts = []string{"tasks.example.com"}
	})
	for host, want := range map[string]int{
		"127.0.0.1": 200, "127.0.0.1:80": 200, "127.9.9.9": 200, "[::1]:8000": 200, "[::ffff:127.0.0.1]": 200,
		"localhost": 200, "LOCALHOST.:8000": 200,
		"millrace.internal:1": 200, "tasks.example.com": 200, "Tasks.Example.COM:443": 200, "tasks.example.com.": 200,
		"192.0.2.1": 200, "192.0.2.1:8000": 200, "[2001:DB8::1]:80": 200, "0.0.0.0:8000": 200,
		"evil.example": 421, "evil.example:8000": 421, "localhost.evil.example": 421, "tasks.example.com.evil.example": 421,
		"sub.tasks.example.com": 421, "127.0.0.1.evil.example": 421, "*": 421,
	} {
		for _, path := range []string{"/", "/tasks", "/tasks/x/explain", "/bulk/x", "/queues", "/docs", "/docs/swagger-ui.css", "/openapi.json", "/problems", "/healthz", "/readyz", "/nowhere"} {
			a := s.callAs(host, http.MethodGet, path)
			if want == 421 {
				wantProblem(t, a, 421, "misdirected", "ALLOWED_HOSTS")
			} else if a.status == 421 {
				t.Errorf("%s of %s: %s", path, host, a.body)
			}
		}
		for _, method := range []string{http.MethodPost, http.MethodPatch, http.MethodDelete, http.MethodOptions} {
			if a := s.callAs(host, method, "/tasks"); (a.status == 421) != (want == 421) {
				t.Errorf("%s of %s: %d", method, host, a.status)
			}
		}
	}
	open := newService(t, func(cfg *httpapi.Config) { cfg.AllowedHosts = []string{httpapi.AnyHost} })
	if a := open.callAs("evil.example", http.MethodGet, "/tasks"); a.status != http.StatusOK {
		t.Errorf("any host is allowed: %d", a.status)
	}
}

// callAs calls the service by a name.
func (s *service) callAs(host, method, path string) answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Host = host
	return s.do(req, "")
}
