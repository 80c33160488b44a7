// Package sqlite keeps the record of tasks, queues and workers in one file, without a
// server: the store of the embedded mode, and of any test that wants a real one.
//
// One process at a time has the file, and in it one connection writes; so what
// PostgreSQL needs row locks for is here a matter of taking turns, and the domain
// decides inside the transaction. Writes are synced to the disk before they
// return. Rows and SQL stay in this package.
package sqlite
