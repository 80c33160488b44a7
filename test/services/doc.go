// Package services gives tests a PostgreSQL and a Redis of their own, on free
// loopback ports, never on the standard ones.
//
// TEST_DATABASE_URL and TEST_REDIS_URL name servers to use instead of starting
// some: a test then has a database, or a prefix of keys, of its own there. Servers
// that a test starts itself, to stop or to kill them, always come from the
// installed binaries.
//
// Nothing outlives the test process, whatever ends it: a janitor, which is a shell
// in a session of its own, waits for the end of a pipe that only the test process
// holds, kills the servers that are left, and removes their files.
//
// The package knows no adapter: it speaks to the servers only to create and drop
// what belongs to a test.
package services
