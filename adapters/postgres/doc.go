// Package postgres keeps tasks and workers in PostgreSQL, and tells its time.
//
// The repositories, with their statements and rows, are here; internal/pgconn has the
// connections and internal/pgenc the encoding of what statements send. SQL words, row
// structs and the driver's errors stay inside. The package knows the domain and the
// ports, and no other adapter.
//
// Deadlines are set on the sockets and not by cancel requests: a canceled
// context does not end a lib/pq call on a stalled link, and a canceled wait for
// a synchronous standby reports success for a row that a failover loses. So a
// write, once sent, is waited for; if its answer does not come within the
// call timeout, nobody knows what became of it and it is domain.ErrUnavailable.
// Every limit that runs inside another ends before it: see pgconn.Limits.
package postgres
