package postgres

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/millrace/millrace/test/services"
)

func TestCheckServer_TellsOfSettingsThatLoseTasks(t *testing.T) {
	server := services.StartPostgreSQL(t)
	db := open(t, Config{URL: server.URL("postgres")})
	check := func() string {
		t.Helper()
		var log bytes.Buffer
		if err := CheckServer(t.Context(), open(t, db.cfg), slog.New(slog.NewTextHandler(&log, nil))); err != nil {
			t.Fatal(err)
		}
		return log.String()
	}
	if got := check(); got != "" {
		t.Errorf("of a server as it should be: %s", got)
	}
	for setting, want := range map[string]string{
		"fsync": "level=WARN", "full_page_writes": "level=WARN", "synchronous_commit": "level=INFO",
	} {
		set := func(value string) {
			t.Helper()
			db.calls.SQL.MustExec("ALTER SYSTEM SET " + setting + " = " + value)
			db.calls.SQL.MustExec("SELECT pg_reload_conf()")
			// A session is told after the server itself, and so are those that begin later.
			eventually(t, setting+" is "+value, func() error {
				var got string
				err := db.calls.SQL.Get(&got, "SELECT reset_val FROM pg_catalog.pg_settings WHERE name = $1", setting)
				if err == nil && got != value {
					err = errors.New("it is " + got)
				}
				return err
			})
		}
		set("off")
		got := check()
		if strings.Count(got, "\n") != 1 || !strings.Contains(got, want) || !strings.Contains(got, "setting="+setting+" ") {
			t.Errorf("with %s off: %s", setting, got)
		}
		set("on")
	}
}
