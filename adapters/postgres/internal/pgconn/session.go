package pgconn

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// A session relies on its settings, whatever the server, the database or the role has
// for others. default_transaction_read_only is not among them: who sets it wants
// nothing to be written, which is an outage.

// startup are the settings that are sent when a connection begins. PgBouncer has to be
// told to ignore them; that is why the others are set afterwards.
var startup = map[string]string{
	"timezone": "UTC", // which PgBouncer knows
	// A frozen dispatcher must not hold the rows of its sweep for long.
	"idle_in_transaction_session_timeout": inMilliseconds(5 * time.Second),
	// It would cancel a wait for a synchronous standby, and report success.
	"statement_timeout": "0",
	// No statement is to read a whole table, least of all by a plan that was made
	// when the table was small. What the planner then assumes that a small table
	// without an index costs would set off jit.
	"enable_seqscan": "off", "jit": "off",
}

// startupSettings are the names of those that PgBouncer does not know.
func startupSettings() []string {
	names := slices.Sorted(maps.Keys(startup))
	return slices.DeleteFunc(names, func(name string) bool { return name == "timezone" })
}

// wanted are all settings with a value that does not depend on that of the server.
func wanted(limits Limits) map[string]string {
	all := maps.Clone(startup)
	// The server is to give up before the caller does, and to notice one who is gone.
	all["lock_timeout"] = inMilliseconds(limits.Lock)
	all["client_connection_check_interval"] = inMilliseconds(limits.Orphan)
	all["default_transaction_isolation"] = "read committed"
	return all
}

// briefLock is how long a statement that waits Briefly waits for a lock. The short
// transactions of other programs end within it, and it adds little to what many wait for.
const briefLock = 10 * time.Millisecond

// Briefly is a condition that is true, for the WHERE of a statement. It is looked at once,
// before any row is locked, and has the server wait for each lock that the statement needs
// for no longer than briefLock. The setting ends with the transaction, so it works behind a
// pool that shares out its connections, and it costs no round trip.
var Briefly = "(SELECT set_config('lock_timeout', '" + inMilliseconds(briefLock) + "', true)) IS NOT NULL"

func inMilliseconds(d time.Duration) string { return strconv.FormatInt(max(1, d.Milliseconds()), 10) }

// pinOf is the statement that sets all of them, also those that a pool has not passed
// on. A commit that does not reach the disk is never acknowledged: synchronous_commit
// is raised from off; a stronger value than on, or local, is the operator's choice and
// stays. transaction_timeout, of PostgreSQL 17, would end a wait for a synchronous
// standby.
func pinOf(limits Limits) string {
	var b strings.Builder
	b.WriteString(`SELECT
	set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false),
	CASE WHEN current_setting('transaction_timeout', true) IS NOT NULL THEN set_config('transaction_timeout', '0', false) END`)
	all := wanted(limits)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, ", set_config('%s', '%s', false)", name, all[name])
	}
	return b.String()
}

// RoleSettings are the statements that give our role the settings of its sessions, where
// it does not have them. It needs them behind a pool that shares out its connections: what
// a session sets is lost there.
func (p *Pool) RoleSettings(ctx context.Context) ([]string, error) {
	all := wanted(p.limits)
	names := slices.Sorted(maps.Keys(all))
	values := make([]string, len(names))
	for i, name := range names {
		values[i] = all[name]
	}
	var missing []string
	err := p.Read(ctx, func(ctx context.Context, q sqlx.QueryerContext) error {
		return sqlx.SelectContext(ctx, q, &missing, `SELECT format('ALTER ROLE %I SET %s = %L', current_user, w.name, w.value)
			FROM unnest($1::text[], $2::text[]) AS w(name, value) JOIN pg_catalog.pg_settings AS s ON lower(s.name) = w.name
			WHERE s.reset_val <> w.value
			UNION ALL SELECT format('ALTER ROLE %I SET %s = %L', current_user, name, 'on')
			FROM pg_catalog.pg_settings WHERE name = 'synchronous_commit' AND reset_val = 'off'`, pq.Array(names), pq.Array(values))
	})
	return missing, err
}
