package services_test

import (
	"database/sql"
	"testing"
	"time"

	"github.com/millrace/millrace/test/services"
)

func TestPostgresTime_IsOffAndPassesAsEver(t *testing.T) {
	for _, off := range []time.Duration{time.Hour, -time.Hour} {
		server := services.StartPostgreSQL(t, services.PostgresTime(off))
		db, err := sql.Open("postgres", server.URL("postgres"))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		read := func() time.Time {
			var now time.Time
			if err := db.QueryRowContext(t.Context(), "SELECT clock_timestamp() FROM pg_sleep(0.2)").Scan(&now); err != nil {
				t.Fatal(err)
			}
			return now
		}
		first := read()
		if wrong := time.Until(first) - off; wrong.Abs() > time.Minute {
			t.Errorf("the server is %v off, not %v", time.Until(first), off)
		}
		if passed := read().Sub(first); passed < 200*time.Millisecond || passed > time.Minute {
			t.Errorf("its time has passed by %v during 200 ms", passed)
		}
	}
}
