package e2e

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/client"
	"github.com/millrace/millrace/test/programs"
)

// embed starts millrace serve in dir.
func embed(t *testing.T, dir string, env ...string) *deployment {
	t.Helper()
	d := &deployment{t: t, addr: programs.FreeAddr(t)}
	d.api = programs.Start(t, dir, append([]string{"LISTEN_ADDR=" + d.addr}, env...), "millrace", "serve")
	d.ready()
	return d
}

func TestMillrace_KeepsTasksOverARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := embed(t, dir, "HANDLER=sleep:1h", "WORKER_QUEUE_MAXSIZE=1")
	running := first.submit("running").ID
	first.becomes(running, "processing")
	waiting := first.submit("waiting").ID
	first.api.Kill()

	second := embed(t, dir)
	if got := second.becomes(running, "completed"); got.Attempt != 2 {
		t.Errorf("attempt %d, not 2: %+v", got.Attempt, got)
	}
	second.becomes(waiting, "completed")
	second.api.Stop()
}

func TestMillrace_RefusesAFileThatIsInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	embed(t, dir)
	other := programs.Start(t, dir, []string{"LISTEN_ADDR=" + programs.FreeAddr(t)}, "millrace")
	if code := other.Wait(programs.Patience); code != 1 {
		t.Errorf("exit code %d, not 1", code)
	}
	if out := other.Output(); strings.Count(out, "\n") != 1 || !strings.Contains(out, "millrace.db") {
		t.Errorf("not one line that names the file: %q", out)
	}
}

func TestMillrace_TakesNothingWhileItsFileIsGone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := embed(t, dir)
	before := d.submit("before").ID
	d.becomes(before, "completed")
	file, away := filepath.Join(dir, "millrace.db"), filepath.Join(dir, "away.db")
	if err := errors.Join(os.Rename(file, away), os.Remove(file+".lock")); err != nil {
		t.Fatal(err)
	}
	d.call(http.MethodPost, "/tasks", `{"message":"meanwhile"}`, http.StatusServiceUnavailable, nil)
	d.call(http.MethodGet, "/readyz", "", http.StatusServiceUnavailable, nil)
	other := programs.Start(t, dir, []string{"LISTEN_ADDR=" + programs.FreeAddr(t), "DATABASE_URL=sqlite:away.db"}, "millrace")
	if code := other.Wait(programs.Patience); code != 1 {
		t.Errorf("a second process on the file that was moved: code %d, %s", code, other.Output())
	}
	if err := os.Rename(away, file); err != nil {
		t.Fatal(err)
	}
	d.ready()
	d.becomes(d.submit("after").ID, "completed")
	d.becomes(before, "completed")
	d.api.Stop()
}

func TestMillrace_SaysWhereItIs(t *testing.T) {
	t.Parallel()
	d := embed(t, t.TempDir())
	out := d.api.Output()
	for _, want := range []string{"http://" + d.addr + "/docs", "curl -i http://" + d.addr + "/tasks"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in: %s", want, out)
		}
	}
	for _, path := range []string{"/docs", "/openapi.yaml", "/openapi.json", "/healthz"} {
		d.call(http.MethodGet, path, "", http.StatusOK, nil)
	}
}

func TestPrograms_HelpListsEverySetting(t *testing.T) {
	t.Parallel()
	for name, settings := range map[string][]string{
		"api":      {"DATABASE_URL", "QUEUE_URL", "LISTEN_ADDR", "API_KEYS", "ALLOW_ANONYMOUS", "MAX_CONCURRENT_REQUESTS", "MAX_MESSAGE_BYTES", "MIGRATE_ON_START", "SHUTDOWN_TIMEOUT", "LOG_LEVEL"},
		"worker":   {"DATABASE_URL", "QUEUE_URL", "HANDLER", "WORKER_QUEUE_MAXSIZE", "LEASE_TIMEOUT", "ADMIN_ADDR", "SHUTDOWN_TIMEOUT"},
		"millrace": {"DATABASE_URL", "QUEUE_URL", "HANDLER", "LISTEN_ADDR", "API_KEYS", "ALLOW_ANONYMOUS", "WORKER_QUEUE_MAXSIZE"},
	} {
		p := programs.Start(t, t.TempDir(), nil, name, "--help")
		if code := p.Wait(programs.Patience); code != 0 {
			t.Errorf("%s --help: code %d", name, code)
		}
		for _, s := range settings {
			if !strings.Contains(p.Output(), s) {
				t.Errorf("%s --help does not name %s", name, s)
			}
		}
		if v := programs.Start(t, t.TempDir(), nil, name, "--version"); v.Wait(programs.Patience) != 0 || !strings.Contains(v.Output(), "version") {
			t.Errorf("%s --version: %q", name, v.Output())
		}
	}
}

func TestPrograms_RefuseAWrongSettingWithOneLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ program, setting, want string }{
		{"api", "LISTEN_ADDR=nowhere", "LISTEN_ADDR"},
		{"api", "LISTEN_ADDR=0.0.0.0:8000", "ALLOW_ANONYMOUS=true"},
		{"api", "API_KEYS=ann=secret", "pair 1"},
		{"api", "DATABASE_URL=mysql://secret@host/db", "DATABASE_URL"},
		{"api", "QUEUE_URL=kafka://secret@host", "QUEUE_URL"},
		{"api", "MAX_MESSAGE_BYTES=0", "from 1 to"},
		{"worker", "WORKER_QUEUE_MAXSIZE=many", "a whole number from 1"},
		{"worker", "LEASE_TIMEOUT=5", "a duration"},
		{"worker", "HANDLER=dance:", "sleep:3s"},
		{"worker", "HANDLER=", "queue default has no handler"},
		{"worker", "HANDELR=https://secret@host", "HANDELR, which is set, is not a setting"},
		{"worker", "HANDLERS=default=noop:\nmail=noop:", "line 2"},
		{"worker", "LOG_LEVEL=loud", "debug, info, warn or error"},
		{"millrace", "DATABASE_URL=postgres://secret@host/db", "sqlite:"},
		{"millrace", "LISTEN_ADDR=:8000", "ALLOW_ANONYMOUS=true"},
		{"millrace", "API_KEYS=@secret", "cannot be opened"},
		{"millrace", "HANDLER=sleep:long", `"sleep:long"`},
	} {
		p := programs.Start(t, t.TempDir(), []string{c.setting}, c.program)
		code, out := p.Wait(programs.Patience), p.Output()
		if code != 2 || strings.Count(out, "\n") != 1 || !strings.Contains(out, c.want) || strings.Contains(out, "secret") {
			t.Errorf("%s with %s: code %d, %q", c.program, c.setting, code, out)
		}
	}
	if p := programs.Start(t, t.TempDir(), nil, "api", "dance"); p.Wait(programs.Patience) != 2 {
		t.Errorf("an unknown command: %q", p.Output())
	}
}

func TestMillrace_WantsAKeyAndShowsNone(t *testing.T) {
	t.Parallel()
	const key = "a-key-that-nobody-guesses"
	digest := fmt.Sprintf("%x", sha256.Sum256([]byte(key)))
	d := embed(t, t.TempDir(), "API_KEYS=ann="+digest, "LOG_LEVEL=debug")
	d.call(http.MethodGet, "/tasks", "", http.StatusUnauthorized, nil)
	c, err := client.NewClientWithResponses("http://"+d.addr, client.WithAPIKey(key))
	if err != nil {
		t.Fatal(err)
	}
	made, err := c.SubmitTaskWithResponse(t.Context(), nil, client.NewTask{Message: "Hello"})
	if err != nil || made.JSON201 == nil {
		t.Fatalf("with the key: %v %s", err, made.Body)
	}
	if p := programs.Start(t, t.TempDir(), []string{"LISTEN_ADDR=" + d.addr}, "millrace", "healthcheck"); p.Wait(programs.Patience) != 0 {
		t.Errorf("health wants no key: %q", p.Output())
	}
	_, health := call(t, "http://"+d.addr, http.MethodGet, "/readyz", "")
	d.api.Stop()
	for _, secret := range []string{key, digest, digest[:16]} {
		if strings.Contains(d.api.Output()+health, secret) {
			t.Errorf("%q is shown: %s", secret, d.api.Output())
		}
	}
	if !strings.Contains(d.api.Output(), "Authorization: Bearer KEY") {
		t.Error("what to try has no place for the key")
	}
}

func TestPrograms_Healthcheck(t *testing.T) {
	t.Parallel()
	d := embed(t, t.TempDir())
	env := []string{"LISTEN_ADDR=" + d.addr}
	if p := programs.Start(t, t.TempDir(), env, "millrace", "healthcheck"); p.Wait(programs.Patience) != 0 {
		t.Errorf("of a ready program: %q", p.Output())
	}
	d.api.Stop()
	if p := programs.Start(t, t.TempDir(), env, "millrace", "healthcheck"); p.Wait(programs.Patience) != 1 {
		t.Errorf("of a program that has ended: %q", p.Output())
	}

	all := deployAll(t)
	admin := programs.FreeAddr(t)
	all.worker("ADMIN_ADDR=" + admin)
	programs.WaitReady(t, admin)
	if p := programs.Start(t, t.TempDir(), append(all.env, "ADMIN_ADDR="+admin), "worker", "healthcheck"); p.Wait(programs.Patience) != 0 {
		t.Errorf("of a ready worker: %q", p.Output())
	}
}
