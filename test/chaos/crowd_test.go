package chaos

import (
	"context"
	"database/sql"
	"sync"
	"time"
)

// crowd is how many tasks may wait before the clients submit no more. The load is set
// for a usual machine: on one that cannot keep up with it the line would grow without
// end, and a task would take minutes by standing in it, with nothing being wrong.
const crowd = 500

// watchCrowd tells the load, all the time, whether too many tasks wait.
func (r *run) watchCrowd() {
	ctx, end := context.WithCancel(r.t.Context())
	var watching sync.WaitGroup
	watching.Go(func() {
		for ctx.Err() == nil {
			found, err := tryRows(r.t, r.direct, func(row *sql.Rows, n *int) error { return row.Scan(n) },
				"SELECT count(*) FROM (SELECT FROM tasks WHERE status = 'pending' AND queued_at IS NOT NULL LIMIT $1) waiting", crowd)
			if err == nil { // otherwise PostgreSQL is away
				r.load.crowded.Store(found[0] == crowd)
			}
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	})
	r.t.Cleanup(func() {
		end()
		watching.Wait()
	})
}
