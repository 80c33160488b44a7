package pgconn

import (
	"context"
	"fmt"
	"testing"

	"github.com/jmoiron/sqlx"
)

func TestPrepared_KeepsNoMoreThanItsBound(t *testing.T) {
	pool := open(t, 1)
	for n := range 3 * maxPrepared {
		if err := pool.Write(t.Context(), func(ctx context.Context, c *sqlx.Conn) error {
			var got int
			return Prepared(fmt.Sprintf("SELECT %d", n%(2*maxPrepared))).Get(ctx, c, &got)
		}); err != nil {
			t.Fatal(err)
		}
	}
	var n int
	if err := pool.SQL.Get(&n, "SELECT count(*) FROM pg_prepared_statements"); err != nil || n != maxPrepared {
		t.Errorf("%d statements are prepared, %v; want %d", n, err, maxPrepared)
	}
}

// The cancel request of a caller who leaves must not reach the statement after.
func TestPrepared_IsNotForWhatMayBeCanceled(t *testing.T) {
	pool := open(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var one, n int
	if err := Prepared("SELECT $1::int").Get(ctx, pool.SQL, &one, 1); err != nil {
		t.Fatal(err)
	}
	if err := pool.SQL.Get(&n, "SELECT count(*) FROM pg_prepared_statements"); err != nil || n != 0 {
		t.Errorf("%d statements are prepared, %v", n, err)
	}
}
