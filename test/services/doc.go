// Package services gives tests a PostgreSQL and a Redis of their own, on free
// loopback ports, never on the standard ones.
//
// TEST_DATABASE_URL and TEST_REDIS_URL name running servers to use instead: a test then
// has a database, or a prefix of keys, of its own there. Servers that a test starts
// itself, to stop or to kill them, always come from the installed binaries.
//
// Nothing outlives the test process, however it ends: a janitor, which is a shell in a
// session of its own, waits for the end of a pipe that only the test process holds, kills
// the remaining servers, and removes their files.
//
// The package knows no adapter: it uses the servers only to create and drop the databases
// and keys of a test.
package services
