package pgconn

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/test/services"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open makes a pool of that size on a new database.
func open(t *testing.T, size int) *Pool {
	t.Helper()
	return openOn(t, services.PostgreSQL(t), size)
}

// openOn makes a pool of that size on a database.
func openOn(t *testing.T, url string, size int) *Pool {
	t.Helper()
	pools, err := Open(Config{URL: url}.WithDefaults(), size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pools[0].Close)
	return pools[0]
}
