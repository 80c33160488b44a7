// Package client is a Go client of Millrace's HTTP API: for programs that submit
// tasks, look them up and change them. A program that processes tasks imports
// github.com/millrace/millrace instead. The package is generated from the document
// that the server itself serves at /openapi.yaml, and depends on no other package
// of Millrace.
//
// [NewClientWithResponses] makes a client, which is safe for concurrent use. Its
// methods return an error only when no answer came or the answer could not be
// read. Every answer that the API documents, errors included, is a field of the
// response, and all others are nil: of [ClientWithResponses.SubmitTaskWithResponse],
// JSON201 is the task and ApplicationproblemJSON422 the problem document. Ids are
// strings. [WithAPIKey] is for a service that requires a key.
package client

//go:generate go tool -modfile=../tools/go.mod oapi-codegen -config config.yaml ../adapters/httpapi/openapi.yaml
