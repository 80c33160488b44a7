package pgconn

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lib/pq"
)

func TestConfig_HostsAndSessionAttributes(t *testing.T) {
	for _, check := range []struct {
		url, hosts string
		attrs      pq.TargetSessionAttrs
	}{
		{"postgres://u:p@one/db", "one:5432", ""},
		{"postgres://u:p@one:1/db", "one:1", ""},
		{"postgres://u:p@one:1/db?target_session_attrs=any", "one:1", "any"},
		{"postgres://u:p@one:1,two:2/db", "one:1 two:2", "read-write"},
		{"postgresql://u:p@one,two:2/db?sslmode=disable", "one:5432 two:2", "read-write"},
		{"postgres://u:p@/db?host=::1,two&port=1,2", "::1:1 two:2", "read-write"},
		{"postgres://u:p@one:1,two:2/db?target_session_attrs=primary", "one:1 two:2", "primary"},
		{"postgres://u:p@/db?host=one,two&port=1,2", "one:1 two:2", "read-write"},
	} {
		cfg, err := Config{URL: check.url}.WithDefaults().driverConfig()
		if err != nil {
			t.Errorf("%s: %v", check.url, err)
			continue
		}
		hosts := []string{fmt.Sprintf("%s:%d", cfg.Host, cfg.Port)}
		for _, m := range cfg.Multi {
			hosts = append(hosts, fmt.Sprintf("%s:%d", m.Host, m.Port))
		}
		if got := strings.Join(hosts, " "); got != check.hosts || cfg.TargetSessionAttrs != check.attrs {
			t.Errorf("%s: hosts %s, attributes %q; want %s, %q", check.url, got, cfg.TargetSessionAttrs, check.hosts, check.attrs)
		}
		if cfg.User != "u" || cfg.Password != "p" || cfg.Database != "db" {
			t.Errorf("%s: user, password or database are lost", check.url)
		}
		if limit := 5 * time.Second / time.Duration(len(hosts)); cfg.ConnectTimeout != limit {
			t.Errorf("%s: a connection may take %s, want %s", check.url, cfg.ConnectTimeout, limit)
		}
	}
}

func TestOpen_NamesWhatIsWrongAndNoSecret(t *testing.T) {
	const secret = "s3cr3t"
	for _, url := range []string{
		"mysql://u:s3cr3t@h/db",
		"s3cr3t",
		"postgres://u:s3cr3t%zz@h/db",
		"postgres://u:s3cr3t@h:port/db",
		"postgres://u:s3cr3t@h/db?sslmode=s3cr3t",
		"postgres://u@h/db?password=s3cr3t&target_session_attrs=s3cr3t",
		"postgres://u:s3cr3t@h1:1,h2:x/db",
	} {
		_, err := Open(Config{URL: url}.WithDefaults())
		if err == nil {
			t.Errorf("%s was accepted", url)
			continue
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error tells the secret: %v", err)
		}
	}
	for _, cfg := range []Config{{MaxConns: -1}, {CallTimeout: -1}} {
		cfg.URL = "postgres://h/db"
		if _, err := Open(cfg.WithDefaults()); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}

func TestOpen_EveryConnectionHasItsSession(t *testing.T) {
	pool := open(t, 1)
	for setting, want := range map[string]string{
		"idle_in_transaction_session_timeout": "5s", "timezone": "UTC", "application_name": "millrace", "statement_timeout": "0",
		"enable_seqscan": "off", "jit": "off",
	} {
		var got string
		if err := pool.SQL.Get(&got, "SELECT current_setting($1)", setting); err != nil || got != want {
			t.Errorf("%s = %q, %v; want %q", setting, got, err, want)
		}
	}
}
