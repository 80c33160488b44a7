// Package httpapi is Millrace's HTTP API: gorilla/mux routes on the server
// interface that is generated from openapi.yaml, which is the source of truth
// and is served as it stands. A handler decodes, runs one use case and encodes;
// fail is the only place where an error becomes a response. The package knows
// use cases and the domain, and nothing of SQL or Redis.
package httpapi
