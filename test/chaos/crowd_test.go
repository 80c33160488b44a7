package chaos

import (
	"math/rand/v2"
	"net/http"
	"time"
)

// crowd is how many tasks may wait before the clients hold back. The load is set for a
// usual machine: on one that cannot keep up with it the line would grow without end, and
// a task would take minutes by standing in it, with nothing being wrong.
const crowd = 200

// watchCrowd tells the clients, until they stop, whether too many tasks wait.
func (l *load) watchCrowd(seed uint64) {
	l.clients.Go(func() {
		r := rand.New(rand.NewPCG(seed, 4_000_000))
		for !l.halted(300 * time.Millisecond) {
			a := l.call(r, 5*time.Second, request{method: http.MethodGet, path: "/queues"})
			if a.status != http.StatusOK {
				continue // as it was: nobody knows
			}
			waiting := 0
			for _, q := range a.Queues {
				waiting += q.Pending
			}
			l.crowded.Store(waiting >= crowd)
		}
	})
}
