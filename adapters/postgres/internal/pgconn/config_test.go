package pgconn

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lib/pq"

	"github.com/millrace/millrace/test/services"
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
		if cfg.ConnectTimeout != 3*time.Second {
			t.Errorf("%s: a connection may take %s, want 3s", check.url, cfg.ConnectTimeout)
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

// What an operator sets for everybody, or for our role, is not what we rely on.
func TestOpen_EveryConnectionHasItsSession(t *testing.T) {
	url := services.PostgreSQL(t)
	admin := openOn(t, url, 1)
	for _, odd := range []string{
		"lock_timeout = '50ms'", "statement_timeout = '1s'", "default_transaction_isolation = 'serializable'",
		"idle_in_transaction_session_timeout = '1h'", "synchronous_commit = off", "client_connection_check_interval = 0",
	} {
		var name string
		if err := admin.SQL.Get(&name, "SELECT current_database()"); err != nil {
			t.Fatal(err)
		}
		admin.SQL.MustExec("ALTER DATABASE " + name + " SET " + odd)
	}
	pool := openOn(t, url, 1)
	for setting, want := range map[string]string{
		"idle_in_transaction_session_timeout": "5s", "timezone": "UTC", "application_name": "millrace", "statement_timeout": "0",
		"enable_seqscan": "off", "jit": "off", "lock_timeout": "4500ms", "client_connection_check_interval": "2s",
		"default_transaction_isolation": "read committed", "synchronous_commit": "on",
	} {
		var got string
		if err := pool.SQL.Get(&got, "SELECT current_setting($1)", setting); err != nil || got != want {
			t.Errorf("%s = %q, %v; want %q", setting, got, err, want)
		}
	}
}

func TestOpen_KeepsWhatIsStrongerThanItsSession(t *testing.T) {
	url := services.PostgreSQL(t)
	admin := openOn(t, url, 1)
	var name string
	if err := admin.SQL.Get(&name, "SELECT current_database()"); err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"remote_apply", "remote_write", "local"} {
		admin.SQL.MustExec("ALTER DATABASE " + name + " SET synchronous_commit = " + value)
		var got string
		if err := openOn(t, url, 1).SQL.Get(&got, "SHOW synchronous_commit"); err != nil || got != value {
			t.Errorf("synchronous_commit = %q, %v; want %q", got, err, value)
		}
	}
}
