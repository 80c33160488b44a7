package chaos

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"
)

// badRow is the message of a row that the test has written by hand. Such rows are
// gone by the end, and in none of the accounts.
const badRow = "bad row"

// badRows are changes of a row that no program makes, and an operator may.
type badRows []string

// due makes a bad row one that is about to run.
const due = ", run_at = run_at - interval '1 day'"

var (
	badTime = badRows{"run_at = '-infinity'", "run_at = 'infinity'", "created_at = '-infinity'" + due, "updated_at = 'infinity'" + due}
	// All of these are legal, and nothing can be added to them.
	badCounter = badRows{
		"version = 9223372036854775807" + due,
		"attempt = 9223372036854775807, max_attempts = 9223372036854775807, started_at = now()" + due,
	}
	badQueue    = badRows{"queue = 'No Queue!'" + due, "queue = repeat('q', 65)" + due, "queue = ''" + due}
	badMetadata = badRows{`metadata = '["no pairs"]'` + due, `metadata = '{"a": 1}'` + due}
)

// begin writes good tasks of tomorrow and makes them bad: so many that they share their
// claims with others. That the schema refuses them is as good as that every program copes
// with them.
func (b badRows) begin(r *run, f fault) func() {
	const rows = 24
	ids := make([]string, rows)
	for i := range ids {
		ids[i] = uuid.Must(uuid.NewV7()).String()
	}
	r.exec(`INSERT INTO tasks (id, message, queue, priority, status, created_at, updated_at, version, run_at, max_attempts,
		attempt, failures, rescues, claim_beat, last_error, result, result_truncated)
		SELECT id, $2, 'default', 0, 'pending', now(), now(), 1, now() + interval '1 day' + n * interval '50 ms', 3,
		0, 0, 0, 0, '', '', false FROM unnest($1::uuid[]) WITH ORDINALITY AS bad (id, n)`, pq.Array(ids), badRow)
	change := b[f.target%len(b)]
	var refused *pq.Error
	switch err := execute(r.t, r.direct, "UPDATE tasks SET "+change+" WHERE id = ANY($1)", pq.Array(ids)); {
	case err == nil:
		r.t.Logf("%s: %s", f.name, change)
	case errors.As(err, &refused) && refused.Code.Name() == "check_violation":
		r.t.Logf("%s: %s is refused by %s", f.name, change, refused.Constraint)
	default:
		r.t.Fatalf("%s: %v", f.name, err)
	}
	return func() { r.exec("DELETE FROM tasks WHERE id = ANY($1)", pq.Array(ids)) }
}

// besideBadRow also reads the lists that hold bad rows: they show the others.
func besideBadRow(r *run, f fault) {
	beside(r, f)
	random := rand.New(rand.NewPCG(r.seed, uint64(len(r.steps))+9_000_000))
	for _, path := range []string{"/tasks?status=pending&limit=100", "/queues"} {
		a := r.load.call(random, 5*time.Second, request{method: http.MethodGet, path: path})
		r.load.count("list with a bad row", a)
		r.load.expect(a, "a list with a bad row", http.StatusOK)
	}
}
