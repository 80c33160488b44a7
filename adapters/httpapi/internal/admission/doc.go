// Package admission bounds what clients can make the API hold at once: requests,
// bodies and their bytes, calls that wait for the store, and connections. Whoever
// comes over a bound is refused at once rather than queued, so that what waits stays
// bounded; only a body waits a little for room, without being in memory. The package knows
// net/http and nothing of tasks.
package admission
