// Package pgconn connects to PostgreSQL: it reads the URL, bounds every wait on the
// socket, keeps pools of connections and statements that are prepared, and turns the
// driver's errors into those of the domain.
//
// It knows no table. doc.go of package postgres says why deadlines are set on the
// sockets.
package pgconn
