package bootstrap

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/adapters/httpapi"
)

func digestOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

func credential(name, key string) httpapi.Credential {
	return httpapi.Credential{Name: name, SHA256: sha256.Sum256([]byte(key))}
}

// keysFile writes a file and returns what API_KEYS calls it.
func keysFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return "@" + path
}

func TestAPIKeys_AreReadFromTheVariableAndFromAFile(t *testing.T) {
	a, b := "ann="+digestOf("a"), "b.0_b-="+strings.ToUpper(digestOf("b"))
	want := []httpapi.Credential{credential("ann", "a"), credential("b.0_b-", "b")}
	for name, value := range map[string]string{
		"commas":      a + "," + b,
		"white space": " " + a + "\n\t" + b + "\r\n",
		"both":        a + ", " + b + ",",
		"file":        keysFile(t, "# who may\r\n\r\n"+a+"\r\n  # not carl="+digestOf("c")+"\n "+b),
		"spaced":      keysFile(t, strings.Replace(a, "=", " = ", 1)+"\n"+b+"\n"),
	} {
		cfg, err := LoadAPI([]string{"API_KEYS=" + value, "LISTEN_ADDR=:8000"})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := cfg.credentials()
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
}

func TestAPIKeys_AreRefusedWithoutBeingShown(t *testing.T) {
	digest := digestOf("a")
	for value, want := range map[string]string{
		"hunter2":                              "pair 1 is not a name=sha256 pair",
		"ann=hunter2":                          "pair 1 is not a name=sha256 pair",
		"a=" + digest + ",b=" + digest[:62]:    "pair 2 is not a name=sha256 pair",
		"a=" + digest + "0":                    "pair 1 is not a name=sha256 pair",
		"=" + digest:                           "pair 1 is not a name=sha256 pair",
		"a b=" + digest:                        "pair 1 is not a name=sha256 pair",
		"-a=" + digest:                         "pair 1 is not a name=sha256 pair",
		strings.Repeat("a", 65) + "=" + digest: "pair 1 is not a name=sha256 pair",
		",":                                    "there is no pair",
		"@":                                    "cannot be opened",
		"@/hunter2/none":                       "cannot be opened",
		"@" + t.TempDir():                      "cannot be read",
		keysFile(t, "# none\n\n"):              "there is no pair",
		keysFile(t, "\na="+digest+"\nann:"+digest):      "line 3 is not a name=sha256 pair",
		keysFile(t, strings.Repeat("#", maxKeysFile+1)): "is over",
	} {
		for name, load := range map[string]func([]string) error{"api": loadAPI, "millrace": loadEmbedded} {
			err := load([]string{"API_KEYS=" + value, "ALLOW_ANONYMOUS=true"})
			e, ok := errors.AsType[*SettingError](err)
			if !ok || e.Name != "API_KEYS" {
				t.Errorf("%s, %.20q: %v", name, value, err)
				continue
			}
			if text := err.Error(); !strings.Contains(text, want) || strings.Contains(text, "hunter2") ||
				strings.Contains(text, digest[:62]) || strings.Contains(text, "\n") {
				t.Errorf("%s, %.20q: %s", name, value, text)
			}
		}
	}
}

func TestAccess_APublicAddressWantsKeysOrAWord(t *testing.T) {
	for _, c := range []struct {
		env     []string
		refused bool
	}{
		{nil, false},
		{[]string{"LISTEN_ADDR=localhost:80"}, false},
		{[]string{"LISTEN_ADDR=127.1.2.3:80"}, false},
		{[]string{"LISTEN_ADDR=[::1]:80"}, false},
		{[]string{"LISTEN_ADDR=:80"}, true},
		{[]string{"LISTEN_ADDR=0.0.0.0:80"}, true},
		{[]string{"LISTEN_ADDR=[::]:80"}, true},
		{[]string{"LISTEN_ADDR=10.0.0.1:80"}, true},
		{[]string{"LISTEN_ADDR=localhost.example.com:80"}, true},
		{[]string{"LISTEN_ADDR=:80", "ALLOW_ANONYMOUS=false"}, true},
		{[]string{"LISTEN_ADDR=:80", "API_KEYS="}, true},
		{[]string{"LISTEN_ADDR=:80", "ALLOW_ANONYMOUS=true"}, false},
		{[]string{"LISTEN_ADDR=:80", "API_KEYS=ann=" + digestOf("a")}, false},
	} {
		for name, load := range map[string]func([]string) error{"api": loadAPI, "millrace": loadEmbedded} {
			err := load(c.env)
			e, refused := errors.AsType[*SettingError](err)
			if refused != c.refused || refused && (e.Name != "LISTEN_ADDR" || !strings.Contains(e.Allowed, "ALLOW_ANONYMOUS=true")) {
				t.Errorf("%s with %q: %v", name, c.env, err)
			}
		}
	}
}

func TestAccess_KeysAreAskedForAlsoWhereAnyoneWasLetIn(t *testing.T) {
	cfg, err := LoadAPI([]string{"API_KEYS=ann=" + digestOf("a"), "ALLOW_ANONYMOUS=true"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := provideHTTPConfig(cfg.HTTPConfig, cfg.AccessConfig, cfg.StopConfig, nil)
	if diff := cmp.Diff([]httpapi.Credential{credential("ann", "a")}, got.Credentials); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
}

func loadAPI(environ []string) error {
	_, err := LoadAPI(environ)
	return err
}

func loadEmbedded(environ []string) error {
	_, err := LoadEmbedded(environ)
	return err
}

func TestAllowedHosts_AreNamesAndAddressesWithoutPorts(t *testing.T) {
	for value, ok := range map[string]bool{
		"tasks.example.com": true, "api-server, 10.0.0.1,::1,[2001:db8::1]": true, "*": true, "": true,
		"http://tasks.example.com": false, "tasks.example.com:8000": false, "*.example.com": false, "a,,b": false, "a b": false,
	} {
		_, err := LoadAPI([]string{"ALLOWED_HOSTS=" + value})
		if wrong, refused := errors.AsType[*SettingError](err); ok && err != nil || !ok && (!refused || wrong.Name != "ALLOWED_HOSTS") {
			t.Errorf("%q: %v", value, err)
		}
	}
}
