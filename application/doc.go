// Package application holds Millrace's use cases and the ports that they need.
//
// A use case is a type with a Run method: it says in which order things happen
// and what a crash in between leaves behind. It knows the domain and its ports,
// and nothing of SQL, Redis, HTTP or logs: adapters implement the ports.
package application
